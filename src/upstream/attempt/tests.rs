//! A session over an upstream of the test.

use std::{
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
    caller::{Callers, Resource, yield_now},
    error::{Error, Reason},
    resources::Share,
    upstream::{
        authentication::{Auth, Tokens},
        base_url::BaseUrl,
        limits::Limits,
        metrics::BackendUpstreamMetrics,
        settings::UpstreamSettings,
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1000]).await;
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
    let request = Request {
        operation: "Get",
        method: Method::GET,
        path: "/".to_owned(),
        profile: None,
        headers: Vec::new(),
        body: None,
        safety: Safety::Read,
    };
    let sends = caller.run(async move {
        let before = polls.load(Ordering::Relaxed);
        session.send(request).await.unwrap();
        polls.load(Ordering::Relaxed) - before
    });
    let passed = tokio::spawn(sends).await.unwrap();
    assert!(passed < BUSY, "{passed} polls of others");
    drop(tasks);
}
