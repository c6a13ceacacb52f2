//! TLS on the gRPC port: who gets in, and with what.

use std::net::SocketAddr;

use futures_util::StreamExt as _;
use profile_gateway::pb::{WatchProfilesRequest, profile_service_client::ProfileServiceClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    calls::{metric, named},
    child::{Gateway, gateway, patiently, until},
};
use crate::kit::certificates::{Authority, Issued, Leaf, TLS_12, TLS_13, channel_to, secured};

const DOMAIN: &str = "example.org";
const BILLING: &str = "spiffe://example.org/ns/billing/sa/app";

/// The names of a server on this machine.
fn server() -> Leaf {
    Leaf::server(&["localhost", "127.0.0.1"])
}

/// A gateway with TLS, with more keys of its section.
async fn with_tls(authority: &Authority, more: &[(&str, &str)]) -> Gateway {
    let own = authority.issue(&server());
    let key = |key: &str| format!("PROFILE_GATEWAY__SERVER__TLS__{key}");
    let own = [("CERT", own.certificate.as_str()), ("KEY", own.key.as_str())];
    let env = own.iter().chain(more).map(|(name, value)| (key(name), *value));
    let env: Vec<(String, &str)> = env.collect();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    gateway(&[], &env).await
}

/// The keys of client certificates that have to be of the domain.
fn of_clients<'a>(ca: &'a str, auth: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("CLIENT_CA", ca), ("CLIENT_AUTH", auth), ("TRUST_DOMAIN", DOMAIN)]
}

/// A read over a connection of its own.
async fn reads(tls: TlsConnector, address: SocketAddr) {
    let channel = patiently("a connection", channel_to(tls, address)).await.unwrap();
    let mut client = ProfileServiceClient::new(channel);
    patiently("a read", client.get_profile(named("SP_2"))).await.unwrap();
}

/// How a client learns that it is refused.
async fn refusal(tls: &TlsConnector, address: SocketAddr) -> String {
    let attempt = async {
        let mut stream = secured(tls, TcpStream::connect(address).await?).await?;
        // In TLS 1.3 a client is done before the server has seen its certificate.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        stream.read_to_end(&mut Vec::new()).await
    };
    patiently("a refusal", attempt).await.unwrap_err().to_string()
}

fn failures(kind: &str) -> String {
    format!("profile_gateway_tls_handshake_failures_total{{kind=\"{kind}\"}}")
}

#[tokio::test]
async fn both_versions_of_tls_are_served_and_the_older_one_can_be_refused() {
    let authority = Authority::new();
    let gateway = with_tls(&authority, &[]).await;
    assert!(gateway.greeting.contains("over TLS"), "{}", gateway.greeting);
    assert!(gateway.greeting.contains("grpcurl -cacert"), "{}", gateway.greeting);
    reads(authority.client(None).versions(TLS_12).grpc(), gateway.grpc).await;
    reads(authority.client(None).versions(TLS_13).grpc(), gateway.grpc).await;

    let gateway = with_tls(&authority, &[("MIN_VERSION", "1.3")]).await;
    reads(authority.client(None).grpc(), gateway.grpc).await;
    let old = authority.client(None).versions(TLS_12).grpc();
    let said = refusal(&old, gateway.grpc).await;
    assert!(said.contains("ProtocolVersion"), "{said}");
    assert_eq!(metric(&gateway, &failures("protocol")).await, 1);
}

#[tokio::test]
async fn only_clients_that_offer_h2_are_served() {
    let authority = Authority::new();
    let gateway = with_tls(&authority, &[]).await;
    for (refused, offered) in [&[][..], &["http/1.1"], &["grpc-exp"]].into_iter().enumerate() {
        for versions in [rustls::ALL_VERSIONS, TLS_12] {
            let tls = authority.client(None).versions(versions).connector(offered);
            let said = refusal(&tls, gateway.grpc).await;
            assert!(said.contains("NoApplicationProtocol"), "{offered:?}: {said}");
        }
        assert_eq!(metric(&gateway, &failures("alpn")).await, 2 * (refused as u64 + 1));
    }
    reads(authority.client(None).connector(&["http/1.1", "h2"]), gateway.grpc).await;
    gateway.program.logged("did not offer the protocol `h2`").await;
}

