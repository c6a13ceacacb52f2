//! The account: its service profiles, and the rules for changing them.
//!
//! A request is fully checked before anything changes, so a refused one has no effect at all.
//!
//! Cascades. Documented: a service added to a base profile is added "in all the Defaults"; a
//! service removed from a base profile is removed "from Defaults, Addon and Custom service
//! profiles" of the child levels. Modeled here for the one account there is (inferred): adding to a
//! base profile adds to DEFAULT; removing from DEFAULT removes from every other profile; removing
//! from another base profile concerns that one only. A removal that would leave some profile with
//! no service at all is refused with 6565, "Invalid child config" (inferred).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{services, verdict::Verdict};

/// Longest name. The real bound is not documented.
const MAX_NAME: usize = 256;
const BASE: &str = "0";
const ADDON: &str = "1";

/// A profile as it is, which the vendor's rules may not allow if it came through the control API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Profile {
    pub name: String,
    /// "0" base, "1" addon.
    pub category: String,
    /// "0" inactive, "1" active.
    pub status: String,
    /// Names as reads show them; unknown ones are allowed.
    pub services: Vec<String>,
    /// Radio access type name as reads show it.
    pub rat: Option<String>,
    /// The profile every account has from the start.
    pub is_default: bool,
    pub attached_to_plan: bool,
    /// A child entity: no change may go below its RAT.
    pub child_entity: Option<ChildEntity>,
    /// Makes every change of service or access type fail with 6565.
    pub invalid_child_config: bool,
    /// Members that reads show in addition.
    pub extra: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChildEntity {
    pub name: String,
    pub rat: String,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            name: String::new(),
            category: BASE.to_owned(),
            status: "1".to_owned(),
            services: Vec::new(),
            rat: None,
            is_default: false,
            attached_to_plan: false,
            child_entity: None,
            invalid_child_config: false,
            extra: Map::new(),
        }
    }
}

/// Ordered by length first, so that `SP_9` comes before `SP_10` and lists come in the order of
/// creation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ProfileId {
    length: usize,
    text: String,
}

impl ProfileId {
    fn new(text: &str) -> Self {
        Self { length: text.len(), text: text.to_owned() }
    }
}

#[derive(Clone)]
pub(super) struct Account {
    profiles: BTreeMap<ProfileId, Profile>,
    /// The highest number any id ever had; ids are never reused.
    last_number: u64,
    max_profiles: usize,
}

impl Account {
    pub(super) fn new(max_profiles: usize) -> Self {
        Self { profiles: BTreeMap::new(), last_number: 1, max_profiles }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Profile> {
        self.profiles.get(&ProfileId::new(id))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.profiles.iter().map(|(id, profile)| (id.text.as_str(), profile))
    }

    /// Inserts or replaces without regard to the vendor's rules; false if the account is full.
    pub(super) fn put(&mut self, id: &str, profile: Profile) -> bool {
        let key = ProfileId::new(id);
        if self.profiles.len() >= self.max_profiles && !self.profiles.contains_key(&key) {
            return false;
        }
        if let Some(number) = id.strip_prefix("SP_").and_then(|n| n.parse().ok()) {
            self.last_number = self.last_number.max(number);
        }
        self.profiles.insert(key, profile);
        true
    }

    /// Removes without regard to the vendor's rules; false if there was no such profile.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        self.profiles.remove(&ProfileId::new(id)).is_some()
    }

    /// Creates a profile and returns its id.
    pub(super) fn create(&mut self, fields: &Map<String, Value>) -> Result<String, Verdict> {
        let profile = new_profile(fields)?;
        self.check_name_free(&profile.name, None)?;
        if self.profiles.len() >= self.max_profiles {
            tracing::warn!(bound = self.max_profiles, "sandbox account is full, create refused");
            return Err(Verdict::CreateFailure);
        }
        // Documented by examples: ids grow and leave gaps. Ours repeat, so that a walk through
        // the examples meets the same ids each time.
        let gap = 1 + self.last_number % 3;
        let number = self.last_number.checked_add(gap).ok_or(Verdict::CreateFailure)?;
        let id = format!("SP_{number}");
        self.put(&id, profile);
        Ok(id)
    }

