//! What an upstream does not say of an acknowledged write: the same for creations and updates.

use profile_gateway::pb::Profile;
use serde_json::json;
use tonic::Code;

use super::impatient;
use crate::{
    conformance::{
        bench::{Bench, bench, only, with},
        samples::{Sample, registered},
    },
    kit::status::fails,
};

/// The fields whose members always have a value, so that an answer without one leaves it open.
fn always_told(sample: Sample) -> &'static [(&'static str, &'static str)] {
    match sample.upstream {
        "sft" => &[("state", "status")],
        "pcc" => &[("default_profile", "defaultProfile"), ("notifications.eos", "eosNotification")],
        "endpoint" => &[("retail", "retail"), ("payment_type", "prepaid"), ("network.dns", "dns")],
        other => panic!("what do the answers of {other} always say?"),
    }
}

/// A field that is unset where an answer does not say it.
fn unset_if_absent(sample: Sample) -> Option<(&'static str, &'static str)> {
    match sample.upstream {
        // All of its members have to be there.
        "sft" => None,
        "pcc" => Some(("subscriber.locale", "locale")),
        "endpoint" => Some(("description", "description")),
        other => panic!("what can be unset in {other}?"),
    }
}

async fn hides(bench: &Bench, member: &str) {
    let fault = json!({"kind": "missing", "members": [member]});
    bench.arm(bench.sample.operations.get, &fault, 0).await;
}

#[tokio::test]
async fn a_flag_that_is_not_told_agrees() {
    for sample in registered() {
        let bench = bench(sample).await;
        for (path, member) in always_told(sample) {
            let what = format!("{} {path}", sample.dialect);
            let there = bench.create(bench.full()).await.unwrap();
            hides(&bench, member).await;
            let changed = only(&there.name, path, &bench.other());
            let updated = bench.update(changed, &[path]).await;
            assert_eq!(updated.expect(&what).name, there.name);
            bench.create(bench.full()).await.expect(&what);
            bench.sandbox.calm().await;
            let after = bench.get(&there.name).await.unwrap();
            assert_eq!(with(&after, path, &bench.other()), after, "{what}");
        }
    }
}

#[tokio::test]
async fn a_text_that_is_not_there_is_not_applied() {
    for sample in registered() {
        let Some((path, member)) = unset_if_absent(sample) else { continue };
        let bench = impatient(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        hides(&bench, member).await;
        let changed = only(&there.name, path, &bench.other());
        let updated = bench.update(changed, &[path]).await.map(drop);
        let created = bench.create(bench.full()).await.map(drop);
        for result in [updated, created] {
            let failed = fails(result, Code::FailedPrecondition, "WRITE_NOT_APPLIED");
            assert_eq!(failed.fields, [format!("profile.{path}")], "{failed:#?}");
        }
    }
}

#[tokio::test]
async fn an_ignored_change_of_a_flag_is_not_applied() {
    for sample in registered() {
        let bench = impatient(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        for (path, _) in always_told(sample) {
            bench.arm(sample.operations.update, &json!({"kind": "ignore"}), 1).await;
            let changed: Profile = only(&there.name, path, &bench.other());
            let updated = bench.update(changed, &[path]).await;
            let failed = fails(updated, Code::FailedPrecondition, "WRITE_NOT_APPLIED");
            assert_eq!(failed.fields, [format!("profile.{path}")], "{failed:#?}");
        }
    }
}
