//! Answer → model.

use prost_types::Struct;

use super::{
    fault, radio, service,
    wire::{self, Envelope},
};
use crate::{
    dialect::{adapter::Item, listed::Listed},
    error::{Error, Reason, Result},
    model::{
        json, number,
        object::{self, Object},
    },
    pb::{Category, Profile, RadioAccess, State},
};

/// The profiles of a list. `totalCount` is ignored: in the vendor's own example it is 19 for 3
/// profiles.
pub(super) fn list(envelope: &Envelope<'_>) -> Result<Listed<Item>> {
    let Some(param) = envelope.response_param() else {
        return Err(violation("a success result but no responseParam"));
    };
    let mut listed = Listed::new();
    let text = param.source(LIST).filter(|text| *text != "null").unwrap_or("[]");
    let items = object::elements(text);
    for item in items.ok_or_else(|| violation("a serviceProfileList that is not a list"))? {
        let members = Object::of(item).ok_or_else(|| {
            violation("a serviceProfileList that contains something other than profiles")
        })?;
        let (id, profile) = profile(&members);
        listed.add(id.filter(|id| wire::is_id(id)), |id| Item { id, profile });
    }
    Ok(listed)
}

/// The key of the profiles in the answer to a read.
const LIST: &str = "serviceProfileList";

/// The profile with this id in the answer to a get.
pub(super) fn one(envelope: &Envelope<'_>, id: &str) -> Result<Item> {
    let param = envelope.response_param();
    let items = param.as_ref().and_then(|param| object::elements(param.text(LIST)?));
    let items = items.ok_or_else(|| violation("a success result but no serviceProfileList"))?;
    let objects = items.iter().filter_map(|item| Object::of(item));
    let mut profiles: Vec<(Option<String>, Profile)> = objects.map(|o| profile(&o)).collect();
    // A single profile needs no id: it is the one that was requested.
    let alone = items.len() == 1;
    let meant = |found: &Option<String>| match found {
        // Ids are told apart by their number alone.
        Some(found) => found.eq_ignore_ascii_case(id),
        None => alone,
    };
    match profiles.iter().position(|(found, _)| meant(found)) {
        Some(at) => Ok(Item { id: id.to_owned(), profile: profiles.swap_remove(at).1 }),
        None if items.is_empty() => Err(fault::not_found(None)),
        None => Err(violation("a profile other than the requested one")),
    }
}

/// The id in the answer to a create.
pub(super) fn created_id(envelope: &Envelope<'_>) -> Option<String> {
    envelope.service_profile().filter(|id| !id.is_empty())
}

/// One profile, with its id if it has one.
fn profile(members: &Object<'_>) -> (Option<String>, Profile) {
    let mut id = None;
    let mut profile = Profile::default();
    let mut unmapped = Struct::default();
    for (key, value) in members.iter() {
        let is_null = value == "null";
        if is_null && key != "profileId" && KNOWN.contains(&key) {
            continue;
        }
        let text = number::scalar(value);
        let mapped = match (key, text.as_deref()) {
            ("profileId", text) => {
                id = text.filter(|id| !id.is_empty()).map(ToOwned::to_owned);
                id.is_some() || is_null
            }
            ("profileName", Some(name)) => {
                // Not trimmed: only codes are.
                let whole = serde_json::from_str(value);
                profile.display_name = whole.unwrap_or_else(|_| name.to_owned());
                true
            }
            ("status", Some(status)) => {
                profile.state = state(status).into();
                profile.state != 0
            }
            ("category", Some(category)) => {
                profile.category = category_of(category).into();
                profile.category != 0
            }
            ("serviceName", Some(names)) => services(names, &mut profile),
            ("ratTypeName", Some(name)) => radio_access(name, &mut profile),
            _ => false,
        };
        if !mapped {
            unmapped.fields.insert(key.to_owned(), json::of_text(value));
        }
    }
    profile.unmapped = (!unmapped.fields.is_empty()).then_some(unmapped);
    (id, profile)
}

/// The members that are mapped to fields of the model.
const KNOWN: [&str; 6] =
    ["profileId", "profileName", "status", "category", "serviceName", "ratTypeName"];

fn state(status: &str) -> State {
    match status {
        "1" => State::Active,
        "0" => State::Inactive,
        _ => State::Unspecified,
    }
}

fn category_of(category: &str) -> Category {
    match category {
        "0" => Category::Base,
        "1" => Category::Addon,
        _ => Category::Unspecified,
    }
}

/// Reads `DATA|MO-SMS`; false if the model cannot express all of it. Where the vendor's page lost a
/// pipe it has `'`, so that is a separator too.
fn services(names: &str, profile: &mut Profile) -> bool {
    let mut complete = true;
    for name in names.split(['|', '\'']).map(str::trim).filter(|name| !name.is_empty()) {
        match service::by_name(name) {
            service::Named::Service(known) => {
                if !profile.services.iter().any(|s| s.id == known.id) {
                    profile.services.push(known.into());
                }
            }
            service::Named::NbIot => profile.radio_access.push(RadioAccess::NbIot.into()),
            service::Named::Unknown => complete = false,
        }
    }
    complete
}

/// Reads `2G/3G`; false if the model cannot express all of it.
fn radio_access(name: &str, profile: &mut Profile) -> bool {
    if name.is_empty() {
        return true;
    }
    let parts: Vec<Option<RadioAccess>> = radio::by_name(name).collect();
    profile.radio_access.extend(parts.iter().flatten().map(|r| i32::from(*r)));
    parts.iter().all(Option::is_some)
}

fn violation(what: &str) -> Error {
    Error::new(Reason::UpstreamContractViolation, format!("the upstream answered with {what}"))
}
