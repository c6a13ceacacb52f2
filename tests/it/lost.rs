//! Writes whose answer is lost or says nothing: what took effect is found out, and nothing is written
//! twice.

use futures_util::future::join_all;
use profile_gateway::pb::Profile;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::kit::{
    gateway::{self, Gateway},
    model::{named, profile},
    sandbox::{Sandbox, sandbox},
    status::{Failure, failure},
};

/// The writes, by the vendor's names.
const WRITES: [&str; 3] = ["CreateServiceProfile", "ModifyServiceProfile", "DeleteServiceProfile"];

/// A write on a sandbox of its own that met a fault.
struct Tried {
    result: Result<(), Status>,
    sandbox: Sandbox,
    gateway: Gateway,
    what: String,
}

/// Writes once; the upstream does to the request what the fault says.
async fn attempt(time: &str, operation: &'static str, fault: Value) -> Tried {
    let sandbox = sandbox().await;
    let gateway = gateway::within(time, &sandbox).await;
    let what = format!("{operation} {fault}");
    sandbox.arm(operation, fault).await;
    let result = write(&gateway, operation).await;
    Tried { result, sandbox, gateway, what }
}

async fn write(gateway: &Gateway, operation: &str) -> Result<(), Status> {
    let renamed = Profile { display_name: "Renamed".into(), ..named("SP_352") };
    match operation {
        "CreateServiceProfile" => gateway.create(profile("Created")).await.map(drop),
        "ModifyServiceProfile" => gateway.update(renamed).await.map(drop),
        _ => gateway.delete("SP_352").await,
    }
}

/// Whether the write has taken effect, as a caller sees it.
async fn took_effect(gateway: &Gateway, operation: &str) -> bool {
    let all = gateway.list().await.unwrap();
    match operation {
        "CreateServiceProfile" => all.iter().any(|p| p.display_name == "Created"),
        "ModifyServiceProfile" => all.iter().any(|p| p.display_name == "Renamed"),
        _ => all.iter().all(|p| !p.name.ends_with("/SP_352")),
    }
}

/// Each of the faults with each of the writes, side by side.
async fn all(time: &str, faults: &[Value]) -> Vec<(&'static str, Tried)> {
    let pairs = WRITES.iter().flat_map(|write| faults.iter().map(|fault| (*write, fault.clone())));
    let tried = pairs.map(async |(write, fault)| (write, attempt(time, write, fault).await));
    join_all(tried).await
}

/// That the write was sent once and had so many effects.
async fn assert_effects(operation: &str, tried: &Tried, effects: usize) {
    let Tried { sandbox, gateway, what, .. } = tried;
    assert_eq!(sandbox.arrived(operation).await, 1, "{what}: sent once");
    let found = sandbox.effects().await;
    assert_eq!(found.len(), effects, "{what}: {found:?}");
    assert_eq!(took_effect(gateway, operation).await, effects == 1, "{what}");
}

#[tokio::test]
async fn a_write_that_took_effect_succeeds_although_its_answer_is_lost() {
    let faults = [
        json!({"kind": "result", "code": "10239", "commit": "before"}),
        json!({"kind": "result", "code": "10240", "commit": "before"}),
        json!({"kind": "result", "code": "10240", "commit": "late", "late_ms": 700}),
        json!({"kind": "reset", "commit": "before"}),
        json!({"kind": "drop", "commit": "before"}),
        json!({"kind": "truncate"}),
        json!({"kind": "html", "commit": "before"}),
        json!({"kind": "empty", "commit": "before"}),
        json!({"kind": "body", "body": "{\"Response\":{}}", "commit": "before"}),
        json!({"kind": "invalid_utf8"}),
        json!({"kind": "status", "status": 500, "commit": "before"}),
        json!({"kind": "status", "status": 502, "commit": "before"}),
        json!({"kind": "status", "status": 503, "commit": "before"}),
        json!({"kind": "status", "status": 504, "commit": "before"}),
        json!({"kind": "result", "code": "7777", "commit": "before"}),
    ];
    for (operation, tried) in all("20s", &faults).await {
        tried.result.as_ref().unwrap_or_else(|e| panic!("{}: {e:?}", tried.what));
        assert_effects(operation, &tried, 1).await;
    }
}

/// The failure of a write that had no effect.
async fn without_effect(operation: &str, tried: Tried) -> Failure {
    assert_effects(operation, &tried, 0).await;
    let failed = failure(tried.result);
    assert!(!failed.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "meshes would send it again");
    failed
}

#[tokio::test]
async fn a_write_whose_effect_never_shows_stays_unknown() {
    let faults = [
        json!({"kind": "result", "code": "10240"}),
        json!({"kind": "reset"}),
        json!({"kind": "drop"}),
        json!({"kind": "html"}),
        json!({"kind": "empty"}),
        json!({"kind": "body", "body": "{\"Response\":{}}"}),
        json!({"kind": "status", "status": 502}),
        json!({"kind": "status", "status": 503, "retry_after_seconds": 1}),
        json!({"kind": "status", "status": 504}),
    ];
    for (operation, tried) in all("2s", &faults).await {
        let what = tried.what.clone();
        let failed = without_effect(operation, tried).await;
        assert!(failed.is(Code::Unknown, "WRITE_OUTCOME_UNKNOWN"), "{what}: {failed:#?}");
        assert_eq!(failed.retry, None, "{what}: it should not be sent again");
        let code = if what.contains("10240") { "10240" } else { "" };
        assert_eq!(failed.meta("upstream_code"), code, "{what}");
    }
}

#[tokio::test]
async fn a_failure_that_reading_back_confirms_is_definite() {
    let faults = [
        json!({"kind": "result", "code": "10239"}),
        json!({"kind": "result", "code": "7777"}),
        json!({"kind": "status", "status": 500}),
    ];
    for (operation, tried) in all("20s", &faults).await {
        let what = tried.what.clone();
        let failed = without_effect(operation, tried).await;
        let expected = match failed.meta("upstream_code") {
            "10239" | "7777" => (Code::Unknown, "UPSTREAM_FAILURE"),
            _ => (Code::Internal, "UPSTREAM_INTERNAL"),
        };
        assert!(failed.is(expected.0, expected.1), "{what}: {failed:#?}");
    }
}

#[tokio::test]
async fn a_write_that_hangs_is_looked_for_before_the_deadline() {
    for (operation, tried) in all("4s", &[json!({"kind": "hang", "commit": "before"})]).await {
        tried.result.as_ref().unwrap_or_else(|e| panic!("{}: {e:?}", tried.what));
        assert_effects(operation, &tried, 1).await;
    }
}

#[tokio::test]
async fn a_deadline_that_ends_a_write_says_that_its_outcome_is_unknown() {
    for (operation, tried) in all("2s", &[json!({"kind": "hang"})]).await {
        let what = tried.what.clone();
        let failed = without_effect(operation, tried).await;
        assert!(failed.is(Code::DeadlineExceeded, "WRITE_OUTCOME_UNKNOWN"), "{what}: {failed:#?}");
    }
}

#[tokio::test]
async fn a_throttled_write_was_not_carried_out() {
    let fault = json!({"kind": "status", "status": 429, "retry_after_seconds": 7});
    for (operation, tried) in all("20s", &[fault]).await {
        let what = tried.what.clone();
        let failed = without_effect(operation, tried).await;
        assert!(failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{what}: {failed:#?}");
        assert_eq!(failed.retry, Some(std::time::Duration::from_secs(7)), "{what}");
    }
}
