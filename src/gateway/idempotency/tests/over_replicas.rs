//! What is of two replicas that share a real server, in real time: what one does, the other knows.
//! That each of them does what any store has to is in the suite.

mod doubts;

use std::sync::Weak;

use super::*;
use crate::{
    call::Writes,
    gateway::{
        agreement::{Agreement, NoTurn, Rules, SharedWrite},
        idempotency::Shared,
    },
    shared::{
        Acknowledge, SharedMetrics, SharedSettings, WhenUnreachable,
        connection::{Server, Supervisor},
        membership::{Following, Membership},
        protocol::{Memory, Process, Target, Timing, WriteId},
        redis_server::RedisServer,
    },
    telemetry::Registry,
    upstream::Permit as _,
};

const TIMING: Timing = Timing {
    lease: Duration::from_millis(2_000),
    grace: Duration::from_millis(2_100),
    settle: MINUTE,
    longest_lag: SECOND,
};

struct Nothing;

impl Memory for Nothing {
    fn opened(&mut self, _: WriteId, _: &Target) {}
    fn closed(&mut self, _: WriteId, _: &Target, _: bool) {}
    fn outdate(&mut self, _: Option<&Target>) {}
}

/// A replica.
pub(super) struct Replica {
    store: Arc<Shared>,
    ledger: Arc<Ledger>,
    agreement: Arc<Agreement>,
    member: Arc<Membership>,
    _supervisor: Supervisor,
}

impl Replica {
    pub(super) async fn of(server: &RedisServer, rules: Rules) -> Self {
        Self::over(server, rules, ledger(ROOMY, memory())).await
    }

    pub(super) async fn over(server: &RedisServer, rules: Rules, ledger: Arc<Ledger>) -> Self {
        let (process, memory) = (Process::new(), Box::new(Nothing));
        let member = Arc::new(Membership::new("test", TIMING, KEPT, process, memory));
        let metrics = SharedMetrics::register(&mut Registry::new("0.0.0"));
        let url = format!("unix:{}", server.socket().display());
        let settings =
            SharedSettings { url: Some(url.parse().unwrap()), ..SharedSettings::default() };
        let session = Arc::new(Following::new(Arc::clone(&member), metrics.clone()));
        let server = Server::new(&settings).unwrap();
        let supervisor = Supervisor::start(server, session, metrics.clone());
        let writes = Writes::default();
        let agreement = Agreement::new(Arc::clone(&member), metrics, rules, writes);
        let agreement = Arc::new(agreement);
        let store = Arc::new(Shared::new(Arc::clone(&ledger), Arc::clone(&agreement)));
        let replica = Self { store, ledger, agreement, member, _supervisor: supervisor };
        replica.serves().await;
        replica
    }

