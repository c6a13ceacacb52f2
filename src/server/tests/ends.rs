//! How the server shuts down, and how its connections end.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use super::{Running, ServerSettings, failure, named, settings, start};
use crate::server::Drained;

/// A connection that, unlike a channel, does not reconnect.
async fn connect(server: &Running) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let executor = TokioExecutor::new();
    let (sender, connection) = http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// One call on it; its `grpc-status`.
async fn call(mut sender: http2::SendRequest<Full<Bytes>>, name: &str) -> hyper::Result<String> {
    let message = named(name).encode_to_vec();
    let mut frame = vec![0, 0, 0, 0, message.len() as u8];
    frame.extend(message);
    let request = http::Request::post("http://x/profilegateway.v1.BackendService/GetBackend")
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from(frame)))
        .unwrap();
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let status = |headers: &http::HeaderMap| headers["grpc-status"].to_str().unwrap().to_owned();
    // A response that is only a status has it in its headers.
    let body = body.collect().await?;
    Ok(status(body.trailers().unwrap_or(&head.headers)))
}

#[tokio::test]
async fn calls_in_flight_finish_and_new_connections_are_refused() {
    let server = start(settings()).await;
    let first = server.waiting().await;
    let second = server.waiting().await;
    server.stop.cancel();
    while TcpStream::connect(server.grpc).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // The admin port responds to the end.
    let ready = reqwest::get(format!("http://{}/readyz", server.admin)).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(!server.end.is_finished());
    server.gate.open();
    server.gate.open();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(server.end.await.unwrap(), Drained::Clean);
    assert!(TcpStream::connect(server.admin).await.is_err());
}

#[tokio::test]
async fn during_the_grace_it_serves_and_reports_that_it_will_stop() {
    let drain_grace = Duration::from_secs(3600);
    let server = start(ServerSettings { drain_grace, ..settings() }).await;
    server.stop.cancel();
    let check = HealthCheckRequest::default();
    while server.health_client().await.check(check.clone()).await.unwrap().into_inner().status()
        == ServingStatus::Serving
    {
        tokio::task::yield_now().await;
    }
    server.client().await.get_backend(named("ok")).await.unwrap();
    server.abort.cancel();
    server.end.await.unwrap();
}

#[tokio::test]
async fn a_health_watch_learns_of_the_shutdown_and_does_not_delay_it() {
    let server = start(settings()).await;
    let mut client = server.health_client().await;
    let watch = client.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    server.stop.cancel();
    let last = watch.message().await.unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    let end = watch.message().await;
    assert_eq!(failure(end), (Code::Unavailable, "OVERLOADED".to_owned()));
    assert_eq!(server.end.await.unwrap(), Drained::Clean);
}

#[tokio::test]
async fn detached_tasks_are_waited_for() {
    let server = start(settings()).await;
    let (written, settled) = (CancellationToken::new(), CancellationToken::new());
    let (write, done) = (written.clone(), settled.clone());
    server.writes.spawn(async move {
        write.cancelled().await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        done.cancel();
    });
    server.stop.cancel();
    while TcpStream::connect(server.grpc).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.end.is_finished());
    written.cancel();
    assert_eq!(server.end.await.unwrap(), Drained::Clean);
    assert!(settled.is_cancelled());
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off_at_the_limit() {
    let drain_timeout = Duration::from_millis(10);
    let server = start(ServerSettings { drain_timeout, ..settings() }).await;
    let call = server.waiting().await;
    server.writes.spawn(std::future::pending::<Infallible>());
    server.stop.cancel();
    let forced = Drained::Forced { connections: 1, calls: 1, tasks: 1 };
    assert_eq!(server.end.await.unwrap(), forced);
    assert_eq!(failure(call.await.unwrap()), (Code::Unavailable, "OVERLOADED".to_owned()));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for drain_grace in [Duration::ZERO, Duration::from_secs(3600)] {
        let server = start(ServerSettings { drain_grace, ..settings() }).await;
        let call = server.waiting().await;
        server.stop.cancel();
        server.abort.cancel();
        let forced = Drained::Forced { connections: 1, calls: 1, tasks: 0 };
        assert_eq!(server.end.await.unwrap(), forced);
        assert!(call.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn silent_connections_do_not_delay_the_shutdown() {
    let server = start(settings()).await;
    let _silent = TcpStream::connect(server.grpc).await.unwrap();
    server.counted("profile_gateway_connections 1").await;
    server.stop.cancel();
    assert_eq!(server.end.await.unwrap(), Drained::Clean);
}

// tonic's own limit sends no GOAWAY and breaks the calls in flight.
#[tokio::test]
async fn an_old_connection_is_asked_to_leave_and_its_calls_finish() {
    let max_connection_age = Some(Duration::from_millis(50));
    let server = start(ServerSettings { max_connection_age, ..settings() }).await;
    let connection = connect(&server).await;
    let waiting = tokio::spawn(call(connection.clone(), "wait"));
    server.gate.entered().await;
    while call(connection.clone(), "ok").await.is_ok() {}
    assert!(!waiting.is_finished());
    server.gate.open();
    assert_eq!(waiting.await.unwrap().unwrap(), "0");
    server.counted("profile_gateway_connections 0").await;
}

#[tokio::test]
async fn an_old_connection_is_closed_after_the_grace() {
    let server = start(ServerSettings {
        max_connection_age: Some(Duration::from_millis(10)),
        max_connection_age_grace: Duration::from_millis(10),
        ..settings()
    })
    .await;
    let connection = connect(&server).await;
    let status = call(connection, "wait").await.unwrap();
    assert_eq!(status, (Code::Unavailable as i32).to_string());
    server.counted("profile_gateway_connections 0").await;
    server.counted("profile_gateway_calls_in_flight 0").await;
}
