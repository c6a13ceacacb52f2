//! The stack without sockets, on a paused clock.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::service::Service as _;
use tokio::time::Instant;
use tonic::{Code, Status, codegen::BoxFuture, server::NamedService};
use tonic_types::StatusExt as _;
use tower::{Service, ServiceExt, service_fn, util::BoxCloneService};

use super::settings;
use crate::{
    call::Admitted,
    caller::{Callers, Resource},
    error::{Error, Reason, violation::Violation},
    resources::Share,
    rpc::status::header_bytes,
    server::{
        Routes, ServerMetrics, ServerSettings,
        layers::{
            methods::Methods,
            passing::{Arrived, Origin},
            reply,
            whole::Whole,
        },
        stack,
        tls::Lapse,
        transport::closing::Closing,
    },
    telemetry::{Registry, logs},
};

const GET: &str = "/profilegateway.v1.ProfileService/GetProfile";
const CREATE: &str = "/profilegateway.v1.ProfileService/CreateProfile";
const WATCH: &str = "/profilegateway.v1.ProfileService/WatchProfiles";

/// The stack around a handler, with a permit for one call.
fn stack<H, F>(handler: H) -> BoxCloneService<Request, Response, Infallible>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    stack_over(&Arc::default(), handler)
}

/// The same over a connection with this end.
fn stack_over<H, F>(
    closing: &Arc<Closing>,
    handler: H,
) -> BoxCloneService<Request, Response, Infallible>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let settings = ServerSettings {
        default_timeout: Duration::from_secs(30),
        max_timeout: Duration::from_secs(60),
        max_concurrent_calls: 1,
        ..settings()
    };
    let routes = Routes::default().with(Handler(handler));
    let methods = Methods::new(&[crate::pb::DESCRIPTOR_SET.to_vec()]).unwrap();
    let metrics = ServerMetrics::register(&mut Registry::new("test"));
    let callers = Callers::default();
    let memory = Share::boundless(Resource::RequestBytes);
    let known = (&callers, &Arc::default(), None);
    let stack = Arc::new(stack::build(routes, &methods, &metrics, &settings, known, &memory));
    let closing = Arc::clone(closing);
    BoxCloneService::new(service_fn(move |request| {
        let (caller, closing) = (callers.others(), Arc::clone(&closing));
        let answer = stack.call(Arrived {
            request,
            web: false,
            peer: None,
            caller,
            origin: Origin::default(),
            closing,
        });
        async { Ok(answer.await?.map(Body::new)) }
    }))
}

/// Any function as the profile service.
#[derive(Clone)]
struct Handler<H>(H);

impl<H> NamedService for Handler<H> {
    const NAME: &'static str = "profilegateway.v1.ProfileService";
}

impl<H, F> Service<http::Request<Whole<Body>>> for Handler<H>
where
    H: Fn(Request) -> F,
    F: Future<Output = Response> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Whole<Body>>) -> Self::Future {
        let answer = (self.0)(request.map(Body::new));
        Box::pin(async { Ok(answer.await.map(tonic::body::Body::new)) })
    }
}

fn request(path: &str) -> Request {
    let request = http::Request::post(path).version(http::Version::HTTP_2);
    let request = request.header("content-type", "application/grpc");
    request.body(Body::empty()).unwrap()
}

/// Sends a request through the stack to a handler.
async fn through<H, F>(handler: H, path: &str, timeout: Option<&str>, body: Body) -> Response
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let mut request = request(path).map(|_| body);
    if let Some(timeout) = timeout {
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
    }
    stack(handler).oneshot(request).await.unwrap()
}

async fn never(_: Request) -> Response {
    std::future::pending().await
}

async fn endless(_: Request) -> Response {
    Response::new(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()))
}

async fn trailers(response: Response) -> HeaderMap {
    response.into_body().collect().await.unwrap().trailers().unwrap().clone()
}

