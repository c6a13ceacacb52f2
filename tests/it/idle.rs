//! Streams of tools and probes on which nothing happens.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt as _, stream};
use tonic::{Code, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus::{self, NotServing, Serving},
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::kit::{
    double::{Answer, GET, double},
    gateway::{Gateway, gateway},
    later,
    status::fails,
    until,
};

/// What comes next on a stream. On that of a broken program, nothing does.
async fn soon<T>(next: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), next).await.expect("a message or the end")
}

// The two versions differ in their package and in nothing else, but are types of their own.
macro_rules! asks_once {
    ($version:ident, $gateway:expr) => {{
        use $version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest::ListServices,
        };
        let gateway: &Gateway = $gateway;
        let message_request = Some(ListServices(String::new()));
        let question = ServerReflectionRequest { host: String::new(), message_request };
        let questions = stream::iter([question]).chain(stream::pending());
        let mut client = ServerReflectionClient::new(gateway.channel_of_another());
        let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap();
        later(Duration::from_secs(58)).await;
        assert_eq!(gateway.metric("calls_in_flight", "").await, 1.0);
        later(Duration::from_secs(3)).await;
        let ended = soon(answers.message()).await;
        let failed = fails(ended, Code::Unavailable, "OVERLOADED");
        assert_eq!(failed.meta("operation"), "ServerReflectionInfo");
        assert!(failed.message.contains("no request on this stream"), "{failed:#?}");
        until("it is over", async || gateway.metric("calls_in_flight", "").await == 0.0).await;
    }};
}

#[tokio::test]
async fn a_reflection_stream_without_a_request_for_a_minute_ends() {
    let upstream = double().await;
    let gateway = gateway().fixed("sft", &upstream.base_url, "").start().await;
    asks_once!(v1, &gateway);
    asks_once!(v1alpha, &gateway);
}

/// What a watch is told next, until its end.
async fn told(watch: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    soon(watch.message()).await.ok()?.map(|message| message.status())
}

#[tokio::test]
async fn a_health_watch_tells_of_what_it_was_asked_for_and_of_nothing_else() {
    let upstream = double().await;
    let lines = "circuit_failures = 1\ncircuit_open = \"60s\"\nmax_attempts = 1";
    let builder = gateway().server("stream_keep_alive = \"off\"");
    let builder = builder.fixed("sft", &upstream.base_url, lines);
    let gateway = builder.fixed("well", &upstream.base_url, lines).start().await;
    let mut watches = Vec::new();
    for service in ["backends/sft", "backends/well", ""] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut client = gateway.health.clone();
        watches.push(client.watch(request).await.unwrap().into_inner());
    }
    let [failing, well, process] = &mut watches[..] else { panic!("three") };
    assert_eq!(told(failing).await, Some(Serving));
    upstream.always(GET, Answer::Close);
    fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(told(failing).await, Some(NotServing));
    later(Duration::from_secs(61)).await;
    assert_eq!(told(failing).await, Some(Serving));
    gateway.stop().await;
    assert_eq!(told(failing).await, Some(NotServing));
    for other in [well, process] {
        let all = [told(other).await, told(other).await, told(other).await];
        assert_eq!(all, [Some(Serving), Some(NotServing), None]);
    }
}
