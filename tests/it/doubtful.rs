//! Writes that the upstream says have failed, in words that its vendor does not document as a
//! refusal: their effects may still come. `matrix` has them for every method.

use futures_util::future::join_all;
use serde_json::json;
use tonic::Code;

use profile_gateway::pb::{
    DeleteProfileRequest, GetProfileRequest, Profile, Service, UpdateProfileRequest,
};

use crate::{
    conformance::{
        bench::{Bench, reaching},
        samples::{Sample, registered},
    },
    kit::{
        model,
        sandbox::sandbox,
        status::{fails, failure},
        until,
    },
};

/// A dialect whose reads show at once what there is.
async fn bench(sample: Sample, settle_time: &str) -> Bench {
    let sandbox = sandbox().await;
    let url = sandbox.base_url();
    let lines = format!("settle_time = \"{settle_time}\"\nrequests_per_second = 100000");
    reaching(&url, sandbox, "20s", &lines, sample).await
}

async fn bench_of(dialect: &str, settle_time: &str) -> Bench {
    let sample = registered().into_iter().find(|sample| sample.dialect == dialect).unwrap();
    bench(sample, settle_time).await
}

fn renamed(there: &Profile, name: &str) -> Profile {
    Profile { name: there.name.clone(), display_name: name.into(), ..Profile::default() }
}

/// The name that a cached read shows.
async fn shown(bench: &Bench, there: &Profile) -> String {
    let request = GetProfileRequest { name: there.name.clone(), read_mask: None };
    let read = bench.gateway.profiles.clone().get_profile(request).await;
    read.unwrap().into_inner().display_name
}

#[tokio::test]
async fn nothing_that_the_effect_may_outdate_is_kept() {
    for sample in registered() {
        let bench = bench(sample, "300ms").await;
        let there = bench.create(bench.full()).await.unwrap();
        let fault = json!({"kind": "status", "status": 405, "late_ms": 2000});
        bench.arm(sample.operations.update, &fault, 1).await;
        let failed = failure(bench.update(renamed(&there, "Late"), &["display_name"]).await);
        assert!(failed.is(Code::Internal, "UPSTREAM_CONTRACT_VIOLATION"), "{failed:#?}");
        assert_eq!(shown(&bench, &there).await, there.display_name, "{}", sample.dialect);
        until("the effect", async || !bench.raw_named("Late").await.is_empty()).await;
        assert_eq!(shown(&bench, &there).await, "Late", "{}", sample.dialect);
    }
}

