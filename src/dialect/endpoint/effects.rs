//! Which answers to a write are definite: the success that the vendor documents, and the failures
//! that mean that nothing was done (page "Errors"). Reading back decides everything else.

use http::StatusCode;
use serde_json::Value;

use super::wire::Fault;
use crate::{
    dialect::effect::undocumented,
    error::{Effect, Reason},
    upstream::{Reply, Safety, Unread},
};

/// Whether a write is done, or why the answer does not say so. The documented statuses of writes
/// and the recorded ones differ (201 or 204 for a PATCH, 200 or 204 for a PUT), so each is good for
/// all of them; 202 and others are not. The body is documented to be empty, or an empty object; an
/// older client expects the object itself. A body with a message is what a gateway in front of the
/// platform sends when it fails.
pub(super) fn done(reply: &Reply) -> Result<(), Unread> {
    let body = reply.body.trim_ascii();
    let documented = matches!(reply.status.as_u16(), 200 | 201 | 204);
    match (documented, body.is_empty()) {
        (true, true) => return Ok(()),
        (false, true) => return Err(Unread::Empty),
        _ => {}
    }
    let is_object = match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => members.is_empty() || members.contains_key("id"),
        Ok(Value::Array(items)) => items.is_empty(),
        Ok(Value::Null) => true,
        Ok(_) => false,
        Err(_) => return Err(Unread::of(body)),
    };
    match documented && is_object && Fault::read(body).code.is_none() {
        true => Ok(()),
        false => Err(Unread::NotTheDialect),
    }
}

/// What a failure says of the write's effect. `known`: its reason, where the tables of codes have
/// one.
pub(super) fn of_failure(safety: Safety, status: StatusCode, known: Option<Reason>) -> Effect {
    match (safety, status.as_u16(), known) {
        (Safety::Read, ..) => Effect::None,
        // Not logged in, not allowed, throttled.
        (Safety::Write, 401 | 403 | 429, _) => Effect::None,
        // A code that is in no table promises nothing, and neither does an internal error.
        (Safety::Write, 500, _) | (Safety::Write, 400..=499, Some(Reason::UpstreamFailure)) => {
            Effect::Unconfirmed
        }
        (Safety::Write, 400..=499, Some(_)) => Effect::None,
        (Safety::Write, ..) => undocumented(status),
    }
}
