//! Attaching and detaching: what is there already, what is not, and what the upstream says to it.

use profile_gateway::pb::{
    AttachServiceRequest, AttachTrafficLimitRequest, DetachServiceRequest,
    DetachTrafficLimitRequest, Profile, Service, TrafficLimit,
};
use serde_json::Value;
use tonic::{
    Code::{self, AlreadyExists, FailedPrecondition, NotFound},
    Status,
};

use super::{
    bench::{Bench, bench},
    samples::registered,
};
use crate::kit::status::failure;

/// An edit of a profile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Edit {
    AttachService,
    DetachService,
    AttachTrafficLimit,
    DetachTrafficLimit,
}

use Edit::{AttachService, AttachTrafficLimit, DetachService, DetachTrafficLimit};

/// An edit, the service and the limit that it names, the operation that meets a fault with the
/// fault, and what the caller gets. The samples have service 38 with limit 11; limit 12 is 38's as
/// well.
type Row =
    (Edit, &'static str, &'static str, Option<(&'static str, &'static str)>, Code, &'static str);

const CONFLICT: &str = r#"{"kind": "result", "code": "409"}"#;
const MISSING: &str = r#"{"kind": "body", "status": 404,
    "body": "{\"error_code\": 1201, \"message\": \"Not found\"}"}"#;

const SFT: &[Row] = &[
    (AttachService, "4", "", None, AlreadyExists, "SERVICE_ALREADY_ATTACHED"),
    (DetachService, "3", "", None, NotFound, "SERVICE_NOT_ATTACHED"),
];

const ENDPOINT: &[Row] = &[
    (AttachService, "38", "", None, AlreadyExists, "SERVICE_ALREADY_ATTACHED"),
    (
        AttachService,
        "3",
        "",
        Some(("PutService", CONFLICT)),
        AlreadyExists,
        "SERVICE_ALREADY_ATTACHED",
    ),
    (DetachService, "3", "", None, NotFound, "SERVICE_NOT_ATTACHED"),
    (
        DetachService,
        "38",
        "",
        Some(("DeleteService", CONFLICT)),
        FailedPrecondition,
        "SERVICE_HAS_TRAFFIC_LIMITS",
    ),
    (AttachTrafficLimit, "3", "12", None, NotFound, "SERVICE_NOT_ATTACHED"),
    (
        AttachTrafficLimit,
        "38",
        "12",
        Some(("PutTrafficLimit", MISSING)),
        NotFound,
        "TRAFFIC_LIMIT_NOT_FOUND",
    ),
    (AttachTrafficLimit, "38", "11", None, AlreadyExists, "TRAFFIC_LIMIT_ALREADY_ATTACHED"),
    (AttachTrafficLimit, "38", "999", None, NotFound, "TRAFFIC_LIMIT_NOT_FOUND"),
    (DetachTrafficLimit, "38", "12", None, NotFound, "TRAFFIC_LIMIT_NOT_FOUND"),
    (
        DetachTrafficLimit,
        "38",
        "11",
        Some(("DeleteTrafficLimit", MISSING)),
        NotFound,
        "TRAFFIC_LIMIT_NOT_FOUND",
    ),
];

const TABLES: &[(&str, &[Row])] = &[("bics-sft", SFT), ("pcc", &[]), ("endpoint", ENDPOINT)];

async fn edit(
    bench: &Bench,
    there: &Profile,
    edit: Edit,
    service: &str,
    limit: &str,
) -> Result<Profile, Status> {
    let (name, mut profiles) = (there.name.clone(), bench.gateway.profiles.clone());
    let service = Some(Service { id: service.to_owned(), ..Service::default() });
    let traffic_limit = Some(TrafficLimit { id: limit.to_owned(), ..TrafficLimit::default() });
    let answer = match edit {
        AttachService => {
            let request = AttachServiceRequest { name, service, ..Default::default() };
            profiles.attach_service(request).await
        }
        DetachService => {
            let request = DetachServiceRequest { name, service, ..Default::default() };
            profiles.detach_service(request).await
        }
        AttachTrafficLimit => {
            let request =
                AttachTrafficLimitRequest { name, service, traffic_limit, ..Default::default() };
            profiles.attach_traffic_limit(request).await
        }
        DetachTrafficLimit => {
            let request =
                DetachTrafficLimitRequest { name, service, traffic_limit, ..Default::default() };
            profiles.detach_traffic_limit(request).await
        }
    };
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn impossible_edits_are_reported_and_change_nothing() {
    for sample in registered() {
        let Some((_, rows)) = TABLES.iter().find(|(dialect, _)| *dialect == sample.dialect) else {
            panic!("add the edits of {} to tests/it/conformance/services.rs", sample.dialect)
        };
        let (bench, mut wrong) = (bench(sample).await, Vec::new());
        let there = bench.create(bench.full()).await.unwrap();
        for (kind, service, limit, fault, code, reason) in *rows {
            let what = format!("{}: {kind:?} {service} {limit} {fault:?}", sample.dialect);
            if let Some((operation, fault)) = fault {
                let fault: Value = serde_json::from_str(fault).unwrap();
                bench.arm(operation, &fault, 1).await;
            }
            let failed = failure(edit(&bench, &there, *kind, service, limit).await);
            bench.sandbox.calm().await;
            assert_eq!(bench.get(&there.name).await.unwrap(), there, "{what}: {failed:#?}");
            if !failed.is(*code, reason) {
                wrong.push(format!("{what}: {failed:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
