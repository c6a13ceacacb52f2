//! The rate and the windows that replicas share, on a real server and beside a model.

use std::time::Duration;

use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use redis::{AsyncCommands, aio::MultiplexedConnection, cmd};

use super::CLOCK;
use crate::shared::{
    commands::{
        AskedWindow, Keys, KnownWindow, RateScripts, Reserve, Reserved, SharedRate, Stopped,
        Throttled,
    },
    protocol::Token,
    redis_server::RedisServer,
};

const RATE: SharedRate = SharedRate { per_second: 100, burst: 50 };
const ACCOUNT: &str = "account";
const HORIZON: Duration = Duration::from_millis(250);
const MINUTE: Duration = Duration::from_secs(60);

struct Shared {
    _redis: RedisServer,
    connection: MultiplexedConnection,
    scripts: RateScripts,
    keys: Keys,
    now: u64,
    token: u64,
}

/// So many of the first class, at this rate.
fn some(requests: u32) -> Reserve {
    let wanted = [requests, 0, 0, 0];
    Reserve { rate: Some(RATE), horizon: HORIZON, wanted, ..Reserve::default() }
}

fn window(limit: u32) -> AskedWindow {
    AskedWindow { name: "requests", limit, length: MINUTE, ..AskedWindow::default() }
}

fn within(limit: u32, wanted: [u32; 4]) -> Reserve {
    let windows = vec![window(limit)];
    Reserve { horizon: HORIZON, wanted, windows, ..Reserve::default() }
}

/// When each of them may be sent, in milliseconds.
fn times(reserved: &Reserved) -> Vec<u64> {
    let time = |place| {
        let later = reserved.interval * (reserved.granted - 1 - place);
        reserved.last.saturating_sub(later).max(reserved.first)
    };
    (0..reserved.granted).map(|place| time(place).as_millis() as u64).collect()
}

fn used(window: &KnownWindow) -> u32 {
    window.counts.iter().map(|(_, count)| count).sum()
}

impl Shared {
    async fn new() -> Self {
        let redis = RedisServer::start(&[]).await;
        let mut this = Self {
            connection: redis.connect().await,
            _redis: redis,
            scripts: RateScripts::with_clock(CLOCK),
            keys: Keys::new("test"),
            now: 1_800_000_000_000,
            token: 0,
        };
        this.advance(0).await;
        this
    }

    async fn advance(&mut self, millis: u64) {
        self.now += millis;
        let _: () = self.connection.set("now", self.now).await.expect("the time is set");
    }

    async fn reserve(&mut self, batch: &Reserve) -> Reserved {
        self.token += 1;
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let reserved = self.scripts.reserve(connection, account, batch, Token(self.token)).await;
        reserved.expect("an answer")
    }

    async fn throttled(&mut self, pause: u64, strikes: u32, again: bool) -> u128 {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let pause = Throttled { pause: Duration::from_millis(pause), strikes, again };
        let waits = self.scripts.throttled(connection, account, Some(RATE), pause).await;
        waits.expect("an answer").as_millis()
    }

    /// Whether there was one.
    async fn ends_pause(&mut self) -> bool {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        self.scripts.end_pause(connection, account).await.expect("an answer")
    }

    async fn is_emptied(&mut self) {
        cmd("FLUSHALL").query_async::<()>(&mut self.connection).await.expect("it is emptied");
        self.advance(0).await;
    }
}

fn stopped(reserved: &Reserved) -> Option<(Stopped, u128)> {
    reserved.stopped.map(|(why, wait)| (why, wait.as_millis()))
}

#[tokio::test]
async fn replicas_share_a_rate() {
    let mut shared = Shared::new().await;
    let first = shared.reserve(&some(50)).await;
    assert_eq!(times(&first), [0; 50]);
    assert_eq!((first.stopped, first.rate), (None, 100.0));
    let second = shared.reserve(&some(30)).await;
    assert_eq!(second.granted, 25);
    assert_eq!(times(&second)[..3], [10, 20, 30]);
    assert_eq!(stopped(&second), Some((Stopped::Rate, 260)), "nothing is taken of the rest");
    shared.advance(1_000).await;
    assert_eq!(times(&shared.reserve(&some(51)).await)[49..], [0, 10], "the burst is back");
}

