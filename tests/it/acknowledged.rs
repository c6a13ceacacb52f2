//! Acknowledged writes: those that the upstream does not carry out, and those that its reads show
//! late.

mod deletions;
mod gone;
mod untold;

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use profile_gateway::pb::{
    CreateProfileRequest, GetProfileRequest, Profile, Service, SubscriberDefaults,
};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use crate::{
    conformance::{
        bench::{Bench, bench, but_etag, id, reaching, within},
        samples::{Sample, registered},
    },
    kit::{
        double::{self, Answer, Double, OTHER, Seen, double},
        gateway::{Gateway, gateway},
        model,
        sandbox::sandbox,
        status::{fails, failure},
        until,
    },
};

const LAG: u64 = 800;

async fn impatient(sample: Sample) -> Bench {
    let sandbox = sandbox().await;
    let url = sandbox.base_url();
    reaching(&url, sandbox, "30s", "settle_time = \"300ms\"", sample).await
}

fn renamed(profile: &Profile) -> Profile {
    Profile {
        name: profile.name.clone(),
        display_name: "Another name".into(),
        ..Profile::default()
    }
}

/// What a cached read returns.
async fn cached(bench: &Bench, name: &str) -> Result<Profile, Status> {
    let request = GetProfileRequest { name: name.to_owned(), read_mask: None };
    bench.gateway.profiles.clone().get_profile(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn an_update_that_is_acknowledged_and_not_done_is_not_applied() {
    for sample in registered() {
        let bench = impatient(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        bench.arm(sample.operations.update, &json!({"kind": "ignore"}), 1).await;
        let updated = bench.update(renamed(&there), &["display_name"]).await;
        let failed = fails(updated, Code::FailedPrecondition, "WRITE_NOT_APPLIED");
        assert_eq!(failed.fields, ["profile.display_name"], "{failed:#?}");
        assert_eq!(failed.resource.as_deref(), Some(there.name.as_str()));
        assert!(failed.retry.is_none());
        assert_eq!(bench.sandbox.arrived(sample.operations.update).await, 1, "{}", sample.dialect);
        assert_eq!(cached(&bench, &there.name).await.unwrap(), there);
    }
}

#[tokio::test]
async fn a_creation_that_is_acknowledged_and_not_done_is_not_applied() {
    for sample in registered() {
        let bench = impatient(sample).await;
        bench.arm(sample.operations.create, &json!({"kind": "ignore"}), 1).await;
        let failed = failure(bench.create(bench.full()).await);
        assert!(failed.is(Code::FailedPrecondition, "WRITE_NOT_APPLIED"), "{failed:#?}");
        assert_eq!(bench.sandbox.arrived(sample.operations.create).await, 1);
    }
}

#[tokio::test]
async fn a_new_profile_that_was_seen_missing_is_not_believed_when_reads_fail_later() {
    for sample in registered() {
        let bench = within("3s", sample).await;
        bench.arm(sample.operations.create, &json!({"kind": "ignore"}), 1).await;
        // The list before; SFT has one operation for both.
        let earlier = usize::from(sample.operations.list == sample.operations.get);
        let fails = json!({"kind": "status", "status": 503});
        bench.arm_later(sample.operations.get, &fails, 0, earlier + 1).await;
        let failed = failure(bench.create(bench.full()).await);
        // Whether the one look was enough depends on how fast it came.
        let expected: &[&str] = match earlier {
            0 => &["WRITE_NOT_APPLIED", "PARTIALLY_APPLIED", "WRITE_OUTCOME_UNKNOWN"],
            _ => &["WRITE_OUTCOME_UNKNOWN"],
        };
        assert!(expected.contains(&&*failed.reason), "{}: {failed:#?}", sample.dialect);
    }
}

#[tokio::test]
async fn a_cleared_field_that_stays_is_not_applied() {
    for sample in registered() {
        let (field, path) = match sample.dialect {
            "endpoint" => ("description", "profile.description"),
            "pcc" => ("subscriber.locale", "profile.subscriber.locale"),
            // It has no field that can be cleared.
            "bics-sft" => continue,
            other => panic!("which field of {other} can be cleared?"),
        };
        let bench = impatient(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        bench.arm(sample.operations.update, &json!({"kind": "ignore"}), 1).await;
        let subscriber = there.subscriber.clone();
        let subscriber = subscriber.map(|s| SubscriberDefaults { locale: None, ..s });
        let cleared = Profile { description: None, subscriber, ..there.clone() };
        let failed = failure(bench.update(cleared, &[field]).await);
        assert!(failed.is(Code::FailedPrecondition, "WRITE_NOT_APPLIED"), "{failed:#?}");
        assert_eq!(failed.fields, [path], "{failed:#?}");
    }
}

#[tokio::test]
async fn what_reads_show_late_is_waited_for() {
    for sample in registered() {
        let bench = bench(sample).await;
        let lag = json!({"kind": "lag", "ms": LAG});
        bench.arm(sample.operations.create, &lag, 1).await;
        let created = bench.create(bench.full()).await.unwrap();
        assert_eq!(cached(&bench, &created.name).await.unwrap(), created, "{}", sample.dialect);

        bench.arm(sample.operations.update, &lag, 1).await;
        let updated = bench.update(renamed(&created), &["display_name"]).await.unwrap();
        assert_eq!(updated.display_name, "Another name");
        assert_ne!(updated.etag, created.etag);
        for _ in 0..2 {
            assert_eq!(cached(&bench, &updated.name).await.unwrap(), updated, "{}", sample.dialect);
        }
        let writes = sample.operations;
        for write in [writes.create, writes.update] {
            assert_eq!(bench.sandbox.arrived(write).await, 1, "{write}");
        }
    }
}

#[tokio::test]
async fn a_deleted_profile_that_reads_still_show_is_gone() {
    for sample in registered() {
        let bench = bench(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        let others = bench.list().await.unwrap().len() - 1;
        bench.arm(sample.operations.delete, &json!({"kind": "lag", "ms": LAG}), 1).await;
        bench.delete(&there.name).await.unwrap();
        let reads = bench.sandbox.arrived(sample.operations.get).await;
        fails(cached(&bench, &there.name).await, Code::NotFound, "PROFILE_NOT_FOUND");
        fails(bench.get(&there.name).await, Code::NotFound, "PROFILE_NOT_FOUND");
        assert_eq!(bench.list().await.unwrap().len(), others, "{}", sample.dialect);
        assert!(bench.sandbox.arrived(sample.operations.get).await > reads);
        until("the upstream to show it", async || {
            bench.sandbox.raw(sample.upstream).await.iter().all(|raw| raw["id"] != id(&there))
        })
        .await;
        fails(cached(&bench, &there.name).await, Code::NotFound, "PROFILE_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_normal_write_costs_no_additional_request() {
    for sample in registered() {
        let bench = bench(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        let reads = bench.sandbox.arrived(sample.operations.get).await;
        let updated = bench.update(renamed(&there), &["display_name"]).await.unwrap();
        let of_the_update = bench.sandbox.arrived(sample.operations.get).await - reads;
        // Before and after; PCC reads the whole object once more to write it.
        assert_eq!(of_the_update, if sample.dialect == "pcc" { 3 } else { 2 });
        assert_eq!(but_etag(&updated).display_name, "Another name");
        let reads = bench.sandbox.arrived(sample.operations.get).await;
        bench.delete(&there.name).await.unwrap();
        assert_eq!(bench.sandbox.arrived(sample.operations.get).await, reads);
    }
}

#[tokio::test]
async fn an_internal_error_is_looked_at_again_by_the_repeat() {
    let sample = registered().into_iter().find(|sample| sample.dialect == "endpoint").unwrap();
    let bench = impatient(sample).await;
    let fault = json!({"kind": "status", "status": 500, "body": "{}", "late_ms": 2500});
    bench.arm(sample.operations.create, &fault, 1).await;
    let request = CreateProfileRequest {
        parent: bench.parent(),
        profile: Some(bench.full()),
        request_id: "123e4567-e89b-12d3-a456-426614174abc".into(),
        validate_only: false,
    };
    let create = async || {
        let request = request.clone();
        bench.gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
    };
    fails(create().await, Code::Internal, "UPSTREAM_INTERNAL");
    let created = create().await.unwrap();
    assert_eq!(bench.raw_named(&created.display_name).await.len(), 1);
    assert_eq!(bench.sandbox.arrived(sample.operations.create).await, 1);
}

/// The endpoint API as far as one profile needs it: `answer` decides first, by method and path.
struct Api {
    upstream: Double,
    gateway: Gateway,
    profile: Arc<Mutex<Option<Value>>>,
}

async fn api(
    time: &str,
    answer: impl Fn(&str, &str) -> Option<(u16, &'static str)> + Send + Sync + 'static,
) -> Api {
    let upstream = double().await;
    let profile: Arc<Mutex<Option<Value>>> = Arc::default();
    let state = Arc::clone(&profile);
    upstream.always(
        OTHER,
        double::by(move |seen: &Seen| {
            let path = seen.path.strip_prefix("/api/v1/").unwrap_or_default();
            if let Some((status, body)) = answer(&seen.method, path) {
                return double::http(status, "application/json", body);
            }
            served(&seen.method, path, &mut state.lock().unwrap())
        }),
    );
    let section = format!(
        "[backends.endpoint]\ndialect = \"endpoint\"\nbase_url = \"{}\"\n\
         auth_token = \"of-the-kit\"\nsettle_time = \"300ms\"\n",
        upstream.base_url
    );
    let server = format!("default_timeout = \"{time}\"");
    let gateway = gateway().server(&server).section(&section).start().await;
    Api { upstream, gateway, profile }
}

fn served(method: &str, path: &str, profile: &mut Option<Value>) -> Answer {
    let missing = r#"{"error_code": 1201, "message": "Service profile with id 1 not found"}"#;
    match (method, path, profile.as_ref()) {
        ("GET", "service", _) => double::json(json!([{"id": 6, "description": "SMS MT"}])),
        ("GET", "service/6/traffic_limit", _) => double::json(json!([])),
        ("GET", "service_profile", there) => {
            double::json(there.map_or(json!([]), |there| json!([there])))
        }
        ("POST", "service_profile", _) => {
            *profile = Some(json!({"id": 1, "name": "one", "service": []}));
            let location = "https://cdn.example/api/v1/service_profile/1".to_owned();
            let headers = vec![("location".to_owned(), location)];
            Answer::Http { status: 201, headers, body: Vec::new() }
        }
        ("GET", "service_profile/1", Some(there)) => double::json(there.clone()),
        ("DELETE", "service_profile/1", Some(_)) => {
            *profile = None;
            double::http(204, "text/plain", "")
        }
        ("PUT", _, Some(_)) => double::http(204, "text/plain", ""),
        _ => double::http(404, "application/json", missing),
    }
}

impl Api {
    async fn create(&self) -> Result<Profile, Status> {
        let profile = Profile {
            display_name: "one".into(),
            services: vec![Service { id: "6".into(), ..model::service_id("6") }],
            ..Profile::default()
        };
        let request = CreateProfileRequest {
            parent: "backends/endpoint".into(),
            profile: Some(profile),
            ..CreateProfileRequest::default()
        };
        self.gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
    }

    fn sent(&self, method: &str) -> usize {
        self.upstream.seen().iter().filter(|seen| seen.method == method).count()
    }
}

#[tokio::test]
async fn only_the_documented_answer_is_a_deletion() {
    let answers = [
        (200, r#"{"message": "Internal server error"}"#),
        (200, r#"{"error_code": 1201, "id": 1}"#),
        (200, "<html></html>"),
        (200, "done"),
        (200, "{}"),
        (200, ""),
        (200, " "),
        (200, "[]"),
        (200, "null"),
        (200, r#"{"id": 1}"#),
        (201, ""),
        (202, ""),
        (206, ""),
    ];
    let deletions = answers.map(async |(status, body)| {
        let answer = move |method: &str, _: &str| (method == "DELETE").then_some((status, body));
        let api = api("2s", answer).await;
        *api.profile.lock().unwrap() = Some(json!({"id": 1, "name": "one", "service": []}));
        let request = profile_gateway::pb::DeleteProfileRequest {
            name: "backends/endpoint/profiles/1".into(),
            ..Default::default()
        };
        let failed = failure(api.gateway.profiles.clone().delete_profile(request).await);
        assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN", "{status} {body}: {failed:#?}");
        assert_eq!(api.sent("DELETE"), 1, "{status} {body}");
    });
    join_all(deletions).await;
}

#[tokio::test]
async fn a_step_answered_with_an_error_and_a_success_status_is_undone() {
    let api = api("20s", |method, _| {
        (method == "PUT").then_some((200, r#"{"message": "Internal server error"}"#))
    })
    .await;
    let failed = failure(api.create().await);
    assert_ne!(failed.code, Code::Ok);
    assert!(api.profile.lock().unwrap().is_none(), "{failed:#?}");
    assert_eq!((api.sent("POST"), api.sent("DELETE")), (1, 1));
}

#[tokio::test]
async fn an_acknowledged_undo_that_does_not_show_leaves_a_part() {
    for status in [202, 204] {
        let api = api("20s", move |method, _| match method {
            "PUT" => Some((422, r#"{"error_code": 1406, "message": "Not allowed"}"#)),
            "DELETE" => Some((status, "")),
            _ => None,
        })
        .await;
        let failed = fails(api.create().await, Code::FailedPrecondition, "PARTIALLY_APPLIED");
        assert_eq!(failed.meta("profile_id"), "1", "{status}: {failed:#?}");
        assert!(failed.message.contains("profiles/1: the profile is left"), "{failed:#?}");
        assert_eq!(api.sent("DELETE"), 1, "{status}");
    }
}

#[tokio::test]
async fn an_acknowledged_service_that_is_not_attached_is_not_applied() {
    let api = api("20s", |_, _| None).await;
    let failed = fails(api.create().await, Code::FailedPrecondition, "WRITE_NOT_APPLIED");
    assert_eq!(failed.fields, ["profile.services"], "{failed:#?}");
    assert_eq!(failed.meta("profile_id"), "1");
    assert_eq!((api.sent("POST"), api.sent("PUT")), (1, 1));
}
