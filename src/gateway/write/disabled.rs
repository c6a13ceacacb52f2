//! Writes that an operator has disabled, for one backend or for all.
//!
//! It is asked three times, and nothing that is sent goes around all of them: when a write begins,
//! so that nothing of it is kept; before it is journaled, because it may have waited; and before a
//! profile is completed that an earlier call has made half. What was sent before goes on, and so do
//! the reads that find out what it did.

use crate::{
    error::{Error, Reason, Result, Retry, metadata::UNTIL, whole_seconds},
    levers::{BackendLevers, Lever},
};

/// Refuses writes while they are disabled.
pub(crate) fn check(levers: &BackendLevers) -> Result<()> {
    let Some(lever) = levers.writes_disabled() else { return Ok(()) };
    let what = match lever.lever {
        Lever::WritesFrozen => "an operator has frozen all writes",
        _ => "an operator has made this backend read-only",
    };
    let until = lever.until();
    let message = format!("{what} until {until}; nothing was sent{}", lever.reason());
    Err(Error::new(Reason::WritesDisabled, message)
        .with_retry(Retry::After(Some(whole_seconds(lever.left()))))
        .with_metadata(UNTIL, until))
}
