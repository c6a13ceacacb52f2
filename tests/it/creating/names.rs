//! Names that the upstream stores in another spelling than they were sent.

use std::time::Duration;

use futures_util::future::join_all;
use profile_gateway::pb::{CreateProfileRequest, Profile, UpdateProfileRequest};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use crate::{
    conformance::{
        bench::{self, Bench},
        samples::registered,
    },
    kit::{
        later, model,
        status::{fails, failure},
    },
};

const ID: &str = "123e4567-e89b-12d3-a456-426614174abc";

/// A name, what the upstream does to it, and what it stores.
const SPELLINGS: [(&str, &str, &str); 6] = [
    ("Fleet   of  trucks", "collapse", "Fleet of trucks"),
    ("Cafe\u{301} de Paris", "nfc", "Caf\u{e9} de Paris"),
    ("R&D <lab>", "escape", "R&amp;D &lt;lab&gt;"),
    ("A fleet of twenty trucks", "cut", "A fleet of twenty tr"),
    // Regression: what follows the last `&` was taken for half an escape.
    ("Research & Development fleet", "cut", "Research & Developme"),
    ("The Fleet", "fold", "the fleet"),
];

/// More of the same, which take no time of their own.
const CUT: [(&str, &str, &str); 3] = [
    ("R&D laboratory of Lyon", "cut", "R&D laboratory of Ly"),
    ("<<A&B>> of all the trucks", "cut", "<<A&B>> of all the t"),
    ("The laboratory of R&D Lyon", "cut", "The laboratory of R&"),
];

/// Of a name that has lost something, a lost answer leaves open whose it is.
fn keeps_all(how: &str) -> bool {
    !["cut", "fold"].contains(&how)
}

async fn benches(time: &str) -> Vec<Bench> {
    join_all(registered().into_iter().map(|sample| bench::within(time, sample))).await
}

fn fault(how: &str, lost: bool) -> Value {
    json!({"kind": "respell", "how": how, "lost": lost})
}

async fn create(bench: &Bench, name: &str) -> Result<Profile, Status> {
    let request = CreateProfileRequest {
        parent: bench.parent(),
        profile: Some(Profile { display_name: name.to_owned(), ..bench.full() }),
        request_id: ID.to_owned(),
        validate_only: false,
    };
    bench.gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
}

async fn creations(bench: &Bench) -> usize {
    let create = bench.sample.operations.create;
    bench.writes().await.iter().filter(|entry| entry["operation"] == create).count()
}

#[tokio::test]
async fn a_created_profile_is_known_in_whatever_spelling() {
    for bench in benches("20s").await {
        for (name, how, stored) in SPELLINGS.into_iter().chain(CUT) {
            let what = format!("{} {how} {name}", bench.sample.dialect);
            bench.arm(bench.sample.operations.create, &fault(how, false), 1).await;
            let profile = Profile { display_name: name.to_owned(), ..bench.full() };
            let created = bench.create(profile.clone()).await.unwrap();
            assert_eq!(created.display_name, stored, "{what}");
            assert_eq!(created.services.len(), profile.services.len(), "{what}");
            assert_eq!(bench.raw_named(stored).await.len(), 1, "{what}");
        }
    }
}

#[tokio::test]
async fn a_lost_creation_is_never_written_twice_in_whatever_spelling() {
    let cells = SPELLINGS.into_iter().chain(CUT).map(async |(name, how, stored)| {
        for bench in benches("4s").await {
            let what = format!("{} {how} {name}", bench.sample.dialect);
            bench.arm(bench.sample.operations.create, &fault(how, true), 1).await;
            let first = create(&bench, name).await;
            match keeps_all(how) {
                true => assert_eq!(first.unwrap().display_name, stored, "{what}"),
                false => drop(fails(first, Code::Unknown, "WRITE_OUTCOME_UNKNOWN")),
            }
            assert_eq!(creations(&bench).await, 1, "{what}");
            assert_eq!(bench.raw_named(stored).await.len(), 1, "{what}");
        }
    });
    join_all(cells).await;
}

