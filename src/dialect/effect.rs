//! The effect of a write whose answer the dialect does not document: never certainly none.

use http::StatusCode;
use serde::de::IgnoredAny;

use crate::{error::Effect, upstream::Reply};

/// The effect of a write that was answered with a status that its dialect does not document. If
/// HTTP itself defines the status as a refusal, reading back has to confirm that. Any other write,
/// including one with an unknown status, may have been carried out.
pub(super) fn undocumented(status: StatusCode) -> Effect {
    match status.as_u16() {
        // Not 408 and 499: a proxy sends them when it stops waiting.
        400..=407 | 410..=417 | 421..=424 | 426 | 428 | 431 | 451 => Effect::Unconfirmed,
        _ => Effect::Unknown,
    }
}

/// Whether the body can be the upstream's own: JSON, or nothing. A page comes from something in
/// between.
pub(super) fn has_json_or_nothing(reply: &Reply) -> bool {
    let body = reply.body.trim_ascii();
    body.is_empty() || serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_undocumented_is_definite() {
        for status in 100..1000 {
            let status = StatusCode::from_u16(status).unwrap();
            assert_ne!(undocumented(status), Effect::None, "{status}");
        }
        for status in [202, 302, 303, 408, 418, 425, 499, 500, 501, 520, 524, 600] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(undocumented(status), Effect::Unknown, "{status}");
        }
    }
}