#[tokio::test]
async fn an_overload_that_is_not_the_vendor_s_own_does_not_invite_to_write_again() {
    let bench = bench_of("pcc", "300ms").await;
    let there = bench.create(bench.full()).await.unwrap();
    for body in ["", "{}", r#"{"message": "no healthy upstream"}"#] {
        let fault = json!({"kind": "status", "status": 503, "body": body});
        bench.arm("UpdateProfile", &fault, 1).await;
        let failed = bench.update(renamed(&there, "New"), &["display_name"]).await;
        let failed = fails(failed, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
        assert!(failed.retry.is_none(), "{body}: {failed:#?}");
        assert_eq!(failed.meta("upstream_status"), "503", "{body}");
    }
}

async fn delete(bench: &Bench, name: &str, allow_missing: bool) -> Result<(), tonic::Status> {
    let name = name.to_owned();
    let request = DeleteProfileRequest { name, allow_missing, ..DeleteProfileRequest::default() };
    bench.gateway.profiles.clone().delete_profile(request).await.map(drop)
}

#[tokio::test]
async fn a_page_does_not_say_that_a_profile_is_missing() {
    let bench = bench_of("pcc", "300ms").await;
    let there = bench.create(bench.full()).await.unwrap();
    let page = json!({"kind": "status", "status": 404});
    let not_its = (Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
    bench.arm("UpdateProfile", &page, 1).await;
    let updated = bench.update(renamed(&there, "New"), &["display_name"]).await;
    fails(updated, not_its.0, not_its.1);
    for allow_missing in [false, true] {
        bench.arm("DeleteProfile", &page, 1).await;
        fails(delete(&bench, &there.name, allow_missing).await, not_its.0, not_its.1);
    }
    assert_eq!(bench.raw_named(&there.display_name).await.len(), 1);
    // The vendor's own server may send pages too.
    bench.sandbox.set("pcc", &json!({"error_body": "html"})).await;
    delete(&bench, &there.name, false).await.unwrap();
    let missing = (Code::NotFound, "PROFILE_NOT_FOUND");
    fails(delete(&bench, &there.name, false).await, missing.0, missing.1);
    delete(&bench, &there.name, true).await.unwrap();
}

/// An update of the description and the services of an endpoint profile, always the same.
async fn describe(bench: &Bench, there: &Profile) -> Result<Profile, tonic::Status> {
    let service = Service { id: "3".into(), ..Service::default() };
    let mut services = there.services.clone();
    services.push(service);
    let description = Some("Changed".to_owned());
    let changed = Profile { name: there.name.clone(), description, services, ..Profile::default() };
    let request = UpdateProfileRequest {
        profile: Some(changed),
        update_mask: Some(model::mask(&["description", "services"])),
        request_id: "123e4567-e89b-12d3-a456-426614174abc".into(),
        validate_only: false,
    };
    let updated = bench.gateway.profiles.clone().update_profile(request).await;
    updated.map(tonic::Response::into_inner)
}

async fn has_service(bench: &Bench, there: &Profile) -> bool {
    let shown = bench.get(&there.name).await.unwrap();
    shown.services.iter().any(|service| service.id == "3")
}

fn internal(late_ms: u64) -> serde_json::Value {
    json!({"kind": "status", "status": 500, "body": "{}", "late_ms": late_ms})
}

#[tokio::test]
async fn a_step_that_comes_after_its_update_was_undone_is_looked_for_by_the_repeat() {
    let bench = bench_of("endpoint", "300ms").await;
    let there = bench.create(bench.full()).await.unwrap();
    bench.arm("PutService", &internal(2500), 1).await;
    let failed = fails(describe(&bench, &there).await, Code::Internal, "UPSTREAM_INTERNAL");
    assert!(failed.message.contains("may still take effect"), "{failed:#?}");
    let read = GetProfileRequest { name: there.name.clone(), read_mask: None };
    let cached = async || bench.gateway.profiles.clone().get_profile(read.clone()).await.unwrap();
    let services = cached().await.into_inner().services.len();
    assert_eq!(services, there.services.len());
    until("the effect", async || has_service(&bench, &there).await).await;
    assert_eq!(cached().await.into_inner().services.len(), services + 1);
    let writes = bench.writes().await.len();
    fails(describe(&bench, &there).await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    assert_eq!(bench.writes().await.len(), writes);
}

#[tokio::test]
async fn a_step_that_shows_after_its_update_was_undone_leaves_a_part() {
    let bench = bench_of("endpoint", "4s").await;
    let there = bench.create(bench.full()).await.unwrap();
    bench.arm("PutService", &internal(1500), 1).await;
    let failed = describe(&bench, &there).await;
    let failed = fails(failed, Code::FailedPrecondition, "PARTIALLY_APPLIED");
    assert!(failed.message.contains("is left partially changed"), "{failed:#?}");
    assert!(has_service(&bench, &there).await);
}

#[tokio::test]
async fn a_first_step_that_shows_alone_is_no_definite_failure() {
    let bench = bench_of("endpoint", "4s").await;
    let there = bench.create(bench.full()).await.unwrap();
    bench.arm("PatchProfile", &internal(1500), 1).await;
    fails(describe(&bench, &there).await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    let shown = bench.get(&there.name).await.unwrap();
    assert_eq!(shown.description.as_deref(), Some("Changed"));
    assert_eq!(bench.sandbox.arrived("PutService").await, there.services.len());
}

/// Answers of the endpoint API that no table has for a creation or a PATCH, and what is told if
/// they have no effect.
const NOT_IN_THE_TABLES: [(&str, Code, &str); 6] = [
    (r#""status": 422"#, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION"),
    (r#""status": 422, "body": "Unprocessable""#, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION"),
    (r#""status": 400, "body": "Bad Request""#, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION"),
    (r#""status": 409, "body": "{\"error_code\": 9999}""#, Code::Unknown, "UPSTREAM_FAILURE"),
    (r#""status": 409, "body": """#, Code::AlreadyExists, "PROFILE_ALREADY_EXISTS"),
    (
        r#""status": 404, "body": "{\"error_code\": 1601}""#,
        Code::FailedPrecondition,
        "PROCESSING_FAILED",
    ),
];

#[tokio::test]
async fn what_the_tables_do_not_have_is_no_refusal() {
    join_all(NOT_IN_THE_TABLES.map(async |(members, code, reason)| {
        let bench = bench_of("endpoint", "2s").await;
        let there = bench.create(bench.full()).await.unwrap();
        let fault = |late: &str| {
            serde_json::from_str(&format!(r#"{{"kind": "status", {members}{late}}}"#)).unwrap()
        };
        let created = bench.full();
        bench.arm("CreateProfile", &fault(r#", "late_ms": 700"#), 1).await;
        bench.create(created.clone()).await.unwrap_or_else(|error| panic!("{members}: {error:?}"));
        assert_eq!(bench.raw_named(&created.display_name).await.len(), 1, "{members}");
        bench.arm("PatchProfile", &fault(r#", "late_ms": 700"#), 1).await;
        let updated = bench.update(renamed(&there, "Late"), &["display_name"]).await;
        updated.unwrap_or_else(|error| panic!("{members}: {error:?}"));
        for operation in ["CreateProfile", "PatchProfile"] {
            bench.arm(operation, &fault(""), 1).await;
        }
        fails(bench.create(bench.full()).await, code, reason);
        fails(bench.update(renamed(&there, "Again"), &["display_name"]).await, code, reason);
    }))
    .await;
}
