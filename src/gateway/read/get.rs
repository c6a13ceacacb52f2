//! Reads of one profile and of the service catalogue.

use tokio::task::spawn_blocking;

use crate::{
    call::Call,
    error::{Error, Reason, Result},
    gateway::Gateway,
    model::{
        mask::ReadMask,
        method::Method,
        name::{BackendName, ProfileName},
    },
    pb::{self, Encoded, GetProfileRequest, ListServicesRequest, Profile, PurgeCacheRequest},
};

impl Gateway {
    /// Reads one profile.
    pub async fn get_profile(
        &self,
        call: &Call,
        request: &GetProfileRequest,
    ) -> Result<Encoded<Profile>> {
        const OPERATION: &str = Method::GetProfile.name();
        let name = ProfileName::parse("name", &request.name)?;
        let backend = self.backend(call, name.backend(), OPERATION)?;
        let mask = ReadMask::parse(request.read_mask.as_ref())
            .map_err(|error| backend.explain(OPERATION, error))?;
        backend.require_id(OPERATION, &name)?;
        let profile = backend
            .profile(call, name.id())
            .await
            .map_err(|error| backend.explain_profile(OPERATION, &name, error))?;
        masked(&mask, profile)
    }

    /// Reads the services that a profile of a backend can hold.
    pub async fn list_services(
        &self,
        call: &Call,
        request: &ListServicesRequest,
    ) -> Result<Vec<pb::Service>> {
        const OPERATION: &str = Method::ListServices.name();
        let name = BackendName::parse("parent", &request.parent)?;
        let backend = self.backend(call, &name, OPERATION)?;
        backend.require(Method::ListServices)?;
        let services = backend.services(call).await;
        let services = services.map_err(|error| backend.explain(OPERATION, error))?;
        Ok(services.to_vec())
    }

    /// Drops what the cache holds of a backend or a profile, and gives how many entries went.
    pub async fn purge_cache(&self, call: &Call, request: &PurgeCacheRequest) -> Result<i64> {
        const OPERATION: &str = "PurgeCache";
        let purged = if let Ok(name) = ProfileName::parse("name", &request.name) {
            let backend = self.backend(call, name.backend(), OPERATION)?;
            backend.require_id(OPERATION, &name)?;
            backend.cache().purge_profile(name.id())
        } else {
            let name = BackendName::parse("name", &request.name)?;
            let cache = self.backend(call, &name, OPERATION)?.cache().clone();
            // It looks at every entry: a million of them must not keep other calls waiting.
            spawn_blocking(move || cache.purge()).await.map_err(|error| {
                Error::new(Reason::GatewayInternal, "a fault in the cache").with_internal(error)
            })?
        };
        Ok(i64::try_from(purged).unwrap_or(i64::MAX))
    }
}

/// The profile with only the fields of the mask.
pub(crate) fn masked(mask: &ReadMask, profile: Encoded<Profile>) -> Result<Encoded<Profile>> {
    if mask.is_everything() {
        return Ok(profile);
    }
    Ok(Encoded::of(&mask.apply(decoded(&profile)?)?))
}

/// A profile out of the cache.
pub(crate) fn decoded(profile: &Encoded<Profile>) -> Result<Profile> {
    profile.message().map_err(|error| {
        Error::new(Reason::GatewayInternal, "a fault in the cache").with_internal(error)
    })
}