/// What a client shows, and how that ends; without a kind, it is served.
async fn shows(
    gateway: &Gateway,
    authority: &Authority,
    own: Option<&Issued>,
    refused: Option<(&str, &str)>,
) {
    for version in [TLS_12, TLS_13] {
        let tls = authority.client(own).versions(version).grpc();
        let Some((kind, alert)) = refused else {
            reads(tls, gateway.grpc).await;
            continue;
        };
        let before = metric(gateway, &failures(kind)).await;
        let said = refusal(&tls, gateway.grpc).await;
        assert!(said.contains(alert), "{kind}: {said}");
        until(kind, async || metric(gateway, &failures(kind)).await == before + 1).await;
    }
}

#[tokio::test]
async fn a_client_certificate_has_to_prove_one_workload_of_the_domain() {
    let (authority, other) = (Authority::new(), Authority::new());
    let issued = |uris: &[&str]| authority.issue(&Leaf::client(uris));
    let good = issued(&[BILLING]);
    let revoked = issued(&[BILLING]);
    let list = authority.revoke(&[&revoked]);
    let ca = authority.file("ca.pem");
    let mut keys = of_clients(&ca, "required");
    keys.push(("CLIENT_CRL", &list));
    let gateway = with_tls(&authority, &keys).await;
    let leaf = || Leaf::client(&[BILLING]);
    let identity = Some(("identity", "AccessDenied"));
    let large = format!("https://example.org/{}", "a".repeat(16 * 1024));

    shows(&gateway, &authority, Some(&good), None).await;
    for (own, refused) in [
        (Some(other.issue(&leaf())), Some(("unknown_issuer", "UnknownCA"))),
        (Some(authority.issue(&leaf().valid(-100, -50))), Some(("expired", "CertificateExpired"))),
        (Some(authority.issue(&leaf().valid(1000, 2000))), Some(("expired", "CertificateExpired"))),
        (Some(revoked), Some(("revoked", "CertificateRevoked"))),
        (Some(authority.issue(&leaf().for_servers())), Some(("purpose", "UnsupportedCertificate"))),
        (Some(issued(&["spiffe://elsewhere.example/ns/billing/sa/app"])), identity),
        (Some(issued(&[BILLING, "spiffe://example.org/ns/other"])), identity),
        (Some(issued(&[BILLING, "https://example.org/"])), identity),
        (Some(issued(&["spiffe://example.org/ns/../admin"])), identity),
        (Some(issued(&["https://example.org/ns/billing"])), identity),
        (Some(issued(&[&large])), Some(("oversized", "CertificateUnknown"))),
        // Its subject names someone, which proves nothing.
        (Some(issued(&[])), identity),
        (None, Some(("no_certificate", "CertificateRequired"))),
    ] {
        // TLS 1.2 has no alert of its own for a certificate that is missing.
        if own.is_none() {
            let tls = authority.client(None).versions(TLS_13).grpc();
            let said = refusal(&tls, gateway.grpc).await;
            assert!(said.contains("CertificateRequired"), "{said}");
            assert_eq!(metric(&gateway, &failures("no_certificate")).await, 1);
            continue;
        }
        shows(&gateway, &authority, own.as_ref(), refused).await;
    }
    shows(&gateway, &authority, Some(&good), None).await;
}

#[tokio::test]
async fn an_optional_certificate_may_be_left_out_and_has_to_be_valid() {
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = authority.file("ca.pem");
    let gateway = with_tls(&authority, &of_clients(&ca, "optional")).await;
    let good = authority.issue(&Leaf::client(&[BILLING]));
    shows(&gateway, &authority, Some(&good), None).await;
    shows(&gateway, &authority, None, None).await;
    let strange = other.issue(&Leaf::client(&[BILLING]));
    let refused = Some(("unknown_issuer", "UnknownCA"));
    shows(&gateway, &authority, Some(&strange), refused).await;
    let elsewhere = authority.issue(&Leaf::client(&["spiffe://elsewhere.example/a"]));
    shows(&gateway, &authority, Some(&elsewhere), Some(("identity", "AccessDenied"))).await;
}

#[tokio::test]
async fn without_a_trust_domain_a_certificate_need_not_name_a_workload_and_never_names_two() {
    let authority = Authority::new();
    let ca = authority.file("ca.pem");
    let gateway = with_tls(&authority, &[("CLIENT_CA", &ca)]).await;
    let issued = |uris: &[&str]| authority.issue(&Leaf::client(uris));
    for fine in [&[][..], &["https://example.org/"], &["spiffe://elsewhere.example/a"]] {
        shows(&gateway, &authority, Some(&issued(fine)), None).await;
    }
    let identity = Some(("identity", "AccessDenied"));
    for unclear in [
        &[BILLING, "spiffe://example.org/ns/other"][..],
        &[BILLING, "https://example.org/"],
        &["spiffe://example.org/ns/../admin"],
        &["SPIFFE://example.org/ns/billing"],
    ] {
        shows(&gateway, &authority, Some(&issued(unclear)), identity).await;
    }
}

