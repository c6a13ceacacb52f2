//! Profiles kept as the JSON objects that reads show, by number; and switches changed by JSON.
//!
//! For vendors whose ids are integers. Nothing here is specific to a vendor: the simulators define
//! what members mean and which values they take.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Maximum length of one profile as JSON, so that the number of profiles bounds memory.
pub(super) const MAX_PROFILE: usize = 16 * 1_024;

pub(super) type Members = Map<String, Value>;

#[derive(Clone)]
pub(super) struct Profiles {
    rows: BTreeMap<i64, Members>,
    /// The highest id there ever was; ids are never reused.
    last: i64,
    max: usize,
}

impl Profiles {
    pub(super) fn new(max: usize) -> Self {
        Self { rows: BTreeMap::new(), last: 0, max }
    }

    /// With the profiles of a JSON array, without those that have no integer `id`.
    pub(super) fn seeded(max: usize, seed: &str) -> Self {
        let mut profiles = Self::new(max);
        for members in serde_json::from_str::<Vec<Members>>(seed).unwrap_or_default() {
            if let Some(id) = members.get("id").and_then(Value::as_i64) {
                profiles.put(id, members);
            }
        }
        profiles
    }

    pub(super) fn get(&self, id: i64) -> Option<&Members> {
        self.rows.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: i64) -> Option<&mut Members> {
        self.rows.get_mut(&id)
    }

    /// In the order of ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Members)> {
        self.rows.iter().map(|(id, members)| (*id, members))
    }

    /// Inserts or replaces; false if the store is full. The member `id` is set to the given id.
    pub(super) fn put(&mut self, id: i64, members: Members) -> bool {
        if !self.rows.contains_key(&id) && self.room() == 0 {
            return false;
        }
        self.last = self.last.max(id);
        self.rows.insert(id, with_id(id, members));
        true
    }

    /// Inserts under a new id; `None` if the store is full.
    pub(super) fn add(&mut self, members: Members) -> Option<i64> {
        // Ids grow and leave gaps, as real ones do. The gaps are always the same, so that a walk
        // through the examples meets the same ids each time.
        let id = self.last.checked_add(1 + self.last.rem_euclid(3))?;
        self.put(id, members).then_some(id)
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: i64) -> bool {
        self.rows.remove(&id).is_some()
    }

    /// How many more profiles fit.
    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.rows.len())
    }
}

fn with_id(id: i64, members: Members) -> Members {
    let mut all = Members::new();
    all.insert("id".to_owned(), id.into());
    all.extend(members.into_iter().filter(|(name, _)| name != "id"));
    all
}

/// Profiles to add: each has the defaults of a create, overridden by `profile`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seed {
    pub count: usize,
    #[serde(default)]
    pub profile: Members,
}

/// Refuses a profile from the control API that is too big.
///
/// # Errors
///
/// Says what is allowed.
pub(super) fn check_size(members: &Members) -> Result<(), String> {
    if size(members) > MAX_PROFILE {
        return Err(format!("a profile must be at most {MAX_PROFILE} bytes of JSON"));
    }
    Ok(())
}

/// The approximate length of its JSON in bytes.
pub(super) fn size(members: &Members) -> usize {
    members.iter().map(|(name, member)| name.len() + member.to_string().len() + 4).sum()
}

/// The settings, with the members of `wanted` replacing theirs.
///
/// # Errors
///
/// Says which member is unknown, or what type it must have.
pub(super) fn changed<T>(settings: &T, wanted: Members) -> Result<T, String>
where
    T: Serialize + DeserializeOwned,
{
    let mut all = serde_json::to_value(settings).map_err(|error| error.to_string())?;
    if let Value::Object(members) = &mut all {
        members.extend(wanted);
    }
    serde_json::from_value(all).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_never_reused_and_room_is_bounded() {
        let mut profiles = Profiles::seeded(3, r#"[{"name":"a","id":7},{"name":"no id"}]"#);
        assert_eq!(profiles.get(7).map(|row| json!(row)), Some(json!({"id":7,"name":"a"})));
        let second = profiles.add(Members::new()).unwrap();
        assert!(second > 7);
        assert!(profiles.remove(second) && !profiles.remove(second));
        let third = profiles.add(Members::new()).unwrap();
        assert!(third > second);
        assert_eq!(profiles.room(), 1);
        assert!(profiles.put(1, Members::new()));
        assert_eq!(profiles.add(Members::new()), None);
        assert!(profiles.put(1, Members::new()) && !profiles.put(2, Members::new()));
        let ids: Vec<i64> = profiles.iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [1, 7, third]);
    }

    #[test]
    fn the_last_possible_id_is_the_last() {
        let mut profiles = Profiles::new(3);
        assert!(profiles.put(i64::MAX, Members::new()));
        assert_eq!(profiles.add(Members::new()), None);
    }
}
