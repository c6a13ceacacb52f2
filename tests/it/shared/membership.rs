//! Replicas that agree over one server, with a wire between each and the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use profile_gateway::{
    shared::{
        SharedMetrics,
        connection::{Server, State, Supervisor},
        membership::{Following, Membership, NoAnswer},
        protocol::{
            Answer, Begin, Begun, Close, Closed, Command, Memory, Open, Opened, Outcome, OwnWrite,
            Process, Step, Target, Time, Timing, Token, WriteId,
        },
    },
    telemetry::Registry,
};
use tokio::time::sleep;

use super::bench::over_tcp;
use crate::kit::{
    redis::Redis,
    until,
    wire::{Flow, To, Wire},
};

const MINUTE: Duration = Duration::from_secs(60);
const TIMING: Timing = Timing {
    lease: Duration::from_millis(2_000),
    grace: Duration::from_millis(2_100),
    settle: MINUTE,
    longest_lag: Duration::from_secs(1),
};
const KEPT: Duration = Duration::from_secs(600);

/// How often memory was told of a beginning, of an end, and to forget.
#[derive(Debug, Default, Clone)]
struct Counts(Arc<[AtomicU64; 3]>);

impl Counts {
    fn get(&self) -> [u64; 3] {
        [0, 1, 2].map(|index| self.0[index].load(SeqCst))
    }

    fn count(&self, index: usize) {
        self.0[index].fetch_add(1, SeqCst);
    }
}

impl Memory for Counts {
    fn opened(&mut self, _: WriteId, _: &Target) {
        self.count(0);
    }

    fn closed(&mut self, _: WriteId, _: &Target, _: bool) {
        self.count(1);
    }

    fn outdate(&mut self, _: Option<&Target>) {
        self.count(2);
    }
}

struct Replica {
    member: Arc<Membership>,
    supervisor: Supervisor,
    counts: Counts,
    registry: Registry,
    wire: Wire,
}

impl Replica {
    async fn up(redis: &Redis) -> Self {
        let wire = Wire::to(redis.address(), 3).await;
        let counts = Counts::default();
        let member = Arc::new(Membership::new(
            "test",
            TIMING,
            KEPT,
            Process::new(),
            Box::new(counts.clone()),
        ));
        let mut registry = Registry::new("0.0.0");
        let metrics = SharedMetrics::register(&mut registry);
        let server = Server::new(&over_tcp(wire.address)).unwrap();
        let session = Arc::new(Following::new(Arc::clone(&member), metrics.clone()));
        let supervisor = Supervisor::start(server, session, metrics);
        let replica = Self { member, supervisor, counts, registry, wire };
        replica.serves().await;
        replica
    }

    async fn serves(&self) {
        let serves = async || self.member.is_up() && self.member.may_serve();
        until("the replica serves", serves).await;
    }

    async fn is_down(&self) {
        let state = self.supervisor.state();
        until("it is down", async || {
            matches!(*state.borrow(), State::Down(..)) && !self.member.is_up()
        })
        .await;
    }

    fn hold(&self, flow: Flow) {
        [To::Server, To::Client].into_iter().for_each(|to| self.wire.flow(to, flow));
    }

    /// How often it has joined for this reason.
    fn resyncs(&self, why: &str) -> u64 {
        let name = format!("profile_gateway_shared_store_resyncs_total{{why=\"{why}\"}} ");
        let text = self.registry.encode();
        let count = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        count.parse().unwrap()
    }

    async fn ask(&self, command: Command) -> Answer {
        self.member.call(&command).await.unwrap()
    }

    /// Announces a write.
    async fn open(&self, write: u64) {
        let open = Open {
            write: WriteId(write),
            target: "p".into(),
            lasts: MINUTE,
            turn: None,
            request: None,
            intent: None,
            unnamed: None,
        };
        assert_eq!(self.ask(Command::Open(open)).await, Answer::Opened(Opened::Opened));
    }

    /// Announces and ends a write. Gives what has to be known everywhere.
    async fn close(&self, write: u64) -> Closed {
        self.open(write).await;
        let close = Close {
            write: WriteId(write),
            target: "p".into(),
            turn: None,
            request: None,
            outcome: Outcome::Done([][..].into()),
            intent: None,
            kept: KEPT,
            made: None,
        };
        let Answer::Closed(closed) = self.ask(Command::Close(close)).await else { panic!() };
        closed
    }

    /// Writes, and returns once all replicas know of it. Gives how many were not waited for any
    /// longer.
    async fn write(&self, write: u64) -> usize {
        let closed = self.close(write).await;
        let mut wait = self.member.acknowledgement(&closed, false, Time::MAX);
        loop {
            match wait.step(self.member.now()) {
                Step::Answer | Step::Cut => return 0,
                Step::Wait(time) => sleep(time.saturating_sub(self.member.now())).await,
                Step::Poll(command) => match self.ask(command).await {
                    Answer::Members(members) => wait.polled(&members, self.member.now()),
                    other => panic!("{other:?}"),
                },
                Step::Evict(command) => {
                    let Command::Evict { sessions, .. } = &command else { panic!() };
                    let evicted = sessions.len();
                    self.ask(command).await;
                    return evicted;
                }
            }
        }
    }

