//! The tenant: its provisioning profiles and the rules for changing them.
//!
//! A request is fully checked before anything changes. The checks come in this order (inferred):
//! types (400), what is missing or out of range, all at once (412), the name (409), the plan (422).

use http::StatusCode;
use serde_json::Value;

use super::{switches::Switches, wire::Refusal};
use crate::store::{self, Members, Profiles};

/// Marks, in raw profiles, one that cannot be deleted. Never on the wire.
pub(super) const IN_USE: &str = "sandbox_in_use";
/// Written by the server only.
pub(super) const LINKS: &str = "_links";
/// Longest text. Documented for sibling objects.
const MAX_TEXT: usize = 255;

const NAME: &str = "name";
const DEFAULT: &str = "defaultProfile";
const PLAN: &str = "initialCorePlanName";
/// Optional members that are strings.
pub(super) const TEXTS: [&str; 4] = ["locale", PLAN, "subscriberClass", "subscriberType"];
/// Optional members that are booleans; false unless given (documented for one of them in a sibling
/// object).
const SWITCHES: [&str; 4] =
    ["dpsEnabled", "dpsNotification", "eosNotification", "paygNotification"];

#[derive(Clone)]
pub(super) struct Tenant {
    pub profiles: Profiles,
}

impl Tenant {
    pub(super) fn new(max: usize, seeded: bool) -> Self {
        // The first two profiles are the documents' examples verbatim.
        let seed = if seeded { include_str!("seed.json") } else { "[]" };
        Self { profiles: Profiles::seeded(max, seed) }
    }

    pub(super) fn get(&self, id: i64) -> Result<&Members, Refusal> {
        self.profiles.get(id).ok_or(Refusal::Status(StatusCode::NOT_FOUND))
    }

    pub(super) fn create(&mut self, body: &Members, switches: &Switches) -> Result<i64, Refusal> {
        check_types(body)?;
        let mut errors = out_of_range(body);
        // Documented: these two are mandatory. Inferred: null and empty are as good as missing.
        if is_blank(body.get(NAME)) {
            errors.insert(0, mandatory(NAME));
        }
        if is_blank(body.get(DEFAULT)) {
            errors.push(mandatory(DEFAULT));
        }
        if !errors.is_empty() {
            return Err(Refusal::Validation(errors));
        }
        let mut profile = new_profile();
        profile.extend(writable(body));
        // Members that no request has set are not shown.
        profile.retain(|name, member| !member.is_null() || body.contains_key(name));
        self.check_name(&profile, None, switches)?;
        check_plan(&profile, None, switches)?;
        check_size(&profile)?;
        // No document states a bound; this one is the sandbox's own, answered as the vendor answers
        // overload.
        self.profiles.add(profile).ok_or(Refusal::Status(StatusCode::SERVICE_UNAVAILABLE))
    }

    /// Documented by the example: members that the request does not name stay as they are.
    /// Inferred: an id in the body is ignored.
    pub(super) fn update(
        &mut self,
        id: i64,
        body: &Members,
        switches: &Switches,
    ) -> Result<(), Refusal> {
        let current = self.get(id)?;
        check_types(body)?;
        let mut errors = out_of_range(body);
        for name in [NAME, DEFAULT] {
            if body.contains_key(name) && is_blank(body.get(name)) {
                errors.push(mandatory(name));
            }
        }
        if !errors.is_empty() {
            return Err(Refusal::Validation(errors));
        }
        let mut updated = current.clone();
        updated.extend(writable(body));
        self.check_name(&updated, Some(id), switches)?;
        check_plan(&updated, current.get(PLAN), switches)?;
        check_size(&updated)?;
        self.profiles.put(id, updated);
        Ok(())
    }

    pub(super) fn delete(&mut self, id: i64) -> Result<(), Refusal> {
        if self.get(id)?.get(IN_USE) == Some(&Value::Bool(true)) {
            // Inferred: no document says whether a profile in use can be deleted.
            return Err(Refusal::Status(StatusCode::CONFLICT));
        }
        self.profiles.remove(id);
        Ok(())
    }

    /// Documented: 409 often means that an item or a name already exists. Inferred: that names are
    /// unique in a tenant.
    fn check_name(
        &self,
        profile: &Members,
        own: Option<i64>,
        switches: &Switches,
    ) -> Result<(), Refusal> {
        let name = profile.get(NAME);
        let is_taken = switches.unique_names
            && self.profiles.iter().any(|(id, other)| Some(id) != own && other.get(NAME) == name);
        if is_taken { Err(Refusal::Status(StatusCode::CONFLICT)) } else { Ok(()) }
    }
}

/// A profile with nothing but the defaults, in the order of the documents' examples.
pub(super) fn new_profile() -> Members {
    let texts = [NAME].into_iter().chain([DEFAULT]).chain(TEXTS);
    let mut members: Members =
        ["id"].into_iter().chain(texts).map(|name| (name.to_owned(), Value::Null)).collect();
    members.extend(SWITCHES.map(|name| (name.to_owned(), Value::Bool(false))));
    members
}

/// The members of a body that a client may set: known ones and any others (inferred: those are
/// kept).
fn writable(body: &Members) -> impl Iterator<Item = (String, Value)> {
    body.iter()
        .filter(|(name, _)| !["id", LINKS, IN_USE].contains(&name.as_str()))
        .map(|(name, member)| (name.clone(), member.clone()))
}

/// Inferred: numbers and booleans are not read from strings; null is allowed.
fn check_types(body: &Members) -> Result<(), Refusal> {
    for (name, member) in body {
        let name = name.as_str();
        let fits = if name == NAME || TEXTS.contains(&name) {
            member.is_string() || member.is_null()
        } else if name == DEFAULT || SWITCHES.contains(&name) {
            member.is_boolean() || member.is_null()
        } else {
            true
        };
        if !fits {
            return Err(Refusal::Status(StatusCode::BAD_REQUEST));
        }
    }
    Ok(())
}

/// Documented: 412 is also for values out of range.
fn out_of_range(body: &Members) -> Vec<(&'static str, String)> {
    [NAME]
        .into_iter()
        .chain(TEXTS)
        .filter(|name| {
            let text = body.get(*name).and_then(Value::as_str).unwrap_or_default();
            text.chars().count() > MAX_TEXT
        })
        .map(|name| (name, format!("{name} must be at most {MAX_TEXT} characters")))
        .collect()
}

fn mandatory(name: &'static str) -> (&'static str, String) {
    (name, format!("{name} is mandatory"))
}

fn is_blank(member: Option<&Value>) -> bool {
    match member {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(_) => false,
    }
}

/// Inferred: the plan must exist when it is changed. An empty name means no plan.
fn check_plan(
    profile: &Members,
    before: Option<&Value>,
    switches: &Switches,
) -> Result<(), Refusal> {
    let plan = profile.get(PLAN);
    let Some(name) = plan.and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    if !switches.check_core_plans
        || plan == before
        || switches.core_plans.iter().any(|known| known == name)
    {
        return Ok(());
    }
    Err(Refusal::Processing(format!("Plan definition {name} not found")))
}

/// The sandbox's own bound.
fn check_size(profile: &Members) -> Result<(), Refusal> {
    if store::size(profile) > store::MAX_PROFILE {
        return Err(Refusal::Status(StatusCode::BAD_REQUEST));
    }
    Ok(())
}
