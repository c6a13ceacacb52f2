//! Answer → model.

use super::{
    members::{ID, NAME, by_key},
    wire::{self, Members, members},
};
use crate::{
    dialect::{
        adapter::Item,
        listed::{Listed, PROFILES},
    },
    error::{Effect, Error, Reason, Result},
    model::{json, number, tree},
    pb::Profile,
    upstream::{Reply, Safety, Unread, unreadable},
};

/// The key of a list. `length` is ignored, because the list itself shows it.
const LIST: &str = "provisioningProfileDTOList";

/// The profiles of a list.
pub(super) fn list(reply: &Reply) -> Result<Listed<Item>> {
    let read = |why| unreadable(Safety::Read, reply, why);
    let body = members(&reply.body).map_err(read)?;
    let text = match body.text(LIST) {
        Some("null") => Some("[]"),
        Some(text) => Some(text),
        // Common JSON writers omit empty lists.
        None => body
            .text("length")
            .filter(|length| number::whole(length).as_deref() == Some("0"))
            .map(|_| "[]"),
    };
    let text = text.ok_or_else(|| read(Unread::NotTheDialect))?;
    let listed = Listed::of(text, PROFILES, |members| {
        let id = id(members)?;
        Some((id.clone(), Item { id, profile: profile(members) }))
    });
    listed.map_err(read)
}

/// The raw object in the reply to a get or update of one profile.
pub(super) fn object<'r>(safety: Safety, reply: &'r Reply, asked: &str) -> Result<Members<'r>> {
    let body = members(&reply.body).map_err(|why| unreadable(safety, reply, why))?;
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
    let body = members(&reply.body).map_err(unreadable)?;
    id(&body).ok_or_else(|| unreadable(Unread::NotTheDialect))
}

/// The object's id, if it has a valid one.
fn id(members: &Members<'_>) -> Option<String> {
    wire::id(members.text(ID)?)
}

/// The object as a profile. Nothing in it is an error: `unmapped` keeps what the model cannot
/// express.
pub(super) fn profile(members: &Members<'_>) -> Profile {
    let mut profile = Profile::default();
    let mut unmapped = json::Unmapped::default();
    // Once, and not for each of the members, of which any number may be called so.
    let has_id = id(members).is_some();
    for (key, text) in members.iter() {
        let mapped = match by_key(key) {
            Some(_) if text == "null" => true,
            Some(member) => {
                let value = tree::built(text.as_bytes());
                value.is_some_and(|value| (member.set)(&mut profile, &value))
            }
            None => key == ID && (text == "null" || has_id),
        };
        if !mapped {
            unmapped.add(key, text);
        }
    }
    profile.unmapped = unmapped.into_struct();
    profile
}
