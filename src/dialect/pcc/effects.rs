//! Which answers to a write are definite: those that the vendor's table "HTTP response codes"
//! describes as refused before anything was done. Reading back decides everything else.

use http::StatusCode;

use super::fault::Operation;
use crate::{dialect::effect::undocumented, error::Effect, upstream::Safety};

/// What an answer that is not the operation's success says of its effect.
pub(super) fn effect(operation: Operation, status: StatusCode) -> Effect {
    use Operation::{Create, Delete, Update};
    if operation.safety() == Safety::Read {
        return Effect::None;
    }
    match (status.as_u16(), operation) {
        // Malformed, not logged in, not allowed, failed validation, could not be processed,
        // throttled, and "Request rejected due to overload".
        (400 | 401 | 403 | 412 | 422 | 429 | 503, _) => Effect::None,
        // No such profile; of the collection it is not the vendor's.
        (404, Update { .. } | Delete) => Effect::None,
        (409, Create | Update { .. } | Delete) => Effect::None,
        // It failed somewhere on the way.
        (500, _) => Effect::Unconfirmed,
        _ => undocumented(status),
    }
}
