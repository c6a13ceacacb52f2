//! Limits of the gRPC side, set as an operator sets them.

use profile_gateway::pb::{BatchGetProfilesRequest, GetProfileRequest, ListProfilesRequest};
use serde_json::json;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    calls::{GET, LIST, channel, failure, metadata, metric, named, profiles, raw},
    child::{gateway, serve, sft, until},
    slow::Slow,
};

#[tokio::test]
async fn a_request_over_the_limit_is_refused_as_too_large() {
    let gateway = gateway(&[], &[("PROFILE_GATEWAY__SERVER__MAX_REQUEST_BYTES", "1KiB")]).await;
    let mut client = profiles(&gateway).await;
    let request = |size: usize| GetProfileRequest { name: "x".repeat(size), read_mask: None };
    let status = client.get_profile(request(2000)).await.unwrap_err();
    let (code, reason, details) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert_eq!(metadata(&details)["operation"], "GetProfile");
    // Below the limit it is read, and refused for what it says.
    let (code, ..) = failure(&client.get_profile(request(1000)).await.unwrap_err());
    assert_eq!(code, Code::InvalidArgument);
    // The connection is as good as before.
    client.get_profile(named("SP_2")).await.unwrap();
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused_as_too_large() {
    let gateway = gateway(&[], &[("PROFILE_GATEWAY__SERVER__MAX_RESPONSE_BYTES", "1KiB")]).await;
    for id in 9000..9020 {
        let url = format!("{}/sandbox/sft/profiles/SP_{id}", gateway.sandbox.as_ref().unwrap());
        let profile = json!({ "name": format!("Many {id}"), "services": ["DATA"], "rat": "2G" });
        let put = reqwest::Client::new().put(url).json(&profile).send().await.unwrap();
        assert_eq!(put.status(), 200, "{}", put.text().await.unwrap());
    }
    let mut client = profiles(&gateway).await;
    let batch = |count| BatchGetProfilesRequest {
        parent: "backends/sft".to_owned(),
        names: (9000..9000 + count).map(|id| named(&format!("SP_{id}")).name).collect(),
    };
    let list = |page_size| ListProfilesRequest {
        parent: "backends/sft".to_owned(),
        page_size,
        ..Default::default()
    };
    // A page ends in time; a batch cannot.
    let page = client.list_profiles(list(100)).await.unwrap().into_inner();
    assert!((1..20).contains(&page.profiles.len()) && !page.next_page_token.is_empty());
    let status = client.batch_get_profiles(batch(20)).await.unwrap_err();
    let (code, reason, _) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert!(status.message().starts_with("the 20 profiles have "), "{}", status.message());
    client.batch_get_profiles(batch(1)).await.unwrap();
}

#[tokio::test]
async fn calls_over_the_limit_are_turned_away_while_health_answers() {
    let slow = Slow::start().await;
    let env = [("PROFILE_GATEWAY__SERVER__MAX_CONCURRENT_CALLS", "1")];
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &env).await;
    let mut client = profiles(&gateway).await;
    let mut first = client.clone();
    let first = tokio::spawn(async move { first.get_profile(named("SP_2")).await });
    until("a call in flight", async || {
        metric(&gateway, "profile_gateway_calls_in_flight").await == 1
    })
    .await;

    let (code, reason, details) = failure(&client.get_profile(named("SP_2")).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "OVERLOADED"));
    let delay = details.retry_info().and_then(|info| info.retry_delay).unwrap();
    assert!(!delay.is_zero());
    let mut health = HealthClient::new(channel(gateway.grpc).await);
    health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(metric(&gateway, "profile_gateway_calls_shed_total").await, 1);

    slow.open();
    first.await.unwrap().unwrap();
    until("a free place", async || client.get_profile(named("SP_2")).await.is_ok()).await;
}

#[tokio::test]
async fn the_server_itself_keeps_the_callers_deadline() {
    let slow = Slow::start().await;
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &[]).await;
    let timeout = [("grpc-timeout", "300m")];
    let status = raw(gateway.grpc, GET, &named("SP_2"), &timeout).await;
    let (code, reason, details) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    assert_eq!(metadata(&details)["operation"], "GetProfile");
    let parent = ListProfilesRequest { parent: "backends/sft".to_owned(), ..Default::default() };
    for (value, expected) in [
        ("0n", (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")),
        ("1n", (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")),
        ("soon", (Code::InvalidArgument, "MALFORMED_REQUEST")),
    ] {
        let status = raw(gateway.grpc, LIST, &parent, &[("grpc-timeout", value)]).await;
        let (code, reason, _) = failure(&status);
        assert_eq!((code, reason.as_str()), expected, "{value}");
    }
}

#[tokio::test]
async fn a_call_without_a_deadline_gets_the_default_and_the_maximum_bounds_all() {
    let slow = Slow::start().await;
    let env = [
        ("PROFILE_GATEWAY__SERVER__DEFAULT_TIMEOUT", "200ms"),
        ("PROFILE_GATEWAY__SERVER__MAX_TIMEOUT", "300ms"),
    ];
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &env).await;
    for headers in [&[][..], &[("grpc-timeout", "10H")]] {
        let (code, reason, _) = failure(&raw(gateway.grpc, GET, &named("SP_2"), headers).await);
        assert_eq!((code, reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    }
}
