//! How many calls of one connection may be of no one.

use profile_gateway::pb::{GetBackendRequest, backend_service_client::BackendServiceClient};
use serde_json::json;
use tonic::{Code, Request, transport::Channel};

use crate::kit::{
    double::double,
    gateway::{Gateway, gateway},
    status::failure,
    tokens::{Issuer, RS256, Signed, by, caller, claims, good, header, role, token, with},
    until,
};

async fn started(lines: &str) -> (Gateway, Issuer, crate::kit::double::Double) {
    let (issuer, upstream) = (Issuer::new(), double().await);
    let rules = role("all", "read", "*") + &caller("me", "all");
    let builder = gateway().section(&issuer.config(lines, &rules));
    (builder.fixed("sft", &upstream.base_url, "").start().await, issuer, upstream)
}

pub async fn forged(channel: &Channel, calls: usize) {
    let mut client = BackendServiceClient::new(channel.clone());
    for _ in 0..calls {
        let request = GetBackendRequest { name: "backends/sft".to_owned() };
        let refused = failure(client.get_backend(by("forged-of-the-kit", request)).await);
        assert_eq!(refused.reason, "CALLER_UNAUTHENTICATED");
    }
}

async fn closed(gateway: &Gateway) -> f64 {
    gateway.metric("connections_closed_total", "reason=\"unproved\"").await
}

#[tokio::test]
async fn a_connection_of_which_a_hundred_calls_prove_nothing_ends_and_what_runs_on_it_is_served() {
    let (gateway, _issuer, _upstream) = started("").await;
    let channel = gateway.channel_from("127.0.0.2");
    forged(&channel, 99).await;
    assert_eq!(closed(&gateway).await, 0.0);
    forged(&channel, 1).await;
    until("the connection ends", async || closed(&gateway).await >= 1.0).await;
    // The client connects again by itself.
    let request = GetBackendRequest { name: "backends/sft".to_owned() };
    let mut client = BackendServiceClient::new(channel);
    client.get_backend(by(&good("me"), request)).await.unwrap();
}

/// A token that looks right and is signed by another.
fn wrong(n: usize) -> String {
    token(&header(), &with(claims("me"), json!({"jti": n.to_string()})), Signed::OtherRsa)
}

#[tokio::test]
async fn wrong_signatures_of_one_peer_are_bounded_and_no_valid_token_that_is_known_pays_for_it() {
    let (gateway, _issuer, _upstream) = started("").await;
    let ask = async |channel: &Channel, token: &str| {
        let request = GetBackendRequest { name: "backends/sft".to_owned() };
        BackendServiceClient::new(channel.clone()).get_backend(by(token, request)).await.map(drop)
    };
    let channel = gateway.channel_from("127.0.0.2");
    let known = good("me");
    ask(&channel, &known).await.unwrap();
    let mut verified = 0;
    let refused = loop {
        let refused = failure(ask(&channel, &wrong(verified)).await);
        if refused.reason != "CALLER_UNAUTHENTICATED" {
            break refused;
        }
        verified += 1;
        assert!(verified < 5_000, "there is no bound");
    };
    assert!(verified >= 200, "{verified}");
    assert!(refused.is(Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED"), "{refused:#?}");
    let labels = "resource=\"verifications\",bound=\"caller\"";
    assert!(gateway.metric("caller_refusals_total", labels).await >= 1.0);
    ask(&channel, &known).await.unwrap();
    // Of another one, also a token that is not known is verified.
    let other = token(&header(), &with(claims("me"), json!({"jti": "other"})), RS256);
    ask(&gateway.channel_from("127.0.0.5"), &other).await.unwrap();
}

#[tokio::test]
async fn one_of_a_proxy_stays_because_others_call_over_it() {
    let (gateway, _issuer, _upstream) = started("xfcc_from = \"127.0.0.3\"").await;
    forged(&gateway.channel_from("127.0.0.3"), 250).await;
    assert_eq!(closed(&gateway).await, 0.0);
    forged(&gateway.channel_from("127.0.0.4"), 100).await;
    until("that of another one ends", async || closed(&gateway).await >= 1.0).await;
}

#[tokio::test]
async fn reflection_can_be_off_for_everyone() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let (required, _issuer, _upstream) = started("reflection = \"off\"").await;
    let open = gateway().section("[auth]\nreflection = \"off\"\n");
    let upstream = double().await;
    let open = open.fixed("sft", &upstream.base_url, "").start().await;
    for gateway in [&required, &open] {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let asked = ServerReflectionRequest { host: String::new(), message_request };
        let asked = || futures_util::stream::iter([asked.clone()]);
        let mut client = ServerReflectionClient::new(gateway.channel_of_another());
        for request in [Request::new(asked()), by(&good("me"), asked())] {
            let refused = failure(client.server_reflection_info(request).await.map(drop));
            assert_eq!(refused.reason, "OPERATION_NOT_SUPPORTED", "{refused:#?}");
        }
    }
    required.serving("").await;
}
