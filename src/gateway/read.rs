//! Reads of one profile and of the service catalogue.

use crate::{
    error::Result,
    gateway::{Call, Gateway},
    model::{
        capability::Method,
        mask::ReadMask,
        name::{BackendName, ProfileName},
    },
    pb::{self, GetProfileRequest, ListServicesRequest, Profile},
};

impl Gateway {
    /// Reads one profile.
    pub async fn get_profile(&self, call: &Call, request: &GetProfileRequest) -> Result<Profile> {
        const OPERATION: &str = Method::GetProfile.name();
        let name = ProfileName::parse("name", &request.name)?;
        let backend = self.backend(call, name.backend(), OPERATION)?;
        let mask = ReadMask::parse(request.read_mask.as_ref())
            .map_err(|error| backend.explain(OPERATION, error))?;
        backend.require_id(OPERATION, &name)?;
        let item = backend
            .dialect()
            .get(&backend.session(call), name.id())
            .await
            .map_err(|error| backend.explain_profile(OPERATION, &name, error))?;
        mask.apply(backend.present(item))
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
        let mut services = backend
            .dialect()
            .services(&backend.session(call))
            .await
            .map_err(|error| backend.explain(OPERATION, error))?;
        for service in &mut services {
            service.name = format!("{name}/services/{}", service.id);
            for limit in &mut service.traffic_limits {
                limit.name = format!("{}/trafficLimits/{}", service.name, limit.id);
            }
        }
        Ok(services)
    }
}