    async fn serves(&self) {
        while !(self.member.is_up() && self.member.may_serve()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn begin(&self, id: u128) -> Begin {
        self.store.begin(&identity(id), by()).await.unwrap()
    }

    async fn fresh(&self, id: u128) -> Attempt {
        match self.begin(id).await {
            Begin::Fresh(number) => Attempt::new(self.store.clone(), key(id), number),
            other => panic!("{other:?}"),
        }
    }

    /// The turn of a profile, if it can be had now.
    async fn turn(&self, of: &str) -> Result<Arc<SharedWrite>, NoTurn> {
        self.agreement.take_turn(of.into(), Instant::now() + MINUTE, None).await
    }

    /// The same when it can be had.
    pub(super) async fn next_turn(&self, of: &str) -> Arc<SharedWrite> {
        loop {
            match self.turn(of).await {
                Ok(turn) => return turn,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    pub(super) fn store(&self) -> Arc<Shared> {
        Arc::clone(&self.store)
    }

    /// An attempt that is about to send something, and what it sends.
    async fn sent(&self, id: u128) -> (Attempt, Arc<SharedWrite>) {
        let attempt = self.fresh(id).await;
        let write = self.turn(&format!("a/p/{id}")).await.unwrap();
        attempt.under(&write);
        attempt.intend(Bytes::from_static(b"intent")).await.unwrap();
        write.check().unwrap();
        (attempt, write)
    }
}

pub(super) const RULES: Rules = Rules {
    acknowledge: Acknowledge::Everywhere,
    when_unreachable: WhenUnreachable::RefuseWrites,
    durable_replicas: 0,
};

async fn two() -> (RedisServer, Replica, Replica) {
    let server = RedisServer::start(&[]).await;
    let (a, b) = (Replica::of(&server, RULES).await, Replica::of(&server, RULES).await);
    // A new epoch gives no turns.
    a.next_turn("first").await;
    (server, a, b)
}

#[tokio::test]
async fn a_repeat_on_another_replica_waits_and_gets_the_result() {
    let (_server, a, b) = two().await;
    let (attempt, write) = a.sent(1).await;
    let Begin::Running(ending) = b.begin(1).await else { panic!("it runs") };
    assert_eq!(b.ledger.size(), (0, 0), "it has nothing of it");
    assert!(matches!(b.turn("a/p/1").await, Err(NoTurn::Held)));
    let (ended, ()) = tokio::join!(ending, async {
        attempt.finish(End::Done(Bytes::from_static(b"result"))).await;
    });
    assert!(ended.is_none(), "it asks again");
    for replica in [&b, &a] {
        let Begin::Done(result) = replica.begin(1).await else { panic!("it is done") };
        assert_eq!(result, "result");
    }
    let other = RequestIdentity { fingerprint: [8; 32], ..identity(1) };
    for replica in [&b, &a] {
        assert!(matches!(replica.store.begin(&other, by()).await, Ok(Begin::Reused)));
    }
    assert!(write.check().is_err(), "it is over");
    b.turn("a/p/1").await.unwrap();
}

#[tokio::test]
async fn what_wrote_nothing_may_be_written_elsewhere_at_once() {
    let (_server, a, b) = two().await;
    let failed = || End::Failed(Error::new(Reason::Overloaded, "full"));
    for (id, end) in [(1, failed()), (2, End::Nothing(Bytes::new())), (3, End::NoEffect)] {
        let (attempt, _) = a.sent(id).await;
        attempt.finish(end).await;
        let (attempt, _) = b.sent(id).await;
        attempt.finish(failed()).await;
        a.fresh(id).await.finish(failed()).await;
    }
    // What has not announced anything has sent nothing, whatever becomes of it.
    drop(a.fresh(4).await);
    while !matches!(b.begin(4).await, Begin::Fresh(_)) {}
}

#[tokio::test]
async fn an_unknown_outcome_is_found_out_by_a_repeat_on_any_replica() {
    let (_server, a, b) = two().await;
    let (attempt, write) = a.sent(1).await;
    attempt.finish(End::Unknown).await;
    drop(write);
    let Begin::Unknown { attempt, intent, ended } = b.begin(1).await else { panic!("unknown") };
    assert_eq!((intent, ended < SECOND), (Bytes::from_static(b"intent"), true));
    let attempt = Attempt::new(b.store.clone(), key(1), attempt);
    let write = b.turn("a/p/1").await.unwrap();
    attempt.under(&write);
    attempt.look().await.unwrap();
    attempt.let_go().await;
    assert!(write.check().is_err(), "what it looked for is over");
    // The one that has it in doubt does not look at the same time.
    let [doubt] = <[Doubt; 1]>::try_from(a.store.doubts(0, 9).await.unwrap()).unwrap();
    let settler =
        || Settler { until: Instant::now() + MINUTE, gives_way: CancellationToken::new() };
    assert!(a.store.settle(doubt.number, settler()).await.unwrap().begun().is_none());
    let write = b.turn("a/p/1").await.unwrap();
    attempt.under(&write);
    attempt.intend(Bytes::from_static(b"again")).await.unwrap();
    write.check().unwrap();
    attempt.finish(End::Done(Bytes::from_static(b"result"))).await;
    assert!(a.store.settle(doubt.number, settler()).await.unwrap().begun().is_none());
    assert_eq!(a.store.doubts(0, 9).await.unwrap().len(), 0, "its doubt is over too");
    assert!(matches!(a.begin(1).await, Begin::Done(result) if result == "result"));
}

#[tokio::test]
async fn what_an_operator_says_holds_on_every_replica() {
    let (_server, a, b) = two().await;
    let closings = [
        Closing::NoEffect,
        Closing::TookEffect(Some(Bytes::from_static(b"said"))),
        Closing::TookEffect(None),
    ];
    for (id, closing) in (1..).zip(closings) {
        let (attempt, write) = a.sent(id).await;
        attempt.finish(End::Unknown).await;
        drop(write);
        let [doubt] = <[Doubt; 1]>::try_from(a.store.doubts(0, 9).await.unwrap()).unwrap();
        let closed = a.store.close(&doubt, closing.clone()).await.unwrap();
        assert!(matches!(closed, Closed::Closed(_)));
        match (b.begin(id).await, closing) {
            (Begin::Fresh(_), Closing::NoEffect) | (Begin::Closed, Closing::TookEffect(None)) => {}
            (Begin::Done(result), Closing::TookEffect(Some(said))) => assert_eq!(result, said),
            (other, closing) => panic!("{closing:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_by_what_has_lost_its_turn_or_its_attempt() {
    let (server, a, b) = two().await;
    let attempt = a.fresh(1).await;
    let write = a.turn("a/p/1").await.unwrap();
    assert!(write.check().is_err(), "it is not announced");
    attempt.under(&write);
    // As if its time were over, and another replica had it.
    let mut connection = server.connect().await;
    let _: () =
        redis::cmd("DEL").arg("{pg1:test}:turn:a/p/1").query_async(&mut connection).await.unwrap();
    let _other = b.turn("a/p/1").await.unwrap();
    let refused = attempt.intend(Bytes::from_static(b"intent")).await.unwrap_err();
    assert_eq!((refused.reason(), refused.effect()), (Reason::StoreUnavailable, Effect::None));
    assert!(write.check().is_err());
    attempt.finish(End::Failed(refused)).await;
    assert!(matches!(b.begin(1).await, Begin::Fresh(_)));
}

#[tokio::test]
async fn a_server_that_lost_everything_is_told_again_of_what_runs() {
    let (server, a, b) = two().await;
    let (attempt, write) = a.sent(1).await;
    let mut connection = server.connect().await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    let before = a.member.epoch();
    while a.member.epoch() == before || b.member.epoch() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    a.serves().await;
    b.serves().await;
    assert!(matches!(b.begin(1).await, Begin::Running(_)), "it is known again");
    assert!(matches!(b.turn("a/p/1").await, Err(NoTurn::Held)));
    write.check().unwrap();
    attempt.finish(End::Done(Bytes::from_static(b"result"))).await;
    assert!(matches!(b.begin(1).await, Begin::Done(result) if result == "result"));
}

#[tokio::test]
async fn callers_that_leave_give_back_what_they_asked_for() {
    let (_server, a, b) = two().await;
    {
        let identity = identity(1);
        let begin = a.store.begin(&identity, by());
        let mut begin = std::pin::pin!(begin);
        // It is asked for, and its answer is not waited for.
        let polled = futures_util::poll!(begin.as_mut());
        assert!(polled.is_pending());
    }
    while !matches!(b.begin(1).await, Begin::Fresh(_)) {}
    let write = a.turn("a/p/1").await.unwrap();
    let weak: Weak<SharedWrite> = Arc::downgrade(&write);
    drop(write);
    assert!(weak.upgrade().is_none());
    while b.turn("a/p/1").await.is_err() {}
}

#[tokio::test]
async fn a_record_that_replicas_of_the_server_do_not_have_is_not_relied_on() {
    let server = RedisServer::start(&[]).await;
    let rules = Rules { durable_replicas: 1, ..RULES };
    let replica = Replica::of(&server, rules).await;
    let refused = replica.store.begin(&identity(1), by()).await.unwrap_err();
    assert_eq!((refused.reason(), refused.effect()), (Reason::StoreUnavailable, Effect::None));
    assert_eq!(replica.ledger.size(), (0, 0));
    let turn = replica.agreement.take_turn("a/p/1".into(), by().until, Some(by().deadline));
    let write = turn.await.unwrap();
    write.about("a/p/1".into());
    assert!(write.open(None, None, Instant::now() + SECOND).await.is_err());
    assert!(write.check().is_err());
}
