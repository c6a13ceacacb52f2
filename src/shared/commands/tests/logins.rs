//! Logins that replicas take turns at, on a real server.

use std::time::Duration;

use redis::{AsyncCommands, aio::MultiplexedConnection, cmd};

use super::CLOCK;
use crate::shared::{
    commands::{
        Keys, KnownLogins, LoginEnd, LoginPause, LoginScripts, LoginTurn, PauseSpans, RefusedKind,
        WhyPaused,
    },
    protocol::Token,
    redis_server::RedisServer,
};

pub(super) const LASTS: Duration = Duration::from_secs(60);
pub(super) const SPANS: PauseSpans =
    PauseSpans { first: Duration::from_secs(300), longest: Duration::from_secs(3600) };
const ACCOUNT: &str = "account";

pub(super) struct Shared {
    _redis: RedisServer,
    pub(super) connection: MultiplexedConnection,
    scripts: LoginScripts,
    keys: Keys,
    now: u64,
}

pub(super) fn why(kind: RefusedKind) -> WhyPaused {
    WhyPaused { kind, reason: 7, told: "wrong \u{e4} password".to_owned() }
}

pub(super) fn refused() -> LoginEnd {
    LoginEnd::Refused(why(RefusedKind::Credentials))
}

/// What is left of the pause, in seconds; nothing without one.
pub(super) fn left(known: &KnownLogins) -> Option<u64> {
    known.pause.as_ref().map(|pause| pause.left.as_secs())
}

impl Shared {
    pub(super) async fn new() -> Self {
        let redis = RedisServer::start(&[]).await;
        let mut this = Self {
            connection: redis.connect().await,
            _redis: redis,
            scripts: LoginScripts::with_clock(CLOCK),
            keys: Keys::new("test"),
            now: 1_800_000_000_000,
        };
        this.advance(0).await;
        this
    }

    pub(super) async fn advance(&mut self, seconds: u64) {
        self.now += seconds * 1000;
        let _: () = self.connection.set("now", self.now).await.expect("the time is set");
    }

    async fn turn(&mut self, credentials: &str, holder: u64) -> LoginTurn {
        self.turn_with(credentials, holder, &KnownLogins::default()).await
    }

    pub(super) async fn turn_with(
        &mut self,
        credentials: &str,
        holder: u64,
        known: &KnownLogins,
    ) -> LoginTurn {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let holder = (credentials, Token(holder));
        let turn = self.scripts.turn(connection, account, holder, LASTS, known).await;
        turn.expect("an answer")
    }

