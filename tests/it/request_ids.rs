//! Repeats under a `request_id`, over every dialect: what the first call got, and never a second
//! write.

mod doubt;
mod edits;

use std::{future::Future, time::Duration};

use futures_util::future::join_all;
use profile_gateway::pb::{
    CreateProfileRequest, DeleteProfileRequest, Profile, UpdateProfileRequest,
};
use serde_json::json;
use tonic::{Code, Response, Status};

use crate::{
    conformance::{
        bench::{self, Bench, but_etag},
        samples::registered,
    },
    kit::{
        later, model,
        status::{fails, failure},
        until,
    },
};

pub const ONE: &str = "123e4567-e89b-12d3-a456-426614174abc";
pub const TWO: &str = "223e4567-e89b-12d3-a456-426614174abc";
pub const THREE: &str = "323e4567-e89b-12d3-a456-426614174abc";

/// Runs a test over each dialect, all at once.
async fn each<F: Future<Output = ()>>(time: &str, test: impl Fn(Bench) -> F) {
    let benches = registered().into_iter().map(|sample| bench::within(time, sample));
    join_all(join_all(benches).await.into_iter().map(test)).await;
}

pub fn creation(bench: &Bench, request_id: &str, profile: &Profile) -> CreateProfileRequest {
    CreateProfileRequest {
        parent: bench.parent(),
        profile: Some(profile.clone()),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}

pub fn change(request_id: &str, profile: &Profile) -> UpdateProfileRequest {
    UpdateProfileRequest {
        profile: Some(profile.clone()),
        update_mask: Some(model::mask(&["display_name"])),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}

pub fn deletion(request_id: &str, name: &str) -> DeleteProfileRequest {
    DeleteProfileRequest {
        name: name.to_owned(),
        request_id: request_id.to_owned(),
        ..DeleteProfileRequest::default()
    }
}

pub async fn create(bench: &Bench, request: CreateProfileRequest) -> Result<Profile, Status> {
    bench.gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
}

pub async fn update(bench: &Bench, request: UpdateProfileRequest) -> Result<Profile, Status> {
    bench.gateway.profiles.clone().update_profile(request).await.map(Response::into_inner)
}

pub async fn delete(bench: &Bench, request: DeleteProfileRequest) -> Result<(), Status> {
    bench.gateway.profiles.clone().delete_profile(request).await.map(Response::into_inner)
}

/// How many requests of an operation arrived.
pub async fn arrived(bench: &Bench, operation: &str) -> usize {
    let writes = bench.writes().await;
    writes.iter().filter(|e| e["operation"] == operation && e["late_of"].is_null()).count()
}

/// The profile under another name.
pub fn renamed(profile: &Profile, name: &str) -> Profile {
    Profile { display_name: name.to_owned(), ..profile.clone() }
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_writes_nothing() {
    each("30s", async |bench| {
        let first = bench.full();
        let created = create(&bench, creation(&bench, ONE, &first)).await.unwrap();
        let sent = bench.writes().await.len();
        for id in [ONE.to_owned(), ONE.to_uppercase(), format!("{{{ONE}}}")] {
            assert_eq!(create(&bench, creation(&bench, &id, &first)).await.unwrap(), created);
        }
        assert_eq!(bench.writes().await.len(), sent);

        // The etag is stale as soon as the first call is done.
        let asked = renamed(&created, "once and for all");
        let changed = update(&bench, change(TWO, &asked)).await.unwrap();
        assert_ne!(changed.etag, created.etag);
        let sent = bench.writes().await.len();
        assert_eq!(update(&bench, change(TWO, &asked)).await.unwrap(), changed);
        assert_eq!(bench.writes().await.len(), sent);

        for _ in 0..2 {
            delete(&bench, deletion(THREE, &created.name)).await.unwrap();
        }
        assert_eq!(arrived(&bench, bench.sample.operations.delete).await, 1);
        let again = delete(&bench, deletion("", &created.name)).await;
        fails(again, Code::NotFound, "PROFILE_NOT_FOUND");
        // The answer of then, although the profile is gone.
        assert_eq!(create(&bench, creation(&bench, ONE, &first)).await.unwrap(), created);
    })
    .await;
}

#[tokio::test]
async fn an_id_with_another_request_is_refused() {
    each("30s", async |bench| {
        let asked = bench.full();
        let created = create(&bench, creation(&bench, ONE, &asked)).await.unwrap();
        let sent = bench.writes().await.len();
        let other = renamed(&asked, "another");
        for result in [
            create(&bench, creation(&bench, ONE, &other)).await.map(drop),
            update(&bench, change(ONE, &renamed(&created, "x"))).await.map(drop),
            delete(&bench, deletion(&ONE.to_uppercase(), &created.name)).await,
        ] {
            let reused = fails(result, Code::InvalidArgument, "REQUEST_ID_REUSED");
            assert_eq!(reused.fields, ["request_id"]);
            assert_eq!(reused.meta("backend"), bench.sample.upstream);
        }
        assert_eq!(bench.writes().await.len(), sent);
        // What is only validated writes nothing, so there is nothing to repeat.
        let validated =
            CreateProfileRequest { validate_only: true, ..creation(&bench, ONE, &other) };
        create(&bench, validated).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn repeats_of_a_write_in_progress_wait_for_it() {
    each("30s", async |bench| {
        let operations = bench.sample.operations;
        let delay = json!({"kind": "delay", "ms": 800});
        let asked = bench.full();
        bench.arm(operations.create, &delay, 0).await;
        let calls = (0..5).map(|_| create(&bench, creation(&bench, ONE, &asked)));
        let answers: Vec<Profile> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(arrived(&bench, operations.create).await, 1);
        assert_eq!(bench.raw_named(&asked.display_name).await.len(), 1);

        bench.arm(operations.delete, &delay, 0).await;
        let calls = (0..5).map(|_| delete(&bench, deletion(TWO, &answers[0].name)));
        assert!(join_all(calls).await.iter().all(Result::is_ok));
        assert_eq!(arrived(&bench, operations.delete).await, 1);
    })
    .await;
}

/// Nothing can be read, after so many reads.
async fn blind(bench: &Bench, operation: &str, after: usize) {
    bench.arm_later(operation, &json!({"kind": "status", "status": 503}), 0, after).await;
}

#[tokio::test]
async fn a_lost_write_that_took_effect_is_found_by_the_repeat() {
    each("3s", async |bench| {
        let operations = bench.sample.operations;
        let lost = json!({"kind": "drop", "commit": "before"});
        let asked = bench.full();

        bench.arm(operations.create, &lost, 1).await;
        blind(&bench, operations.list, 1).await;
        let first = create(&bench, creation(&bench, ONE, &asked)).await;
        fails(first, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
        bench.sandbox.calm().await;
        let created = create(&bench, creation(&bench, ONE, &asked)).await.unwrap();
        assert_eq!(created.display_name, asked.display_name);
        assert_eq!(created, bench.get(&created.name).await.unwrap());
        assert_eq!(arrived(&bench, operations.create).await, 1);
        assert_eq!(bench.raw_named(&asked.display_name).await.len(), 1);

        let asked = renamed(&created, "found again");
        bench.arm(operations.update, &lost, 1).await;
        // PCC takes whole objects, so its dialect reads once more before it writes.
        let reads = if bench.sample.upstream == "pcc" { 2 } else { 1 };
        blind(&bench, operations.get, reads).await;
        fails(update(&bench, change(TWO, &asked)).await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
        bench.sandbox.calm().await;
        let changed = update(&bench, change(TWO, &asked)).await.unwrap();
        assert_eq!(but_etag(&changed), but_etag(&renamed(&created, "found again")));
        assert_eq!(arrived(&bench, operations.update).await, 1);

        let id = "323e4567-e89b-12d3-a456-426614174abc";
        bench.arm(operations.delete, &lost, 1).await;
        blind(&bench, operations.get, 0).await;
        let first = delete(&bench, deletion(id, &created.name)).await;
        fails(first, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
        bench.sandbox.calm().await;
        delete(&bench, deletion(id, &created.name)).await.unwrap();
        assert_eq!(arrived(&bench, operations.delete).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_lost_write_without_effect_is_sent_again_only_once_it_can_no_longer_arrive() {
    let benches = registered().into_iter().map(|sample| bench::within("4s", sample));
    let benches = join_all(benches).await;
    let lost = json!({"kind": "drop"});
    let asked: Vec<Profile> = benches.iter().map(Bench::full).collect();
    let first = async |(bench, asked): (&Bench, &Profile)| {
        bench.arm(bench.sample.operations.create, &lost, 1).await;
        for _ in 0..2 {
            let result = create(bench, creation(bench, ONE, asked)).await;
            fails(result, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
            assert_eq!(arrived(bench, bench.sample.operations.create).await, 1);
        }
    };
    join_all(benches.iter().zip(&asked).map(first)).await;
    later(Duration::from_secs(61)).await;
    let again = async |(bench, asked): (&Bench, &Profile)| {
        let created = create(bench, creation(bench, ONE, asked)).await.unwrap();
        assert_eq!(create(bench, creation(bench, ONE, asked)).await.unwrap(), created);
        assert_eq!(arrived(bench, bench.sample.operations.create).await, 2);
        assert_eq!(bench.raw_named(&asked.display_name).await.len(), 1);
    };
    // One after the other: each has only its own time.
    for pair in benches.iter().zip(&asked) {
        again(pair).await;
    }
}

/// One dialect, by its backend.
async fn over(backend: &str, time: &str) -> Bench {
    let sample = registered().into_iter().find(|sample| sample.upstream == backend).unwrap();
    bench::within(time, sample).await
}

#[tokio::test]
async fn an_effect_that_comes_after_the_call_is_found_by_the_repeat() {
    for operation in ["create", "update", "delete"] {
        // The one whose late commits are documented.
        let bench = over("sft", "2s").await;
        let operations = bench.sample.operations;
        let late = json!({"kind": "result", "code": "10240", "commit": "late", "late_ms": 2600});
        let old = bench.create(bench.full()).await.unwrap();
        let asked = bench.full();
        let write = async || match operation {
            "create" => create(&bench, creation(&bench, ONE, &asked)).await.map(|p| p.display_name),
            "update" => {
                let asked = renamed(&old, &asked.display_name);
                update(&bench, change(ONE, &asked)).await.map(|p| p.display_name)
            }
            _ => delete(&bench, deletion(ONE, &old.name)).await.map(|()| String::new()),
        };
        let sent = match operation {
            "create" => operations.create,
            "update" => operations.update,
            _ => operations.delete,
        };
        let before = arrived(&bench, sent).await;
        bench.arm(sent, &late, 1).await;
        let effects = bench.sandbox.effects().await.len();
        fails(write().await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
        until("the late effect", async || bench.sandbox.effects().await.len() > effects).await;
        let answer = write().await.unwrap();
        assert!(answer.is_empty() || answer == asked.display_name, "{operation}: {answer}");
        assert_eq!(arrived(&bench, sent).await, before + 1, "{operation}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_and_returns_gets_the_result() {
    each("30s", async |bench| {
        let operation = bench.sample.operations.create;
        let asked = bench.full();
        bench.arm(operation, &json!({"kind": "delay", "ms": 700}), 1).await;
        let (mut client, request) = (bench.gateway.profiles.clone(), creation(&bench, ONE, &asked));
        let caller = tokio::spawn(async move { client.create_profile(request).await });
        until("the write has left", async || bench.sandbox.armed().await == 0).await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        let created = create(&bench, creation(&bench, ONE, &asked)).await.unwrap();
        assert_eq!(created, bench.get(&created.name).await.unwrap());
        assert_eq!(arrived(&bench, operation).await, 1);
        assert_eq!(bench.raw_named(&asked.display_name).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_known_to_have_written_nothing_is_tried_again() {
    each("30s", async |bench| {
        let operations = bench.sample.operations;
        let asked = bench.full();
        bench.arm(operations.create, &json!({"kind": "status", "status": 429}), 1).await;
        let first = failure(create(&bench, creation(&bench, ONE, &asked)).await);
        assert!(first.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{first:#?}");
        let created = create(&bench, creation(&bench, ONE, &asked)).await.unwrap();
        assert_eq!(arrived(&bench, operations.create).await, 2);
        assert_eq!(bench.raw_named(&asked.display_name).await.len(), 1);

        // The request's own fault: once that is fixed, the same call works.
        let stale = Profile { etag: "\"stale\"".to_owned(), ..renamed(&created, "fixed") };
        fails(update(&bench, change(TWO, &stale)).await, Code::Aborted, "ETAG_MISMATCH");
        fails(update(&bench, change(TWO, &stale)).await, Code::Aborted, "ETAG_MISMATCH");
        // What wrote nothing is not remembered, so the id serves another request as well.
        let other = update(&bench, change(TWO, &renamed(&created, "other"))).await.unwrap();
        assert_eq!(other.display_name, "other");
        let third = update(&bench, change(TWO, &renamed(&created, "third"))).await;
        fails(third, Code::InvalidArgument, "REQUEST_ID_REUSED");
    })
    .await;
}

#[tokio::test]
async fn sets_in_another_order_are_the_same_request() {
    each("20s", |bench| async move {
        let mut profile = bench.full();
        let first = create(&bench, creation(&bench, ONE, &profile)).await.unwrap();
        profile.radio_access.reverse();
        profile.services.reverse();
        let again = create(&bench, creation(&bench, ONE, &profile)).await.unwrap();
        assert_eq!(again, first);
        let paths = |paths: &[&str]| UpdateProfileRequest {
            update_mask: Some(model::mask(paths)),
            ..change(TWO, &renamed(&first, "other order"))
        };
        let first = update(&bench, paths(&["display_name", "endpoint_count"])).await.unwrap();
        let again = paths(&["endpoint_count", "display_name", "display_name"]);
        assert_eq!(update(&bench, again).await.unwrap(), first);
        let other = update(&bench, paths(&["display_name"])).await;
        fails(other, Code::InvalidArgument, "REQUEST_ID_REUSED");
    })
    .await;
}

#[tokio::test]
async fn the_uuid_of_all_zeros_is_refused() {
    const NIL: &str = "00000000-0000-0000-0000-000000000000";
    each("5s", |bench| async move {
        let refused = create(&bench, creation(&bench, NIL, &bench.full())).await;
        let failed = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
        assert_eq!(failed.fields, ["request_id"]);
        assert_eq!(bench.writes().await.len(), 0);
    })
    .await;
}
