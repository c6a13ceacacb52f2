//! What the ledger of the next process finds.

use super::*;

#[tokio::test]
async fn the_next_process_knows_what_was_sent_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let process = || {
        let limits = Limits { kept_for: KEPT, entries: 10, bytes: 1 << 20, share_percent: 100 };
        let kept = Arc::new(File::open(directory.path(), StoreMetrics::default()).unwrap());
        let ledger = Ledger::load(limits, RequestIdMetrics::default(), kept.clone()).unwrap();
        (Arc::new(ledger), kept)
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