    /// How long the pause still is, in seconds.
    async fn paused(&mut self, credentials: &str, holder: u64) -> u64 {
        match self.turn(credentials, holder).await {
            LoginTurn::Paused(known) => left(&known).expect("a pause"),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn done(
        &mut self,
        credentials: &str,
        holder: u64,
        end: &LoginEnd,
    ) -> KnownLogins {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let holder = (credentials, Token(holder));
        let done = self.scripts.done(connection, account, holder, end, SPANS).await;
        done.expect("an answer")
    }

    async fn pause(&mut self, token: u64, kind: RefusedKind) -> KnownLogins {
        self.pause_of("old", token, kind).await
    }

    pub(super) async fn pause_of(
        &mut self,
        credentials: &str,
        token: u64,
        kind: RefusedKind,
    ) -> KnownLogins {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let (login, why) = ((credentials, Token(token)), why(kind));
        let paused = self.scripts.pause(connection, account, login, SPANS, &why);
        paused.await.expect("an answer")
    }

    /// Whether there was a pause to end.
    pub(super) async fn end(&mut self, credentials: &str, kind: Option<RefusedKind>) -> bool {
        let (connection, account) = (&mut self.connection, (&self.keys, ACCOUNT));
        let ended = self.scripts.end(connection, account, credentials, kind).await;
        ended.expect("an answer")
    }

    /// How long another replica logs in at most, and what is left of the pause before.
    async fn busy(&mut self, credentials: &str, holder: u64) -> (Duration, Option<u64>) {
        match self.turn(credentials, holder).await {
            LoginTurn::Busy(lasts, known) => (lasts, left(&known)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn one_replica_logs_in_at_a_time() {
    let mut shared = Shared::new().await;
    assert_eq!(shared.turn("old", 1).await, LoginTurn::Go);
    assert_eq!(shared.turn("old", 1).await, LoginTurn::Go, "its answer was lost");
    assert_eq!(shared.busy("old", 2).await, (LASTS, None));
    shared.done("old", 1, &LoginEnd::Other).await;
    assert_eq!(shared.turn("old", 2).await, LoginTurn::Go);
    shared.advance(60).await;
    assert_eq!(shared.turn("old", 3).await, LoginTurn::Go, "the one before has died");
    shared.done("old", 2, &LoginEnd::Accepted).await;
    assert_eq!(shared.busy("old", 4).await, (LASTS, None), "3 still logs in");
}

#[tokio::test]
async fn one_refused_login_pauses_those_of_all_replicas() {
    let mut shared = Shared::new().await;
    shared.turn("old", 1).await;
    let first = shared.done("old", 1, &refused()).await;
    assert_eq!(left(&first), Some(300));
    let again = shared.done("old", 1, &refused()).await;
    assert_eq!(again, first, "told twice");
    let LoginTurn::Paused(known) = shared.turn("old", 2).await else { panic!("it pauses") };
    assert_eq!(known, first);
    assert_eq!(known.pause.expect("a pause").why, why(RefusedKind::Credentials));
    assert_eq!(shared.turn("new", 3).await, LoginTurn::Go, "other credentials");
    assert_eq!(left(&shared.done("new", 3, &LoginEnd::Accepted).await), None);
    assert_eq!(shared.paused("old", 4).await, 300, "that says nothing of these");
    for (holder, pause) in (10..).zip([600, 1200, 2400, 3600, 3600]) {
        let over = shared.paused("old", 5).await;
        shared.advance(over).await;
        assert_eq!(shared.turn("old", holder).await, LoginTurn::Go);
        assert_eq!(left(&shared.done("old", holder, &refused()).await), Some(pause));
    }
    shared.advance(3600).await;
    shared.turn("old", 8).await;
    assert_eq!(shared.busy("old", 9).await, (LASTS, Some(0)), "why they wait is told");
    assert_eq!(left(&shared.done("old", 8, &LoginEnd::Accepted).await), None);
    shared.turn("old", 9).await;
    assert_eq!(left(&shared.done("old", 9, &refused()).await), Some(300), "the first in a row");
}

#[tokio::test]
async fn what_several_replicas_find_at_a_time_is_one_pause() {
    let mut shared = Shared::new().await;
    let first = shared.pause(1, RefusedKind::Tokens).await;
    assert_eq!(shared.pause(2, RefusedKind::Tokens).await, first);
    shared.advance(300).await;
    assert_eq!(left(&shared.pause(3, RefusedKind::Tokens).await), Some(600));
    // A login that the upstream accepts says nothing of the tokens that it gives.
    shared.advance(600).await;
    assert_eq!(shared.turn("old", 4).await, LoginTurn::Go);
    assert_eq!(left(&shared.done("old", 4, &LoginEnd::Accepted).await), Some(0));
    assert_eq!(left(&shared.pause(5, RefusedKind::Tokens).await), Some(1200));
    assert!(!shared.end("old", Some(RefusedKind::Credentials)).await);
    assert!(!shared.end("new", None).await);
    assert_eq!(shared.paused("old", 6).await, 1200);
    assert!(shared.end("old", Some(RefusedKind::Tokens)).await);
    assert!(!shared.end("old", None).await, "it has ended");
    assert_eq!(shared.turn("old", 7).await, LoginTurn::Go);
}

#[tokio::test]
async fn a_pause_that_the_server_has_lost_is_told_again_and_one_that_was_ended_is_not() {
    let mut shared = Shared::new().await;
    shared.turn("old", 1).await;
    let known = shared.done("old", 1, &refused()).await;
    shared.advance(100).await;
    shared.end("old", None).await;
    assert_eq!(shared.turn_with("old", 2, &known).await, LoginTurn::Go, "an operator has ended it");
    shared.done("old", 2, &refused()).await;
    cmd("FLUSHALL").query_async::<()>(&mut shared.connection).await.expect("it is emptied");
    shared.advance(0).await;
    let LoginPause { span, why, .. } = known.pause.clone().expect("a pause");
    let pause = LoginPause { left: Duration::from_secs(200), span, why };
    let knows = KnownLogins { pause: Some(pause), ..known };
    let LoginTurn::Paused(told) = shared.turn_with("old", 3, &knows).await else {
        panic!("it is told")
    };
    assert_eq!(left(&told), Some(200));
    assert_ne!(told.began, knows.began);
    assert_eq!(shared.paused("old", 4).await, 200, "to one that knows nothing, too");
    shared.advance(200).await;
    shared.turn("old", 5).await;
    assert_eq!(left(&shared.done("old", 5, &refused()).await), Some(600), "and how long it was");
}

#[tokio::test]
async fn two_sets_of_refused_credentials_do_not_end_the_pauses_of_each_other() {
    let mut shared = Shared::new().await;
    let mut known = Vec::new();
    for (credentials, holder) in [("old", 1), ("new", 2)] {
        assert_eq!(shared.turn(credentials, holder).await, LoginTurn::Go);
        known.push(shared.done(credentials, holder, &refused()).await);
    }
    for (holder, span) in (10..).step_by(10).zip([600, 1200, 2400, 3600]) {
        for (credentials, known) in ["old", "new"].into_iter().zip(&mut known) {
            let LoginTurn::Paused(again) = shared.turn_with(credentials, holder, known).await
            else {
                panic!("{credentials} {span}")
            };
            assert_eq!((left(&again), &again.began), (left(known), &known.began));
        }
        let over = left(&known[0]).expect("a pause");
        shared.advance(over).await;
        for (credentials, known) in ["old", "new"].into_iter().zip(&mut known) {
            let turn = shared.turn(credentials, holder + 1).await;
            assert_eq!(turn, LoginTurn::Go, "{credentials} {span}");
            *known = shared.done(credentials, holder + 1, &refused()).await;
            assert_eq!(left(known), Some(span), "{credentials}");
        }
    }
    shared.end("new", None).await;
    assert_eq!(shared.paused("old", 5).await, 3600);
    assert_eq!(shared.turn("new", 6).await, LoginTurn::Go);
}

#[tokio::test]
async fn a_pause_that_began_without_the_server_is_told_to_one_that_knows_nothing() {
    let mut shared = Shared::new().await;
    let (left, span) = (Duration::from_secs(20), SPANS.first);
    let pause = LoginPause { left, span, why: why(RefusedKind::Credentials) };
    let knows = KnownLogins { began: String::new(), pause: Some(pause) };
    let LoginTurn::Paused(told) = shared.turn_with("old", 1, &knows).await else {
        panic!("it is told")
    };
    assert_eq!(told.pause, knows.pause);
    // One that was told alone, with what was left of it, does not make the next one short.
    let rest = PauseSpans { first: Duration::from_secs(1), ..SPANS };
    let (connection, account) = (&mut shared.connection, (&shared.keys, ACCOUNT));
    let (login, why) = (("new", Token(2)), why(RefusedKind::Credentials));
    let known = shared.scripts.pause(connection, account, login, rest, &why).await;
    assert_eq!(known.expect("an answer").pause.expect("a pause").left, rest.first);
    shared.advance(1).await;
    assert_eq!(shared.turn("new", 3).await, LoginTurn::Go);
    let next = shared.done("new", 3, &refused()).await.pause.expect("a pause");
    assert_eq!(next.left, SPANS.first);
}

// Regression: the pause was twice as long.
#[tokio::test]
async fn a_refusal_that_is_told_twice_in_different_words_is_one_pause() {
    let mut shared = Shared::new().await;
    // What it says of its end is lost at first, and it tells meanwhile that it pauses.
    assert_eq!(shared.turn("old", 1).await, LoginTurn::Go);
    let told = shared.pause_of("old", 2, RefusedKind::Credentials).await;
    assert_eq!(left(&told), Some(300));
    shared.advance(1).await;
    assert_eq!(left(&shared.done("old", 1, &refused()).await), Some(299));
    // The next one is the second in a row.
    shared.advance(299).await;
    assert_eq!(shared.turn("old", 3).await, LoginTurn::Go);
    assert_eq!(left(&shared.done("old", 3, &refused()).await), Some(600));
}
