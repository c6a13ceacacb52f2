//! Logins and rates that replicas share, on a real server.

use std::time::Duration;

use redis::{AsyncCommands, aio::MultiplexedConnection};

use super::CLOCK;
use crate::shared::{
    commands::{AccountScripts, Keys, LoginEnd, LoginLimits, LoginTurn, Reserved, SharedRate},
    protocol::Token,
    redis_server::RedisServer,
};

const LIMITS: LoginLimits = LoginLimits {
    lasts: Duration::from_secs(60),
    most: 5,
    window: Duration::from_secs(300),
    first_pause: Duration::from_secs(300),
    longest_pause: Duration::from_secs(3600),
};
const RATE: SharedRate = SharedRate { per_second: 100, burst: 50 };
const ACCOUNT: &str = "account";

struct Shared {
    _redis: RedisServer,
    connection: MultiplexedConnection,
    scripts: AccountScripts,
    keys: Keys,
    now: u64,
}

impl Shared {
    async fn new() -> Self {
        let redis = RedisServer::start(&[]).await;
        let mut this = Self {
            connection: redis.connect().await,
            _redis: redis,
            scripts: AccountScripts::with_clock(CLOCK),
            keys: Keys::new("test"),
            now: 1_800_000_000_000,
        };
        this.advance(0).await;
        this
    }

    async fn advance(&mut self, millis: u64) {
        self.now += millis;
        let _: () = self.connection.set("now", self.now).await.expect("the time is set");
    }

    async fn turn(&mut self, credentials: &str, holder: u64) -> LoginTurn {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let holder = (credentials, Token(holder));
        let turn = self.scripts.login_turn(connection, account, holder, &LIMITS).await;
        turn.expect("an answer")
    }

    async fn done(&mut self, credentials: &str, holder: u64, end: LoginEnd) {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let holder = (credentials, Token(holder));
        let done = self.scripts.login_done(connection, account, holder, end, &LIMITS).await;
        done.expect("an answer");
    }

    async fn reserve(&mut self, requests: u32, longest_wait: u64) -> Reserved {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let wait = Duration::from_millis(longest_wait);
        let reserved = self.scripts.reserve(connection, account, RATE, requests, wait).await;
        reserved.expect("an answer")
    }

    async fn throttled(&mut self, pause: u64) -> Duration {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let pause = Duration::from_millis(pause);
        let waits = self.scripts.throttled(connection, account, RATE, pause).await;
        waits.expect("an answer")
    }
}

fn reserved(first: u64, last: u64, interval: u64) -> Reserved {
    let [first, last, interval] = [first, last, interval].map(Duration::from_millis);
    Reserved::Reserved { first, last, interval }
}

#[tokio::test]
async fn one_replica_logs_in_at_a_time() {
    let mut shared = Shared::new().await;
    assert_eq!(shared.turn("old", 1).await, LoginTurn::Go);
    assert_eq!(shared.turn("old", 1).await, LoginTurn::Go, "its answer was lost");
    assert_eq!(shared.turn("old", 2).await, LoginTurn::Busy(LIMITS.lasts));
    shared.done("old", 1, LoginEnd::Other).await;
    assert_eq!(shared.turn("old", 2).await, LoginTurn::Go);
    shared.advance(60_000).await;
    assert_eq!(shared.turn("old", 3).await, LoginTurn::Go, "the one before has died");
    shared.done("old", 2, LoginEnd::Accepted).await;
    assert_eq!(shared.turn("old", 4).await, LoginTurn::Busy(LIMITS.lasts), "3 still logs in");
}

#[tokio::test]
async fn one_refused_login_pauses_those_of_all_replicas() {
    let mut shared = Shared::new().await;
    shared.turn("old", 1).await;
    shared.done("old", 1, LoginEnd::Refused).await;
    shared.done("old", 1, LoginEnd::Refused).await;
    assert_eq!(shared.turn("old", 2).await, LoginTurn::Paused(LIMITS.first_pause), "told twice");
    assert_eq!(shared.turn("new", 3).await, LoginTurn::Go, "other credentials");
    shared.done("new", 3, LoginEnd::Other).await;
    shared.advance(300_000).await;
    assert_eq!(shared.turn("old", 4).await, LoginTurn::Go);
    shared.done("old", 4, LoginEnd::Refused).await;
    assert_eq!(shared.turn("old", 5).await, LoginTurn::Paused(2 * LIMITS.first_pause));
}

#[tokio::test]
async fn replicas_share_a_number_of_logins() {
    let mut shared = Shared::new().await;
    for holder in 1..=5 {
        assert_eq!(shared.turn("old", holder).await, LoginTurn::Go);
        shared.done("old", holder, LoginEnd::Accepted).await;
    }
    assert_eq!(shared.turn("old", 6).await, LoginTurn::Paused(LIMITS.window));
    shared.advance(300_000).await;
    assert_eq!(shared.turn("old", 6).await, LoginTurn::Go);
}

#[tokio::test]
async fn replicas_share_a_rate() {
    let mut shared = Shared::new().await;
    assert_eq!(shared.reserve(50, 0).await, reserved(0, 0, 10));
    assert_eq!(shared.reserve(10, 99).await, Reserved::Late(Duration::from_millis(100)));
    assert_eq!(shared.reserve(10, 100).await, reserved(10, 100, 10), "nothing was taken before");
    shared.advance(1_000).await;
    assert_eq!(shared.reserve(51, 100).await, reserved(0, 10, 10), "the burst is back");
}

#[tokio::test]
async fn a_throttled_replica_slows_all() {
    let mut shared = Shared::new().await;
    assert_eq!(shared.throttled(500).await, Duration::from_millis(500));
    assert_eq!(shared.throttled(100).await, Duration::from_millis(500), "counts once");
    assert_eq!(shared.reserve(1, 499).await, Reserved::Paused(Duration::from_millis(500)));
    assert_eq!(shared.reserve(26, 1_000).await, reserved(500, 500, 20));
    shared.advance(20_000).await;
    assert_eq!(shared.reserve(1, 0).await, reserved(0, 0, 10), "the rate has grown again");
}
