//! What a proxy says of its client's certificate.

use profile_gateway::pb::{
    CreateProfileRequest, GetBackendRequest, backend_service_client::BackendServiceClient,
    profile_service_client::ProfileServiceClient,
};
use serde_json::Value;
use tonic::{Code, Request, Status, transport::Channel};

use super::asking::{HEADER, asked, refused, saying};
use crate::kit::{
    double::double,
    gateway::{Gateway, gateway},
    model::{BACKEND, profile},
    status::failure,
    tokens::{Issuer, by, caller, good, role},
};

const ID: &str = "spiffe://example.org/ns/a/sa/app";

fn rules() -> String {
    let by_certificate = |name: &str, roles: &str, id: &str| {
        format!("[auth.callers.{name}]\nroles = \"{roles}\"\nspiffe = \"{id}\"\n")
    };
    role("all", "read, write", "*")
        + &role("reads", "read", "*")
        + &role("writes", "write", "*")
        + &by_certificate("app", "all", ID)
        + &by_certificate("writer", "writes", "spiffe://example.org/ns/w/*")
        + &by_certificate("space", "all", "spiffe://example.org/ns/b/*")
        + &caller("me", "reads")
        + &caller("bot", "all")
}

async fn started() -> (Gateway, Issuer) {
    started_with("/dev/null").await
}

async fn started_with(audit: &str) -> (Gateway, Issuer) {
    let (issuer, upstream) = (Issuer::new(), double().await);
    let config = issuer.config("xfcc_from = \"127.0.0.1, 192.0.2.0/24\"", &rules());
    let builder = gateway().audit(audit).section(&config);
    let gateway = builder.fixed("sft", &upstream.base_url, "").start().await;
    (gateway, issuer)
}

async fn ask(channel: Channel, request: Request<GetBackendRequest>) -> Result<(), Status> {
    BackendServiceClient::new(channel).get_backend(request).await.map(drop)
}

#[tokio::test]
async fn a_listed_proxy_says_who_calls() {
    let (gateway, _issuer) = started().await;
    let one = format!("URI={ID}");
    let said = [
        one.clone(),
        format!("By=spiffe://example.org/proxy;Hash=ab;Subject=\"CN=a,O=\\\"b\\\"\";{one}"),
        format!("URI=spiffe://example.org/far,{one}"),
        "URI=spiffe://example.org/ns/b/sa/any".to_owned(),
    ];
    for header in &said {
        ask(gateway.channel_from("127.0.0.1"), saying(&[header])).await.unwrap();
    }
    let pair = format!("{one};{one}");
    let long = format!("Hash={};{one}", "0".repeat(8500));
    // What is broken far away may be a proxy that lets its clients write into the header.
    let (garbage, quote) = (format!("garbage,{one}"), format!("Subject=\"a,{one}"));
    let invalid: [&[&str]; 8] = [
        &[&one, &one],
        &["Hash=ab"],
        &[&pair],
        &[&long],
        &["URI=https://a/b"],
        &["\"URI"],
        &[&garbage],
        &[&quote],
    ];
    for headers in invalid {
        let answer = ask(gateway.channel_from("127.0.0.1"), saying(headers)).await;
        refused(answer, "invalid", &format!("{:.80}", headers.join(" | ")));
    }
    refused(ask(gateway.channel_from("127.0.0.1"), saying(&[])).await, "missing", "no header");
    let unknown = ask(gateway.channel_from("127.0.0.1"), saying(&["URI=spiffe://x.y/z"])).await;
    assert!(failure(unknown).is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"));
}

#[tokio::test]
async fn no_one_else_is_believed() {
    let (gateway, _issuer) = started().await;
    let header = format!("URI={ID}");
    let stranger = || gateway.channel_from("127.0.0.2");
    refused(ask(stranger(), saying(&[&header])).await, "missing", "a stranger");
    // Nor does it take anything away from what proves its caller.
    let mut request = saying(&["Hash=ab", "garbage"]);
    let token = format!("Bearer {}", good("me")).parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    ask(stranger(), request).await.unwrap();
    ask(stranger(), by(&good("me"), asked())).await.unwrap();
}

#[tokio::test]
async fn both_proofs_have_to_be_valid_and_both_callers_allowed() {
    let (gateway, _issuer) = started().await;
    let proxy = || gateway.channel_from("127.0.0.1");
    let both = |header: &str, token: &str| {
        let mut request = by(token, asked());
        request.metadata_mut().insert(HEADER, header.parse().unwrap());
        request
    };
    let header = format!("URI={ID}");
    ask(proxy(), both(&header, &good("me"))).await.unwrap();
    // What the one of the certificate may not do is not allowed.
    let other = ask(proxy(), both("URI=spiffe://example.org/ns/w/x", &good("me"))).await;
    assert!(failure(other).is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"));
    // The token names the caller, whatever the certificate says.
    let unknown = ask(proxy(), both(&header, &good("you"))).await;
    assert!(failure(unknown).is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"));
    refused(ask(proxy(), both("Hash=ab", &good("me"))).await, "invalid", "a bad certificate");
    refused(ask(proxy(), both(&header, "bad-of-the-kit")).await, "invalid", "a bad token");
}

#[tokio::test]
async fn the_audit_names_the_workload_that_a_token_came_from() {
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.log").display().to_string();
    let (gateway, _issuer) = started_with(&audit).await;
    let request = |header: Option<&str>| {
        let create = CreateProfileRequest {
            parent: BACKEND.to_owned(),
            profile: Some(profile("of a workload")),
            validate_only: true,
            ..CreateProfileRequest::default()
        };
        let mut request = by(&good("bot"), create);
        if let Some(header) = header {
            request.metadata_mut().insert(HEADER, header.parse().unwrap());
        }
        request
    };
    let mut profiles = ProfileServiceClient::new(gateway.channel_from("127.0.0.1"));
    // Also one that the configuration does not name.
    let unknown = "spiffe://example.org/ns/other/sa/app";
    for header in [Some(format!("URI={ID}")), Some(format!("URI={unknown}")), None] {
        let _ = profiles.create_profile(request(header.as_deref())).await;
    }
    gateway.stop().await;
    let lines = std::fs::read_to_string(&audit).unwrap();
    let workloads: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["target"] == "audit" && line["subject"] == "bot")
        .map(|line| line["workload"].clone())
        .collect();
    assert_eq!(workloads, [ID.into(), unknown.into(), Value::Null], "{lines}");
}
