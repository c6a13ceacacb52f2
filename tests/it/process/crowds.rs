//! Many connections that do nothing, beside clients that work: no one is kept out.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    calls::{channel, http_get, metric, named, profiles},
    child::{Gateway, gateway, patiently, serve, sft, until},
    slow::Slow,
};

const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The tests hold as many connections as the program.
pub(super) fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

pub(super) async fn connect_from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    patiently("a connection", socket.connect(to)).await.unwrap()
}

/// So many connections that have sent this and no more.
pub(super) async fn crowd(
    source: Ipv4Addr,
    to: SocketAddr,
    count: usize,
    sent: &[u8],
) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..count {
        let mut stream = connect_from(source, to).await;
        // The program may have closed it already, to make room for the next.
        let _ = stream.write_all(sent).await;
        crowd.push(stream);
    }
    crowd
}

/// A client that reads a cached profile all the time, over one connection.
pub(super) struct Victim {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Victim {
    pub(super) async fn start(gateway: &Gateway) -> Self {
        let mut client = profiles(gateway).await;
        client.get_profile(named("SP_2")).await.unwrap();
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, counts) = (Arc::clone(&stop), Arc::clone(&calls));
        let task = tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                patiently("a read", client.get_profile(named("SP_2"))).await.unwrap();
                counts.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Self { stop, calls, task }
    }

