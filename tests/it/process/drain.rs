//! How the process ends: no call that it took is lost, whatever the signal; and it does end.

use std::net::SocketAddr;

use profile_gateway::pb::Profile;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};
use tonic::{Code, Status, transport::Endpoint};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
};

use super::{
    calls::{GET, arm, channel, http_get, metric, named, profiles},
    child::{Ended, Gateway, gateway, patiently, sandbox, serve, sft, until},
    slow::Slow,
};
use profile_gateway::pb::profile_service_client::ProfileServiceClient;

const CLIENTS: usize = 20;

type Outcomes = JoinSet<Result<Profile, Status>>;

/// A gateway with as many calls in flight as there are clients, each on a connection of its own.
async fn with_calls_in_flight(slow: &Slow, env: &[(&str, &str)]) -> (Gateway, Outcomes) {
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), env).await;
    let mut calls = Outcomes::new();
    for _ in 0..CLIENTS {
        let mut client = profiles(&gateway).await;
        calls.spawn(async move {
            client.get_profile(named("SP_2")).await.map(tonic::Response::into_inner)
        });
    }
    let all = u64::try_from(CLIENTS).unwrap();
    until("all calls in flight", async || {
        metric(&gateway, "profile_gateway_calls_in_flight").await == all
    })
    .await;
    (gateway, calls)
}

async fn refuses(address: SocketAddr) {
    until("a port that refuses", async || TcpStream::connect(address).await.is_err()).await;
}

/// The access log's lines.
fn access(ended: &Ended) -> Vec<Value> {
    let lines = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| line["target"] == "access").collect()
}

async fn finishes_what_it_took(signal: Signal) {
    let slow = Slow::start().await;
    let (mut gateway, calls) = with_calls_in_flight(&slow, &[]).await;
    gateway.program.signal(signal);
    refuses(gateway.grpc).await;
    // The admin port answers to the end, and says why.
    assert_eq!(http_get(gateway.admin, "/readyz").await.0, 503);
    assert_eq!(http_get(gateway.admin, "/livez").await.0, 200);
    assert!(gateway.program.is_running());
    assert_eq!(calls.len(), CLIENTS);
    slow.open();
    for outcome in patiently("all calls", calls.join_all()).await {
        assert_eq!(outcome.unwrap().display_name, "DEFAULT");
    }
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_eq!(access(&ended).len(), CLIENTS);
}

#[tokio::test]
async fn sigterm_finishes_calls_in_flight() {
    finishes_what_it_took(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_finishes_calls_in_flight() {
    finishes_what_it_took(Signal::INT).await;
}

/// Clients that never pause meet the signal at every stage of a call. What they lose is what the
/// gateway never took: every call in its log succeeded, and their caller has the answer.
#[tokio::test]
async fn sigterm_under_load_loses_no_call() {
    let sandbox = sandbox().await;
    arm(&sandbox.url, "GetServiceProfile", json!({ "kind": "delay", "ms": 20 })).await;
    let gateway = serve(&sandbox.config, &[]).await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = profiles(&gateway).await;
        clients.spawn(async move {
            for answered in 0_usize.. {
                if let Err(status) = client.get_profile(named("SP_2")).await {
                    return (answered, status);
                }
            }
            unreachable!("clients call until they fail")
        });
    }
    let counted =
        format!("profile_gateway_calls_total{{method=\"{GET}\",code=\"OK\",reason=\"\"}}");
    until("calls", async || metric(&gateway, &counted).await > 50).await;
    gateway.program.signal(Signal::TERM);
    let outcomes = patiently("all clients", clients.join_all()).await;
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);

    let log = access(&ended);
    let failed: Vec<&Value> = log.iter().filter(|line| line["code"] != "OK").collect();
    assert!(failed.is_empty(), "{failed:?}");
    let answered: usize = outcomes.iter().map(|(answered, _)| answered).sum();
    assert_eq!(answered, log.len(), "calls that the gateway took and their callers did not get");
    for (_, status) in outcomes {
        assert_eq!(status.details(), b"", "the gateway itself refused a call: {status:?}");
    }
}

#[tokio::test]
async fn the_embedded_sandbox_outlives_the_calls_that_need_it() {
    let gateway = gateway(&[], &[]).await;
    let url = gateway.sandbox.clone().unwrap();
    arm(&url, "GetServiceProfile", json!({ "kind": "delay", "ms": 300 })).await;
    let mut client = profiles(&gateway).await;
    let call = tokio::spawn(async move { client.get_profile(named("SP_2")).await });
    until("a call in flight", async || {
        metric(&gateway, "profile_gateway_calls_in_flight").await == 1
    })
    .await;
    gateway.program.signal(Signal::TERM);
    call.await.unwrap().unwrap();
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}

const LONG_GRACE: [(&str, &str); 1] = [("PROFILE_GATEWAY__SERVER__DRAIN_GRACE", "300s")];

