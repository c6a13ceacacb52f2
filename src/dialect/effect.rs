//! What an answer to a write says of its effect where the dialect documents nothing: never that it
//! has none.

use http::StatusCode;

use crate::error::Effect;

/// The effect of a write that got a status that its dialect does not document, or whose body is not
/// the dialect's. A refusal by HTTP's own definition is still confirmed by reading back. Everything
/// else, known or not, may have been carried out.
pub(super) fn undocumented(status: StatusCode) -> Effect {
    match status.as_u16() {
        // 408 and 499 are what something on the way says when it has stopped waiting.
        400..=407 | 410..=417 | 421..=424 | 426 | 428 | 431 | 451 => Effect::Unconfirmed,
        _ => Effect::Unknown,
    }
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