    /// Changes a profile and returns its id and those of the profiles that the change cascaded to.
    pub(super) fn modify(
        &mut self,
        fields: &Map<String, Value>,
    ) -> Result<(String, Vec<String>), Verdict> {
        let modification = Modification::read(fields).ok_or(Verdict::ModifyFailure)?;
        let key = ProfileId::new(modification.id);
        // Inferred: an unknown id has no code of its own.
        let current = self.profiles.get(&key).ok_or(Verdict::ModifyFailure)?;
        let updated = modification.apply_to(current)?;
        self.check_name_free(&updated.name, Some(&key))?;
        let cascade = self.cascade(&key, current, &updated)?;
        let cascaded = cascade.iter().map(|(id, _)| id.text.clone()).collect();
        self.profiles.extend(cascade);
        self.profiles.insert(key, updated);
        Ok((modification.id.to_owned(), cascaded))
    }

    /// Deletes a profile and returns its id.
    pub(super) fn delete(&mut self, fields: &Map<String, Value>) -> Result<String, Verdict> {
        let id = text(fields, "id").flatten().ok_or(Verdict::DeleteFailure)?;
        let profile = self.get(id).ok_or(Verdict::DeleteFailure)?;
        if profile.is_default {
            // Inferred: every account has one, so it cannot be deleted.
            return Err(Verdict::DeleteFailure);
        }
        if profile.attached_to_plan {
            return Err(Verdict::AttachedToPlan);
        }
        self.remove(id);
        Ok(id.to_owned())
    }

    /// Documented: names are unique. Inferred: within the account, compared byte by byte.
    fn check_name_free(&self, name: &str, except: Option<&ProfileId>) -> Result<(), Verdict> {
        let taken =
            self.profiles.iter().any(|(id, profile)| Some(id) != except && profile.name == name);
        if taken { Err(Verdict::DuplicateName) } else { Ok(()) }
    }

    /// The other profiles as they will be after this change of services; see the module
    /// documentation.
    fn cascade(
        &self,
        changed: &ProfileId,
        from: &Profile,
        to: &Profile,
    ) -> Result<Vec<(ProfileId, Profile)>, Verdict> {
        let added = missing_from(&to.services, &from.services);
        let removed = missing_from(&from.services, &to.services);
        let mut cascade = Vec::new();
        for (id, other) in self.profiles.iter().filter(|(id, _)| *id != changed) {
            let mut next = other.clone();
            if other.is_default && to.category == BASE {
                next.services.extend(missing_from(&added, &other.services));
            }
            if from.is_default {
                next.services.retain(|service| !removed.contains(service));
            }
            if next.services == other.services {
                continue;
            }
            if next.services.is_empty() {
                return Err(Verdict::InvalidChildConfig);
            }
            if !services::needs_rat(&next.services) {
                next.rat = None;
            } else if next.rat.is_none() {
                // Inferred: a profile that gets its first service with a RAT takes the RAT from
                // where that came.
                next.rat.clone_from(&to.rat);
            }
            cascade.push((id.clone(), next));
        }
        Ok(cascade)
    }
}

/// Those of `these` that are not among `those`.
fn missing_from(these: &[String], those: &[String]) -> Vec<String> {
    these.iter().filter(|item| !those.contains(item)).cloned().collect()
}

/// Checks the members of a create request.
fn new_profile(fields: &Map<String, Value>) -> Result<Profile, Verdict> {
    // Documented: all but accessType are mandatory. Inferred: 1324 for a missing, mistyped or
    // unknown value.
    let mandatory = |name| text(fields, name).flatten().ok_or(Verdict::CreateFailure);
    let name = mandatory("name")?;
    let category = mandatory("category")?;
    let status = mandatory("status")?;
    let services =
        services::services_from_ids(mandatory("service")?).ok_or(Verdict::CreateFailure)?;
    let access_type = text(fields, "accessType").ok_or(Verdict::CreateFailure)?;
    if !is_name(name) || ![BASE, ADDON].contains(&category) || !is_status(status) {
        return Err(Verdict::CreateFailure);
    }
    let rat = match (services::needs_rat(&services), access_type) {
        (true, Some(code)) => Some(services::rat_from_code(code).ok_or(Verdict::CreateFailure)?),
        (true, None) => return Err(Verdict::CreateFailure),
        // Documented: an access type with NB-IoT alone is "obsolete".
        (false, Some(_)) => return Err(Verdict::ObsoleteAccessType),
        (false, None) => None,
    };
    Ok(Profile {
        name: name.to_owned(),
        category: category.to_owned(),
        status: status.to_owned(),
        services,
        rat: rat.map(str::to_owned),
        ..Profile::default()
    })
}

