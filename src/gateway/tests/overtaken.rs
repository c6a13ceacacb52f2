//! The gateway looks after a write, and someone closes it at the worst moment: between what the
//! look has found and what is done with it.

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    completing::half_made,
    restart::{remembering, with_doubt},
    *,
};
use crate::gateway::idempotency::{
    Attempter, Begin, Closed, Closing, Doubt, End, RequestIdentity, RequestKey, Settler, Settling,
    Unsettled,
};

/// A ledger whose doubts an operator closes right before the gateway itself ends them, or goes on.
struct Overtaken(Ledger);

impl Overtaken {
    async fn close_all(&self) {
        for doubt in self.0.doubts(0, 9).await.unwrap() {
            let closed = self.0.close(&doubt, Closing::NoEffect).await.unwrap();
            assert!(matches!(closed, Closed::Closed(_) | Closed::Attended));
        }
    }
}

#[async_trait]
impl IdempotencyStore for Overtaken {
    fn guarantee(&self) -> &str {
        self.0.guarantee()
    }

    fn kept_for(&self) -> Duration {
        self.0.kept_for()
    }

    async fn begin(&self, identity: &RequestIdentity, attempter: Attempter) -> Result<Begin> {
        self.0.begin(identity, attempter).await
    }

    async fn intend(&self, key: RequestKey, attempt: u64, intent: Bytes) -> Result<()> {
        self.0.intend(key, attempt, intent).await
    }

    async fn finish(&self, key: RequestKey, attempt: u64, end: End) -> Result<bool> {
        self.close_all().await;
        self.0.finish(key, attempt, end).await
    }

    fn abandon(&self, key: RequestKey, attempt: u64) {
        self.0.abandon(key, attempt);
    }

    async fn doubts(&self, after: u64, limit: usize) -> Result<Vec<Doubt>> {
        self.0.doubts(after, limit).await
    }

    async fn settle(&self, number: u64, settler: Settler) -> Result<Settling> {
        self.0.settle(number, settler).await
    }

    async fn goes_on(&self, key: RequestKey, attempt: u64) -> Result<()> {
        self.close_all().await;
        self.0.goes_on(key, attempt).await
    }

    async fn leave(&self, key: RequestKey, attempt: u64, why: Unsettled) -> Result<()> {
        self.0.leave(key, attempt, why).await
    }

    async fn close(&self, doubt: &Doubt, closing: Closing) -> Result<Closed> {
        self.0.close(doubt, closing).await
    }

    async fn dropped(&self) -> Result<Vec<Doubt>> {
        self.0.dropped().await
    }
}

fn overtaken(fake: Fake, store: Arc<dyn Store>) -> (Bench, AuditLog) {
    let log = AuditLog::in_memory(usize::MAX);
    let requests = |ledger| Arc::new(Overtaken(ledger)) as Arc<dyn IdempotencyStore>;
    let parts = Parts { log: log.clone(), requests, ..Parts::default() };
    (parts.over(fake, store), log)
}

#[tokio::test(start_paused = true)]
async fn a_look_that_comes_too_late_leaves_no_record_of_its_own() {
    for takes_effect in [true, false] {
        let (dying, store) = remembering();
        dying.fake.next(if takes_effect { Ends::Hangs } else { LOST });
        let creating = with_doubt(&dying);
        tokio::spawn(async move { creating.create("", "a").await });
        sleep(Duration::from_millis(1)).await;
        let (bench, log) = overtaken(dying.fake, store.next());
        let _tasks = bench.settles();
        sleep(5 * MINUTE).await;
        assert_eq!(bench.doubts().await.len(), 0);
        let settled: Vec<String> =
            log.lines().into_iter().filter(|line| line.contains("of unknown outcome")).collect();
        assert_eq!(settled, [""; 0], "who has closed it has one");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_closed_before_it_is_completed_is_not_and_its_journal_line_has_an_end() {
    let (fake, store) = half_made(Duration::ZERO).await;
    let (bench, log) = overtaken(fake.clone(), store);
    let _tasks = bench.settles();
    sleep(5 * MINUTE).await;
    assert_eq!((fake.finished(), bench.doubts().await.len()), (0, 0));
    let [journaled, ended] = <[String; 2]>::try_from(log.lines()).unwrap();
    assert!(journaled.contains("about to complete a profile"), "{journaled}");
    assert!(ended.contains(r#""outcome":"CALLER_CANCELLED""#), "{ended}");
}
