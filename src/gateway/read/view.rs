//! Cached profiles as responses need them: decoded, or reduced to a mask.

use crate::{
    error::{Error, Reason, Result},
    model::mask::ReadMask,
    pb::{Encoded, Profile},
};

/// The profile with only the fields of the mask.
pub(crate) fn masked(mask: &ReadMask, profile: Encoded<Profile>) -> Result<Encoded<Profile>> {
    if mask.is_everything() {
        return Ok(profile);
    }
    Ok(Encoded::of(&mask.apply(decoded(&profile)?)?))
}

/// The decoded profile.
pub(crate) fn decoded(profile: &Encoded<Profile>) -> Result<Profile> {
    #[cfg(test)]
    work::decode();
    profile.message().map_err(|error| {
        Error::new(Reason::GatewayInternal, "internal error in the cache").with_internal(error)
    })
}

/// Counts how many profiles were decoded, for tests of how much work there is.
#[cfg(test)]
pub(in crate::gateway) mod work {
    use std::cell::Cell;

    thread_local! {
        static DECODED: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn decode() {
        DECODED.set(DECODED.get() + 1);
    }

    /// How many in this thread.
    pub(in crate::gateway) fn decoded() -> usize {
        DECODED.get()
    }
}
