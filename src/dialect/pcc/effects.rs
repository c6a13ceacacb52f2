//! Which answers to a write are definite: those that the vendor's table "HTTP response codes"
//! describes as refused before anything was done. Reading back decides everything else.

use http::StatusCode;

use crate::{dialect::effect::undocumented, error::Effect, upstream::Safety};

/// What an answer that is not the operation's success says of its effect. `names_a_profile`: the
/// request's path does, and not only the collection's.
pub(super) fn effect(safety: Safety, names_a_profile: bool, status: StatusCode) -> Effect {
    if safety == Safety::Read {
        return Effect::None;
    }
    match status.as_u16() {
        // Malformed, not logged in, not allowed, in conflict, failed validation, could not be
        // processed, throttled, and "Request rejected due to overload".
        400 | 401 | 403 | 409 | 412 | 422 | 429 | 503 => Effect::None,
        // No such profile; of the collection it is not the vendor's.
        404 if names_a_profile => Effect::None,
        // It failed somewhere on the way.
        500 => Effect::Unconfirmed,
        _ => undocumented(status),
    }
}
