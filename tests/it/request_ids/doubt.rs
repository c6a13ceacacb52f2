//! Creations of one name whose outcomes are unknown at the same time: each profile that appears is
//! the answer to one of them.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use profile_gateway::pb::Profile;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{ONE, TWO, arrived, create, creation, over};
use crate::{
    conformance::{
        bench::{self, Bench, id},
        samples::registered,
    },
    kit::{
        later,
        status::{fails, failure},
        until,
    },
};

/// Carried out long after the calls of these tests have ended.
fn late(ms: u64) -> Value {
    json!({"kind": "delay", "ms": ms, "commit": "after"})
}

fn lost() -> Value {
    json!({"kind": "drop"})
}

/// Two creations of one profile that both end unknown, and meet these faults.
async fn both_unknown(bench: &Bench, faults: [Value; 2]) -> Profile {
    let asked = bench.full();
    for (request_id, fault) in [ONE, TWO].into_iter().zip(faults) {
        bench.arm(bench.sample.operations.create, &fault, 1).await;
        is_unknown(create(bench, creation(bench, request_id, &asked)).await);
    }
    asked
}

fn is_unknown(result: Result<Profile, Status>) {
    // Lost, or no answer before the deadline.
    let failed = failure(result);
    assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN", "{failed:#?}");
}

async fn shows(bench: &Bench, profiles: usize, asked: &Profile) {
    let name = &asked.display_name;
    until("the late profiles", async || bench.raw_named(name).await.len() == profiles).await;
}

/// All dialects, each on a sandbox of its own.
async fn benches() -> Vec<Bench> {
    join_all(registered().into_iter().map(|sample| bench::within("2s", sample))).await
}

/// A repeat of a creation that has made nothing, once it can no longer make anything.
async fn is_written_again(bench: &Bench, request_id: &str, asked: &Profile, other: &Profile) {
    let result = create(bench, creation(bench, request_id, asked)).await;
    if bench.sample.unique_names {
        fails(result, Code::AlreadyExists, "PROFILE_ALREADY_EXISTS");
        assert_eq!(bench.raw_named(&asked.display_name).await.len(), 1);
    } else {
        assert_ne!(result.unwrap().name, other.name);
        assert_eq!(bench.raw_named(&asked.display_name).await.len(), 2);
    }
    assert_eq!(arrived(bench, bench.sample.operations.create).await, 3);
}

#[tokio::test]
async fn a_late_profile_is_the_answer_to_one_creation() {
    for (first, second) in [(ONE, TWO), (TWO, ONE)] {
        let benches = benches().await;
        let claimed = async |bench: &Bench| {
            let asked = both_unknown(bench, [late(6000), lost()]).await;
            shows(bench, 1, &asked).await;
            let created = create(bench, creation(bench, first, &asked)).await.unwrap();
            is_unknown(create(bench, creation(bench, second, &asked)).await);
            assert_eq!(create(bench, creation(bench, first, &asked)).await.unwrap(), created);
            assert_eq!(arrived(bench, bench.sample.operations.create).await, 2);
            (asked, created)
        };
        let claimed = join_all(benches.iter().map(claimed)).await;
        later(Duration::from_secs(61)).await;
        for (bench, (asked, created)) in benches.iter().zip(&claimed) {
            is_written_again(bench, second, asked, created).await;
        }
    }
}

#[tokio::test]
async fn a_profile_of_a_creation_that_succeeded_is_not_claimed_by_one_in_doubt() {
    for request_id in [TWO, ""] {
        let benches = benches().await;
        let created = async |bench: &Bench| {
            let asked = bench.full();
            bench.arm(bench.sample.operations.create, &lost(), 1).await;
            is_unknown(create(bench, creation(bench, ONE, &asked)).await);
            let created = create(bench, creation(bench, request_id, &asked)).await.unwrap();
            is_unknown(create(bench, creation(bench, ONE, &asked)).await);
            (asked, created)
        };
        let created = join_all(benches.iter().map(created)).await;
        later(Duration::from_secs(61)).await;
        for (bench, (asked, created)) in benches.iter().zip(&created) {
            is_written_again(bench, ONE, asked, created).await;
        }
    }
}

#[tokio::test]
async fn a_lost_creation_that_finds_the_profile_of_another_in_doubt_keeps_it() {
    for bench in benches().await {
        let asked = bench.full();
        let operation = bench.sample.operations.create;
        bench.arm(operation, &late(2300), 1).await;
        is_unknown(create(&bench, creation(&bench, ONE, &asked)).await);
        // It shows while this one is looked for, by name alone.
        bench.arm(operation, &lost(), 1).await;
        create(&bench, creation(&bench, TWO, &asked)).await.unwrap();
        is_unknown(create(&bench, creation(&bench, ONE, &asked)).await);
        assert_eq!(arrived(&bench, operation).await, 2, "{}", bench.sample.dialect);
    }
}

#[tokio::test]
async fn late_profiles_are_shared_out_among_the_creations_in_doubt() {
    // Where two profiles can have one name.
    let test = async |upstream: &str| {
        let bench = over(upstream, "2s").await;
        if bench.sample.unique_names {
            bench.sandbox.set(upstream, &json!({"unique_names": false})).await;
        }
        let asked = both_unknown(&bench, [late(6000), late(5000)]).await;
        shows(&bench, 2, &asked).await;
        let mut names = HashSet::new();
        for request_id in [TWO, ONE, ONE, TWO] {
            let created = create(&bench, creation(&bench, request_id, &asked)).await.unwrap();
            names.insert(created.name);
        }
        assert_eq!(names.len(), 2, "{upstream}: {names:?}");
        assert_eq!(arrived(&bench, bench.sample.operations.create).await, 2);
    };
    join_all(["pcc", "endpoint"].map(test)).await;
}

#[tokio::test]
async fn profiles_of_another_client_are_not_shared_out() {
    let bench = over("endpoint", "2s").await;
    let asked = both_unknown(&bench, [late(6000), late(5000)]).await;
    shows(&bench, 2, &asked).await;
    // Nothing tells which of the three are theirs.
    let theirs = bench.raw_named(&asked.display_name).await.remove(0);
    bench.sandbox.put_raw("endpoint", "987", &theirs).await;
    shows(&bench, 3, &asked).await;
    for request_id in [TWO, ONE] {
        is_unknown(create(&bench, creation(&bench, request_id, &asked)).await);
    }
}

#[tokio::test]
async fn a_creation_that_was_not_completed_keeps_its_profile() {
    let bench = over("endpoint", "2s").await;
    let asked = both_unknown(&bench, [late(6000), late(5000)]).await;
    shows(&bench, 2, &asked).await;
    let refused = json!({"kind": "status", "status": 422,
        "body": "{\"error_code\": 1406, \"message\": \"Not allowed\"}"});
    bench.arm("PutService", &refused, 1).await;
    let failed = failure(create(&bench, creation(&bench, ONE, &asked)).await);
    assert!(failed.is(Code::FailedPrecondition, "PARTIALLY_APPLIED"), "{failed:#?}");
    let left = failed.meta("profile_id");
    let other = create(&bench, creation(&bench, TWO, &asked)).await.unwrap();
    assert_ne!(id(&other), left);
    let completed = create(&bench, creation(&bench, ONE, &asked)).await.unwrap();
    assert_eq!(id(&completed), left);
    assert_eq!(completed.services.len(), asked.services.len());
}
