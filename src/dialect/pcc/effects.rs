//! Which answers to a write are definite: the documented successes, and what the vendor's table
//! "HTTP response codes" describes as a refusal. Reading back decides everything else.

use super::wire;
use crate::{
    dialect::effect::{has_json_or_nothing, undocumented},
    error::Effect,
    upstream::{Reply, Safety},
};

/// The effect of a write that was answered with anything but its success. `names_a_profile`: the
/// path of the request is that of one profile.
pub(super) fn effect(safety: Safety, names_a_profile: bool, reply: &Reply) -> Effect {
    if safety == Safety::Read {
        return Effect::None;
    }
    match reply.status.as_u16() {
        // Malformed, not logged in, not allowed, in conflict, failed validation, and throttled.
        400 | 401 | 403 | 409 | 412 | 429 => Effect::None,
        // "Request rejected due to overload", if the vendor itself says so. A proxy sends 503 also
        // when it loses the answer to a request that was carried out.
        503 if wire::is_an_error_body(&reply.body) => Effect::None,
        // No such profile. A collection that does not exist is not the vendor's answer, and a page
        // may come from something in between.
        404 if names_a_profile && has_json_or_nothing(reply) => Effect::None,
        // "Failed processing (after passing validation)": nothing says at which point.
        422 => Effect::Unconfirmed,
        // An internal error has the vendor's own body; a page of something in between does not even
        // say that the vendor's server is done with the request.
        500 | 503 if has_json_or_nothing(reply) => Effect::Unconfirmed,
        _ => undocumented(reply.status),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn only_a_documented_refusal_is_definite() {
        let effect = |status, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            let reply = Reply::new(status, http::HeaderMap::new(), body.into());
            (
                super::effect(Safety::Write, true, &reply),
                super::effect(Safety::Write, false, &reply),
            )
        };
        let both = |effect| (effect, effect);
        for status in [400, 401, 403, 409, 412, 429] {
            assert_eq!(effect(status, ""), both(Effect::None), "{status}");
        }
        for own in [
            r#"{"message": "overload", "status": "error"}"#,
            r#"{"message": "overload", "errorCode": 1}"#,
            r#"{"errors": [{"field": "name"}]}"#,
        ] {
            assert_eq!(effect(503, own), both(Effect::None), "{own}");
        }
        for unclear in ["", " ", "{}", r#"{"message": "no healthy upstream"}"#, r#"{"errors": 1}"#]
        {
            assert_eq!(effect(503, unclear), both(Effect::Unconfirmed), "{unclear}");
        }
        for foreign in ["upstream connect error", "<html></html>", r#"{"message":"#] {
            assert_eq!(effect(503, foreign), both(Effect::Unknown), "{foreign}");
        }
        assert_eq!(effect(404, ""), (Effect::None, Effect::Unconfirmed));
        assert_eq!(effect(404, "<html></html>"), both(Effect::Unconfirmed));
        assert_eq!(effect(422, "{}"), both(Effect::Unconfirmed));
        assert_eq!(effect(500, "{}"), both(Effect::Unconfirmed));
        assert_eq!(effect(500, "<html></html>"), both(Effect::Unknown));
        for status in [302, 408, 499, 501, 502, 504, 520, 600] {
            assert_eq!(effect(status, ""), both(Effect::Unknown), "{status}");
        }
    }
}
