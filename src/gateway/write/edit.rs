//! Adding and taking one service or traffic limit.
//!
//! The dialect says what the profile then is; the rest is an update like any other.

use std::sync::Arc;

use crate::{
    call::Call,
    dialect::Edit,
    error::{Result, violation::Violations},
    gateway::{
        Gateway,
        idempotency::RequestIdentity,
        write::run::{WriteAction, WriteRequest, identify},
    },
    model::{check, name::ProfileName},
    pb::{
        AttachServiceRequest, AttachTrafficLimitRequest, DetachServiceRequest,
        DetachTrafficLimitRequest, Profile,
    },
};

impl Gateway {
    /// Adds a service to a profile.
    pub async fn attach_service(
        &self,
        call: &Call,
        mut request: AttachServiceRequest,
    ) -> Result<Profile> {
        let known = identify("AttachService", &mut request, |r| &mut r.request_id);
        let edit = Edit::AttachService(request.service.unwrap_or_default());
        self.edit(call, &request.name, known, edit).await
    }

    /// Takes a service from a profile.
    pub async fn detach_service(
        &self,
        call: &Call,
        mut request: DetachServiceRequest,
    ) -> Result<Profile> {
        let known = identify("DetachService", &mut request, |r| &mut r.request_id);
        let edit = Edit::DetachService(request.service.unwrap_or_default());
        self.edit(call, &request.name, known, edit).await
    }

    /// Adds a traffic limit to a service of a profile.
    pub async fn attach_traffic_limit(
        &self,
        call: &Call,
        mut request: AttachTrafficLimitRequest,
    ) -> Result<Profile> {
        let known = identify("AttachTrafficLimit", &mut request, |r| &mut r.request_id);
        let service = request.service.unwrap_or_default();
        let limit = request.traffic_limit.unwrap_or_default();
        self.edit(call, &request.name, known, Edit::AttachTrafficLimit(service, limit)).await
    }

    /// Takes a traffic limit from a service of a profile.
    pub async fn detach_traffic_limit(
        &self,
        call: &Call,
        mut request: DetachTrafficLimitRequest,
    ) -> Result<Profile> {
        let known = identify("DetachTrafficLimit", &mut request, |r| &mut r.request_id);
        let service = request.service.unwrap_or_default();
        let limit = request.traffic_limit.unwrap_or_default();
        self.edit(call, &request.name, known, Edit::DetachTrafficLimit(service, limit)).await
    }

    async fn edit(
        &self,
        call: &Call,
        name: &str,
        (request_id, identity): (String, Option<RequestIdentity>),
        edit: Edit,
    ) -> Result<Profile> {
        let method = edit.method();
        let operation = method.name();
        let name = ProfileName::parse("name", name)?;
        let backend = Arc::clone(self.backend(call, name.backend(), operation)?);
        backend.require(method)?;
        backend.require_id(operation, &name)?;
        let mut violations = Violations::default();
        check::request_id(&request_id, &mut violations);
        match &edit {
            Edit::AttachService(service) | Edit::DetachService(service) => {
                check::service("service", service, &mut violations);
            }
            Edit::AttachTrafficLimit(service, limit) | Edit::DetachTrafficLimit(service, limit) => {
                check::service("service", service, &mut violations);
                check::traffic_limit("traffic_limit", limit, &mut violations);
            }
        }
        violations.into_result().map_err(|error| backend.fail(operation, error))?;
        let order = WriteRequest {
            backend,
            call: call.clone(),
            method: operation,
            name: Some(name),
            action: WriteAction::Edit(edit),
            validate_only: false,
            request_id,
            identity,
        };
        self.carry_out(order).await.map(Option::unwrap_or_default)
    }
}
