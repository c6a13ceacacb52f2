//! Reads of one profile.

use prost_types::FieldMask;

use crate::{
    call::Call,
    error::Result,
    gateway::{
        door::{Allowed, Reads},
        read::{
            cached, unread,
            view::{decoded, masked},
        },
    },
    model::{mask::ReadMask, method::Method, name::ProfileName},
    pb::{Encoded, Profile},
};

/// Reads a profile, with only the fields of the mask.
pub(crate) async fn profile(
    backend: &Allowed<Reads>,
    call: &Call,
    name: &ProfileName,
    mask: Option<&FieldMask>,
) -> Result<Encoded<Profile>> {
    const METHOD: Method = Method::GetProfile;
    let decorated = |error| backend.decorate_profile(METHOD, name, error);
    let mask = ReadMask::parse(mask).map_err(decorated)?;
    unread::check(backend, &[("read_mask", &|field| mask.names(field))]).map_err(decorated)?;
    backend.require_id(METHOD, name)?;
    let profile = cached::profile(backend, call, name.id()).await.map_err(decorated)?;
    masked(&mask, profile)
}

/// Reads a whole profile for an operation that involves more than this profile.
pub(crate) async fn whole(
    backend: &Allowed<Reads>,
    call: &Call,
    method: Method,
    name: &ProfileName,
) -> Result<Profile> {
    let profile = cached::profile(backend, call, name.id()).await;
    decoded(&profile.map_err(|error| backend.decorate_profile(method, name, error))?)
}
