//! Which answers to a write are definite: the documented successes, and the failures that the
//! vendor describes as refusals (page "Errors"). Reading back decides everything else.

use serde_json::Value;

use super::wire::Fault;
use crate::{
    dialect::effect::{has_json_or_nothing, undocumented},
    error::Effect,
    model::tree,
    upstream::{Reply, Safety, Unread},
};

/// Whether the upstream acknowledged a write that has these successes, or why its answer is not an
/// acknowledgment. The body is documented to be empty or an empty object; an older client expects
/// the object itself. A body with a message comes from the API gateway in front of the platform,
/// which sends it when it fails.
pub(super) fn done(successes: &[u16], reply: &Reply) -> Result<(), Unread> {
    let body = reply.body.trim_ascii();
    let documented = successes.contains(&reply.status.as_u16());
    match (documented, body.is_empty()) {
        (true, true) => return Ok(()),
        (false, true) => return Err(Unread::Empty),
        _ => {}
    }
    let is_object = match tree::built(body) {
        Some(Value::Object(members)) => members.is_empty() || members.contains_key("id"),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Null) => true,
        Some(_) => false,
        None => return Err(Unread::of(body)),
    };
    match documented && is_object && Fault::read(body).code.is_none() {
        true => Ok(()),
        false => Err(Unread::NotTheDialect),
    }
}

/// The effect of a write that failed. `stated`: what the vendor's tables say of the answer, if they
/// have it.
pub(super) fn of_failure(safety: Safety, stated: Option<Effect>, reply: &Reply) -> Effect {
    match (safety, reply.status.as_u16(), stated) {
        (Safety::Read, ..) => Effect::None,
        // Not logged in, not allowed, throttled: it was not processed.
        (Safety::Write, 401 | 403 | 429, _) => Effect::None,
        (Safety::Write, 400..=499, Some(effect)) => effect,
        // The platform failed, but nothing says at which point. A page of something in between does
        // not even say that the platform is done with the request.
        (Safety::Write, 500, _) if has_json_or_nothing(reply) => Effect::Unconfirmed,
        (Safety::Write, ..) => undocumented(reply.status),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn reply(status: u16, body: &'static str) -> Reply {
        Reply::new(StatusCode::from_u16(status).unwrap(), HeaderMap::new(), body.into())
    }

    #[test]
    fn only_a_documented_refusal_is_definite() {
        let effect = |status, stated, body| of_failure(Safety::Write, stated, &reply(status, body));
        for stated in [Effect::None, Effect::Unconfirmed] {
            assert_eq!(effect(422, Some(stated), "{}"), stated);
        }
        assert_eq!(effect(500, None, "{}"), Effect::Unconfirmed);
        for status in [302, 303, 408, 499, 500, 502, 503, 504, 524, 600] {
            assert_eq!(effect(status, None, "<html>"), Effect::Unknown, "{status}");
        }
    }

    #[test]
    fn only_a_documented_success_is_an_acknowledgment() {
        for (status, body, acknowledged) in [
            (204, "", true),
            (201, "{}", true),
            (200, r#"{"id": 7, "name": "a"}"#, true),
            (202, "", false),
            (206, "", false),
            (226, "", false),
            (200, r#"{"message": "Internal server error"}"#, false),
            (200, r#"{"error_code": 1201, "id": 7}"#, false),
            (200, "<html></html>", false),
            (200, "done", false),
        ] {
            let done = done(&[200, 201, 204], &reply(status, body));
            assert_eq!(done.is_ok(), acknowledged, "{status} {body}");
        }
    }
}
