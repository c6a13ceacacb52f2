//! A creation without an answer, of which the upstream has kept only a part: other values, or the
//! rest of a name. What is there may be the new profile, so it is never ruled out.

use std::time::Duration;

use futures_util::future::join_all;
use profile_gateway::pb::{CreateProfileRequest, Profile};
use serde_json::{Value, json};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::{
    conformance::{
        bench::{self, Bench},
        samples::registered,
    },
    kit::{later, status::failure},
};

const SENT: &str = "Fl\u{f6}tte 7";

/// What the upstream has made of a profile of that name: the name, and whether the values are those
/// that were asked for.
const KEPT: [(&str, bool); 7] = [
    (SENT, false),
    ("FL\u{d6}TTE 7", false),
    ("Fl\u{f6}", true),
    ("F", true),
    ("Fl\u{c3}\u{b6}tte 7", true),
    ("Fltte_7", true),
    ("", true),
];

async fn create(bench: &Bench, name: &str, id: &str) -> Result<Profile, Status> {
    let asked = Profile { display_name: name.to_owned(), ..bench.full() };
    let request = CreateProfileRequest {
        parent: bench.parent(),
        profile: Some(asked),
        request_id: id.to_owned(),
        validate_only: false,
    };
    bench.gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
}

fn is_unknown(result: Result<Profile, Status>, what: &str) {
    let failed = failure(result);
    assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN", "{what}: {failed:#?}");
}

async fn creations(bench: &Bench) -> usize {
    let create = bench.sample.operations.create;
    bench.writes().await.iter().filter(|entry| entry["operation"] == create).count()
}

/// A profile as it is there, which nothing has.
async fn raw(bench: &Bench, profile: Profile) -> Value {
    let there = bench.create(profile).await.unwrap();
    let mut raw = bench.raw_named(&there.display_name).await.remove(0);
    raw.as_object_mut().unwrap().remove("id");
    bench.delete(&there.name).await.unwrap();
    raw
}

#[tokio::test]
async fn what_may_be_left_of_a_profile_is_never_ruled_out() {
    let cells = registered().into_iter().flat_map(|sample| KEPT.map(|kept| (sample, kept)));
    let cells = cells.map(async |(sample, (name, has_values))| {
        let bench = bench::within("2s", sample).await;
        let values = if has_values { bench.full() } else { bench.other() };
        let mut kept = raw(&bench, values).await;
        kept[sample.raw_name] = json!(name);
        // Lost at first, so that the call finds nothing.
        let lost = json!({"kind": "drop"});
        bench.arm(sample.operations.create, &lost, 1).await;
        let id = Uuid::new_v4().to_string();
        is_unknown(create(&bench, SENT, &id).await, "lost");
        let own = if sample.upstream == "sft" { "SP_98765" } else { "98765" };
        bench.sandbox.put_raw(sample.upstream, own, &kept).await;
        (bench, id, format!("{} {name:?} {has_values}", sample.dialect))
    });
    let cells = join_all(cells).await;
    later(Duration::from_secs(62)).await;
    for (bench, id, what) in cells {
        let before = creations(&bench).await;
        is_unknown(create(&bench, SENT, &id).await, &what);
        assert_eq!(creations(&bench).await, before, "{what}");
    }
}

#[tokio::test]
async fn the_callers_own_profile_of_a_shorter_name_leaves_no_doubt() {
    let benches = join_all(registered().into_iter().map(|s| bench::within("2s", s))).await;
    let id = Uuid::new_v4().to_string();
    for bench in &benches {
        let lost = json!({"kind": "drop"});
        bench.arm(bench.sample.operations.create, &lost, 1).await;
        is_unknown(create(bench, "Fleet 12", &id).await, "lost");
        let other = Profile { display_name: "Fleet 1".to_owned(), ..bench.full() };
        bench.create(other).await.unwrap();
    }
    later(Duration::from_secs(62)).await;
    for bench in &benches {
        let created = create(bench, "Fleet 12", &id).await.unwrap();
        assert_eq!(created.display_name, "Fleet 12", "{}", bench.sample.dialect);
    }
}
