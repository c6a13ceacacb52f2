//! What the ledger of the next process finds, and what it does about a disk that stops to answer.

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::store::{Change, Entry, File, Kept, Outlives, StoreMetrics, Table, Unavailable};

#[tokio::test]
async fn the_next_process_knows_what_was_sent_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let process = || {
        let kept = Arc::new(File::open(directory.path(), StoreMetrics::default()).unwrap());
        (Tested::of(ledger(ROOMY, kept.clone())), kept)
    };
    let (store, kept) = process();
    done(&store, 1, b"result").await;
    unknown(&store, 2, b"two").await;
    let (running, begun) = (sent(&store, 3).await, fresh(&store, 4).await);
    sent(&store, 5).await.finish(End::Failed(Error::new(Reason::Overloaded, "x"))).await;
    // It dies.
    std::mem::forget((running, begun));
    kept.close();
    drop((store, kept));

    for _ in 0..2 {
        let (store, kept) = process();
        assert_eq!(state(&store, 1).await, "done result");
        assert_eq!(state(&store, 2).await, "unknown two 0");
        assert_eq!(state(&store, 3).await, "unknown  0");
        assert_eq!(state(&store, 4).await, "fresh");
        assert_eq!(state(&store, 5).await, "fresh");
        assert_eq!(store.size().0, 3);
        kept.close();
        drop((store, kept));
    }
}

/// A store whose disk stops to answer once writes are sent.
struct Hung;

impl Store for Hung {
    fn outlives(&self) -> Outlives {
        Outlives::Restarts
    }

    fn load(&self, _: Table) -> Vec<Entry> {
        Vec::new()
    }

    fn put(&self, _: Vec<Change>) -> Kept {
        Kept::known(Ok(()))
    }

    fn trouble(&self) -> Option<Unavailable> {
        None
    }

    fn end(&self, _: Vec<Change>) -> Kept {
        Kept::never()
    }

    fn note(&self, _: Vec<Change>) {}

    fn close(&self) {}
}

#[tokio::test(start_paused = true)]
async fn a_success_that_the_disk_does_not_take_in_time_is_no_doubt() {
    let store = Tested::of(ledger(ROOMY, Arc::new(Hung)));
    let end = sent(&store, 1).await.finish(End::Done(Bytes::from_static(b"made")));
    assert!(timeout(SECOND, end).await.is_err(), "its caller waits no longer");
    assert_eq!(store.doubts(0, 9).await.unwrap().len(), 0);
    assert_eq!(state(&store, 1).await, "done made");
}

#[tokio::test(start_paused = true)]
async fn what_is_done_without_an_intent_takes_no_room() {
    let store = Tested::of(ledger(ROOMY, memory()));
    fresh(&store, 1).await.finish(End::Done(Bytes::new())).await;
    assert_eq!(store.size(), (0, 0));
    assert_eq!(state(&store, 1).await, "fresh");
}