fn meaning(headers: &HeaderMap) -> (Code, Reason) {
    (reply::code(headers).unwrap(), reply::reason(headers).unwrap())
}

/// What a caller is told of its proof.
fn told_why(headers: &HeaderMap) -> String {
    let status = Status::from_header_map(headers).unwrap();
    status.get_error_details().error_info().unwrap().metadata["why"].clone()
}

const EXCEEDED: (Code, Reason) = (Code::DeadlineExceeded, Reason::DeadlineExceeded);

#[tokio::test(start_paused = true)]
async fn the_call_knows_when_its_response_has_to_be_ready() {
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
            let call = request.extensions().get::<Admitted>().unwrap();
            assert_eq!(call.deadline - start, expected);
            Response::default()
        };
        let response = through(handler, path, timeout, Body::empty()).await;
        assert!(reply::code(response.headers()).is_none(), "{path} {timeout:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_full_deadline() {
    let start = Instant::now();
    let response = through(never, GET, Some("7S"), Body::empty()).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
    assert_eq!(start.elapsed().as_secs(), 7);
    let response = through(never, GET, None, Body::empty()).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
    assert_eq!(start.elapsed().as_secs(), 37);
}

#[tokio::test(start_paused = true)]
async fn without_time_the_handler_is_not_called() {
    let handler = |_| async { panic!("called") };
    let response = through(handler, GET, Some("0n"), Body::empty()).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_its_request_slowly_is_cut_off() {
    let slow = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), ()))
    });
    let handler = |request: Request| async {
        let _ = request.into_body().collect().await;
        Response::default()
    };
    let response = through(handler, GET, Some("5S"), Body::from_stream(slow)).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_ends_after_an_upstream_call_may_have_happened() {
    let handler = |request: Request| async move {
        request.extensions().get::<Admitted>().unwrap().record.spending().began();
        never(request).await
    };
    let response = through(handler, CREATE, Some("1S"), Body::empty()).await;
    let unknown = (Code::DeadlineExceeded, Reason::WriteOutcomeUnknown);
    assert_eq!(meaning(response.headers()), unknown);
    let response = through(handler, GET, Some("1S"), Body::empty()).await;
    assert_eq!(meaning(response.headers()), EXCEEDED);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_its_callers_timeout_and_not_by_default() {
    let response = through(endless, WATCH, Some("2H"), Body::empty()).await;
    let start = Instant::now();
    assert_eq!(meaning(&trailers(response).await), EXCEEDED);
    assert_eq!(start.elapsed().as_secs(), 7200);

    let response = through(endless, WATCH, None, Body::empty()).await;
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(tokio::time::timeout(day, trailers(response)).await.is_err());
}

#[tokio::test]
async fn a_call_keeps_its_permit_until_its_response_was_sent() {
    let stack = stack(|_| async {
        let items = stream::pending::<Result<Bytes, Infallible>>();
        Response::new(Body::from_stream(items))
    });
    let first = stack.clone().oneshot(request(WATCH)).await.unwrap();
    let second = stack.clone().oneshot(request(GET)).await.unwrap();
    assert_eq!(meaning(second.headers()), (Code::Unavailable, Reason::Overloaded));
    // HTTP/2 does not keep what it never sends again.
    assert!(second.headers()[reply::GRPC_DETAILS].is_sensitive());
    assert!(!second.headers()[reply::GRPC_MESSAGE].is_sensitive());
    drop(first);
    let third = stack.oneshot(request(GET)).await.unwrap();
    assert!(reply::code(third.headers()).is_none());
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

#[tokio::test]
async fn headers_and_trailers_together_stay_within_their_limit() {
    let handler = |_| async {
        let error = Error::new(Reason::MalformedRequest, "é".repeat(500));
        let error = (0..500).fold(error, |error, n| {
            error.with_violation(Violation {
                field: format!("names[{n}]"),
                description: "is not there".to_owned(),
                reason: Reason::ValidationFailed,
            })
        });
        let trailers = Frame::<Bytes>::trailers(reply::trailers(&error));
        let frames = stream::iter([Ok::<_, Infallible>(trailers)]);
        let mut response = Response::new(Body::new(StreamBody::new(frames)));
        response.headers_mut().insert("x-large", "x".repeat(1000).parse().unwrap());
        response
    };
    let response = through(handler, WATCH, None, Body::empty()).await;
    let sent = header_bytes(response.headers());
    let trailers = trailers(response).await;
    assert_eq!(meaning(&trailers), (Code::InvalidArgument, Reason::MalformedRequest));
    let all = sent + header_bytes(&trailers);
    assert!((2000..=3000).contains(&all), "{all} bytes");
}

/// Keeps the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_call_is_one_line_whose_level_says_who_should_look() {
    // With only a thread's own subscriber, tracing may cache for other threads that the lines are
    // disabled.
    logs::init(logs::Format::Text, "off").unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    let _kept = tracing::subscriber::set_default(log);
    let known = |request: Request| async move {
        let call = request.extensions().get::<Admitted>().unwrap();
        call.record.set_backend("sft");
        call.record.spending().began();
        let error = Error::new(Reason::ProfileNotFound, "no such profile");
        reply::refuse::<tonic::body::Body>(&error).map(Body::new)
    };
    through(known, GET, None, Body::empty()).await;
    through(never, GET, Some("1S"), Body::empty()).await;
    through(|_| async { panic!("a secret") }, GET, None, Body::empty()).await;

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["target"] == "access")
        .collect();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| ["level", "code", "reason"].map(|key| line[key].as_str().unwrap()))
        .collect();
    let expected = [
        ["INFO", "NOT_FOUND", "PROFILE_NOT_FOUND"],
        ["WARN", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"],
        ["ERROR", "INTERNAL", "GATEWAY_INTERNAL"],
    ];
    assert_eq!(seen, expected);
    assert_eq!(lines[0]["method"], "profilegateway.v1.ProfileService/GetProfile");
    assert_eq!((&lines[0]["backend"], &lines[0]["upstream_calls"]), (&"sft".into(), &1.into()));
    assert_eq!(lines[1]["duration_ms"], 1000.0);
}

