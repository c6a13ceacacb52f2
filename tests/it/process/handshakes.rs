//! TLS handshakes that do not come about: clients that do not go on, and that speak something else.

use std::net::{Ipv4Addr, SocketAddr};

use profile_gateway::pb::profile_service_client::ProfileServiceClient;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use super::{
    calls::{metric, named, profiles},
    child::{Gateway, gateway, patiently, until},
    crowds::{allow_many_files, connect_from, crowd},
};
use crate::kit::certificates::{Authority, Leaf, channel_over, secured};

/// The head of a TLS record of which nothing else comes.
const HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0];

async fn with_tls(authority: &Authority, more: &[(&str, &str)]) -> Gateway {
    let own = authority.issue(&Leaf::server(&["localhost"]));
    let files = [
        ("PROFILE_GATEWAY__SERVER__TLS__CERT", own.certificate.as_str()),
        ("PROFILE_GATEWAY__SERVER__TLS__KEY", own.key.as_str()),
    ];
    let env: Vec<_> = files.iter().chain(more).copied().collect();
    gateway(&[], &env).await
}

/// A read over a connection of its own, from this address.
async fn reads_from(source: Ipv4Addr, tls: &TlsConnector, address: SocketAddr) {
    let tls = tls.clone();
    let channel = channel_over(move || {
        let tls = tls.clone();
        async move { secured(&tls, connect_from(source, address).await).await }
    });
    let mut client = ProfileServiceClient::new(patiently("a connection", channel).await.unwrap());
    patiently("a read", client.get_profile(named("SP_2"))).await.unwrap();
}

fn failures(kind: &str) -> String {
    format!("profile_gateway_tls_handshake_failures_total{{kind=\"{kind}\"}}")
}

#[tokio::test]
async fn who_begins_handshakes_and_does_not_go_on_keeps_no_other_out() {
    allow_many_files();
    let authority = Authority::new();
    let limits = [
        ("PROFILE_GATEWAY__SERVER__TLS__MAX_HANDSHAKES", "8"),
        // No time ends them meanwhile.
        ("PROFILE_GATEWAY__SERVER__TLS__HANDSHAKE_TIMEOUT", "1m"),
        ("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", "5m"),
    ];
    let gateway = with_tls(&authority, &limits).await;
    let tls = authority.client(None).grpc();
    let (attacker, victim) = (Ipv4Addr::new(127, 0, 0, 9), Ipv4Addr::LOCALHOST);
    let _silent = crowd(attacker, gateway.grpc, 300, b"").await;
    let _begun = crowd(attacker, gateway.grpc, 300, HELLO).await;
    for _ in 0..5 {
        reads_from(victim, &tls, gateway.grpc).await;
    }
    assert!(metric(&gateway, &failures("room")).await > 0);
    gateway.program.logged("they took long while others waited for their turn").await;
    assert_eq!(metric(&gateway, &failures("timeout")).await, 0);
}

