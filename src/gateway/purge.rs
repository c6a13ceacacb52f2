//! Drops what the cache of a backend holds, of the backend or of one profile.

use super::{
    door::{Door, Operates},
    read::cached,
};
use crate::{
    call::Call,
    error::Result,
    model::{
        method::Method,
        name::{BackendName, ProfileName},
    },
};

/// What dropping all of a backend takes of a caller's allowance, at least: what comes back in a
/// minute, and what may be used at once.
const PURGED_BACKEND: u64 = 700;

const METHOD: Method = Method::PurgeCache;

/// Drops the cache entries of the backend or the profile of this name. Returns how many were
/// dropped.
pub(super) async fn run(door: &Door, call: &Call, name: &str) -> Result<u64> {
    if let Ok(name) = ProfileName::parse("name", name) {
        let backend = door.backend::<Operates>(call, name.backend(), METHOD)?;
        backend.require_id(METHOD, &name)?;
        let allowed = call.record.caller().purge(backend.cache().profile_requests());
        allowed.map_err(|error| backend.decorate(METHOD, error))?;
        Ok(backend.cache().purge_profile(name.id()))
    } else {
        let name = BackendName::parse("name", name)?;
        let backend = door.backend::<Operates>(call, &name, METHOD)?;
        let requests = backend.cache().all_requests().max(PURGED_BACKEND);
        let allowed = call.record.caller().purge(requests);
        allowed.map_err(|error| backend.decorate(METHOD, error))?;
        cached::purge(&backend).await
    }
}
