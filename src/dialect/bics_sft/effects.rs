//! Which answers to a write are definite: those with a result code that the vendor documents as a
//! refusal. Reading back decides everything else.

use http::StatusCode;

use crate::{dialect::effect::undocumented, error::Effect};

/// The codes of refusals: nothing was written.
const REFUSED: [&str; 8] = ["401", "1338", "6554", "6565", "8196", "10085", "10100", "10111"];

/// The codes that say that an operation failed, but not when.
const FAILED: [&str; 5] = ["1324", "1326", "1328", "1330", "10239"];

/// Whether the vendor's tables have this code.
pub(super) fn is_documented(code: &str) -> bool {
    REFUSED.contains(&code)
        || FAILED.contains(&code)
        || ["1323", "1325", "1329", "1331", "10240"].contains(&code)
}

/// The effect of a write that was answered with a result code other than its success. After 10239
/// and 10240, the vendor asks to verify; after 10240, it also continues processing. An unknown code
/// guarantees nothing either.
pub(super) fn of_code(code: &str, status: StatusCode) -> Effect {
    match code {
        code if REFUSED.contains(&code) => Effect::None,
        code if FAILED.contains(&code) => Effect::Unconfirmed,
        "10240" => Effect::Unknown,
        _ if status.is_success() => Effect::Unconfirmed,
        _ => of_status(status),
    }
}

/// The effect of a write that was answered without a documented code.
pub(super) fn of_status(status: StatusCode) -> Effect {
    match status.as_u16() {
        // Not logged in, not allowed, throttled: it was not processed.
        401 | 403 | 429 => Effect::None,
        _ => undocumented(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_documented_refusal_is_definite() {
        let effect = |code, status| of_code(code, StatusCode::from_u16(status).unwrap());
        for code in ["6554", "6565", "1338", "8196", "10085", "10100", "10111", "401"] {
            assert_eq!(effect(code, 200), Effect::None, "{code}");
        }
        // They failed, but nothing says at which point.
        for code in ["1324", "1326", "1330", "10239", "4711", "1331", "1359"] {
            assert_eq!(effect(code, 200), Effect::Unconfirmed, "{code}");
        }
        assert_eq!(effect("10240", 200), Effect::Unknown);
        for status in [302, 408, 500, 502, 504, 520] {
            // A success code with another status than that of a success.
            assert_eq!(effect("1323", status), Effect::Unknown, "{status}");
        }
    }
}
