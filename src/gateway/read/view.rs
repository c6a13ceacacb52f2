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
    profile.message().map_err(|error| {
        Error::new(Reason::GatewayInternal, "internal error in the cache").with_internal(error)
    })
}