    /// Begins an attempt at the write of a request id.
    async fn begin(&self, attempt: u64) -> Begun {
        let begin = Begin {
            request: "r".into(),
            fingerprint: "f".into(),
            attempt: Token(attempt),
            lasts: MINUTE,
            grace: TIMING.grace,
            doubted: None,
        };
        let Answer::Begun(begun) = self.ask(Command::Begin(begin)).await else { panic!() };
        begun
    }
}

#[tokio::test]
async fn a_write_is_known_everywhere_when_it_is_acknowledged() {
    let redis = Redis::start().await;
    let (here, there) = (Replica::up(&redis).await, Replica::up(&redis).await);
    assert_eq!(here.write(1).await, 0);
    let [opened, closed, _] = there.counts.get();
    assert_eq!((opened, closed), (1, 1));
    assert_eq!(here.member.epoch(), there.member.epoch());
    assert_eq!((here.resyncs("connected"), there.resyncs("connected")), (1, 1));
}

#[tokio::test]
async fn a_write_waits_until_a_replica_that_is_cut_off_serves_nothing() {
    let redis = Redis::start().await;
    let (here, there) = (Replica::up(&redis).await, Replica::up(&redis).await);
    there.hold(Flow::Hold);
    assert_eq!(here.write(1).await, 1);
    assert!(!there.member.may_serve());
    assert_eq!(there.counts.get()[0], 0, "it has not heard of the write");
    there.is_down().await;
    let asked = there.member.call(&Command::Members { epoch: "".into() }).await;
    assert_eq!(asked, Err(NoAnswer::Down));
    // It was evicted, so it joins again, and keeps nothing of before.
    let outdated = there.counts.get()[2];
    there.hold(Flow::Pass);
    there.serves().await;
    assert!(there.counts.get()[2] > outdated);
    assert_eq!(there.resyncs("evicted"), 1);
    here.write(2).await;
    assert_eq!(there.counts.get()[..2], [1, 1]);
}

#[tokio::test]
async fn a_replica_that_was_away_for_a_moment_reads_what_it_has_missed() {
    let redis = Redis::start().await;
    let (here, there) = (Replica::up(&redis).await, Replica::up(&redis).await);
    let outdated = there.counts.get()[2];
    there.wire.cut();
    here.write(1).await;
    there.serves().await;
    assert_eq!(there.counts.get(), [1, 1, outdated], "nothing else is outdated");
}

#[tokio::test]
async fn a_replica_that_misses_a_part_of_the_log_joins_again() {
    let redis = Redis::start().await;
    let (here, there) = (Replica::up(&redis).await, Replica::up(&redis).await);
    redis.ask::<u64>(&["INCRBY", "{pg1:test}:tail", "5"]).await;
    here.open(1).await;
    until("it joins", async || there.resyncs("gap") == 1).await;
    there.serves().await;
}

#[tokio::test]
async fn an_emptied_server_has_a_new_epoch_that_knows_what_runs() {
    let redis = Redis::start().await;
    let replica = Replica::up(&redis).await;
    let before = replica.member.epoch();
    // Until then, it knows no new ids.
    until("the grace is over", async || !matches!(replica.begin(1).await, Begun::Grace { .. }))
        .await;
    let write = OwnWrite {
        write: WriteId(1),
        target: "p".into(),
        known_in: before.clone().unwrap(),
        sends_until: replica.member.now() + MINUTE,
        is_open: true,
        turn: None,
        request: Some(("r".into(), "f".into(), Token(1), 1)),
        intent: Some([1][..].into()),
        intent_ended: None,
        ended: None,
    };
    replica.member.own(|own| own.note(&write));
    redis.command(&["FLUSHALL"]).await;
    until("there is another epoch", async || {
        replica.member.epoch().is_some_and(|now| Some(now) != before)
    })
    .await;
    replica.serves().await;
    assert_eq!(replica.resyncs("epoch"), 1);
    assert!(replica.member.may_begin(WriteId(1)), "it still has its turn");
    let running = async || matches!(replica.begin(2).await, Begun::Running { .. });
    until("the id is known", running).await;
}

#[tokio::test]
async fn a_demoted_server_is_not_used_until_it_is_promoted_again() {
    let redis = Redis::start().await;
    let replica = Replica::up(&redis).await;
    let epoch = replica.member.epoch();
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    replica.is_down().await;
    until("its lease is over", async || !replica.member.may_serve()).await;
    redis.promote().await;
    replica.serves().await;
    assert_ne!(replica.member.epoch(), epoch);
}

#[tokio::test]
async fn a_write_does_not_wait_for_a_replica_that_has_ended() {
    let redis = Redis::start().await;
    let (here, there) = (Replica::up(&redis).await, Replica::up(&redis).await);
    there.supervisor.end().await;
    assert!(!there.member.may_serve() && !there.member.is_up());
    let closed = here.close(1).await;
    assert_eq!(closed.members.len(), 1, "{closed:?}");
}
