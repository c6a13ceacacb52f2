//! Answer → model.

use super::{
    fault, radio, service,
    wire::{self, Envelope},
};
use crate::{
    dialect::{
        adapter::Item,
        listed::{Listed, PROFILES},
    },
    error::{Error, Reason, Result},
    model::{
        json, number,
        object::{self, Object},
    },
    pb::{Category, Profile, RadioAccess, State},
    upstream::Unread,
};

/// The profiles of a list. `totalCount` is ignored: in the vendor's own example it is 19 for 3
/// profiles.
pub(super) fn list(envelope: &Envelope<'_>) -> Result<Listed<Item>> {
    let Some(param) = envelope.response_param() else {
        return Err(violation("a success result but no responseParam"));
    };
    let text = param.source(LIST).filter(|text| *text != "null").unwrap_or("[]");
    let listed = Listed::of(text, PROFILES, |members| {
        let (id, profile) = profile(members);
        id.filter(|id| wire::is_id(id)).map(|id| (id.clone(), Item { id, profile }))
    });
    listed.map_err(|why| match why {
        Unread::TooMany(_) => violation(&why.what()),
        _ => violation("a serviceProfileList that is not a list of profiles"),
    })
}

/// The key of the profiles in the answer to a read.
const LIST: &str = "serviceProfileList";

/// The profile with this id in the answer to a get.
pub(super) fn one(envelope: &Envelope<'_>, id: &str) -> Result<Item> {
    let param = envelope.response_param();
    let items = param.and_then(|param| {
        let (items, _) = object::elements_within(param.text(LIST)?, PROFILES.most)?;
        Some(items)
    });
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
    let mut unmapped = json::Unmapped::default();
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
            unmapped.add(key, value);
        }
    }
    profile.unmapped = unmapped.into_struct();
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
            service::Named::NbIot => add(RadioAccess::NbIot, profile),
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
    let mut complete = true;
    for part in radio::by_name(name) {
        match part {
            Some(access) => add(access, profile),
            None => complete = false,
        }
    }
    complete
}

/// Adds one of the few kinds of radio access, unless it is there.
fn add(access: RadioAccess, profile: &mut Profile) {
    let access = access.into();
    if !profile.radio_access.contains(&access) {
        profile.radio_access.push(access);
    }
}

fn violation(what: &str) -> Error {
    Error::new(Reason::UpstreamContractViolation, format!("the upstream answered with {what}"))
}
