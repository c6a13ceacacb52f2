//! A session over an upstream of the test.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use http::{HeaderName, HeaderValue, Method};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use super::*;
use crate::{
    caller::{Callers, QuotaSettings, Rate, Resource, yield_now},
    error::{Effect, Error, Reason},
    resources::Share,
    shared::commands::Reserved,
    upstream::{
        authentication::{Auth, Tokens},
        base_url::BaseUrl,
        limits::Limits,
        metrics::BackendUpstreamMetrics,
        settings::UpstreamSettings,
        sharing::tests::{Fake, sharing},
    },
};

/// A credential that is never refused.
struct Fixed(SecretString);

impl Auth for Fixed {
    fn headers(&self, _: &SecretString) -> Result<Vec<(HeaderName, HeaderValue)>> {
        Ok(Vec::new())
    }

    fn fixed(&self) -> Option<&SecretString> {
        Some(&self.0)
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

/// An upstream that answers everything at once.
async fn upstream() -> Arc<Upstream> {
    counting_upstream(&Arc::default()).await
}

/// The same, which counts the requests that come.
async fn counting_upstream(came: &Arc<AtomicUsize>) -> Arc<Upstream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let came = Arc::clone(came);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = stream.read(&mut [0; 1000]).await;
            came.fetch_add(usize::from(read.is_ok_and(|bytes| bytes > 0)), Ordering::Relaxed);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        }
    });
    let base_url = BaseUrl::parse(&url).unwrap();
    let settings = UpstreamSettings { base_url, ..UpstreamSettings::default() };
    let (auth, decoding) =
        (Arc::new(Fixed("a secret".into())), Share::boundless(Resource::DecodingBytes));
    let metrics = BackendUpstreamMetrics::unread();
    Upstream::new("test", &settings, Limits::NONE, auth, metrics, decoding, |_| ()).unwrap()
}

fn request(method: Method, safety: Safety) -> Request {
    Request {
        operation: "Try",
        method,
        path: "/".to_owned(),
        profile: None,
        headers: Vec::new(),
        body: None,
        safety,
    }
}

// Regression: other callers behind it in line waited for all tasks of its caller that
// had something to do.
#[tokio::test]
async fn what_holds_a_slot_waits_for_no_other_task_of_its_caller() {
    const BUSY: usize = 20_000;
    let (upstream, callers) = (upstream().await, Callers::default());
    let (caller, polls) = (callers.at(IpAddr::from([192, 0, 2, 1])), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..BUSY {
        let polls = Arc::clone(&polls);
        tasks.spawn(caller.run(async move {
            loop {
                polls.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        }));
    }
    let deadline = Instant::now() + Duration::from_secs(600);
    let session = Session::new(&upstream, deadline, Arc::default(), &caller);
    let request = request(Method::GET, Safety::Read);
    let sends = caller.run(async move {
        let before = polls.load(Ordering::Relaxed);
        session.send(request).await.unwrap();
        polls.load(Ordering::Relaxed) - before
    });
    let passed = tokio::spawn(sends).await.unwrap();
    assert!(passed < BUSY, "{passed} polls of others");
    drop(tasks);
}

#[tokio::test]
async fn a_request_that_is_sent_back_to_the_line_is_charged_once() {
    let (upstream, fake) = (upstream().await, Arc::new(Fake::default()));
    let granted = |granted| Reserved { granted, members: 2, ..Reserved::default() };
    fake.answers.lock().extend([0, 0, 0, 1].map(granted));
    assert!(upstream.sharing.set(sharing(&fake)).is_ok());
    let (callers, name) = (Callers::default(), "caller".parse().unwrap());
    let quota = QuotaSettings { upstream_rate: Rate::read("1/h"), ..QuotaSettings::default() };
    callers.configure(&BTreeMap::from([(name, quota)]));
    let caller = callers.named(name);
    let deadline = Instant::now() + Duration::from_secs(600);
    let session = Session::new(&upstream, deadline, Arc::default(), &caller);
    session.send(request(Method::GET, Safety::Read)).await.unwrap();
    assert!(fake.answers.lock().is_empty());
    let owed = caller.may_ask_upstream().unwrap_err();
    assert!(owed <= Duration::from_secs(3600), "{owed:?}");
}

/// Allows so many questions, and counts what was sent.
struct Allows {
    questions: AtomicUsize,
    sent: AtomicUsize,
}

impl Permit for Allows {
    fn check(&self) -> Result<()> {
        let one_less = |left: usize| left.checked_sub(1);
        let asked = self.questions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        asked.map(drop).map_err(|_| Error::new(Reason::StoreUnavailable, "no more"))
    }

    fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_write_is_allowed_before_it_connects_and_before_its_first_byte() {
    for (questions, expected) in [(0, 0), (1, 0), (2, 1)] {
        let came = Arc::default();
        let upstream = counting_upstream(&came).await;
        let permit = Arc::new(Allows { questions: questions.into(), sent: 0.into() });
        let deadline = Instant::now() + Duration::from_secs(600);
        let session = Session::new(&upstream, deadline, Arc::default(), Caller::gateway());
        let session = session.permitted_by(Arc::clone(&permit) as _);
        session.send(request(Method::GET, Safety::Read)).await.unwrap();
        assert_eq!(came.load(Ordering::Relaxed), 1, "a read asks no one");
        let answer = session.send(request(Method::POST, Safety::Write)).await;
        let reason = answer.err().map(|error| (error.reason(), error.effect()));
        let refused = (Reason::StoreUnavailable, Effect::None);
        assert_eq!(reason, (expected == 0).then_some(refused), "{questions}");
        assert_eq!(permit.sent.load(Ordering::Relaxed), expected, "{questions}");
        assert_eq!(came.load(Ordering::Relaxed), 1 + expected, "{questions}");
    }
}