#[tokio::test]
async fn nothing_is_done_for_a_client_whose_certificate_does_not_count_any_more() {
    for (lapse, why) in
        [(Lapse::Expired, "expired"), (Lapse::Refused, "invalid"), (Lapse::Missing, "missing")]
    {
        let closing = Arc::<Closing>::default();
        let streams = stack_over(&closing, endless);
        let stream = streams.clone().oneshot(request(WATCH)).await.unwrap();
        closing.lapse(lapse);
        closing.leave.cancel();
        let refused = (Code::Unauthenticated, Reason::CallerUnauthenticated);
        let end = trailers(stream).await;
        assert_eq!((meaning(&end), told_why(&end)), (refused, why.to_owned()));
        for path in [GET, CREATE, WATCH] {
            let late = streams.clone().oneshot(request(path)).await.unwrap();
            assert_eq!(meaning(late.headers()), refused, "{path}");
            assert_eq!(told_why(late.headers()), why, "{path}");
        }
    }
    // Another one is only asked to come again.
    let closing = Arc::<Closing>::default();
    let stream = stack_over(&closing, endless).oneshot(request(WATCH)).await.unwrap();
    closing.leave.cancel();
    assert_eq!(meaning(&trailers(stream).await), (Code::Unavailable, Reason::Overloaded));
}

#[tokio::test]
async fn no_write_begins_when_the_time_of_its_connection_is_over() {
    let closing = Arc::<Closing>::default();
    closing.writes.close();
    let late = stack_over(&closing, endless).oneshot(request(CREATE)).await.unwrap();
    assert_eq!(meaning(late.headers()), (Code::Unavailable, Reason::Overloaded));
}
