//! Which answers to a write are definite: those with an inner result code of the vendor's tables
//! that says that nothing was written. Reading back decides everything else.

use http::StatusCode;

use crate::{dialect::effect::undocumented, error::Effect};

/// The codes of failures that say that nothing was written.
pub(super) const REFUSED: [&str; 12] = [
    "401", "1324", "1326", "1328", "1330", "1338", "6554", "6565", "8196", "10085", "10100",
    "10111",
];

/// What an answer with a result code other than the operation's success says of a write. The vendor
/// asks to verify after 10239 and 10240, and after the latter goes on processing. An unknown code
/// promises nothing either.
pub(super) fn of_code(code: &str, status: StatusCode) -> Effect {
    match code {
        code if REFUSED.contains(&code) => Effect::None,
        "10240" => Effect::Unknown,
        _ if status.is_success() => Effect::Unconfirmed,
        _ => of_status(status),
    }
}

/// What an answer without a code of the tables says of a write.
pub(super) fn of_status(status: StatusCode) -> Effect {
    match status.as_u16() {
        // Not logged in, not allowed, throttled: not passed on to what would write.
        401 | 403 | 429 => Effect::None,
        500 => Effect::Unconfirmed,
        _ => undocumented(status),
    }
}
