//! What a person says of a write in doubt decides what a repeat gets.

use std::time::Duration;

use futures_util::future::join_all;
use profile_gateway::pb::{DoubtOutcome, DoubtState, Profile};
use serde_json::json;
use tonic::Code;

use super::{Lost, benches, blind, close, doubts, lost};
use crate::{
    conformance::bench::Bench,
    kit::{later, status::fails, until},
    request_ids::{
        ONE, THREE, TWO, arrived, change, create, creation, delete, deletion, renamed, update,
    },
};

/// A profile like another one, which was not made through the gateway.
async fn made(bench: &Bench, like: &Profile) -> String {
    let mut raw = bench.raw_named(&like.display_name).await.remove(0);
    raw.as_object_mut().unwrap().remove("id");
    bench.sandbox.put_raw(bench.sample.upstream, bench.sample.missing, &raw).await;
    bench.name(bench.sample.missing)
}

#[tokio::test]
async fn a_profile_that_does_not_exist_is_not_what_a_creation_has_made() {
    let test = async |bench: &Bench| {
        let Lost { there, asked, writes } = lost(bench, THREE).await;
        let (creation_in_doubt, missing) = (&writes[0].name, bench.name(bench.sample.missing));
        let refused = close(bench, creation_in_doubt, DoubtOutcome::TookEffect, &missing).await;
        let refused = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
        assert_eq!(refused.fields, ["profile"], "{}", bench.sample.dialect);
        assert_eq!(doubts(bench).await.len(), writes.len());

        // Where it cannot be read, no one knows better.
        blind(bench).await;
        close(bench, creation_in_doubt, DoubtOutcome::TookEffect, &missing).await.unwrap();
        bench.sandbox.calm().await;
        let repeat = create(bench, creation(bench, ONE, &asked)).await.unwrap();
        assert_eq!(repeat.name, missing);
        bench.get(&there.name).await.unwrap();
    };
    join_all(benches().await.iter().map(test)).await;
}

#[tokio::test]
async fn a_repeat_of_one_that_took_effect_succeeds_and_writes_nothing() {
    let test = async |bench: &Bench| {
        let Lost { there, asked, writes } = lost(bench, THREE).await;
        let (sent, made) = (bench.writes().await.len(), made(bench, &there).await);
        for (write, profile) in writes.iter().zip([made.as_str(), "", ""]) {
            let took_effect = DoubtOutcome::TookEffect;
            let closed = close(bench, &write.name, took_effect, profile).await.unwrap();
            assert_eq!((closed.name.as_str(), &closed.call_id), (&*write.name, &write.call_id));
            let again = close(bench, &write.name, took_effect, profile).await;
            let again = fails(again, Code::NotFound, "DOUBTFUL_WRITE_NOT_FOUND");
            assert_eq!(again.resource.as_deref(), Some(write.name.as_str()));
        }
        assert_eq!(doubts(bench).await, []);
        let created = create(bench, creation(bench, ONE, &asked)).await.unwrap();
        assert_eq!((&created.name, &created.display_name), (&made, &asked.display_name));
        assert_eq!(created.etag, "", "it was not read");
        let changed = update(bench, change(TWO, &renamed(&there, "Renamed"))).await.unwrap();
        assert_eq!((&changed.name, changed.display_name.as_str()), (&there.name, "Renamed"));
        assert_eq!((changed.dialect, changed.etag.as_str()), (there.dialect, ""));
        delete(bench, deletion(THREE, &there.name)).await.unwrap();
        assert_eq!(bench.writes().await.len(), sent, "{}", bench.sample.dialect);
    };
    join_all(benches().await.iter().map(test)).await;
}

#[tokio::test]
async fn a_creation_that_took_effect_without_a_known_profile_is_not_written_again() {
    for bench in benches().await {
        let Lost { asked, writes, .. } = lost(&bench, THREE).await;
        let sent = bench.writes().await.len();
        close(&bench, &writes[0].name, DoubtOutcome::TookEffect, "").await.unwrap();
        let repeat = create(&bench, creation(&bench, ONE, &asked)).await;
        fails(repeat, Code::InvalidArgument, "REQUEST_ID_REUSED");
        assert_eq!(bench.writes().await.len(), sent, "{}", bench.sample.dialect);
    }
}

#[tokio::test]
async fn a_repeat_of_one_that_had_no_effect_is_sent_again_when_none_can_come() {
    for bench in benches().await {
        let Lost { there, asked, writes } = lost(&bench, THREE).await;
        blind(&bench).await;
        let no_effect = DoubtOutcome::HadNoEffect;
        for write in &writes {
            let early = close(&bench, &write.name, no_effect, "").await;
            let early = fails(early, Code::FailedPrecondition, "WRITE_IN_PROGRESS");
            let wait = early.retry.unwrap();
            assert!(Duration::ZERO < wait && wait <= Duration::from_secs(60), "{wait:?}");
        }
        later(Duration::from_secs(61)).await;
        for write in &writes {
            close(&bench, &write.name, no_effect, "").await.unwrap();
        }
        assert_eq!(doubts(&bench).await, []);
        bench.sandbox.calm().await;
        create(&bench, creation(&bench, ONE, &asked)).await.unwrap();
        update(&bench, change(TWO, &renamed(&there, "Renamed"))).await.unwrap();
        delete(&bench, deletion(THREE, &there.name)).await.unwrap();
        let operations = bench.sample.operations;
        assert_eq!(arrived(&bench, operations.create).await, 3, "{}", bench.sample.dialect);
        assert_eq!(arrived(&bench, operations.update).await, 2, "{}", bench.sample.dialect);
        assert_eq!(arrived(&bench, operations.delete).await, 2, "{}", bench.sample.dialect);
    }
}

#[tokio::test]
async fn one_that_a_call_is_finding_out_is_not_closed() {
    for bench in benches().await {
        let Lost { there, writes, .. } = lost(&bench, THREE).await;
        let get = bench.sample.operations.get;
        bench.arm(get, &json!({"kind": "hang"}), 0).await;
        let repeat = async {
            let asked = change(TWO, &renamed(&there, "Renamed"));
            // A repeat that has ended does not hold it any longer.
            loop {
                let repeat = update(&bench, asked.clone()).await;
                assert!(repeat.is_err(), "{repeat:?}");
            }
        };
        let is_at_it = async || {
            let write = doubts(&bench).await.into_iter().find(|write| write.name == writes[1].name);
            write.unwrap().state() == DoubtState::InProgress
        };
        let refused = async {
            until("the repeat", is_at_it).await;
            close(&bench, &writes[1].name, DoubtOutcome::TookEffect, "").await
        };
        tokio::select! {
            () = repeat => {}
            refused = refused => {
                fails(refused, Code::FailedPrecondition, "WRITE_IN_PROGRESS");
            }
        }
    }
}
