//! Tokens over time: shared, renewed, rejected, kept out of messages.

use std::sync::atomic::AtomicU32;

use super::{refused::*, *};

fn paused(credentials: &Credentials) -> Option<bool> {
    credentials.paused_until().map(|until| Instant::now() < until)
}

fn tokens() -> Tokens {
    Tokens { access: "access-token".into(), refresh: None, lifetime: None }
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_login_which_outlives_them() {
    let (credentials, logins) = (Arc::new(Credentials::default()), Arc::new(AtomicU32::new(0)));
    let login = || {
        let logins = logins.clone();
        move |_| async move {
            logins.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok(tokens())
        }
    };
    let impatient = tokio::time::timeout(Duration::from_secs(1), credentials.get(None, login()));
    assert!(impatient.await.is_err());
    let all = (0..50).map(|_| credentials.get(None, login()));
    for held in futures_util::future::join_all(all).await {
        assert_eq!(held.unwrap().generation, 1);
    }
    assert_eq!(logins.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn one_refused_generation_is_renewed_once() {
    let credentials = Arc::new(Credentials::default());
    let renew = |_| async { Ok(tokens()) };
    let first = credentials.get(None, renew).await.unwrap().generation;
    let second = credentials.get(Some(first), renew).await.unwrap().generation;
    let late = credentials.get(Some(first), renew).await.unwrap().generation;
    assert_eq!((first, second, late), (1, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_expires() {
    let credentials = Arc::new(Credentials::default());
    let renew = |_| async { Ok(Tokens { lifetime: Some(Duration::from_secs(100)), ..tokens() }) };
    let generation = async || credentials.get(None, renew).await.unwrap().generation;
    assert_eq!(generation().await, 1);
    tokio::time::advance(Duration::from_secs(89)).await;
    assert_eq!(generation().await, 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(generation().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_used_until_it_expires_if_renewing_it_early_fails() {
    let credentials = Arc::new(Credentials::default());
    let life = Some(Duration::from_secs(100));
    let login = |_| async move { Ok(Tokens { lifetime: life, ..tokens() }) };
    assert!(credentials.get(None, login).await.is_ok());
    let down = |_| async { Err(Error::new(Reason::UpstreamUnavailable, "down")) };
    tokio::time::advance(Duration::from_secs(95)).await;
    assert_eq!(credentials.get(None, down).await.unwrap().generation, 1);
    tokio::time::advance(Duration::from_secs(5)).await;
    let error = credentials.get(None, down).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamUnavailable);
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_are_not_retried_at_once() {
    let (credentials, logins) = (Arc::new(Credentials::default()), Arc::new(AtomicU32::new(0)));
    let attempt = || {
        let logins = logins.clone();
        credentials.get(None, move |_| async move {
            logins.fetch_add(1, Ordering::SeqCst);
            Err(Error::new(Reason::UpstreamAuthFailed, "wrong password"))
        })
    };
    let outcomes = |n| logins.load(Ordering::SeqCst) == n;
    for _ in 0..10 {
        assert_eq!(attempt().await.unwrap_err().reason(), Reason::UpstreamAuthFailed);
    }
    assert!(outcomes(1) && paused(&credentials) == Some(true));
    tokio::time::advance(FIRST_PAUSE).await;
    assert_eq!(paused(&credentials), Some(false));
    for _ in 0..10 {
        attempt().await.unwrap_err();
    }
    assert!(outcomes(2));
    tokio::time::advance(FIRST_PAUSE).await;
    let message = attempt().await.unwrap_err().message().to_owned();
    assert!(outcomes(2) && message.contains("not retried for 5m"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn rejected_new_tokens_pause_logins_until_one_is_accepted() {
    let credentials = Arc::new(Credentials::default());
    let renew = |_| async { Ok(tokens()) };
    let good = credentials.get(None, renew).await.unwrap();
    credentials.accept(&good);
    let renewed = credentials.get(Some(good.generation), renew).await.unwrap();
    // A bad renewal after a good login: the next caller logs in.
    assert!(!credentials.reject(renewed.generation));
    for pause in [30, 60, 120, 240, 480, 600, 600] {
        let token = credentials.get(None, renew).await.unwrap();
        let again = credentials.get(Some(token.generation), renew).await.unwrap();
        assert!(credentials.reject(again.generation) && !credentials.reject(again.generation));
        assert_eq!(paused(&credentials), Some(true));
        let error = credentials.get(None, renew).await.unwrap_err();
        assert_eq!(error.reason(), Reason::UpstreamAuthFailed);
        tokio::time::advance(Duration::from_secs(pause)).await;
        assert_eq!(paused(&credentials), Some(false));
    }
    let token = credentials.get(None, renew).await.unwrap();
    assert!(credentials.accept(&token) && !credentials.accept(&token));
    assert_eq!(paused(&credentials), None);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_login_does_not_pause_logins() {
    let credentials = Arc::new(Credentials::default());
    let down = |_| async { Err(Error::new(Reason::UpstreamUnavailable, "down")) };
    credentials.get(None, down).await.unwrap_err();
    assert!(credentials.get(None, |_| async { Ok(tokens()) }).await.is_ok());
}

#[tokio::test]
async fn secrets_are_redacted() {
    let credentials = Arc::new(Credentials::default());
    credentials.get(None, |_| async { Ok(tokens()) }).await.unwrap();
    let password = SecretString::from("hunter22");
    let redact = |text| credentials.needles(|| vec![&password], &[]).redacted(text);
    assert_eq!(redact("x hunter22, access-token"), Some("x [redacted], [redacted]".into()));
    assert_eq!(redact("nothing"), None);
}

#[tokio::test]
async fn a_token_replaced_during_its_request_is_redacted() {
    let credentials = Arc::new(Credentials::default());
    let log_in = |access: &str| {
        let tokens = Tokens { access: access.into(), ..tokens() };
        |_| async { Ok(tokens) }
    };
    let first = credentials.get(None, log_in("first-token")).await.unwrap();
    credentials.get(Some(first.generation), log_in("second-token")).await.unwrap();
    let redact = |text| credentials.needles(Vec::new, &[]).redacted(text);
    for text in ["first-token", "second-token"] {
        assert_eq!(redact(text), Some("[redacted]".into()), "{text}");
    }
    credentials.reject(2);
    assert_eq!(redact("second-token"), Some("[redacted]".into()));
}

#[tokio::test(start_paused = true)]
async fn a_new_token_gets_a_second_to_count() {
    let credentials = Arc::new(Credentials::default());
    let current = credentials.get(None, |_| async { Ok(tokens()) }).await.unwrap();
    let now = Instant::now();
    assert_eq!(current.counts_from(now), Some(now + COUNTS_AFTER));
    assert_eq!(current.counts_from(now + COUNTS_AFTER), None);
    credentials.accept(&current);
    assert_eq!(current.counts_from(now), None, "one that counted before is refused for good");
}

#[tokio::test(start_paused = true)]
async fn rejected_fixed_credentials_pause_and_one_request_tries_again() {
    let credentials = Credentials::default();
    let admitted = || credentials.admit_fixed(Instant::now()).is_ok();
    assert!(admitted() && credentials.reject_fixed(true));
    assert!(!credentials.reject_fixed(true), "an answer to a request sent before");
    for minutes in [5, 10, 20, 40, 60, 60] {
        let pause = Duration::from_secs(60 * minutes);
        assert_eq!(credentials.paused_until(), Some(Instant::now() + pause));
        assert!(!admitted());
        tokio::time::advance(pause).await;
        assert!(admitted() && !admitted(), "one tries");
        assert!(credentials.reject_fixed(true));
    }
    tokio::time::advance(MAX_PAUSE).await;
    assert!(admitted() && !admitted());
    tokio::time::advance(TRIAL).await;
    assert!(admitted(), "it got no answer, so another one tries");
    assert!(credentials.accept_fixed());
    assert!(admitted() && credentials.paused_until().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_fixed_token_pauses_after_a_few_rejections_in_a_row() {
    let credentials = Credentials::default();
    for _ in 0..2 {
        assert!(!credentials.reject_fixed(false) && !credentials.reject_fixed(false));
        assert!(!credentials.accept_fixed(), "there was no pause");
    }
    assert!(!credentials.reject_fixed(false) && !credentials.reject_fixed(false));
    assert!(credentials.reject_fixed(false));
    assert_eq!(credentials.paused_until(), Some(Instant::now() + FIRST_TOKEN_PAUSE));
}

#[tokio::test(start_paused = true)]
async fn the_next_process_with_the_same_credentials_goes_on_with_the_pause() {
    use crate::{
        store::{File, Store, StoreKey, StoreMetrics},
        upstream::{Account, EarlierUpstreams},
    };
    let directory = tempfile::TempDir::new().unwrap();
    let account = Account {
        upstream: vec!["http://upstream.test".to_owned()],
        names: vec!["operator".to_owned()],
        secrets: vec!["password".into()],
        backend: "b".to_owned(),
    };
    let process = |account: &Account| {
        let store: Arc<dyn Store> =
            Arc::new(File::open(directory.path(), StoreMetrics::default()).unwrap());
        let key = Arc::new(StoreKey::load(&*store).unwrap());
        let earlier = EarlierUpstreams::load(store, key);
        let (keeper, found) = earlier.of("b", account);
        let credentials = Arc::new(Credentials::default());
        let keeper = keeper.map(Arc::new);
        let pause = (found.pause.as_ref(), found.clock);
        credentials.keep_in(keeper.as_ref(), pause, Instant::now());
        credentials
    };
    let attempt = async |credentials: &Arc<Credentials>| {
        let renew = |_| async { Err(Error::new(Reason::UpstreamAccountLocked, "locked")) };
        let error = credentials.get(None, renew).await.unwrap_err();
        assert_eq!(error.reason(), Reason::UpstreamAccountLocked);
        error.message().to_owned()
    };
    let first = process(&account);
    assert_eq!(attempt(&first).await, "locked");
    drop(first);
    let second = process(&account);
    assert!(attempt(&second).await.contains("started again; not retried for 4m 5"));
    tokio::time::advance(FIRST_PAUSE).await;
    assert_eq!(attempt(&second).await, "locked", "it is over");
    assert!(attempt(&second).await.contains("not retried for 9m 5"), "twice as long");
    drop(second);
    let third = process(&account);
    assert!(attempt(&third).await.contains("not retried for 9m 5"), "also after a restart");
    assert!(third.end_pause(Instant::now()) && !third.end_pause(Instant::now()));
    drop(third);
    let fourth = process(&account);
    assert_eq!(attempt(&fourth).await, "locked");
    drop(fourth);
    let other = process(&Account { secrets: vec!["another".into()], ..account.clone() });
    assert_eq!(attempt(&other).await, "locked");
    drop(other);
}

#[test]
fn other_secrets_are_looked_for_at_once() {
    let credentials = Credentials::default();
    let finds = |secret: &str| {
        let configured = SecretString::from(secret);
        let needles = credentials.needles(|| vec![&configured], &[]);
        needles.redacted(&format!("it is {secret}")).is_some()
    };
    assert!(finds("the first secret"));
    assert!(!finds("the second secret"), "they are kept");
    credentials.start_over();
    assert!(finds("the second secret"));
    credentials.forget_needles();
    assert!(finds("the third secret"));
}

/// What is under way with the secrets before ends for those who wait, and for no one after.
#[tokio::test(start_paused = true)]
async fn a_login_with_replaced_secrets_decides_nothing_about_the_new_ones() {
    for fails in [true, false] {
        let credentials = Arc::new(Credentials::default());
        let old = {
            let credentials = Arc::clone(&credentials);
            tokio::spawn(async move {
                let login = move |_| async move {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    let locked = || Error::new(Reason::UpstreamAccountLocked, "locked");
                    if fails { Err(locked()) } else { Ok(tokens()) }
                };
                credentials.get(None, login).await.map(|current| current.generation)
            })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        credentials.start_over();
        assert_eq!(old.await.unwrap().is_err(), fails);
        assert_eq!(paused(&credentials), None);
        let next = || credentials.get(None, |_| async { Ok(tokens()) });
        let first = next().await.unwrap().generation;
        assert_eq!(first, if fails { 1 } else { 2 }, "it was not taken for the new one's");
        assert_eq!(next().await.unwrap().generation, first);
    }
}