#[tokio::test]
async fn those_of_the_first_classes_go_first() {
    let mut shared = Shared::new().await;
    shared.reserve(&some(50)).await;
    let wanted = [3, 0, 40, 2];
    let mixed = shared.reserve(&Reserve { wanted, ..some(0) }).await;
    assert_eq!((mixed.granted, times(&mixed)[0]), (25, 10));
    let mut shared = Shared::new().await;
    let classes = shared.reserve(&within(100, [1, 1, 1, 100])).await;
    assert_eq!((classes.granted, stopped(&classes)), (40, Some((Stopped::Window(0), 61_000))));
    let lists = shared.reserve(&within(100, [0, 0, 100, 0])).await;
    assert_eq!(lists.granted, 20, "another fifth");
    let both = shared.reserve(&within(100, [1, 100, 0, 0])).await;
    assert_eq!(both.granted, 20);
    assert_eq!(shared.reserve(&within(100, [100, 0, 0, 0])).await.granted, 20, "and the last");
}

#[tokio::test]
async fn a_throttled_replica_slows_all_until_an_operator_ends_it() {
    let mut shared = Shared::new().await;
    assert!(!shared.ends_pause().await);
    assert_eq!(shared.throttled(500, 2, false).await, 500);
    assert_eq!(shared.throttled(100, 2, false).await, 500, "counts once");
    let late = shared.reserve(&some(1)).await;
    assert_eq!(stopped(&late), Some((Stopped::Pause, 500)));
    assert_eq!((late.pause.as_millis(), late.strikes, late.ends), (500, 2, 0));
    assert_eq!(late.rate, 50.0);
    shared.advance(300).await;
    // One goes at its end, and the others at the rate, which is a bit above half.
    let soon = times(&shared.reserve(&some(26)).await);
    assert!(matches!(soon[..], [200..=201, 219..=220, 238..=240]), "{soon:?}");
    assert!(shared.ends_pause().await);
    let ended = shared.reserve(&some(1)).await;
    assert_eq!((ended.pause, ended.ends, ended.granted), (Duration::ZERO, 1, 1));
    shared.advance(20_000).await;
    assert_eq!(shared.reserve(&some(0)).await.rate, 100.0, "the rate has grown again");
    let unlimited = Reserve { rate: None, ..some(1000) };
    assert_eq!(times(&shared.reserve(&unlimited).await), vec![0; 1000]);
    shared.throttled(400, 1, false).await;
    assert_eq!(shared.reserve(&unlimited).await.granted, 0, "a pause is for all");
}

#[tokio::test]
async fn a_pause_that_the_server_has_lost_is_told_again_and_lowers_the_rate_once() {
    let mut shared = Shared::new().await;
    shared.throttled(60_000, 1, false).await;
    assert_eq!(shared.reserve(&some(1)).await.rate, 50.0);
    shared.is_emptied().await;
    assert_eq!(shared.reserve(&some(0)).await.pause, Duration::ZERO);
    for told in 0..3 {
        assert_eq!(shared.throttled(50_000, 1, true).await, 50_000, "{told}");
        let known = shared.reserve(&some(1)).await;
        assert_eq!((known.granted, known.strikes), (0, 1));
        assert!((50.0..=65.0).contains(&known.rate), "{}", known.rate);
        shared.advance(1000).await;
    }
}

#[tokio::test]
async fn what_was_sent_without_asking_counts_later() {
    let mut shared = Shared::new().await;
    let mut alone = Reserve { alone: 49, ..some(2) };
    alone.windows = vec![AskedWindow { alone: 49, ..window(100) }];
    let reserved = shared.reserve(&alone).await;
    assert_eq!(times(&reserved), [0, 10]);
    assert_eq!(used(&reserved.windows[0]), 51);
}

#[tokio::test]
async fn who_knows_of_counts_that_the_server_has_lost_tells_them_again() {
    let mut shared = Shared::new().await;
    let before = shared.reserve(&within(100, [60, 0, 0, 0])).await.windows.remove(0);
    shared.is_emptied().await;
    let knows = |began: &str, least| AskedWindow { began: began.to_owned(), least, ..window(100) };
    let asks = |window| Reserve { windows: vec![window], ..within(100, [1, 0, 0, 0]) };
    let told = shared.reserve(&asks(knows(&before.began, 60))).await.windows.remove(0);
    assert_eq!(used(&told), 61);
    assert_ne!(told.began, before.began);
    let less = shared.reserve(&asks(knows(&before.began, 55))).await.windows.remove(0);
    assert_eq!((used(&less), &less.began), (62, &told.began), "it is known already");
    let same = shared.reserve(&asks(knows(&told.began, 99))).await.windows.remove(0);
    assert_eq!(used(&same), 63, "those are the server's");
}

