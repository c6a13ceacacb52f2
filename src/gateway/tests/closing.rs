//! Writes in doubt that someone closes by hand.

use prost::Message as _;

use super::{
    restart::{THREE, next, remembering},
    *,
};
use crate::{
    gateway::idempotency::{Doubt, KeptRequest},
    pb::{CloseDoubtfulWriteRequest, DoubtOutcome, DoubtfulWrite, ListDoubtfulWritesRequest},
    store::Table,
};

pub(super) const TOOK_EFFECT: DoubtOutcome = DoubtOutcome::TookEffect;
pub(super) const NO_EFFECT: DoubtOutcome = DoubtOutcome::HadNoEffect;

pub(super) async fn close(
    bench: &Bench,
    doubt: &Doubt,
    outcome: DoubtOutcome,
) -> Result<DoubtfulWrite> {
    let request = CloseDoubtfulWriteRequest {
        name: format!("backends/fake/doubtfulWrites/{}", doubt.number),
        outcome: outcome.into(),
        note: "by hand".to_owned(),
        profile: String::new(),
    };
    bench.gateway.close_doubtful_write(&call(), &request).await
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_what_someone_has_closed_writes_only_if_that_had_no_effect() {
    for outcome in [NO_EFFECT, TOOK_EFFECT] {
        let bench = bench();
        bench.fake.put(1, Some("old"));
        for _ in 0..3 {
            bench.fake.next(LOST);
        }
        unknown(bench.create(ONE, "a").await);
        unknown(bench.update(TWO, "b").await);
        unknown(bench.delete(THREE).await);
        let doubts = bench.gateway.doubts.store().doubts(0, 9).await.unwrap();
        for doubt in &doubts {
            let early = close(&bench, doubt, NO_EFFECT).await.unwrap_err();
            assert_eq!(early.reason(), Reason::WriteInProgress);
        }
        if outcome == NO_EFFECT {
            advance(MINUTE).await;
        }
        for doubt in &doubts {
            close(&bench, doubt, outcome).await.unwrap();
        }
        let created = bench.create(ONE, "a").await;
        let updated = bench.update(TWO, "b").await.unwrap();
        bench.delete(THREE).await.unwrap();
        if outcome == NO_EFFECT {
            created.unwrap();
            assert_eq!(bench.fake.writes(), 6);
            continue;
        }
        // No one has said which profile it is.
        let created = created.unwrap_err();
        assert_eq!(created.reason(), Reason::RequestIdReused);
        assert!(created.message().contains("an operator has found"), "{created}");
        assert_eq!((updated.display_name.as_str(), updated.etag.as_str()), ("b", ""));
        assert_eq!(bench.fake.writes(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_a_backend_that_is_not_configured_any_more_is_listed_and_closed() {
    let (bench, store) = remembering();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update(TWO, "b").await);
    for ((table, _), value) in store.entries.lock().iter_mut() {
        if *table == Table::Requests {
            let kept = KeptRequest::decode(value.as_ref()).unwrap();
            let resource = "backends/gone/profiles/1".to_owned();
            *value = KeptRequest { resource, ..kept }.encode_to_vec().into();
        }
    }
    let (bench, store) = next(&bench, &store);
    let list = async |parent: &str| {
        let request = ListDoubtfulWritesRequest { parent: parent.to_owned(), ..Default::default() };
        bench.gateway.list_doubtful_writes(&call(), &request).await
    };
    let listed = list("backends/-").await.unwrap().doubtful_writes;
    assert_eq!(listed.len(), 1);
    assert_eq!(list("backends/fake").await.unwrap().doubtful_writes, []);
    let close = async |name: String| {
        let (outcome, note) = (TOOK_EFFECT.into(), "by hand".to_owned());
        let request = CloseDoubtfulWriteRequest { name, outcome, note, profile: String::new() };
        bench.gateway.close_doubtful_write(&call(), &request).await
    };
    let other = close("backends/gone/doubtfulWrites/7".to_owned()).await.unwrap_err();
    assert_eq!(other.reason(), Reason::BackendNotFound);
    store.is_full(true);
    let refused = close(listed[0].name.clone()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::StoreUnavailable);
    store.is_full(false);
    assert_eq!(close(listed[0].name.clone()).await.unwrap().resource, "backends/gone/profiles/1");
    assert_eq!(list("backends/-").await.unwrap().doubtful_writes, []);
}
