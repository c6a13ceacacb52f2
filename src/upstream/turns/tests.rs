//! Turns of logins beside other replicas, which are made up.

use std::sync::atomic::Ordering;

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;

use super::*;
use crate::{
    caller::Resource,
    error::Retry,
    resources::Share,
    shared::commands::{KnownLogins, LoginPause, Reserved, Throttled},
    upstream::{
        authentication::Auth,
        base_url::BaseUrl,
        limits::Limits,
        login,
        message::{Reply, Request},
        metrics::BackendUpstreamMetrics,
        settings::UpstreamSettings,
        sharing::tests::{Fake, sharing},
    },
};

/// Never asked. With fixed credentials that may be locked, or without any.
struct Made(Option<SecretString>);

impl Auth for Made {
    fn headers(&self, _: &SecretString) -> Result<Vec<(HeaderName, HeaderValue)>> {
        Ok(Vec::new())
    }

    fn fixed(&self) -> Option<&SecretString> {
        self.0.as_ref()
    }

    fn may_lock(&self) -> bool {
        true
    }

    fn login(&self) -> Option<Request> {
        None
    }

    fn refresh(&self, _: &SecretString) -> Option<(Request, Vec<(HeaderName, HeaderValue)>)> {
        None
    }

    fn tokens(&self, _: &Reply) -> Result<Tokens> {
        Err(Error::new(Reason::GatewayInternal, "no login"))
    }

    fn is_refused(&self, _: &Reply) -> bool {
        false
    }

    fn secrets(&self) -> Vec<&SecretString> {
        Vec::new()
    }
}

fn upstream() -> Arc<Upstream> {
    let decoding = Share::boundless(Resource::DecodingBytes);
    let base_url = BaseUrl::parse("http://upstream.test").unwrap();
    let settings = UpstreamSettings { base_url, ..UpstreamSettings::default() };
    let metrics = BackendUpstreamMetrics::unread();
    let auth = Arc::new(Made(None));
    Upstream::new("test", &settings, Limits::NONE, auth, metrics, decoding, |_| ()).unwrap()
}

fn tokens() -> Tokens {
    Tokens { access: "access-token".into(), refresh: None, lifetime: None }
}

fn refused() -> Error {
    Error::new(Reason::UpstreamAuthFailed, "wrong password")
}

/// What the other replicas answer one after another.
fn others(turns: impl IntoIterator<Item = LoginTurn>) -> (Arc<Fake>, Arc<Sharing>) {
    let fake = Arc::new(Fake::default());
    fake.turns.lock().extend(turns);
    let sharing = sharing(&fake);
    (fake, sharing)
}