#[tokio::test]
async fn a_login_takes_room_of_all_windows_or_of_none() {
    let mut shared = Shared::new().await;
    let logins = AskedWindow { name: "logins", ..window(2) };
    let windows = [window(100), logins];
    for counted in [1, 2, 2] {
        let (connection, account) = (&mut shared.connection, (&shared.keys, ACCOUNT));
        let reserved = shared.scripts.reserve_login(connection, account, &windows, Token(counted));
        let reserved = reserved.await.expect("an answer");
        let all = reserved.windows.iter().map(used).collect::<Vec<_>>();
        assert_eq!(all, [counted as u32; 2]);
        shared.advance(1000).await;
    }
    let (connection, account) = (&mut shared.connection, (&shared.keys, ACCOUNT));
    let reserved = shared.scripts.reserve_login(connection, account, &windows, Token(4)).await;
    assert_eq!(reserved.expect("an answer").stopped, Some((1, Duration::from_secs(58))));
}

/// What a vendor sees, with the windows as a list of all requests.
struct Model {
    sent: Vec<u64>,
    limit: u32,
}

impl Model {
    const PART: u64 = 1000;

    fn room(&self, rank: u32, now: u64) -> usize {
        let allowed = self.limit - self.limit / 5 * rank;
        let counts = |sent: &&u64| **sent / Self::PART + 60 >= now / Self::PART;
        (allowed as usize).saturating_sub(self.sent.iter().filter(counts).count())
    }

    fn grants(&self, wanted: [u32; 4], now: u64) -> u32 {
        let mut granted = 0;
        for (rank, wanted) in (0..).zip(wanted) {
            let room = self.room(rank, now).saturating_sub(granted as usize) as u32;
            granted += wanted.min(room);
            if wanted > room {
                break;
            }
        }
        granted
    }
}

#[tokio::test]
async fn windows_of_the_server_are_those_of_the_model() {
    let mut shared = Shared::new().await;
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut below = |limit: u32| rng.next_u32() % limit;
    let (mut model, mut full) = (Model { sent: Vec::new(), limit: 50 }, 0);
    for _ in 0..3_000 {
        shared.advance(u64::from(below(4_000))).await;
        let wanted = [below(3), below(4), below(4), below(6)];
        let expected = model.grants(wanted, shared.now);
        let reserved = shared.reserve(&within(50, wanted)).await;
        assert_eq!(reserved.granted, expected, "{wanted:?}");
        model.sent.extend(std::iter::repeat_n(shared.now, expected as usize));
        assert_eq!(used(&reserved.windows[0]) as usize, 50 - model.room(0, shared.now));
        let Some((_, wait)) = reserved.stopped else { continue };
        full += 1;
        // What stopped the first one is over then, and not a moment before.
        let rank = (0..4).find(|rank| {
            let asked: u32 = wanted[..=*rank].iter().sum();
            asked > expected
        });
        let (rank, free) = (rank.expect("one") as u32, shared.now + wait.as_millis() as u64);
        assert!(model.room(rank, free) > 0 && model.room(rank, free - 1) == 0);
    }
    assert!(full > 300, "{full}");
    let sent = &model.sent;
    assert!(sent.windows(51).all(|sent| sent[50] - sent[0] >= 60_000));
}

#[tokio::test]
async fn no_time_has_more_than_the_burst_and_what_the_rate_gives() {
    let mut shared = Shared::new().await;
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut below = |limit: u32| rng.next_u32() % limit;
    let mut sent = Vec::new();
    for _ in 0..2_000 {
        shared.advance(u64::from(below(60))).await;
        let reserved = shared.reserve(&some(below(10))).await;
        sent.extend(times(&reserved).iter().map(|at| shared.now + at));
        if below(200) == 0 {
            shared.advance(u64::from(below(2_000))).await;
        }
    }
    sent.sort_unstable();
    for (place, from) in sent.iter().enumerate() {
        for (count, to) in (1..).zip(&sent[place..]) {
            // Times are whole milliseconds.
            assert!(count <= 50 + (to - from + 2) / 10 + 1, "{count} in {} ms", to - from);
        }
    }
    let most = 50 + (shared.now - 1_800_000_000_000 + 250) / 10;
    assert!(sent.len() as u64 > most * 8 / 10, "{} of {most}: hardly any is wasted", sent.len());
}
