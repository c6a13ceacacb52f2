//! Repeats of single edits, and of a creation that stopped half way.

use std::time::Duration;

use profile_gateway::pb::{
    AttachServiceRequest, AttachTrafficLimitRequest, DetachServiceRequest,
    DetachTrafficLimitRequest, Profile, Service, TrafficLimit, UpdateProfileRequest,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{ONE, TWO, arrived, blind, create, creation, over, update};
use crate::{
    conformance::{
        bench::{self, Bench},
        samples::registered,
    },
    kit::{
        chaos::{Break, chaos},
        later,
        model::{DATA, SMS_MO, mask, service, shape},
        sandbox::sandbox,
        status::fails,
        until,
    },
};

#[tokio::test]
async fn services_are_attached_and_detached_once() {
    let bench = over("sft", "30s").await;
    let name = "backends/sft/profiles/SP_402".to_owned();
    let mut client = bench.gateway.profiles.clone();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = AttachServiceRequest {
            name: name.clone(),
            service: Some(service(SMS_MO)),
            request_id: ONE.to_owned(),
        };
        answers.push(client.attach_service(request).await.unwrap().into_inner());
    }
    assert_eq!(shape(&answers[0]).0, ["2", "4"]);
    for _ in 0..2 {
        let request = DetachServiceRequest {
            name: name.clone(),
            service: Some(service(DATA)),
            request_id: TWO.to_owned(),
        };
        answers.push(client.detach_service(request).await.unwrap().into_inner());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[2], answers[3]);
    assert_eq!(arrived(&bench, bench.sample.operations.update).await, 2);
    let other =
        AttachServiceRequest { name, service: Some(service(SMS_MO)), request_id: TWO.to_owned() };
    fails(client.attach_service(other).await, Code::InvalidArgument, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_half_created_profile_is_completed_by_the_repeat() {
    let bench = over("endpoint", "10s").await;
    let sample = bench.sample;
    let asked = bench.full();
    let refused: Value = json!({"kind": "status", "status": 422,
        "body": "{\"error_code\": 1406, \"message\": \"Not allowed\"}"});
    bench.arm("PutService", &refused, 1).await;
    bench.arm(sample.operations.delete, &refused, 1).await;
    let first = create(&bench, creation(&bench, ONE, &asked)).await;
    fails(first, Code::FailedPrecondition, "PARTIALLY_APPLIED");
    let created = create(&bench, creation(&bench, ONE, &asked)).await.unwrap();
    assert_eq!(created.services.len(), asked.services.len());
    assert_eq!(arrived(&bench, sample.operations.create).await, 1);
    assert_eq!(bench.raw_named(&asked.display_name).await.len(), 1);
}

#[tokio::test]
async fn a_half_created_profile_whose_caller_was_told_is_only_looked_at() {
    let bench = over("endpoint", "10s").await;
    let (sample, asked) = (bench.sample, bench.full());
    let refused: Value = json!({"kind": "status", "status": 422,
        "body": "{\"error_code\": 1406, \"message\": \"Not allowed\"}"});
    bench.arm("PutService", &refused, 1).await;
    bench.arm(sample.operations.delete, &refused, 1).await;
    let first = create(&bench, creation(&bench, ONE, &asked)).await;
    fails(first, Code::FailedPrecondition, "PARTIALLY_APPLIED");
    let lists = async || bench.sandbox.arrived(sample.operations.list).await;
    let (wrote, seen) = (arrived(&bench, "PutService").await, lists().await);
    later(Duration::from_secs(62)).await;
    until("it is looked at, and again", async || lists().await >= seen + 2).await;
    assert_eq!(arrived(&bench, "PutService").await, wrote);
    assert!(bench.gateway.metric("doubtful_writes", "endpoint").await > 0.0);
    let created = create(&bench, creation(&bench, ONE, &asked)).await.unwrap();
    assert_eq!(created.services.len(), asked.services.len());
}

#[tokio::test]
async fn a_profile_that_the_gateway_may_yet_remove_is_not_completed() {
    let sample = registered().into_iter().find(|sample| sample.upstream == "endpoint").unwrap();
    let sandbox = sandbox().await;
    let chaos = chaos(&sandbox.base_url()).await;
    let lines = "requests_per_second = 100000\nrequest_limit = \"off\"\ncircuit_breaker = \"off\"";
    let bench = bench::reaching(&chaos.base_url, sandbox, "2s", lines, sample).await;
    let asked = bench.full();
    let refused = json!({"kind": "status", "status": 422,
        "body": "{\"error_code\": 1406, \"message\": \"Not allowed\"}"});
    bench.arm("PutService", &refused, 1).await;
    // After the creation and the refused service comes the removal.
    chaos.arm(Break::Late(Duration::from_millis(1500)), true, 2);
    let first = create(&bench, creation(&bench, ONE, &asked)).await;
    let left = fails(first, Code::FailedPrecondition, "PARTIALLY_APPLIED");
    assert_eq!(left.metadata["removal"], "may yet happen");
    assert_eq!(bench.raw_named(&asked.display_name).await.len(), 1);
    let repeat = create(&bench, creation(&bench, ONE, &asked)).await;
    let unclear = fails(repeat, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    assert!(unclear.message.contains("its removal"), "{unclear:?}");
    until("it is removed", async || bench.raw_named(&asked.display_name).await.is_empty()).await;
    assert_eq!(arrived(&bench, sample.operations.create).await, 1);
}

#[tokio::test]
async fn an_update_applied_in_part_is_done_when_the_rest_arrives() {
    let bench = over("endpoint", "2s").await;
    let there = bench.create(bench.full()).await.unwrap();
    let patches = arrived(&bench, bench.sample.operations.update).await;
    let limit = TrafficLimit { id: "12".to_owned(), ..TrafficLimit::default() };
    let mut asked = Profile { display_name: "In part".to_owned(), etag: String::new(), ..there };
    let limited = asked.services.iter_mut().find(|service| service.id == "38").unwrap();
    limited.traffic_limits.push(limit);
    let request = UpdateProfileRequest {
        profile: Some(asked),
        update_mask: Some(mask(&["display_name", "services"])),
        request_id: ONE.to_owned(),
        ..UpdateProfileRequest::default()
    };
    // The last of several requests comes through only after the call that made it.
    let late = json!({"kind": "delay", "ms": 2600, "commit": "after"});
    bench.arm("PutTrafficLimit", &late, 1).await;
    let first = update(&bench, request.clone()).await;
    fails(first, Code::DeadlineExceeded, "WRITE_OUTCOME_UNKNOWN");
    let updated = update(&bench, request).await.unwrap();
    assert_eq!(updated.display_name, "In part");
    assert_eq!(arrived(&bench, bench.sample.operations.update).await, patches + 1);
}

/// Attaches limit 12 of service 38, which the sample has with limit 11, or detaches it.
async fn limit(bench: &Bench, name: &str, attach: bool, id: &str) -> Result<Profile, Status> {
    let (name, request_id) = (name.to_owned(), id.to_owned());
    let service = Some(Service { id: "38".to_owned(), ..Service::default() });
    let traffic_limit = Some(TrafficLimit { id: "12".to_owned(), ..TrafficLimit::default() });
    let mut client = bench.gateway.profiles.clone();
    let answer = if attach {
        let request = AttachTrafficLimitRequest { name, service, traffic_limit, request_id };
        client.attach_traffic_limit(request).await
    } else {
        let request = DetachTrafficLimitRequest { name, service, traffic_limit, request_id };
        client.detach_traffic_limit(request).await
    };
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn traffic_limits_are_attached_and_detached_once() {
    let bench = over("endpoint", "4s").await;
    let there = bench.create(bench.full()).await.unwrap();
    let before = arrived(&bench, "PutTrafficLimit").await;
    bench.arm("PutTrafficLimit", &json!({"kind": "drop", "commit": "before"}), 1).await;
    blind(&bench, bench.sample.operations.get, 1).await;
    let first = limit(&bench, &there.name, true, ONE).await;
    fails(first, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    bench.sandbox.calm().await;
    let attached = limit(&bench, &there.name, true, ONE).await.unwrap();
    assert_ne!(attached.etag, there.etag);
    assert_eq!(limit(&bench, &there.name, true, ONE).await.unwrap(), attached);
    assert_eq!(arrived(&bench, "PutTrafficLimit").await, before + 1);

    let detached = limit(&bench, &there.name, false, TWO).await.unwrap();
    assert_eq!(detached, there);
    assert_eq!(limit(&bench, &there.name, false, TWO).await.unwrap(), detached);
    assert_eq!(arrived(&bench, "DeleteTrafficLimit").await, 1);
    let other = limit(&bench, &there.name, true, TWO).await;
    fails(other, Code::InvalidArgument, "REQUEST_ID_REUSED");
}