#[tokio::test]
async fn a_handshake_has_a_time_of_its_own() {
    let authority = Authority::new();
    let limits = [
        ("PROFILE_GATEWAY__SERVER__TLS__HANDSHAKE_TIMEOUT", "100ms"),
        ("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", "5m"),
    ];
    let gateway = with_tls(&authority, &limits).await;
    let mut slow = TcpStream::connect(gateway.grpc).await.unwrap();
    slow.write_all(HELLO).await.unwrap();
    let end = patiently("the end of it", slow.read(&mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    until("it counts", async || metric(&gateway, &failures("timeout")).await == 1).await;
    let closed = "profile_gateway_connections_closed_total{port=\"grpc\",reason=\"handshake\"}";
    assert_eq!(metric(&gateway, closed).await, 1);
    gateway.program.logged("they took longer than `handshake_timeout`").await;
}

#[tokio::test]
async fn the_time_to_the_first_request_includes_the_handshake() {
    let authority = Authority::new();
    let limits = [
        ("PROFILE_GATEWAY__SERVER__TLS__HANDSHAKE_TIMEOUT", "1m"),
        ("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", "200ms"),
    ];
    let gateway = with_tls(&authority, &limits).await;
    let mut slow = TcpStream::connect(gateway.grpc).await.unwrap();
    slow.write_all(HELLO).await.unwrap();
    until("it counts", async || metric(&gateway, &failures("timeout")).await == 1).await;
    // It has made its handshake, and asks for nothing.
    let tls = authority.client(None).grpc();
    let stream = TcpStream::connect(gateway.grpc).await.unwrap();
    let mut idle = patiently("a handshake", secured(&tls, stream)).await.unwrap();
    let _ = patiently("its end", idle.read_to_end(&mut Vec::new())).await;
    let closed = "profile_gateway_connections_closed_total{port=\"grpc\",reason=\"no_request\"}";
    until("it counts", async || metric(&gateway, closed).await == 1).await;
}

#[tokio::test]
async fn a_client_without_tls_is_told_that_the_port_speaks_it() {
    let authority = Authority::new();
    let gateway = with_tls(&authority, &[]).await;
    for (at, sent) in ["GET /hunter2 HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nhunter2"]
        .into_iter()
        .enumerate()
    {
        let mut client = TcpStream::connect(gateway.grpc).await.unwrap();
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        patiently("an answer", client.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nthis port speaks TLS\n"), "{answer}");
        let counted = at as u64 + 1;
        until("it counts", async || metric(&gateway, &failures("plaintext")).await == counted)
            .await;
    }
    let log = gateway.program.logged("the client does not speak TLS, and this port does").await;
    assert!(log.contains("127.0.0.1") && !log.contains("hunter2"), "{log}");
    // The other ports have no TLS.
    assert_eq!(super::calls::http_get(gateway.admin, "/livez").await.0, 200);
}

#[tokio::test]
async fn a_client_with_tls_shows_at_a_port_without() {
    let authority = Authority::new();
    let gateway = gateway(&[], &[]).await;
    let tls = authority.client(None).grpc();
    for (port, address) in [("grpc", gateway.grpc), ("admin", gateway.admin)] {
        let stream = TcpStream::connect(address).await.unwrap();
        patiently("a refusal", secured(&tls, stream)).await.unwrap_err();
        let closed =
            format!("profile_gateway_connections_closed_total{{port=\"{port}\",reason=\"tls\"}}");
        until("it counts", async || metric(&gateway, &closed).await == 1).await;
    }
    gateway.program.logged("clients that speak TLS: this port does not").await;
    profiles(&gateway).await.get_profile(named("SP_2")).await.unwrap();
}

#[tokio::test]
async fn a_client_that_reads_nothing_over_tls_is_cut_off() {
    let authority = Authority::new();
    // Over a Unix socket, because the system keeps little of what is not read.
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.sock");
    let address = format!("unix:{}", path.display());
    let limits = [
        ("PROFILE_GATEWAY__LISTEN", address.as_str()),
        ("PROFILE_GATEWAY__SERVER__WRITE_TIMEOUT", "200ms"),
        // No time ends it before.
        ("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", "5m"),
    ];
    let gateway = with_tls(&authority, &limits).await;
    let tls = authority.client(None).grpc();
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut client = patiently("a handshake", secured(&tls, stream)).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Each ping has an answer that is not read.
    let pings = b"\0\0\x08\x06\0\0\0\0\0hunter2!".repeat(500);
    let closed = "profile_gateway_connections_closed_total{port=\"grpc\",reason=\"unread\"}";
    let floods = async { while client.write_all(&pings).await.is_ok() {} };
    let counts = until("it counts", async || metric(&gateway, closed).await == 1);
    tokio::join!(patiently("its end", floods), counts);
}

/// What a client says first that knows no version of TLS after 1.1 (RFC 4346, 7.4.1.2).
fn hello_of_tls_1_1() -> Vec<u8> {
    let with_length = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    };
    let extension = |kind: u8, bytes: &[u8]| [&[0, kind][..], &with_length(bytes)].concat();
    let extensions = [
        extension(16, b"\0\x03\x02h2"),
        extension(10, &[0, 4, 0, 23, 0, 29]),
        extension(11, &[1, 0]),
        extension(13, &[0, 4, 4, 3, 4, 1]),
    ];
    let ciphers = with_length(&[0xC0, 0x13, 0xC0, 0x14, 0xC0, 0x09, 0xC0, 0x0A]);
    let body = [&[3, 2][..], &[7; 32], &[0], &ciphers, &[1, 0], &with_length(&extensions.concat())];
    let body = body.concat();
    let message = [&[1, 0][..], &with_length(&body)].concat();
    [&[22, 3, 1][..], &with_length(&message)].concat()
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    let authority = Authority::new();
    let gateway = with_tls(&authority, &[]).await;
    let mut client = TcpStream::connect(gateway.grpc).await.unwrap();
    client.write_all(&hello_of_tls_1_1()).await.unwrap();
    let mut answer = Vec::new();
    patiently("an answer", client.read_to_end(&mut answer)).await.unwrap();
    // A fatal alert: `protocol_version`.
    assert_eq!((answer.first(), answer.get(5..)), (Some(&21), Some(&[2, 70][..])), "{answer:?}");
    until("it counts", async || metric(&gateway, &failures("protocol")).await == 1).await;
}
