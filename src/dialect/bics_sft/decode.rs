//! Answer → model.

use prost_types::Struct;
use serde_json::{Map, Value};

use super::{
    fault, radio, service,
    wire::{Envelope, scalar},
};
use crate::{
    dialect::{adapter::Item, listed::Listed},
    error::{Error, Reason, Result},
    model::json,
    pb::{Category, Profile, RadioAccess, State},
};

/// The profiles of a list. `totalCount` is ignored: in the vendor's own example it is 19 for 3
/// profiles.
pub(super) fn list(envelope: &Envelope<'_>) -> Result<Listed<Item>> {
    let Some(items) = envelope.response_param().map(|param| param.get("serviceProfileList")) else {
        return Err(violation("a success result but no responseParam"));
    };
    let items = match items {
        None | Some(Value::Null) => return Ok(Listed { items: Vec::new(), without_id: 0 }),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(violation("a serviceProfileList that is not a list")),
    };
    let mut found = Vec::with_capacity(items.len());
    let mut without_id = 0_usize;
    for item in items {
        let Value::Object(members) = item else {
            return Err(violation(
                "a serviceProfileList that contains something other than profiles",
            ));
        };
        match profile(members) {
            (Some(id), profile) => found.push(Item { id, profile }),
            (None, _) => without_id += 1,
        }
    }
    Ok(Listed { items: found, without_id })
}

/// The profile with this id in the answer to a get.
pub(super) fn one(envelope: &Envelope<'_>, id: &str) -> Result<Item> {
    let items = envelope
        .response_param()
        .and_then(|param| param.get("serviceProfileList"))
        .and_then(Value::as_array)
        .ok_or_else(|| violation("a success result but no serviceProfileList"))?;
    let mut profiles = items.iter().filter_map(Value::as_object).map(profile);
    if let [Value::Object(_)] = items.as_slice() {
        // A single profile needs no id: it is the one that was requested.
        if let Some((None, profile)) = profiles.next() {
            return Ok(Item { id: id.to_owned(), profile });
        }
        profiles = items.iter().filter_map(Value::as_object).map(profile);
    }
    match profiles.find(|(found, _)| found.as_deref() == Some(id)) {
        Some((_, profile)) => Ok(Item { id: id.to_owned(), profile }),
        None if items.is_empty() => Err(fault::not_found(None)),
        None => Err(violation("a profile other than the requested one")),
    }
}

/// The id in the answer to a create.
pub(super) fn created_id(envelope: &Envelope<'_>) -> Option<String> {
    envelope.service_profile().filter(|id| !id.is_empty()).map(|id| id.into_owned())
}

/// One profile, with its id if it has one.
fn profile(members: &Map<String, Value>) -> (Option<String>, Profile) {
    let mut id = None;
    let mut profile = Profile::default();
    let mut unmapped = Struct::default();
    for (key, value) in members {
        if value.is_null() && key != "profileId" && KNOWN.contains(&key.as_str()) {
            continue;
        }
        let text = scalar(value);
        let mapped = match (key.as_str(), text.as_deref()) {
            ("profileId", text) => {
                id = text.filter(|id| !id.is_empty()).map(ToOwned::to_owned);
                id.is_some() || value.is_null()
            }
            ("profileName", Some(name)) => {
                // Not trimmed: only codes are.
                profile.display_name = value.as_str().unwrap_or(name).to_owned();
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
            unmapped.fields.insert(key.clone(), json::to_value(value));
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