#[tokio::test]
async fn a_repeat_never_writes_what_is_there_in_another_spelling() {
    for bench in benches("4s").await {
        for (name, how, stored) in SPELLINGS {
            let what = format!("{} {how}", bench.sample.dialect);
            let (id, before) = (uuid::Uuid::new_v4().to_string(), creations(&bench).await);
            let request = CreateProfileRequest {
                parent: bench.parent(),
                profile: Some(Profile { display_name: name.to_owned(), ..bench.full() }),
                request_id: id,
                validate_only: false,
            };
            let mut client = bench.gateway.profiles.clone();
            bench.arm(bench.sample.operations.create, &fault(how, true), 1).await;
            // The call itself finds nothing out: no list after the first.
            let blind = json!({"kind": "status", "status": 503});
            bench.arm_later(bench.sample.operations.list, &blind, 0, 1).await;
            let first = client.create_profile(request.clone()).await;
            fails(first, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
            bench.sandbox.calm().await;
            later(Duration::from_secs(62)).await;
            let repeat = client.create_profile(request).await.map(Response::into_inner);
            match keeps_all(how) {
                true => assert_eq!(repeat.unwrap().display_name, stored, "{what}"),
                false => drop(fails(repeat, Code::Unknown, "WRITE_OUTCOME_UNKNOWN")),
            }
            assert_eq!(creations(&bench).await, before + 1, "{what}");
        }
    }
}

#[tokio::test]
async fn a_creation_without_a_body_in_its_answer_is_known_in_whatever_spelling() {
    let sample = registered().into_iter().find(|sample| sample.upstream == "pcc").unwrap();
    let bench = bench::within("20s", sample).await;
    bench.sandbox.set("pcc", &json!({"create_status": 204})).await;
    for (name, how, stored) in SPELLINGS {
        bench.arm("CreateProfile", &fault(how, false), 1).await;
        let profile = Profile { display_name: name.to_owned(), ..bench.full() };
        let created = bench.create(profile).await.unwrap();
        assert_eq!(created.display_name, stored, "{how}");
        assert_eq!(bench.get(&created.name).await.unwrap(), created, "{how}");
    }
}

#[tokio::test]
async fn a_rename_is_known_in_whatever_spelling() {
    for bench in benches("20s").await {
        for (name, how, stored) in SPELLINGS {
            for lost in [false, true] {
                let what = format!("{} {how} {lost}", bench.sample.dialect);
                let there = bench.create(bench.full()).await.unwrap();
                bench.arm(bench.sample.operations.update, &fault(how, lost), 1).await;
                let renamed = Profile { display_name: name.to_owned(), ..Profile::default() };
                let request = UpdateProfileRequest {
                    profile: Some(Profile { name: there.name.clone(), ..renamed }),
                    update_mask: Some(model::mask(&["display_name"])),
                    ..UpdateProfileRequest::default()
                };
                let answer = bench.gateway.profiles.clone().update_profile(request).await;
                assert_eq!(answer.unwrap().into_inner().display_name, stored, "{what}");
                bench.delete(&there.name).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn blanks_around_a_name_are_refused_before_anything_is_sent() {
    for bench in benches("20s").await {
        let there = bench.create(bench.full()).await.unwrap();
        let sent = bench.sandbox.journal().await.len();
        for name in [
            " x",
            "x ",
            "\u{a0}x",
            "x\u{3000}",
            "x\u{200b}",
            "\u{feff}x",
            "x\u{2060}",
            "\u{ad}x",
            "\u{200e}x",
            "x\u{3164}",
            "\u{2800}",
        ] {
            let created = bench.create(Profile { display_name: name.into(), ..bench.full() }).await;
            let updated = Profile { display_name: name.into(), ..there.clone() };
            let updated = bench.update(updated, &["display_name"]).await;
            for result in [created, updated] {
                let failed = failure(result);
                assert!(failed.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{failed:#?}");
                assert_eq!(failed.fields, ["profile.display_name"], "{name:?}");
            }
        }
        assert_eq!(bench.sandbox.journal().await.len(), sent);
    }
}
