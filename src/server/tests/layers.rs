//! The stack without sockets, on a clock that only tests move.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response, routing::any};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, service::Routes};
use tower::ServiceExt;

use super::settings;
use crate::{
    error::Reason,
    gateway::call::Call,
    server::{Settings, methods::Methods, reply, stack},
    telemetry::metrics::Metrics,
};

const GET: &str = "/profilegateway.v1.ProfileService/GetProfile";
const CREATE: &str = "/profilegateway.v1.ProfileService/CreateProfile";
const WATCH: &str = "/profilegateway.v1.ProfileService/WatchProfiles";

/// Sends a request through the stack to a handler.
async fn through<H, F>(handler: H, path: &str, timeout: Option<&str>, body: Body) -> Response
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let settings = Settings {
        default_timeout: Duration::from_secs(30),
        max_timeout: Duration::from_secs(60),
        ..settings()
    };
    let handler = any(move |request: Request| handler(request));
    let routes = Routes::from(Router::new().fallback_service(handler));
    let methods = Methods::new(&[crate::pb::DESCRIPTOR_SET.to_vec()]).unwrap();
    let metrics = Arc::new(Metrics::new("test"));
    let stack = stack::build(routes, methods, metrics, &settings, CancellationToken::new());
    let mut request = http::Request::post(path).header("content-type", "application/grpc");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    stack.oneshot(request.body(body).unwrap()).await.unwrap()
}

async fn never(_: Request) -> Response {
    std::future::pending().await
}

async fn trailers(response: Response) -> HeaderMap {
    response.into_body().collect().await.unwrap().trailers().unwrap().clone()
}

fn meaning(headers: &HeaderMap) -> (Code, Reason) {
    (reply::code(headers).unwrap(), reply::reason(headers).unwrap())
}

const EXCEEDED: (Code, Reason) = (Code::DeadlineExceeded, Reason::DeadlineExceeded);

#[tokio::test(start_paused = true)]
async fn the_call_says_when_its_answer_has_to_be_ready() {
    for (path, timeout, expected) in [
        (GET, Some("10S"), Duration::from_millis(9_950)),
        (GET, Some("100m"), Duration::from_millis(95)),
        (GET, None, Duration::from_millis(29_950)),
        (GET, Some("1H"), Duration::from_millis(59_950)),
        (WATCH, Some("1H"), Duration::from_millis(59_950)),
        (WATCH, None, Duration::from_millis(29_950)),
    ] {
        let start = Instant::now();
        let handler = move |request: Request| async move {
            let call = request.extensions().get::<Call>().unwrap();
            assert_eq!(call.deadline - start, expected);
            Response::default()
        };
        let response = through(handler, path, timeout, Body::empty()).await;
        assert!(reply::code(response.headers()).is_none(), "{path} {timeout:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_cut_at_its_whole_deadline() {
    let start = Instant::now();
    let response = through(never, GET, Some("7S"), Body::empty()).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
    assert_eq!(start.elapsed().as_secs(), 7);
    let response = through(never, GET, None, Body::empty()).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
    assert_eq!(start.elapsed().as_secs(), 37);
}

#[tokio::test(start_paused = true)]
async fn without_time_nothing_is_asked() {
    let handler = |_| async { panic!("asked") };
    let response = through(handler, GET, Some("0n"), Body::empty()).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_dribbles_its_request_is_cut() {
    let dribble = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), ()))
    });
    let handler = |request: Request| async {
        let _ = request.into_body().collect().await;
        Response::default()
    };
    let response = through(handler, GET, Some("5S"), Body::from_stream(dribble)).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
}

#[tokio::test(start_paused = true)]
async fn a_write_cut_while_upstreams_were_called_may_have_happened() {
    let handler = |request: Request| async move {
        request
            .extensions()
            .get::<Call>()
            .unwrap()
            .record
            .counter()
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        never(request).await
    };
    let response = through(handler, CREATE, Some("1S"), Body::empty()).await;
    let unknown = (Code::DeadlineExceeded, Reason::WriteOutcomeUnknown);
    assert_eq!(meaning(response.headers()), unknown);
    let response = through(handler, GET, Some("1S"), Body::empty()).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_caller_said_and_not_by_default() {
    let endless = |_| async {
        let never = stream::pending::<Result<Bytes, Infallible>>();
        Response::new(Body::from_stream(never))
    };
    let response = through(endless, WATCH, Some("2H"), Body::empty()).await;
    let start = Instant::now();
    assert_eq!(meaning(&trailers(response).await), EXCEEDED);
    assert_eq!(start.elapsed().as_secs(), 7200);

    let response = through(endless, WATCH, None, Body::empty()).await;
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(tokio::time::timeout(day, trailers(response)).await.is_err());
}

#[tokio::test]
async fn a_panic_in_a_stream_ends_it_with_a_status() {
    let handler = |_| async {
        let items = stream::iter([1, 2]).map(|n| match n {
            1 => Ok::<_, Infallible>(Bytes::from_static(b"first")),
            _ => panic!("a secret"),
        });
        Response::new(Body::from_stream(items))
    };
    let response = through(handler, WATCH, None, Body::empty()).await;
    let whole = response.into_body().collect().await.unwrap();
    let expected = (Code::Internal, Reason::GatewayInternal);
    assert_eq!(meaning(whole.trailers().unwrap()), expected);
    assert_eq!(whole.to_bytes(), "first");
}
