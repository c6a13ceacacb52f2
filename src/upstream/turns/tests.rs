//! Turns of logins beside other replicas, which are made up.

use std::sync::atomic::Ordering;

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;

use super::*;
use crate::{
    caller::Resource,
    error::Retry,
    resources::Share,
    shared::commands::{KnownLogins, LoginPause, Reserved},
    upstream::{
        authentication::Auth,
        base_url::BaseUrl,
        limits::Limits,
        message::{Reply, Request},
        metrics::BackendUpstreamMetrics,
        settings::UpstreamSettings,
        sharing::tests::{Fake, sharing},
    },
};

/// Never asked.
struct Nothing;

impl Auth for Nothing {
    fn headers(&self, _: &SecretString) -> Result<Vec<(HeaderName, HeaderValue)>> {
        Ok(Vec::new())
    }

    fn fixed(&self) -> Option<&SecretString> {
        None
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
    let auth = Arc::new(Nothing);
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
    let busy = |seconds| LoginTurn::Busy(Duration::from_secs(seconds));
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
        tokio::time::advance(Duration::from_secs(30)).await;
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