    /// Ends it. No call may have failed.
    pub(super) async fn stays_unharmed(self) {
        let before = self.calls.load(Ordering::Relaxed);
        until("one more call", async || self.calls.load(Ordering::Relaxed) > before).await;
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

fn closed(port: &str, reason: &str) -> String {
    format!("profile_gateway_connections_closed_total{{port=\"{port}\",reason=\"{reason}\"}}")
}

async fn admits_new_clients(gateway: &Gateway) {
    let new = async { profiles(gateway).await.get_profile(named("SP_2")).await.unwrap() };
    patiently("a new client's call", new).await;
    assert_eq!(patiently("readiness", http_get(gateway.admin, "/readyz")).await.0, 200);
}

#[tokio::test]
async fn who_sends_one_byte_keeps_no_one_out() {
    allow_many_files();
    let gateway = gateway(&[], &[]).await;
    let victim = Victim::start(&gateway).await;
    let source = Ipv4Addr::LOCALHOST;
    let _callers = crowd(source, gateway.grpc, 4096, b"P").await;
    let _operators = crowd(source, gateway.admin, 64, b"P").await;
    admits_new_clients(&gateway).await;
    gateway.program.logged("a peer has as many connections as one may have").await;
    assert!(metric(&gateway, &closed("grpc", "room")).await > 0);
    assert!(metric(&gateway, &closed("admin", "room")).await > 0);
    victim.stays_unharmed().await;
}

#[tokio::test]
async fn many_peers_that_send_one_byte_keep_no_one_out() {
    allow_many_files();
    let limits = [
        ("PROFILE_GATEWAY__SERVER__MAX_CONNECTIONS", "100"),
        ("PROFILE_GATEWAY__SERVER__MAX_CONNECTIONS_PER_PEER", "50"),
        // No time ends them meanwhile.
        ("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", "5m"),
        ("PROFILE_GATEWAY__MAX_ADMIN_CONNECTIONS", "10"),
        ("PROFILE_GATEWAY__MAX_ADMIN_CONNECTIONS_PER_PEER", "5"),
    ];
    let gateway = gateway(&[], &limits).await;
    let victim = Victim::start(&gateway).await;
    let mut crowds = Vec::new();
    for peer in 2..7 {
        let source = Ipv4Addr::new(127, 0, 0, peer);
        for sent in [&b""[..], b"P", b"GET / HTTP/1.1\r\nx-y:", HTTP_2] {
            crowds.push(crowd(source, gateway.grpc, 40, sent).await);
            crowds.push(crowd(source, gateway.admin, 10, sent).await);
        }
    }
    admits_new_clients(&gateway).await;
    gateway.program.logged("full: connections without calls make room").await;
    until("no more than allowed", async || {
        metric(&gateway, "profile_gateway_connections").await <= 100
    })
    .await;
    victim.stays_unharmed().await;
}

/// Those that have sent a request once are no better.
#[tokio::test]
async fn who_is_idle_keeps_no_one_out() {
    // No time ends them meanwhile.
    let limits = [
        ("PROFILE_GATEWAY__SERVER__MAX_CONNECTIONS", "50"),
        ("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", "5m"),
        ("PROFILE_GATEWAY__SERVER__MAX_CONNECTION_IDLE", "off"),
    ];
    let gateway = gateway(&[], &limits).await;
    let victim = Victim::start(&gateway).await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut answered = crowd(Ipv4Addr::LOCALHOST, gateway.grpc, 100, request).await;
    let last = answered.last_mut().unwrap();
    assert!(patiently("an answer", last.read(&mut [0; 100])).await.unwrap() > 0);
    admits_new_clients(&gateway).await;
    until("no more than allowed", async || {
        metric(&gateway, "profile_gateway_connections").await <= 50
    })
    .await;
    victim.stays_unharmed().await;
}

#[tokio::test]
async fn a_connection_without_a_whole_request_is_closed() {
    const SHORT: &str = "300ms";
    let limits = [("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", SHORT)];
    let gateway = gateway(&[], &limits).await;
    // The beginning of headers of HTTP/2 that never end.
    let unfinished = [HTTP_2, b"\0\0\x03\x01\0\0\0\0\x01\x83\x86\x04"].concat();
    let beginnings = [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost:",
        HTTP_2,
        &unfinished,
    ];
    for sent in beginnings {
        let mut tcp = connect_from(Ipv4Addr::LOCALHOST, gateway.grpc).await;
        tcp.write_all(sent).await.unwrap();
        // Whatever it is told before, the connection ends.
        let _ = patiently("the end", tcp.read_to_end(&mut Vec::new())).await;
    }
    until("all counted", async || {
        // HTTP/1 with headers that have begun may end by the timer for headers.
        metric(&gateway, &closed("grpc", "no_request")).await >= 5
    })
    .await;
    let mut client = profiles(&gateway).await;
    client.get_profile(named("SP_2")).await.unwrap();
}

/// Over HTTP/1, each request may take as long to come as the first one.
#[tokio::test]
async fn a_later_request_that_is_not_whole_ends_its_connection() {
    let limits = [
        ("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", "300ms"),
        ("PROFILE_GATEWAY__SERVER__MAX_CONNECTION_IDLE", "off"),
    ];
    let gateway = gateway(&[], &limits).await;
    let mut tcp = connect_from(Ipv4Addr::LOCALHOST, gateway.grpc).await;
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(patiently("an answer", tcp.read(&mut [0; 1000])).await.unwrap() > 0);
    tcp.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let _ = patiently("the end", tcp.read_to_end(&mut Vec::new())).await;
    until("no connection", async || metric(&gateway, "profile_gateway_connections").await == 0)
        .await;
}

#[tokio::test]
async fn a_connection_without_calls_is_asked_to_leave() {
    let limits = [("PROFILE_GATEWAY__SERVER__MAX_CONNECTION_IDLE", "400ms")];
    let gateway = gateway(&[], &limits).await;
    let mut watching = HealthClient::new(channel(gateway.grpc).await);
    let mut statuses = watching.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    statuses.message().await.unwrap().unwrap();
    let mut client = profiles(&gateway).await;
    client.get_profile(named("SP_2")).await.unwrap();
    until("an idle connection closed", async || {
        metric(&gateway, &closed("grpc", "idle")).await == 1
    })
    .await;
    // Its client connects again without noticing, and a call keeps its connection.
    client.get_profile(named("SP_2")).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(1), statuses.message()).await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test]
async fn a_peer_with_calls_on_all_its_connections_gets_no_more() {
    // Also where the port has fewer places than one peer may have.
    for (limit, count) in [("MAX_CONNECTIONS_PER_PEER", "3"), ("MAX_CONNECTIONS", "6")] {
        let limit = format!("PROFILE_GATEWAY__SERVER__{limit}");
        refuses_a_fourth_connection_of_a_peer((&limit, count)).await;
    }
}

async fn refuses_a_fourth_connection_of_a_peer(limit: (&str, &str)) {
    let slow = Slow::start().await;
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &[limit]).await;
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut client = profiles(&gateway).await;
        calls.push(tokio::spawn(async move { client.get_profile(named("SP_2")).await }));
    }
    until("calls in flight", async || {
        metric(&gateway, "profile_gateway_calls_in_flight").await == 3
    })
    .await;
    let mut refused = connect_from(Ipv4Addr::LOCALHOST, gateway.grpc).await;
    let end = patiently("the end", refused.read(&mut [0])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert_eq!(metric(&gateway, &closed("grpc", "peer_limit")).await, 1);
    let log = gateway.program.logged("refused connections").await;
    assert!(log.contains("127.0.0.1"), "{log}");
    // Another peer is served.
    let mut other = connect_from(Ipv4Addr::new(127, 0, 0, 2), gateway.grpc).await;
    other.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    patiently("an answer", other.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    slow.open();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}
