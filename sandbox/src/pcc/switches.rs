//! What the control API can do to the PCC simulator: raw profiles, and switches for what the documents leave open.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::wire::ErrorBody;
use super::{Pcc, state};
use crate::store::{self, Members};

const MAX_PLANS: usize = 1_000;
const MAX_PLAN_NAME: usize = 255;

/// The switches, as the simulator uses them and as the control API shows and changes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switches {
    /// Of a successful create: 201 with the profile, or 204 without (both documented).
    pub create_status: u16,
    pub error_body: ErrorBody,
    /// Whether JSON is what a client gets that asks for nothing (documented: XML).
    pub json_by_default: bool,
    /// Whether a name can be used once only.
    pub unique_names: bool,
    /// Whether the plan that a write names must be one of `core_plans`.
    pub check_core_plans: bool,
    /// The plans there are.
    pub core_plans: Vec<String>,
    /// Whether profiles have `_links`, as sibling objects do.
    pub links: bool,
    /// Whether reads show texts that nobody gave as null.
    pub absent_as_null: bool,
}

impl Default for Switches {
    fn default() -> Self {
        let plans = ["turkey", "prepaidCORE", "postpaidCORE", "iotCORE"];
        Self {
            create_status: 201,
            error_body: ErrorBody::Documented,
            json_by_default: false,
            unique_names: true,
            check_core_plans: true,
            core_plans: plans.map(str::to_owned).to_vec(),
            links: false,
            absent_as_null: false,
        }
    }
}

impl Switches {
    fn check(&self) -> Result<(), String> {
        if ![201, 204].contains(&self.create_status) {
            return Err("`create_status` must be 201 or 204".to_owned());
        }
        let are_short = self.core_plans.iter().all(|name| name.len() <= MAX_PLAN_NAME);
        if self.core_plans.len() > MAX_PLANS || !are_short {
            return Err(format!(
                "`core_plans` must be at most {MAX_PLANS} names of at most {MAX_PLAN_NAME} bytes"
            ));
        }
        Ok(())
    }
}

/// Profiles to add, each as after a create with `profile` over it; the names get a number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seed {
    count: usize,
    #[serde(default)]
    profile: Members,
}

impl Pcc {
    pub(crate) fn switches(&self) -> Switches {
        self.lock().switches.clone()
    }

    /// # Errors
    ///
    /// What is allowed, in words; then nothing has changed.
    pub(crate) fn set_switches(&self, wanted: Members) -> Result<(), String> {
        let mut inner = self.lock();
        let switches = store::changed(&inner.switches, wanted)?;
        switches.check()?;
        inner.switches = switches;
        Ok(())
    }

    /// All profiles as they are, by id.
    pub(crate) fn raw_profiles(&self) -> Vec<Value> {
        let inner = self.lock();
        inner.tenant.profiles.iter().map(|(_, profile)| Value::Object(profile.clone())).collect()
    }

    pub(crate) fn raw_profile(&self, id: i64) -> Option<Value> {
        self.lock().tenant.profiles.get(id).cloned().map(Value::Object)
    }

    /// Inserts or replaces a profile to the letter: what is not there is not shown by reads either. The member
    /// `sandbox_in_use` makes it one that cannot be deleted.
    ///
    /// # Errors
    ///
    /// What is allowed, in words.
    pub(crate) fn put_raw_profile(&self, id: i64, profile: Members) -> Result<Value, String> {
        if profile.get(state::IN_USE).is_some_and(|flag| !flag.is_boolean()) {
            return Err(format!("`{}` must be true or false", state::IN_USE));
        }
        store::check_size(&profile)?;
        let mut inner = self.lock();
        if !inner.tenant.profiles.put(id, profile) {
            return Err(format!("the tenant is full ({} profiles)", self.options.max_profiles));
        }
        Ok(inner.tenant.profiles.get(id).cloned().map(Value::Object).unwrap_or_default())
    }

    pub(crate) fn delete_raw_profile(&self, id: i64) -> bool {
        self.lock().tenant.profiles.remove(id)
    }

    /// Adds many profiles and tells the first and the last id.
    ///
    /// # Errors
    ///
    /// What is allowed, in words; then nothing was added.
    pub(crate) fn seed(&self, seed: Seed) -> Result<Value, String> {
        let name = seed.profile.get("name").and_then(Value::as_str).unwrap_or("Seeded").to_owned();
        let mut template = state::new_profile();
        template.retain(|_, member| !member.is_null());
        template.insert("defaultProfile".to_owned(), false.into());
        template.extend(seed.profile);
        store::check_size(&template)?;
        let mut inner = self.lock();
        let room = inner.tenant.profiles.room();
        if seed.count == 0 || seed.count > room {
            return Err(format!("`count` must be 1 to {room}, what the tenant has room for"));
        }
        let mut ids = Vec::new();
        for number in 1..=seed.count {
            let mut profile = template.clone();
            profile.insert("name".to_owned(), format!("{name} {number:05}").into());
            ids.extend(inner.tenant.profiles.add(profile));
        }
        Ok(json!({ "count": ids.len(), "first": ids.first(), "last": ids.last() }))
    }
}
