//! The result of a list, and how many entries were left out.

use std::collections::HashSet;

/// The profiles of a list, each once.
pub(super) struct Listed<T> {
    items: Vec<T>,
    ids: HashSet<String>,
    /// How many have no id that a profile can have. Such a profile cannot be addressed, so it is
    /// not listed. Failing the whole list for it would help no caller.
    without_id: usize,
    /// How many have the id of an earlier one.
    repeated: usize,
}

impl<T> Listed<T> {
    /// An empty list.
    pub(super) fn new() -> Self {
        Self { items: Vec::new(), ids: HashSet::new(), without_id: 0, repeated: 0 }
    }

    /// Adds a profile, which `make` reads, unless it has no id or is there already.
    pub(super) fn add(&mut self, id: Option<String>, make: impl FnOnce(String) -> T) {
        match id {
            None => self.without_id += 1,
            Some(id) if self.ids.contains(&id) => self.repeated += 1,
            Some(id) => {
                self.ids.insert(id.clone());
                self.items.push(make(id));
            }
        }
    }

    /// The profiles. Logs what was left out.
    pub(super) fn or_logged(self, dialect: &'static str) -> Vec<T> {
        let Self { items, without_id, repeated, .. } = self;
        if without_id > 0 || repeated > 0 {
            tracing::warn!(
                target: "upstream", dialect, without_id, repeated,
                "profiles without a valid id, or listed twice, were left out of a list"
            );
        }
        items
    }
}