/// The members of a modify request; members that are left out stay as they are (inferred from
/// "optional").
struct Modification<'a> {
    id: &'a str,
    name: Option<&'a str>,
    status: Option<&'a str>,
    services: Option<Vec<String>>,
    rat: Option<&'static str>,
}

impl<'a> Modification<'a> {
    /// `None` for what 1326 answers: a missing id, a mistyped or unknown value, or a category,
    /// which is not among the members of a modify request (documented by omission; that it is
    /// refused is inferred).
    fn read(fields: &'a Map<String, Value>) -> Option<Self> {
        if fields.contains_key("category") {
            return None;
        }
        let modification = Self {
            id: text(fields, "id")??,
            name: text(fields, "name")?,
            status: text(fields, "status")?,
            services: match text(fields, "service")? {
                Some(ids) => Some(services::services_from_ids(ids)?),
                None => None,
            },
            rat: match text(fields, "accessType")? {
                Some(code) => Some(services::rat_from_code(code)?),
                None => None,
            },
        };
        (modification.name.is_none_or(is_name) && modification.status.is_none_or(is_status))
            .then_some(modification)
    }

    /// The profile as it would be, if the rules for a single profile allow it.
    fn apply_to(&self, current: &Profile) -> Result<Profile, Verdict> {
        let mut updated = current.clone();
        if let Some(name) = self.name {
            updated.name = name.to_owned();
        }
        if current.is_default && updated.name != current.name {
            // Inferred: the default profile cannot be renamed, as it cannot be deleted.
            return Err(Verdict::ModifyFailure);
        }
        if let Some(status) = self.status {
            updated.status = status.to_owned();
        }
        if let Some(services) = &self.services {
            updated.services.clone_from(services);
        }
        let services_change = !missing_from(&updated.services, &current.services).is_empty()
            || !missing_from(&current.services, &updated.services).is_empty();
        if services_change && current.category == ADDON {
            return Err(Verdict::AddonServiceChange);
        }
        if services::needs_rat(&updated.services) {
            if let Some(rat) = self.rat {
                updated.rat = Some(rat.to_owned());
            }
            if updated.rat.is_none() {
                return Err(Verdict::ModifyFailure);
            }
        } else if self.rat.is_some() {
            // Documented for create; inferred for modify.
            return Err(Verdict::ObsoleteAccessType);
        } else if services_change {
            updated.rat = None;
        }
        let changes_access = services_change || updated.rat != current.rat;
        if current.invalid_child_config && changes_access {
            return Err(Verdict::InvalidChildConfig);
        }
        check_child_rat(current, &updated)?;
        Ok(updated)
    }
}

/// Documented: a RAT may not go below what a child entity was given. Inferred: losing the RAT
/// altogether counts too.
fn check_child_rat(current: &Profile, updated: &Profile) -> Result<(), Verdict> {
    let Some(child) = &current.child_entity else {
        return Ok(());
    };
    let asked = services::rat_rank(updated.rat.as_deref());
    let is_downgrade = asked < services::rat_rank(current.rat.as_deref());
    if is_downgrade && asked < services::rat_rank(Some(&child.rat)) {
        return Err(Verdict::RatConflict(child.name.clone()));
    }
    Ok(())
}

/// `None` if the member is not a string: all members are strings (documented), so a number or a
/// null is refused (inferred). `Some(None)` if the member is absent.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<Option<&'a str>> {
    match fields.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
    }
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= MAX_NAME
}

fn is_status(status: &str) -> bool {
    ["0", "1"].contains(&status)
}
