//! The writes of the matrix, and the request of each that faults hit.

use std::time::Duration;

use profile_gateway::pb::{
    AttachServiceRequest, AttachTrafficLimitRequest, CreateProfileRequest, DeleteProfileRequest,
    DetachServiceRequest, DetachTrafficLimitRequest, Profile, Service, TrafficLimit,
    UpdateProfileRequest,
};
use tonic::Status;

use crate::{
    conformance::bench::Bench,
    kit::{gateway::timed, model},
};

/// A write of a dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) upstream: &'static str,
    pub(super) method: &'static str,
    /// The simulator's operation that meets the fault.
    pub(super) operation: &'static str,
    /// The service that is attached or detached; the limit.
    service: &'static str,
    limit: &'static str,
}

const fn row(upstream: &'static str, method: &'static str, operation: &'static str) -> Row {
    Row { upstream, method, operation, service: "", limit: "" }
}

const fn edit(
    upstream: &'static str,
    method: &'static str,
    operation: &'static str,
    service: &'static str,
    limit: &'static str,
) -> Row {
    Row { upstream, method, operation, service, limit }
}

pub(super) const ROWS: &[Row] = &[
    row("sft", "CreateProfile", "CreateServiceProfile"),
    row("sft", "UpdateProfile", "ModifyServiceProfile"),
    row("sft", "DeleteProfile", "DeleteServiceProfile"),
    edit("sft", "AttachService", "ModifyServiceProfile", "3", ""),
    edit("sft", "DetachService", "ModifyServiceProfile", "2", ""),
    row("pcc", "CreateProfile", "CreateProfile"),
    row("pcc", "UpdateProfile", "UpdateProfile"),
    row("pcc", "DeleteProfile", "DeleteProfile"),
    row("endpoint", "CreateProfile", "CreateProfile"),
    // The steps of a creation after the first.
    row("endpoint", "CreateProfile", "PutService"),
    row("endpoint", "CreateProfile", "PutTrafficLimit"),
    row("endpoint", "UpdateProfile", "PatchProfile"),
    row("endpoint", "DeleteProfile", "DeleteProfile"),
    edit("endpoint", "AttachService", "PutService", "3", ""),
    edit("endpoint", "DetachService", "DeleteService", "3", ""),
    edit("endpoint", "AttachTrafficLimit", "PutTrafficLimit", "38", "12"),
    edit("endpoint", "DetachTrafficLimit", "DeleteTrafficLimit", "38", "11"),
];

impl Row {
    /// Whether the write takes more than one request that writes.
    pub(super) fn has_steps(&self) -> bool {
        self.upstream == "endpoint" && self.method == "CreateProfile"
    }

    /// The profile that the write is about.
    pub(super) async fn prepare(&self, bench: &Bench) -> Profile {
        // With time enough: the deadline of the cell is for the write under test.
        let request = CreateProfileRequest {
            parent: bench.parent(),
            profile: Some(bench.full()),
            ..CreateProfileRequest::default()
        };
        let request = timed(request, Some(Duration::from_secs(30)));
        let there = bench.gateway.profiles.clone().create_profile(request).await.unwrap();
        let there = there.into_inner();
        // What a creation brings along has limits, so that it cannot be detached.
        if self.upstream == "endpoint" && self.method == "DetachService" {
            let attach = Row { method: "AttachService", ..*self };
            attach.write(bench, &there, "").await.unwrap();
        }
        there
    }

    /// The same write whenever it is called: a repeat, under the same id.
    pub(super) async fn write(
        &self,
        bench: &Bench,
        there: &Profile,
        request_id: &str,
    ) -> Result<(), Status> {
        let mut client = bench.gateway.profiles.clone();
        let (name, request_id) = (there.name.clone(), request_id.to_owned());
        let display_name = "The matrix's".to_owned();
        let service = Some(Service { id: self.service.to_owned(), ..Service::default() });
        let limit = TrafficLimit { id: self.limit.to_owned(), ..TrafficLimit::default() };
        let traffic_limit = Some(limit);
        match self.method {
            "CreateProfile" => {
                let profile = Some(Profile { display_name, ..bench.full() });
                let parent = bench.parent();
                let request =
                    CreateProfileRequest { parent, profile, request_id, validate_only: false };
                client.create_profile(request).await.map(drop)
            }
            "UpdateProfile" => {
                let profile = Some(Profile { name, display_name, ..Profile::default() });
                let update_mask = Some(model::mask(&["display_name"]));
                let request =
                    UpdateProfileRequest { profile, update_mask, request_id, validate_only: false };
                client.update_profile(request).await.map(drop)
            }
            "DeleteProfile" => {
                let request =
                    DeleteProfileRequest { name, request_id, ..DeleteProfileRequest::default() };
                client.delete_profile(request).await.map(drop)
            }
            "AttachService" => {
                let request = AttachServiceRequest { name, service, request_id };
                client.attach_service(request).await.map(drop)
            }
            "DetachService" => {
                let request = DetachServiceRequest { name, service, request_id };
                client.detach_service(request).await.map(drop)
            }
            "AttachTrafficLimit" => {
                let request =
                    AttachTrafficLimitRequest { name, service, traffic_limit, request_id };
                client.attach_traffic_limit(request).await.map(drop)
            }
            "DetachTrafficLimit" => {
                let request =
                    DetachTrafficLimitRequest { name, service, traffic_limit, request_id };
                client.detach_traffic_limit(request).await.map(drop)
            }
            other => panic!("{other} is no write"),
        }
    }
}
