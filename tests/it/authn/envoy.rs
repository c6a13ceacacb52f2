//! A real Envoy in front of the gateway, which tells it whose certificate it has seen.

use std::net::SocketAddr;

use profile_gateway::pb::{
    DeleteProfileRequest, GetProfileRequest, profile_service_client::ProfileServiceClient,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::{Code, Request, transport::Channel};

use crate::kit::{
    certificates::{Authority, Issued, Leaf, channel_over, secured},
    envoy::Envoy,
    gateway::{Gateway, gateway},
    sandbox::{Sandbox, sandbox},
    status::failure,
    tokens::role,
};

const BILLING: &str = "spiffe://example.org/ns/billing/sa/app";
const OPERATIONS: &str = "spiffe://example.org/ns/ops/sa/app";
const HEADER: &str = "x-forwarded-client-cert";

/// What the guide recommends: the client has to show a certificate, and nothing that it says itself
/// of certificates is passed on.
fn proxying(to: SocketAddr, authority: &Authority, own: &Issued) -> Value {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    json!({
        "admin": { "address": socket(any) },
        "static_resources": {
            "listeners": [{
                "name": "grpc",
                "address": socket(any),
                "filter_chains": [{
                    "transport_socket": {
                        "name": "envoy.transport_sockets.tls",
                        "typed_config": tls(authority, own),
                    },
                    "filters": [{
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager(),
                    }],
                }],
            }],
            "clusters": [cluster(to)],
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    let (host, port) = (address.ip().to_string(), address.port());
    json!({ "socket_address": { "address": host, "port_value": port } })
}

fn tls(authority: &Authority, own: &Issued) -> Value {
    let file = |path: &str| json!({ "filename": path });
    let (chain, key) = (file(&own.certificate), file(&own.key));
    json!({
        "@type":
            "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [{ "certificate_chain": chain, "private_key": key }],
            "validation_context": { "trusted_ca": file(&authority.file("ca.pem")) },
        },
    })
}

fn manager() -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
                  HttpConnectionManager",
        "stat_prefix": "grpc",
        "codec_type": "HTTP2",
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": { "uri": true },
        "route_config": { "virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "gateway" } }],
        }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            },
        }],
    })
}

fn cluster(to: SocketAddr) -> Value {
    json!({
        "name": "gateway",
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type":
                    "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
        "load_assignment": {
            "cluster_name": "gateway",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(to) } }] }],
        },
    })
}

/// A gateway that believes proxies on this machine, and writes its audit log to this file.
async fn behind_a_proxy(audit: &str, sandbox: &Sandbox) -> Gateway {
    let caller = |name: &str, role: &str, id: &str| {
        format!("[auth.callers.{name}]\nroles = \"{role}\"\nspiffe = \"{id}\"\n")
    };
    let config = "[auth]\nmode = \"required\"\nxfcc_from = \"127.0.0.1\"\n".to_owned()
        + &role("reader", "read", "*")
        + &role("operator", "read, delete", "*")
        + &caller("billing", "reader", BILLING)
        + &caller("operations", "operator", OPERATIONS);
    gateway().audit(audit).section(&config).section(&sandbox.config()).start().await
}

/// A client of Envoy that shows this certificate, or none.
async fn client(
    envoy: SocketAddr,
    authority: &Authority,
    own: Option<&Issued>,
) -> Result<ProfileServiceClient<Channel>, tonic::transport::Error> {
    let tls = authority.client(own).grpc();
    let channel = channel_over(move || {
        let tls = tls.clone();
        async move { secured(&tls, TcpStream::connect(envoy).await?).await }
    });
    Ok(ProfileServiceClient::new(channel.await?))
}

fn read() -> GetProfileRequest {
    GetProfileRequest { name: "backends/sft/profiles/SP_2".to_owned(), read_mask: None }
}

fn deletion(claims: &str) -> Request<DeleteProfileRequest> {
    let name = "backends/sft/profiles/SP_402".to_owned();
    let mut request = Request::new(DeleteProfileRequest { name, ..Default::default() });
    request.metadata_mut().insert(HEADER, claims.parse().unwrap());
    request
}

#[tokio::test]
async fn the_gateway_knows_callers_by_the_certificates_that_envoy_has_seen() {
    let (directory, sandbox) = (TempDir::new().unwrap(), sandbox().await);
    let audit = directory.path().join("audit.log").display().to_string();
    let gateway = behind_a_proxy(&audit, &sandbox).await;
    let authority = Authority::new();
    let own = authority.issue(&Leaf::server(&["localhost"]));
    let mut envoy = Envoy::start(&proxying(gateway.address, &authority, &own));
    let address = envoy.address().await;

    let billing = authority.issue(&Leaf::client(&[BILLING]));
    let mut as_billing = client(address, &authority, Some(&billing)).await.unwrap();
    as_billing.get_profile(read()).await.unwrap();
    // What the client says of itself does not get past Envoy.
    let claims = format!("URI={OPERATIONS}");
    let refused = failure(as_billing.delete_profile(deletion(&claims)).await);
    assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{refused:#?}");

    let stranger = authority.issue(&Leaf::client(&["spiffe://example.org/ns/else/sa/app"]));
    let mut as_stranger = client(address, &authority, Some(&stranger)).await.unwrap();
    let refused = failure(as_stranger.get_profile(read()).await);
    assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{refused:#?}");

    // With TLS 1.3 a client learns only from its first call that it should have had a certificate.
    if let Ok(mut anonymous) = client(address, &authority, None).await {
        anonymous.get_profile(read()).await.unwrap_err();
    }
    // And who goes around Envoy says nothing.
    let refused = failure(gateway.profiles.clone().get_profile(read()).await);
    assert!(refused.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED"), "{refused:#?}");

    let operations = authority.issue(&Leaf::client(&[OPERATIONS]));
    let mut as_operations = client(address, &authority, Some(&operations)).await.unwrap();
    as_operations.delete_profile(deletion("URI=spiffe://other")).await.unwrap();
    let lines = std::fs::read_to_string(&audit).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ended: Vec<Value> = lines.filter(|line| line["target"] == "audit").collect();
    let of = |caller: &str| {
        let line = ended.iter().find(|line| line["caller"] == caller);
        line.unwrap_or_else(|| panic!("{caller} is not in {ended:#?}")).clone()
    };
    let (done, denied) = (of("operations"), of("billing"));
    assert_eq!((&done["caller_via"], &done["outcome"]), (&"xfcc".into(), &"OK".into()), "{done}");
    assert_eq!((&denied["caller_via"], &denied["decision"]), (&"xfcc".into(), &"denied".into()));
}
