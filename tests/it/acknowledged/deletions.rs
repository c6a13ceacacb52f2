//! Acknowledged deletions: believed, or confirmed by a read.

use profile_gateway::pb::DeleteProfileRequest;
use serde_json::json;
use tonic::Code;

use super::{LAG, cached, impatient};
use crate::{
    conformance::{
        bench::{Bench, bench, reaching},
        samples::{Sample, registered},
    },
    kit::{
        sandbox::sandbox,
        status::{fails, failure},
        until,
    },
};

/// A backend that looks whether deletions were carried out.
async fn confirming(sample: Sample, settle_time: &str) -> Bench {
    let sandbox = sandbox().await;
    let url = sandbox.base_url();
    let lines = format!("settle_time = \"{settle_time}\"\nconfirm_deletions = true");
    reaching(&url, sandbox, "30s", &lines, sample).await
}

#[tokio::test]
async fn one_that_is_not_done_is_not_applied_if_deletions_are_confirmed() {
    for sample in registered() {
        let bench = confirming(sample, "300ms").await;
        let there = bench.create(bench.full()).await.unwrap();
        bench.arm(sample.operations.delete, &json!({"kind": "ignore"}), 1).await;
        let failed = failure(bench.delete(&there.name).await);
        assert!(failed.is(Code::FailedPrecondition, "WRITE_NOT_APPLIED"), "{failed:#?}");
        assert_eq!(failed.fields, ["name"], "{failed:#?}");
        assert_eq!(failed.resource.as_deref(), Some(there.name.as_str()));
        assert_eq!(cached(&bench, &there.name).await.unwrap(), there, "{}", sample.dialect);
        assert_eq!(bench.sandbox.arrived(sample.operations.delete).await, 1);
        // One that is carried out costs one read.
        let reads = bench.sandbox.arrived(sample.operations.get).await;
        bench.delete(&there.name).await.unwrap();
        assert_eq!(bench.sandbox.arrived(sample.operations.get).await, reads + 1);
    }
}

#[tokio::test]
async fn a_confirmed_one_that_reads_show_late_is_waited_for() {
    for sample in registered() {
        let bench = confirming(sample, "20s").await;
        let there = bench.create(bench.full()).await.unwrap();
        bench.arm(sample.operations.delete, &json!({"kind": "lag", "ms": LAG}), 1).await;
        bench.delete(&there.name).await.unwrap();
        fails(bench.get(&there.name).await, Code::NotFound, "PROFILE_NOT_FOUND");
        assert_eq!(bench.sandbox.arrived(sample.operations.delete).await, 1, "{}", sample.dialect);
    }
}

/// How many profiles were found whose deletions had been acknowledged.
async fn undeleted(bench: &Bench) -> String {
    let metrics = bench.gateway.admin("/metrics").await;
    let labels = format!("{{backend=\"{}\"}} ", bench.sample.upstream);
    let name = format!("profile_gateway_cache_undeleted_profiles_total{labels}");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_believed_one_that_was_not_done_is_counted_when_a_read_shows_the_profile() {
    for sample in registered() {
        for by_list in [false, true] {
            let bench = impatient(sample).await;
            let there = bench.create(bench.full()).await.unwrap();
            bench.arm(sample.operations.delete, &json!({"kind": "ignore"}), 1).await;
            bench.delete(&there.name).await.unwrap();
            assert_eq!(undeleted(&bench).await, "0", "{}", sample.dialect);
            let shows = async || match by_list {
                true => bench.list().await.unwrap().contains(&there),
                false => bench.get(&there.name).await.is_ok_and(|found| found == there),
            };
            until("the profile is found", async || shows().await && undeleted(&bench).await == "1")
                .await;
            assert!(shows().await);
            assert_eq!(undeleted(&bench).await, "1", "{}", sample.dialect);
        }
    }
}

#[tokio::test]
async fn one_with_allow_missing_goes_by_the_deletion_and_not_by_reads_that_lag() {
    for sample in registered() {
        let bench = bench(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        let delete = async |name: &str| {
            let request = DeleteProfileRequest {
                name: name.to_owned(),
                allow_missing: true,
                ..DeleteProfileRequest::default()
            };
            bench.gateway.profiles.clone().delete_profile(request).await.map(drop)
        };
        bench.arm(sample.operations.delete, &json!({"kind": "lag", "ms": 20_000}), 1).await;
        delete(&there.name).await.unwrap();
        fails(cached(&bench, &there.name).await, Code::NotFound, "PROFILE_NOT_FOUND");
        // Reads of the upstream still show it.
        let (again, plain) = (delete(&there.name).await, bench.delete(&there.name).await);
        match sample.dialect {
            // It does not say why a deletion fails.
            "bics-sft" => drop(fails(again, Code::Unknown, "UPSTREAM_FAILURE")),
            _ => {
                again.unwrap();
                fails(plain, Code::NotFound, "PROFILE_NOT_FOUND");
            }
        }
        // One that was never there.
        let missing = bench.name(sample.missing);
        delete(&missing).await.unwrap();
        fails(bench.delete(&missing).await, Code::NotFound, "PROFILE_NOT_FOUND");
        let effects = bench.sandbox.effects().await;
        let deleted = effects.iter().filter(|effect| !effect["deleted"].is_null()).count();
        assert_eq!(deleted, 1, "{}: {effects:?}", sample.dialect);
    }
}
