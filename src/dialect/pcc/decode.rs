//! Answer → model.

use prost_types::Struct;
use serde_json::value::RawValue;

use super::{
    members::{ID, NAME, by_key},
    wire::{Members, integer, is_id},
};
use crate::{
    dialect::{adapter::Item, listed::Listed},
    error::{Effect, Error, Reason, Result},
    model::json,
    pb::Profile,
    upstream::{Reply, Safety, Unread, unreadable},
};

/// The key of a list. `length` is ignored, because the list itself shows it.
const LIST: &str = "provisioningProfileDTOList";

/// The profiles of a list.
pub(super) fn list(reply: &Reply) -> Result<Listed<Item>> {
    let read = |why| unreadable(Safety::Read, reply, why);
    let body = Members::read(&reply.body).map_err(read)?;
    let items: Vec<Box<RawValue>> = match body.text(LIST) {
        Some("null") => Vec::new(),
        Some(text) => serde_json::from_str(text).map_err(|_| read(Unread::NotTheDialect))?,
        // Common JSON writers omit empty lists.
        None if body.value("length").and_then(|n| integer(&n)).as_deref() == Some("0") => {
            Vec::new()
        }
        None => return Err(read(Unread::NotTheDialect)),
    };
    let mut found = Vec::with_capacity(items.len());
    let mut without_id = 0_usize;
    for item in items {
        let members =
            Members::read(item.get().as_bytes()).map_err(|_| read(Unread::NotTheDialect))?;
        match id(&members) {
            Some(id) => found.push(Item { id, profile: profile(&members) }),
            None => without_id += 1,
        }
    }
    Ok(Listed { items: found, without_id })
}

/// The raw object in the reply to a get or update of one profile.
pub(super) fn object(safety: Safety, reply: &Reply, asked: &str) -> Result<Members> {
    let body = Members::read(&reply.body).map_err(|why| unreadable(safety, reply, why))?;
    // Without an id it is the one that was requested, if it is a profile at all.
    match id(&body) {
        Some(found) if found == asked => Ok(body),
        None if body.value(NAME).is_some() => Ok(body),
        Some(_) => {
            let message = "the upstream answered with a profile other than the requested one";
            Err(Error::new(Reason::UpstreamContractViolation, message)
                .with_effect(safety.effect(Effect::Unknown)))
        }
        None => Err(unreadable(safety, reply, Unread::NotTheDialect)),
    }
}

/// The id in the reply to a create.
pub(super) fn created_id(reply: &Reply) -> Result<String> {
    let unreadable = |why| unreadable(Safety::Write, reply, why);
    let body = Members::read(&reply.body).map_err(unreadable)?;
    id(&body).ok_or_else(|| unreadable(Unread::NotTheDialect))
}

/// The object's id, if it has a valid one.
fn id(members: &Members) -> Option<String> {
    integer(&members.value(ID)?).filter(|id| is_id(id))
}

/// The object as a profile. Nothing in it is an error: `unmapped` keeps what the model cannot
/// express.
pub(super) fn profile(members: &Members) -> Profile {
    let mut profile = Profile::default();
    let mut unmapped = Struct::default();
    for (key, text) in members.iter() {
        let mapped = match by_key(key) {
            Some(_) if text == "null" => true,
            Some(member) => {
                serde_json::from_str(text).is_ok_and(|v| (member.set)(&mut profile, &v))
            }
            None => key == ID && (text == "null" || id(members).is_some()),
        };
        if !mapped {
            unmapped.fields.insert(key.to_owned(), json::of_text(text));
        }
    }
    profile.unmapped = (!unmapped.fields.is_empty()).then_some(unmapped);
    profile
}