#[tokio::test]
async fn an_authority_without_a_revocation_list_lets_no_client_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (ca, list) = (authority.file("ca.pem"), other.revoke(&[]));
    let keys = [("CLIENT_CA", ca.as_str()), ("CLIENT_CRL", list.as_str())];
    let gateway = with_tls(&authority, &keys).await;
    let own = authority.issue(&Leaf::client(&[BILLING]));
    let refused = Some(("no_revocation_list", "UnknownCA"));
    shows(&gateway, &authority, Some(&own), refused).await;
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_client() {
    let authority = Authority::new();
    let ca = authority.file("ca.pem");
    let gateway = with_tls(&authority, &[("CLIENT_CA", &ca)]).await;
    let own = authority.issue(&Leaf::client(&[BILLING]).valid(-100, 5));
    let channel = channel_to(authority.client(Some(&own)).grpc(), gateway.grpc);
    let mut client = ProfileServiceClient::new(patiently("a connection", channel).await.unwrap());
    let request = WatchProfilesRequest { parent: "backends/sft".to_owned(), ..Default::default() };
    let watch = patiently("a stream", client.watch_profiles(request)).await.unwrap();
    let ended = async {
        let mut watch = watch.into_inner();
        while let Some(Ok(_)) = watch.next().await {}
    };
    patiently("the end of the stream", ended).await;
    let closed = "profile_gateway_connections_closed_total{port=\"grpc\",reason=\"certificate\"}";
    until("the end of the connection", async || metric(&gateway, closed).await == 1).await;
    // It has to show another one from now on.
    let refused = Some(("expired", "CertificateExpired"));
    shows(&gateway, &authority, Some(&own), refused).await;
    let own = authority.issue(&Leaf::client(&[BILLING]));
    shows(&gateway, &authority, Some(&own), None).await;
}

#[tokio::test]
async fn no_session_is_resumed_without_its_certificate() {
    let authority = Authority::new();
    let ca = authority.file("ca.pem");
    let gateway = with_tls(&authority, &[("CLIENT_CA", &ca)]).await;
    let own = authority.issue(&Leaf::client(&[BILLING]));
    for versions in [TLS_12, TLS_13] {
        let tls = authority.client(Some(&own)).versions(versions).grpc();
        for _ in 0..3 {
            let stream = TcpStream::connect(gateway.grpc).await.unwrap();
            let mut stream = patiently("a handshake", secured(&tls, stream)).await.unwrap();
            // What a session would need comes before the first frame.
            stream
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                .await
                .unwrap();
            assert!(patiently("a frame", stream.read(&mut [0; 9])).await.unwrap() > 0);
            let (_, connection) = stream.get_ref();
            assert_eq!(connection.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn the_log_of_a_call_says_who_it_is_of_and_what_proves_it() {
    let authority = Authority::new();
    let (own, ca) = (authority.issue(&server()), authority.file("ca.pem"));
    let env = [
        ("PROFILE_GATEWAY__SERVER__TLS__CERT", own.certificate.as_str()),
        ("PROFILE_GATEWAY__SERVER__TLS__KEY", &own.key),
        ("PROFILE_GATEWAY__SERVER__TLS__CLIENT_CA", &ca),
        ("PROFILE_GATEWAY__AUTH__MODE", "required"),
        ("PROFILE_GATEWAY__AUTH__ROLES__READER__RIGHTS", "read"),
        ("PROFILE_GATEWAY__AUTH__ROLES__READER__BACKENDS", "*"),
        ("PROFILE_GATEWAY__AUTH__CALLERS__BILLING__ROLES", "reader"),
        ("PROFILE_GATEWAY__AUTH__CALLERS__BILLING__SPIFFE", BILLING),
    ];
    let gateway = gateway(&[], &env).await;
    let client = authority.issue(&Leaf::client(&[BILLING]));
    reads(authority.client(Some(&client)).grpc(), gateway.grpc).await;
    let expected = "\"caller\":\"billing\",\"caller_via\":\"mtls\"";
    gateway.program.logged(expected).await;
}
