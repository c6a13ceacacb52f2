//! The result of a list, and how many entries were left out.

use std::collections::HashSet;

use crate::{
    model::object::{self, Object},
    upstream::{Bound, Unread},
};

/// The most profiles of an account.
pub(super) const PROFILES: Bound = Bound { most: 200_000, what: "profiles in a list" };
/// The most services of a catalog, or limits of one service there.
pub(super) const CATALOG: Bound = Bound { most: 1000, what: "services or limits in its catalog" };
/// The most services, or limits of them together, of one profile.
pub(super) const PARTS: Bound =
    Bound { most: 1000, what: "services or traffic limits in a profile" };
/// The most data limits of one profile.
pub(super) const DATA_LIMITS: Bound = Bound { most: 1000, what: "data limits of a profile" };

/// The entries of a list, each once.
pub(super) struct Listed<T> {
    items: Vec<T>,
    ids: HashSet<String>,
    /// How many have no id that an entry can have. Such an entry cannot be addressed, so it is not
    /// listed. Failing the whole list for it would help no caller.
    without_id: usize,
    /// How many have the id of an earlier one.
    repeated: usize,
    /// How many are no JSON objects.
    odd: usize,
}

impl<T> Listed<T> {
    /// An empty list.
    pub(super) fn new() -> Self {
        Self { items: Vec::new(), ids: HashSet::new(), without_id: 0, repeated: 0, odd: 0 }
    }

    /// Reads a JSON list of no more entries than its bound allows. `entry` gives the id and the
    /// meaning of an object; nothing if it has no id. Anything else is left out, unless there is
    /// nothing but that: then nothing says that the list is of such entries.
    pub(super) fn read(
        json: &[u8],
        bound: Bound,
        entry: impl FnMut(&Object<'_>) -> Option<(String, T)>,
    ) -> Result<Self, Unread> {
        Self::each(elements(json, bound)?, entry)
    }

    /// The same of a part of what was read before.
    pub(super) fn of(
        json: &str,
        bound: Bound,
        entry: impl FnMut(&Object<'_>) -> Option<(String, T)>,
    ) -> Result<Self, Unread> {
        let found = object::elements_within(json, bound.most).ok_or(Unread::NotTheDialect)?;
        Self::each(within(found, bound)?, entry)
    }

    fn each(
        elements: Vec<&str>,
        mut entry: impl FnMut(&Object<'_>) -> Option<(String, T)>,
    ) -> Result<Self, Unread> {
        let mut listed = Self::new();
        for element in &elements {
            match Object::of(element).map(|object| entry(&object)) {
                Some(Some((id, item))) => listed.add(id, item),
                Some(None) => listed.without_id += 1,
                None => listed.odd += 1,
            }
        }
        if !elements.is_empty() && listed.odd == elements.len() {
            return Err(Unread::NotTheDialect);
        }
        Ok(listed)
    }

    fn add(&mut self, id: String, item: T) {
        match self.ids.insert(id) {
            true => self.items.push(item),
            false => self.repeated += 1,
        }
    }

    /// The entries. Logs what was left out.
    pub(super) fn or_logged(self, dialect: &'static str) -> Vec<T> {
        let Self { items, without_id, repeated, odd, .. } = self;
        if without_id + repeated + odd > 0 {
            tracing::warn!(
                target: "upstream", dialect, without_id, repeated, odd,
                "entries without a valid id, listed twice, or of another kind (odd) were left out \
                 of a list"
            );
        }
        items
    }
}

/// The elements of a JSON list of no more than its bound allows, as text.
pub(super) fn elements(json: &[u8], bound: Bound) -> Result<Vec<&str>, Unread> {
    match object::read_elements(json, bound.most) {
        Some(found) => within(found, bound),
        None => Err(Unread::without_objects(json)),
    }
}

fn within((elements, more): (Vec<&str>, bool), bound: Bound) -> Result<Vec<&str>, Unread> {
    if more { Err(Unread::TooMany(bound)) } else { Ok(elements) }
}
