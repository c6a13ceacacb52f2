//! What outlasts the proof of its caller, and what needs none.

use std::{collections::BTreeMap, time::Duration};

use profile_gateway::pb::WatchProfilesRequest;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};

use crate::kit::{
    gateway::{Gateway, gateway},
    sandbox::{Sandbox, sandbox},
    status::failure,
    tokens::{Issuer, RS256, at, by, caller, claims, good, header, role, token, with},
};

async fn started(lines: &str) -> (Gateway, Sandbox, Issuer) {
    let (issuer, upstream) = (Issuer::new(), sandbox().await);
    let rules = role("some", "read", "sft, pcc") + &caller("me", "some");
    let config = issuer.config(lines, &rules).replace("leeway = \"5s\"", "leeway = \"0s\"");
    let gateway = gateway().section(&config).section(&upstream.config()).start().await;
    (gateway, upstream, issuer)
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let (gateway, _upstream, _issuer) = started("").await;
    let short = token(&header(), &with(claims("me"), json!({"exp": at(2)})), RS256);
    let request = WatchProfilesRequest {
        parent: "backends/sft".to_owned(),
        ..WatchProfilesRequest::default()
    };
    let stream = gateway.profiles.clone().watch_profiles(by(&short, request)).await;
    let mut stream = stream.unwrap().into_inner();
    let mut messages = 0;
    let ended = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => messages += 1,
                end => break end,
            }
        }
    };
    // The bound is for a broken program.
    let end = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert!(messages > 0);
    let failure = failure(end);
    assert!(failure.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED"), "{failure:#?}");
    assert_eq!(failure.meta("why"), "expired");
}

#[tokio::test]
async fn probes_need_no_proof_and_names_of_backends_do() {
    let (gateway, _upstream, _issuer) = started("").await;
    let check = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut health = gateway.health.clone();
    for service in ["", "profilegateway.v1.ProfileService"] {
        let answer = health.check(check(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    for service in ["backends/sft", "backends/none"] {
        let refused = failure(health.check(check(service)).await);
        assert!(refused.is(Code::NotFound, "BACKEND_NOT_FOUND"), "{refused:#?}");
        let mut watched = health.watch(check(service)).await.unwrap().into_inner();
        let first = watched.message().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    }
    let known = health.check(by(&good("me"), check("backends/sft"))).await.unwrap().into_inner();
    assert_eq!(known.status(), ServingStatus::Serving);
    let forbidden = failure(health.check(by(&good("me"), check("backends/endpoint"))).await);
    assert!(forbidden.is(Code::NotFound, "BACKEND_NOT_FOUND"), "{forbidden:#?}");
    for (token, expected) in
        [(None, vec![]), (Some(good("me")), vec!["backends/pcc", "backends/sft"])]
    {
        let listed = list(&gateway, token.as_deref()).await;
        let backends = listed.keys().filter(|name| name.starts_with("backends/"));
        assert_eq!(backends.collect::<Vec<_>>(), expected);
        assert!(listed.contains_key(""));
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

async fn list(gateway: &Gateway, token: Option<&str>) -> BTreeMap<String, HealthCheckResponse> {
    let endpoint = tonic::transport::Endpoint::new(format!("http://{}", gateway.address)).unwrap();
    let mut grpc = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    grpc.ready().await.unwrap();
    let request = match token {
        Some(token) => by(token, ()),
        None => tonic::Request::new(()),
    };
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/List");
    let codec = tonic_prost::ProstCodec::<(), ListResponse>::default();
    grpc.unary(request, path, codec).await.unwrap().into_inner().statuses
}

#[tokio::test]
async fn reflection_is_for_known_callers_unless_it_is_opened() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    for (lines, opened) in [("", false), ("reflection = \"open\"", true)] {
        let (gateway, _upstream, _issuer) = started(lines).await;
        let asked = || {
            let message_request = Some(MessageRequest::ListServices(String::new()));
            let request = ServerReflectionRequest { host: String::new(), message_request };
            futures_util::stream::iter([request])
        };
        let endpoint = tonic::transport::Endpoint::new(format!("http://{}", gateway.address));
        let channel = endpoint.unwrap().connect().await.unwrap();
        let mut client = ServerReflectionClient::new(channel);
        let answer = client.server_reflection_info(tonic::Request::new(asked())).await;
        match opened {
            true => drop(answer.unwrap()),
            false => assert_eq!(failure(answer.map(drop)).reason, "CALLER_UNAUTHENTICATED"),
        }
        client.server_reflection_info(by(&good("me"), asked())).await.unwrap();
    }
}