#[tokio::test(start_paused = true)]
async fn a_login_waits_for_that_of_another_replica_and_says_how_it_has_ended() {
    let busy = |seconds| LoginTurn::Busy(Duration::from_secs(seconds), KnownLogins::default());
    let (fake, sharing) = others([busy(60), busy(60), LoginTurn::Go]);
    let (upstream, began) = (upstream(), Instant::now());
    let Ok(Turn::Own(turn)) = wait(&upstream, &sharing).await else { panic!("a turn") };
    assert_eq!(began.elapsed(), 2 * ASKS_EVERY);
    turn.end(&upstream, &Err(refused())).await;
    assert!(matches!(fake.ends.lock().as_slice(), [LoginEnd::Refused(_)]));
    let until = upstream.credentials.paused_until().unwrap();
    assert_eq!(until, Instant::now() + spans(false).first);
    // And that of others is never waited for without end.
    let busy = std::iter::repeat_n(busy(60), 10_000);
    let (_, sharing) = others(busy);
    let Err(error) = wait(&upstream, &sharing).await else { panic!("a turn") };
    assert_eq!(error.reason(), Reason::UpstreamUnavailable);
    assert_eq!(error.retry(), Retry::After(Some(Duration::from_secs(60))));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_another_replica_was_refused_is_refused_here() {
    let (left, why) = (Duration::from_secs(250), why(&refused(), false));
    let pause = LoginPause { left, span: Duration::from_secs(300), why };
    let known = KnownLogins { began: "1".to_owned(), pause: Some(pause) };
    let (_, sharing) = others([LoginTurn::Paused(known)]);
    let upstream = upstream();
    let Err(error) = wait(&upstream, &sharing).await else { panic!("a turn") };
    assert_eq!(error.reason(), Reason::UpstreamAuthFailed);
    assert!(error.message().starts_with("wrong password; not retried for 4m 10s"), "{error}");
    assert_eq!(upstream.credentials.paused_until(), Some(Instant::now() + left));
}

#[tokio::test(start_paused = true)]
async fn without_others_only_credentials_that_have_worked_are_used_at_once() {
    let (fake, sharing) = others([]);
    fake.away.store(true, Ordering::Relaxed);
    let upstream = upstream();
    let Err(error) = wait(&upstream, &sharing).await else { panic!("a turn") };
    assert_eq!(error.reason(), Reason::StoreUnavailable);
    let Retry::After(Some(left)) = error.retry() else { panic!("{error}") };
    assert!(left <= Duration::from_secs(30), "{left:?}");
    tokio::time::advance(left).await;
    assert!(matches!(wait(&upstream, &sharing).await, Ok(Turn::Alone)), "one try");
    upstream.credentials.get(None, |_| async { Ok(tokens()) }).await.unwrap();
    for _ in 0..5 {
        assert!(matches!(wait(&upstream, &sharing).await, Ok(Turn::Alone)));
    }
    upstream.credentials.start_over();
    assert!(wait(&upstream, &sharing).await.is_err(), "these are others");
    let refuse = |_| async { Err(refused()) };
    upstream.credentials.get(None, refuse).await.unwrap_err();
    let Err(error) = wait(&upstream, &sharing).await else { panic!("a turn") };
    assert_eq!(error.reason(), Reason::UpstreamAuthFailed, "its pause is known here");
}

#[tokio::test(start_paused = true)]
async fn without_others_credentials_that_were_refused_since_they_worked_wait_differently_long() {
    let paused = |span| {
        let why = why(&refused(), false);
        KnownLogins { began: "1".to_owned(), pause: Some(LoginPause { left: span, span, why }) }
    };
    let span = spans(false).first;
    for refused_here in [true, false] {
        let (fake, sharing) = others([]);
        fake.away.store(true, Ordering::Relaxed);
        let upstream = upstream();
        let own = &upstream.credentials;
        own.get(None, |_| async { Ok(tokens()) }).await.unwrap();
        own.reject(1);
        if refused_here {
            own.get(None, |_| async { Err(refused()) }).await.unwrap_err();
        } else {
            own.take_over(&paused(span), own.round(), Instant::now()).unwrap();
        }
        tokio::time::advance(span).await;
        let Err(error) = wait(&upstream, &sharing).await else { panic!("all try at once") };
        assert_eq!(error.reason(), Reason::StoreUnavailable, "{refused_here}");
        tokio::time::advance(span).await;
        assert!(matches!(wait(&upstream, &sharing).await, Ok(Turn::Alone)), "one try");
        own.get(None, |_| async { Ok(tokens()) }).await.unwrap();
        for _ in 0..5 {
            assert!(matches!(wait(&upstream, &sharing).await, Ok(Turn::Alone)), "it has worked");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_began_without_the_others_is_told_to_a_server_that_knows_nothing() {
    let (fake, sharing) = others([]);
    let upstream = upstream();
    upstream.credentials.get(None, |_| async { Err(refused()) }).await.unwrap_err();
    fake.answers.lock().push_back(Reserved::default());
    upstream.hear(&sharing).await;
    assert_eq!(*fake.pauses.lock(), [spans(false).first]);
    assert!(upstream.credentials.paused_until().is_some());
}

/// A pause of all replicas with this much left.
fn pausing(error: &Error, left: Duration) -> KnownLogins {
    let pause = LoginPause { left, span: spans(false).first, why: why(error, false) };
    KnownLogins { began: "1".to_owned(), pause: Some(pause) }
}

/// An upstream that agrees with these.
fn agreeing(sharing: &Arc<Sharing>) -> Arc<Upstream> {
    let upstream = upstream();
    assert!(upstream.sharing.set(Arc::clone(sharing)).is_ok());
    upstream
}

#[tokio::test(start_paused = true)]
async fn a_turn_ends_with_what_it_was_taken_for() {
    let (fake, sharing) = others([LoginTurn::Go]);
    let Some(Ok(turn)) = trial(&upstream(), &sharing, MARGIN).await else { panic!("a turn") };
    // As when the request gets no answer, or its call ends.
    drop(turn);
    tokio::task::yield_now().await;
    assert_eq!(*fake.ends.lock(), [LoginEnd::Other]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_try_of_another_replica_is_told_why_and_until_when() {
    let left = Duration::from_secs(7);
    let locked = Error::new(Reason::UpstreamAccountLocked, "it is locked");
    let known = pausing(&locked, Duration::ZERO);
    let (_, sharing) =
        others([LoginTurn::Busy(left, known), LoginTurn::Busy(left, KnownLogins::default())]);
    let known_here = upstream();
    known_here.credentials.get(None, |_| async { Err(refused()) }).await.unwrap_err();
    for (upstream, reason, said) in [
        (known_here, Reason::UpstreamAccountLocked, "it is locked; not retried for 7s"),
        (upstream(), Reason::UpstreamUnavailable, "another replica of the gateway is trying"),
    ] {
        let Some(Err(error)) = trial(&upstream, &sharing, MARGIN).await else { panic!("a turn") };
        assert_eq!((error.reason(), error.retry()), (reason, Retry::After(Some(left))));
        assert!(error.message().starts_with(said), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_was_refused_is_not_refused_once_more_here() {
    let moment = Duration::from_millis(1);
    let (_, sharing) = others([LoginTurn::Paused(pausing(&refused(), moment))]);
    let upstream = upstream();
    let credentials = Arc::clone(&upstream.credentials);
    let renew = |_| async move {
        let Err(error) = wait(&upstream, &sharing).await else { panic!("a turn") };
        sleep(2 * moment).await;
        Err(error)
    };
    credentials.get(None, renew).await.unwrap_err();
    assert!(credentials.paused_until().is_some_and(|until| until < Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn fixed_credentials_are_not_sent_while_it_is_unknown_whether_they_were_refused() {
    let (fake, sharing) = others([]);
    let (upstream, auth) = (agreeing(&sharing), Made(Some("a password".into())));
    let admitted = async || {
        let admitted = login::admit_fixed(&upstream, &auth).await;
        admitted.map(|_| ()).map_err(|error| error.reason())
    };
    assert_eq!(admitted().await, Err(Reason::StoreUnavailable));
    tokio::time::advance(AWAY_AFTER).await;
    fake.looks.lock().push_back(Reserved::default());
    assert_eq!(admitted().await, Ok(()));
    // Refused at another replica, which is learned only now.
    assert!(sharing.ask([0; 4], &upstream.pace, &upstream.credentials).await.is_none());
    let known = pausing(&refused(), spans(false).first);
    fake.looks.lock().push_back(Reserved { logins: known.clone(), ..Reserved::default() });
    fake.turns.lock().push_back(LoginTurn::Paused(known));
    assert_eq!(admitted().await, Err(Reason::UpstreamAuthFailed));
}

#[tokio::test(start_paused = true)]
async fn without_others_refused_fixed_credentials_are_tried_about_once_in_all_their_pauses() {
    const REPLICAS: u32 = 8;
    let (mut tries, span) = (0, spans(false).first);
    for _ in 0..100 {
        let (fake, sharing) = others([]);
        let (upstream, auth) = (agreeing(&sharing), Made(Some("a password".into())));
        let answer = Reserved { members: REPLICAS, ..Reserved::default() };
        fake.answers.lock().push_back(answer);
        sharing.ask([0; 4], &upstream.pace, &upstream.credentials).await.unwrap();
        fake.away.store(true, Ordering::Relaxed);
        assert!(upstream.credentials.reject_fixed(true));
        tokio::time::advance(span).await;
        let Err(error) = login::admit_fixed(&upstream, &auth).await else { panic!("at once") };
        assert_eq!(error.reason(), Reason::StoreUnavailable);
        tokio::time::advance(span).await;
        tries += u32::from(login::admit_fixed(&upstream, &auth).await.is_ok());
    }
    // Of 100, an eighth.
    assert!((1..40).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn without_others_an_operator_has_refused_credentials_tried_at_once() {
    let (fake, sharing) = others([]);
    let (upstream, auth) = (agreeing(&sharing), Made(Some("a password".into())));
    fake.away.store(true, Ordering::Relaxed);
    for passed in [Duration::ZERO, spans(false).first] {
        assert!(upstream.credentials.reject_fixed(true));
        tokio::time::advance(passed).await;
        assert!(login::admit_fixed(&upstream, &auth).await.is_err());
        assert!(upstream.end_pause().await);
        assert!(login::admit_fixed(&upstream, &auth).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_told_of_a_pause_that_only_others_know() {
    let (fake, sharing) = others([]);
    let upstream = agreeing(&sharing);
    fake.pausing.store(true, Ordering::Relaxed);
    assert!(upstream.end_pause().await);
    assert!(!upstream.end_pause().await);
}

#[tokio::test(start_paused = true)]
async fn a_pause_after_a_429_that_the_server_does_not_know_is_told_again() {
    let (fake, sharing) = others([]);
    let (upstream, pause) = (upstream(), Duration::from_secs(50));
    upstream.pace.throttled(Some(pause), upstream.pace.epoch(), Instant::now());
    for (known, told) in [(Duration::ZERO, true), (pause, false), (pause / 2, true)] {
        fake.answers.lock().push_back(Reserved { pause: known, ..Reserved::default() });
        upstream.hear(&sharing).await;
        let expected = told.then_some(Throttled { pause, strikes: 1, again: true });
        assert_eq!(fake.throttled.lock().pop(), expected, "{known:?}");
    }
}
