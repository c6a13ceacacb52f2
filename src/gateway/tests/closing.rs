//! Writes in doubt that someone closes by hand.

use super::{restart::THREE, *};
use crate::{
    gateway::idempotency::Doubt,
    pb::{CloseDoubtfulWriteRequest, DoubtOutcome, DoubtfulWrite},
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
