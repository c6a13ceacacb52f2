//! TLS to upstreams: private authorities, client certificates, names, versions; and what is told of
//! each way in which a connection does not come about.

use std::{net::SocketAddr, path::Path};

use http::Version;
use rustls::version::{TLS12, TLS13};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic::Code;

use crate::kit::{
    double::ClosedPort,
    gateway::{self, Gateway},
    status::fails,
    tls::{Authority, Identity, Speaks, Upstream, acceptor, upstream},
};

/// The protocols of HTTP that an upstream speaks, and what is seen then.
const PROTOCOLS: [(&str, Version); 2] = [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)];

/// Lines that trust only this authority.
fn trusting(authority: &Authority) -> String {
    format!("tls.ca_file = {:?}\ntls.roots = \"file\"\n", authority.file())
}

/// Lines that show this certificate.
fn showing(identity: &Identity) -> String {
    format!("tls.cert = {:?}\ntls.key = {:?}\n", identity.cert, identity.key)
}

async fn reaching(base_url: &str, lines: &str) -> Gateway {
    gateway::gateway().fixed("sft", base_url, lines).start().await
}

/// Calls fail for this reason, which is told, counted, and not met twice by one call.
async fn told(gateway: &Gateway, fault: &str, expected: &str) {
    let read = fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!((read.meta("connection_fault"), read.retry), (fault, None), "{read:#?}");
    assert!(read.message.contains(expected), "{expected}: {}", read.message);
    // Nothing was sent, so nothing is in doubt.
    let write = fails(gateway.delete("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(write.meta("connection_fault"), fault, "{write:#?}");
    let labels = format!("backend=\"sft\",fault=\"{fault}\"");
    let counted = gateway.metric("upstream_connection_faults_total", &labels).await;
    assert!((counted - 2.0).abs() < 0.1, "{fault}: {counted}");
    let retried = gateway.metric("upstream_retries_total", "").await;
    assert!(retried < 0.1, "{fault}: {retried} retries");
}

/// A read that succeeds, over these.
async fn served(gateway: &Gateway, upstream: &Upstream, version: Version) {
    let profile = gateway.get("SP_7").await.unwrap();
    assert_eq!(profile.display_name, "Name");
    assert_eq!(upstream.arrived().last().unwrap().version, version);
}

#[tokio::test]
async fn a_private_authority_is_trusted_if_it_is_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (protocol, version) in PROTOCOLS {
        let speaks = Speaks { protocols: &[protocol], ..Speaks::default() };
        let upstream = upstream(acceptor(&authority.issue("127.0.0.1"), &speaks)).await;
        for roots in ["file", "both"] {
            let lines = format!("tls.ca_file = {:?}\ntls.roots = {roots:?}\n", authority.file());
            served(&reaching(&upstream.base_url(), &lines).await, &upstream, version).await;
        }
        for lines in [String::new(), trusting(&other)] {
            let before = upstream.connections();
            let gateway = reaching(&upstream.base_url(), &lines).await;
            told(&gateway, "unknown_issuer", "name its certificate in `tls.ca_file`").await;
            assert_eq!(upstream.connections() - before, 2, "one for each call");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_those_who_ask() {
    let (authority, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let (right, wrong) = (clients.issue("gateway.example"), others.issue("gateway.example"));
    for (protocol, version) in PROTOCOLS {
        for versions in [&[&TLS12], &[&TLS13]] {
            let speaks = Speaks { client: Some(&clients), protocols: &[protocol], versions };
            let upstream = upstream(acceptor(&authority.issue("127.0.0.1"), &speaks)).await;
            let trusts = trusting(&authority);
            let with = |identity| format!("{trusts}{}", showing(identity));
            let gateway = reaching(&upstream.base_url(), &with(&right)).await;
            served(&gateway, &upstream, version).await;
            assert!(upstream.arrived().last().unwrap().certified);
            let before = upstream.arrived().len();
            let gateway = reaching(&upstream.base_url(), &trusts).await;
            told(&gateway, "client_certificate_wanted", "set `tls.cert` and `tls.key`").await;
            let gateway = reaching(&upstream.base_url(), &with(&wrong)).await;
            told(&gateway, "client_certificate_refused", "check that `tls.cert` is valid").await;
            assert_eq!(upstream.arrived().len(), before);
        }
    }
    // Not to those who do not ask.
    let upstream = upstream(acceptor(&authority.issue("127.0.0.1"), &Speaks::default())).await;
    let lines = format!("{}{}", trusting(&authority), showing(&right));
    served(&reaching(&upstream.base_url(), &lines).await, &upstream, Version::HTTP_2).await;
    assert!(!upstream.arrived().last().unwrap().certified);
}

#[tokio::test]
async fn the_upstream_is_called_by_the_name_in_its_certificate() {
    let authority = Authority::new();
    for (protocol, version) in PROTOCOLS {
        let speaks = Speaks { protocols: &[protocol], ..Speaks::default() };
        let upstream = upstream(acceptor(&authority.issue("pcc.example"), &speaks)).await;
        let lines = trusting(&authority);
        let gateway = reaching(&upstream.base_url(), &lines).await;
        told(&gateway, "name_mismatch", "set `tls.server_name`").await;
        let lines = format!("{lines}tls.server_name = \"pcc.example\"\n");
        let gateway = reaching(&upstream.base_url(), &lines).await;
        served(&gateway, &upstream, version).await;
        let arrived = upstream.arrived().pop().unwrap();
        assert_eq!(arrived.server_name.as_deref(), Some("pcc.example"));
        assert_eq!(arrived.host, format!("pcc.example:{}", upstream.address.port()));
        // Only the name that was said.
        let lines = lines.replace("pcc.example", "other.example");
        let gateway = reaching(&upstream.base_url(), &lines).await;
        told(&gateway, "name_mismatch", "name mismatch").await;
    }
}

#[tokio::test]
async fn a_certificate_counts_only_in_its_time() {
    let authority = Authority::new();
    for (from, to, fault, expected) in [
        (2010, 2020, "certificate_expired", "its operator has to renew it"),
        (2090, 2095, "certificate_not_yet_valid", "check the clocks"),
    ] {
        let identity = authority.issue_between("127.0.0.1", from, to);
        let upstream = upstream(acceptor(&identity, &Speaks::default())).await;
        let gateway = reaching(&upstream.base_url(), &trusting(&authority)).await;
        told(&gateway, fault, expected).await;
        assert_eq!(upstream.connections(), 2, "one for each call");
    }
}

#[tokio::test]
async fn versions_of_tls_are_held_to() {
    let authority = Authority::new();
    let lines = trusting(&authority);
    let only_1_3 = format!("{lines}tls.min_version = \"1.3\"\n");
    for (versions, lines, is_served) in [
        (&[&TLS12], &lines, true),
        (&[&TLS13], &lines, true),
        (&[&TLS13], &only_1_3, true),
        (&[&TLS12], &only_1_3, false),
    ] {
        let speaks = Speaks { versions, ..Speaks::default() };
        let upstream = upstream(acceptor(&authority.issue("127.0.0.1"), &speaks)).await;
        let gateway = reaching(&upstream.base_url(), lines).await;
        match is_served {
            true => served(&gateway, &upstream, Version::HTTP_2).await,
            false => told(&gateway, "tls_version_not_supported", "`tls.min_version`").await,
        }
    }
}

/// A server that answers the first bytes of each connection with these.
async fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // A part of the hello.
                client.read_exact(&mut [0; 64]).await?;
                client.write_all(answer).await?;
                client.shutdown().await?;
                // Until the client has left, so that it reads all of it.
                client.read_to_end(&mut Vec::new()).await
            });
        }
    });
    address
}

