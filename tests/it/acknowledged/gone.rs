//! Acknowledged writes of profiles that reads do not find afterward.

use serde_json::{Value, json};
use tonic::Code;

use super::{impatient, renamed};
use crate::{
    conformance::{
        bench::{Bench, bench},
        samples::{Sample, registered},
    },
    kit::status::fails,
};

/// The answer of each vendor to a read of a profile that is not there.
fn not_found(sample: Sample) -> Value {
    match sample.upstream {
        "sft" => json!({"kind": "result", "code": "1359"}),
        "pcc" => json!({"kind": "status", "status": 404, "body": ""}),
        "endpoint" => json!({"kind": "result", "code": "1201"}),
        other => panic!("how does {other} say that there is no such profile?"),
    }
}

/// How many reads come before the write of an update.
fn reads_before(sample: Sample) -> usize {
    if sample.upstream == "pcc" { 2 } else { 1 }
}

async fn loses_sight_of_an_update(bench: &Bench, reads: u64) {
    let (sample, fault) = (bench.sample, not_found(bench.sample));
    bench.arm_later(sample.operations.get, &fault, reads, reads_before(sample)).await;
}

#[tokio::test]
async fn a_change_after_which_there_is_no_such_profile_is_not_applied() {
    for sample in registered() {
        let bench = impatient(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        loses_sight_of_an_update(&bench, 0).await;
        let updated = bench.update(renamed(&there), &["display_name"]).await;
        let failed = fails(updated, Code::FailedPrecondition, "WRITE_NOT_APPLIED");
        assert_eq!(failed.fields, ["profile"], "{failed:#?}");
        assert!(failed.message.contains("no such profile"), "{failed:#?}");
        assert_eq!(bench.sandbox.arrived(sample.operations.update).await, 1, "{}", sample.dialect);
    }
}

#[tokio::test]
async fn a_change_of_a_profile_that_shows_late_is_waited_for() {
    for sample in registered() {
        let bench = bench(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        loses_sight_of_an_update(&bench, 2).await;
        let updated = bench.update(renamed(&there), &["display_name"]).await.unwrap();
        assert_ne!(updated.etag, "", "{}: what was asked for, unread", sample.dialect);
        assert_eq!(updated, bench.get(&there.name).await.unwrap());
    }
}

/// A creation of several steps, after the first of which reads lose sight of the profile.
fn of_several_steps() -> Sample {
    registered().into_iter().find(|sample| sample.upstream == "endpoint").unwrap()
}

#[tokio::test]
async fn a_completed_profile_that_is_lost_sight_of_is_waited_for() {
    let bench = bench(of_several_steps()).await;
    bench.arm_later("GetProfile", &not_found(bench.sample), 2, 1).await;
    let created = bench.create(bench.full()).await.unwrap();
    assert_ne!(created.etag, "");
    assert_eq!(created, bench.get(&created.name).await.unwrap());
}

#[tokio::test]
async fn a_completed_profile_that_is_gone_is_not_applied() {
    let bench = impatient(of_several_steps()).await;
    bench.arm_later("GetProfile", &not_found(bench.sample), 0, 1).await;
    let asked = bench.full();
    let failed = bench.create(asked.clone()).await;
    let failed = fails(failed, Code::FailedPrecondition, "WRITE_NOT_APPLIED");
    assert_eq!(failed.fields, ["profile"], "{failed:#?}");
    let there = bench.raw_named(&asked.display_name).await;
    let id = there[0]["id"].to_string();
    assert_eq!(failed.meta("profile_id"), id.trim_matches('"'));
}
