//! Adding and taking one service or traffic limit.
//!
//! The dialect says what the profile then is; the rest is an update like any other.

use std::sync::Arc;

use crate::{
    dialect::Edit,
    error::Result,
    gateway::{Call, Gateway, write::Work},
    model::{check, name::ProfileName, violation::Violations},
    pb::{
        AttachServiceRequest, AttachTrafficLimitRequest, DetachServiceRequest,
        DetachTrafficLimitRequest, Profile,
    },
};

impl Gateway {
    /// Adds a service to a profile.
    pub async fn attach_service(&self, call: &Call, r: AttachServiceRequest) -> Result<Profile> {
        let edit = Edit::AttachService(r.service.unwrap_or_default());
        self.edit(call, &r.name, &r.request_id, edit).await
    }

    /// Takes a service from a profile.
    pub async fn detach_service(&self, call: &Call, r: DetachServiceRequest) -> Result<Profile> {
        let edit = Edit::DetachService(r.service.unwrap_or_default());
        self.edit(call, &r.name, &r.request_id, edit).await
    }

    /// Adds a traffic limit to a service of a profile.
    pub async fn attach_traffic_limit(
        &self,
        call: &Call,
        r: AttachTrafficLimitRequest,
    ) -> Result<Profile> {
        let (service, limit) = (r.service.unwrap_or_default(), r.traffic_limit.unwrap_or_default());
        self.edit(call, &r.name, &r.request_id, Edit::AttachTrafficLimit(service, limit)).await
    }

    /// Takes a traffic limit from a service of a profile.
    pub async fn detach_traffic_limit(
        &self,
        call: &Call,
        r: DetachTrafficLimitRequest,
    ) -> Result<Profile> {
        let (service, limit) = (r.service.unwrap_or_default(), r.traffic_limit.unwrap_or_default());
        self.edit(call, &r.name, &r.request_id, Edit::DetachTrafficLimit(service, limit)).await
    }

    async fn edit(&self, call: &Call, name: &str, request_id: &str, edit: Edit) -> Result<Profile> {
        let method = edit.method();
        let operation = method.name();
        let name = ProfileName::parse("name", name)?;
        let backend = Arc::clone(self.backend(call, name.backend(), operation)?);
        backend.require(method)?;
        backend.require_id(operation, &name)?;
        let mut violations = Violations::default();
        check::request_id(request_id, &mut violations);
        match &edit {
            Edit::AttachService(service) | Edit::DetachService(service) => {
                check::service("service", service, &mut violations);
            }
            Edit::AttachTrafficLimit(service, limit) | Edit::DetachTrafficLimit(service, limit) => {
                check::service("service", service, &mut violations);
                check::traffic_limit("traffic_limit", limit, &mut violations);
            }
        }
        violations.into_result().map_err(|error| backend.explain(operation, error))?;
        let call = call.clone();
        let what = (operation, name.to_string(), request_id.to_owned());
        self.detached(what, Arc::clone(&call.record), async move {
            let work = Work { backend: &backend, call: &call, name: &name };
            let edited = work.edit(&edit).await;
            edited.map_err(|error| backend.explain_profile(operation, &name, error))
        })
        .await
    }
}