#[tokio::test]
async fn connections_are_accepted_for_the_grace() {
    let slow = Slow::start().await;
    let (mut gateway, calls) = with_calls_in_flight(&slow, &LONG_GRACE).await;
    gateway.program.signal(Signal::TERM);
    gateway.program.logged("shutting down").await;
    assert_eq!(http_get(gateway.admin, "/readyz").await.0, 503);
    // A balancer that has not noticed yet loses nothing.
    slow.open();
    let mut client = ProfileServiceClient::new(channel(gateway.grpc).await);
    client.get_profile(named("SP_2")).await.unwrap();
    for outcome in calls.join_all().await {
        outcome.unwrap();
    }
    assert!(gateway.program.is_running());
}

/// The second signal may come while connections are still accepted.
#[tokio::test]
async fn a_second_signal_ends_the_grace() {
    let slow = Slow::start().await;
    let (gateway, calls) = with_calls_in_flight(&slow, &LONG_GRACE).await;
    gateway.program.signal(Signal::TERM);
    gateway.program.logged("shutting down").await;
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    assert!(!ended.stderr.contains("the program panicked"), "{}", ended.stderr);
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    for outcome in calls.join_all().await {
        outcome.unwrap_err();
    }
    assert_eq!(access(&ended).len(), CLIENTS, "every call that was cut is in the log");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let slow = Slow::start().await;
        let (gateway, calls) = with_calls_in_flight(&slow, &[]).await;
        gateway.program.signal(Signal::TERM);
        refuses(gateway.grpc).await;
        gateway.program.signal(second);
        // The upstream never answers, so only the signal can end it.
        let ended = gateway.program.ended().await;
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        for outcome in calls.join_all().await {
            outcome.unwrap_err();
        }
    }
}

#[tokio::test]
async fn a_hung_upstream_meets_the_hard_limit() {
    let slow = Slow::start().await;
    let env = [("PROFILE_GATEWAY__SERVER__DRAIN_TIMEOUT", "200ms")];
    let (gateway, calls) = with_calls_in_flight(&slow, &env).await;
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("ended with calls in flight"), "{}", ended.stderr);
    for outcome in calls.join_all().await {
        outcome.unwrap_err();
    }
    let cut = access(&ended);
    assert_eq!(cut.len(), CLIENTS, "every call that was cut is in the log");
    assert!(cut.iter().all(|line| line["code"] != "OK"), "{cut:?}");
}

/// Idle connections and silent ones are no reason to wait.
#[tokio::test]
async fn idle_connections_do_not_delay_shutdown() {
    let gateway = gateway(&[], &[]).await;
    let silent = TcpStream::connect(gateway.grpc).await.unwrap();
    let idle = profiles(&gateway).await;
    let admin = TcpStream::connect(gateway.admin).await.unwrap();
    gateway.program.signal(Signal::TERM);
    assert_eq!(gateway.program.ended().await.code(), Some(0));
    drop((silent, admin));
    let address = gateway.grpc;
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap_err();
    let mut idle = idle;
    let status = idle.get_profile(named("SP_2")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

/// Connections that would last as long as their clients want, and calls whose message is not here.
#[tokio::test]
async fn what_is_not_a_whole_call_does_not_delay_the_end() {
    const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let env = [
        ("PROFILE_GATEWAY__SERVER__DRAIN_TIMEOUT", "1h"),
        ("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", "5m"),
        ("PROFILE_GATEWAY__SERVER__MESSAGE_TIMEOUT", "1h"),
        ("PROFILE_GATEWAY__SERVER__GRPC_WEB", "true"),
    ];
    let gateway = gateway(&[], &env).await;
    // `:method: POST`, `:scheme: http`, a path, and a content type: a call without its message.
    let path = format!("/{GET}");
    let block = [
        &b"\x83\x86\x04"[..],
        &[u8::try_from(path.len()).unwrap()],
        path.as_bytes(),
        b"\x0f\x10\x10application/grpc",
    ]
    .concat();
    let length = u8::try_from(block.len()).unwrap();
    let call = [HTTP_2, &[0, 0, length, 1, 4, 0, 0, 0, 1], &block].concat();
    let web = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\
         content-type: application/grpc-web+proto\r\n\r\nabc"
    );
    let half = b"GET / HTTP/1.1\r\nhost:";
    let mut held = Vec::new();
    for sent in [&b""[..], b"P", half, HTTP_2, &call, web.as_bytes()] {
        let mut tcp = TcpStream::connect(gateway.grpc).await.unwrap();
        tcp.write_all(sent).await.unwrap();
        held.push(tcp);
    }
    let reflection = channel(gateway.grpc).await;
    let questions = futures_util::stream::pending::<ServerReflectionRequest>();
    let mut reflection = ServerReflectionClient::new(reflection);
    let asked = tokio::spawn(async move { reflection.server_reflection_info(questions).await });
    until("all of them", async || {
        metric(&gateway, "profile_gateway_connections").await == 7
            && metric(&gateway, "profile_gateway_calls_in_flight").await == 3
    })
    .await;
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    drop((held, asked.await));
}