/// A ServerHello of TLS 1.1 with TLS_RSA_WITH_AES_128_CBC_SHA, and without extensions.
const HELLO_OF_1_1: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
    0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";

#[tokio::test]
async fn a_server_that_has_no_modern_tls_is_told_from_one_that_has_none() {
    let alert = b"\x15\x03\x02\x00\x02\x02\x46";
    for (answer, fault, expected) in [
        (&alert[..], "tls_version_not_supported", "no TLS version in common"),
        (HELLO_OF_1_1, "tls_version_not_supported", "no TLS version in common"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "tls_handshake_failed", "refuses the TLS handshake"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not_tls", "does not speak TLS"),
    ] {
        let address = answering(answer).await;
        let gateway = reaching(&format!("https://{address}"), "").await;
        told(&gateway, fault, expected).await;
        // A login fails for the same reason.
        let gateway = gateway::login(&format!("https://{address}")).await;
        let failed = fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert_eq!((failed.meta("connection_fault"), failed.retry), (fault, None), "{failed:#?}");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let closed = ClosedPort::new();
    let gateway = gateway::fixed(&closed.base_url()).await;
    for (gateway, fault) in
        [(gateway, "unreachable"), (reaching("https://no.invalid", "").await, "name_not_resolved")]
    {
        let failed = fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert_eq!(failed.meta("connection_fault"), fault, "{failed:#?}");
        assert!(failed.retry.is_some(), "{failed:#?}");
        let labels = format!("fault=\"{fault}\"");
        let counted = gateway.metric("upstream_connection_faults_total", &labels).await;
        assert!((counted - 3.0).abs() < 0.1, "one for each attempt, got {counted}");
    }
}

#[tokio::test]
async fn a_connection_that_takes_too_long_is_told_as_such() {
    // Takes connections, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lines = "connect_timeout = \"50ms\"\n";
    let gateway = reaching(&format!("https://{address}"), lines).await;
    let failed = fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(failed.meta("connection_fault"), "connect_timeout", "{failed:#?}");
    assert!(failed.message.contains("within 50ms (`connect_timeout`)"), "{}", failed.message);
}

#[tokio::test]
async fn the_configuration_is_shown_without_the_key() {
    let authority = Authority::new();
    let identity = authority.issue("gateway.example");
    let lines = format!("{}{}", trusting(&authority), showing(&identity));
    let shown = reaching("https://127.0.0.1:9", &lines).await.admin("/config").await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let expected = serde_json::json!({
        "ca_file": path(&authority.file()),
        "roots": "file",
        "cert": path(&identity.cert),
        "key": path(&identity.key),
        "server_name": null,
        "min_version": "1.2",
    });
    assert_eq!(shown["backends"]["sft"]["tls"], expected);
}
