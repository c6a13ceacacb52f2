//! What one named caller may hold and do, and that others notice nothing of one that wants more.

use std::time::Duration;

use profile_gateway::pb::{
    CreateProfileRequest, GetProfileRequest, ListProfilesRequest, WatchProfilesRequest,
    profile_service_client::ProfileServiceClient,
};
use tokio::task::JoinSet;
use tonic::{Code, Request, transport::Channel};

use crate::kit::{
    double::{Double, double},
    gateway::{Gateway, gateway},
    model::{list, profile},
    sandbox::{Sandbox, sandbox},
    status::{Failure, failure},
    tokens::{Issuer, by, caller, good, role},
    until,
};

struct Bench {
    gateway: Gateway,
    sandbox: Sandbox,
    _issuer: Issuer,
}

/// A caller `greedy` with these lines in its quota, and a caller `modest` without one.
async fn bench(quota: &str, server: &str) -> Bench {
    let (issuer, sandbox) = (Issuer::new(), sandbox().await);
    let rules = role("all", "read, fresh, preview, write, delete, admin", "*")
        + &caller("greedy", "all")
        + &format!("quota = {{ {quota} }}\n")
        + &caller("modest", "all");
    let builder = gateway().server(server).section(&issuer.config("", &rules));
    let gateway = builder.section(&sandbox.config()).start().await;
    Bench { gateway, sandbox, _issuer: issuer }
}

impl Bench {
    fn client(&self) -> ProfileServiceClient<Channel> {
        ProfileServiceClient::new(self.gateway.channel_of_another())
    }

    /// From now on, each profile takes the upstream so many milliseconds.
    async fn takes(&self, ms: u32) {
        let order = serde_json::json!({"upstream": "sft", "operation": "GetServiceProfile",
            "times": 0, "fault": {"kind": "delay", "ms": ms}});
        let url = format!("{}/sandbox/faults", self.sandbox.base_url());
        let armed = reqwest::Client::new().post(url).json(&order).send().await.unwrap();
        assert_eq!(armed.status(), 200, "{}", armed.text().await.unwrap());
    }

    async fn refusals(&self, quota: &str) -> f64 {
        let labels = format!("caller=\"greedy\",quota=\"{quota}\"");
        self.gateway.metric("caller_quota_refusals_total", &labels).await
    }
}

fn read() -> GetProfileRequest {
    let name = "backends/sft/profiles/SP_361".to_owned();
    GetProfileRequest { name, ..GetProfileRequest::default() }
}

fn fresh(who: &str) -> Request<GetProfileRequest> {
    let mut request = by(&good(who), read());
    request.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
    request
}

#[track_caller]
fn refused_by(failure: &Failure, quota: &str) {
    let of_quota = failure.is(Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
    assert!(of_quota, "{failure:#?}");
    let named = format!("`{quota}` in its `[auth.callers.NAME.quota]`");
    assert!(failure.message.contains(&named), "{failure:#?}");
    assert!(failure.retry.is_some_and(|retry| retry >= Duration::from_secs(1)), "{failure:#?}");
}

/// Many calls of the greedy one at once, and beside them some of the modest one, of which none
/// fails. Gives the failures of the former.
async fn compete(bench: &Bench) -> Vec<Failure> {
    let mut greedy = JoinSet::new();
    let client = bench.client();
    for _ in 0..60 {
        let mut client = client.clone();
        greedy.spawn(async move { client.get_profile(fresh("greedy")).await });
    }
    let mut modest = bench.client();
    for _ in 0..10 {
        modest.get_profile(fresh("modest")).await.unwrap();
    }
    let ended = greedy.join_all().await;
    ended.into_iter().filter(Result::is_err).map(failure).collect()
}

#[tokio::test]
async fn so_many_calls_at_once_are_let_in_and_the_others_are_told_of_the_quota() {
    let bench = bench("calls = 2", "").await;
    bench.takes(300).await;
    let failures = compete(&bench).await;
    assert!(failures.len() >= 40, "{} of 60", failures.len());
    failures.iter().for_each(|failure| refused_by(failure, "calls"));
    assert_eq!(bench.refusals("calls").await, failures.len() as f64);
    let of = async |caller: &str, code: &str| {
        let labels = format!("caller=\"{caller}\",code=\"{code}\"");
        bench.gateway.metric("caller_calls_total", &labels).await
    };
    assert_eq!(of("modest", "OK").await, 10.0);
    assert_eq!(of("greedy", "OK").await, 60.0 - failures.len() as f64);
    assert_eq!(of("greedy", "RESOURCE_EXHAUSTED").await, failures.len() as f64);
    assert_eq!(bench.gateway.metric("caller_calls_in_flight", "").await, 0.0);
}

#[tokio::test]
async fn a_call_that_runs_has_its_place_until_it_ends() {
    let bench = bench("calls = 1", "").await;
    bench.takes(3000).await;
    let mut client = bench.client();
    let mut first = client.clone();
    let first = tokio::spawn(async move { first.get_profile(fresh("greedy")).await });
    let in_flight = async || bench.gateway.metric("caller_calls_in_flight", "greedy").await;
    until("the first one runs", async || in_flight().await >= 1.0).await;
    let refused = failure(client.get_profile(fresh("greedy")).await);
    refused_by(&refused, "calls");
    assert!(refused.message.contains("too many concurrent calls: its quota is 1"), "{refused:?}");
    first.await.unwrap().unwrap();
    client.get_profile(by(&good("greedy"), read())).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_calls_too_often_waits_and_no_one_else_does() {
    let bench = bench("rate = \"5/h\"", "").await;
    let mut client = bench.client();
    let mut modest = bench.client();
    client.get_profile(by(&good("greedy"), read())).await.unwrap();
    let mut failed = 0;
    for _ in 0..20 {
        let failure = failure(client.get_profile(by(&good("greedy"), read())).await);
        refused_by(&failure, "rate");
        assert!(failure.retry.unwrap() > Duration::from_secs(600), "{failure:#?}");
        modest.get_profile(by(&good("modest"), read())).await.unwrap();
        failed += 1;
    }
    assert_eq!(bench.refusals("rate").await, f64::from(failed));
}

#[tokio::test]
async fn requests_upstream_are_charged_once_they_are_sent_and_hits_cost_nothing() {
    let bench = bench("upstream_rate = \"3/h\"", "").await;
    let (mut client, mut modest) = (bench.client(), bench.client());
    // The first call may cost more than there is, which is owed then.
    client.get_profile(by(&good("greedy"), read())).await.unwrap();
    let refused = failure(client.get_profile(fresh("greedy")).await);
    refused_by(&refused, "upstream_rate");
    assert!(refused.retry.unwrap() > Duration::from_secs(600), "{refused:#?}");
    let creation = CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile("too expensive")),
        ..CreateProfileRequest::default()
    };
    refused_by(
        &failure(client.create_profile(by(&good("greedy"), creation)).await),
        "upstream_rate",
    );
    let hit = client.get_profile(by(&good("greedy"), read())).await.unwrap();
    assert_eq!(hit.metadata().get("x-profile-cache").unwrap(), "hit");
    for _ in 0..10 {
        modest.get_profile(fresh("modest")).await.unwrap();
    }
    let of = async |caller: &str| {
        let labels = format!("caller=\"{caller}\"");
        bench.gateway.metric("caller_upstream_requests_total", &labels).await
    };
    assert_eq!((of("greedy").await, of("modest").await), (1.0, 10.0));
    assert!(bench.refusals("upstream_rate").await >= 2.0);
}

#[tokio::test]
async fn streams_and_remembered_writes_are_bounded_too() {
    let bench = bench("streams = 1, request_ids = 2", "").await;
    let (mut client, mut modest) = (bench.client(), bench.client());
    let watch = || {
        let parent = "backends/sft".to_owned();
        WatchProfilesRequest { parent, ..WatchProfilesRequest::default() }
    };
    let first = client.watch_profiles(by(&good("greedy"), watch())).await.unwrap();
    let second = client.watch_profiles(by(&good("greedy"), watch())).await;
    refused_by(&failure(second.map(drop)), "streams");
    let others = modest.watch_profiles(by(&good("modest"), watch())).await.unwrap();
    drop((first, others));
    let creation = |number: u32| CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile(&format!("one of many {number}"))),
        request_id: format!("0f8fad5b-d9cb-469f-a165-7086772895{number:02}"),
        ..CreateProfileRequest::default()
    };
    for number in 10..12 {
        client.create_profile(by(&good("greedy"), creation(number))).await.unwrap();
    }
    let refused = failure(client.create_profile(by(&good("greedy"), creation(12))).await);
    refused_by(&refused, "request_ids");
    for number in 20..24 {
        modest.create_profile(by(&good("modest"), creation(number))).await.unwrap();
    }
    assert_eq!(bench.refusals("streams").await, 1.0);
    assert_eq!(bench.refusals("request_ids").await, 1.0);
}

#[tokio::test]
async fn what_is_too_long_for_the_quota_of_bytes_is_refused_for_good() {
    let bench = bench("bytes = \"64KiB\"", "").await;
    let filtered = || {
        let filter = format!("display_name = \"{}\"", "x".repeat(80_000));
        ListProfilesRequest { filter, ..list("backends/sft") }
    };
    let mut client = bench.client();
    let refused = failure(client.list_profiles(by(&good("greedy"), filtered())).await);
    assert_eq!(refused.reason, "CALLER_QUOTA_EXCEEDED", "{refused:#?}");
    assert!(refused.message.contains("`bytes` in its"), "{refused:#?}");
    assert_eq!(refused.retry, None, "it never fits");
    // The other one is refused for what it asks for, and not for how much that is.
    let other = failure(client.list_profiles(by(&good("modest"), filtered())).await);
    assert_eq!(other.reason, "VALIDATION_FAILED", "{other:#?}");
    client.get_profile(by(&good("greedy"), read())).await.unwrap();
}

#[tokio::test]
async fn the_quota_is_for_all_connections_of_a_name() {
    let (issuer, upstream): (Issuer, Double) = (Issuer::new(), double().await);
    let rules = role("all", "read", "*") + &caller("me", "all") + "quota = { rate = \"1/h\" }\n";
    let config = issuer.config("", &rules);
    let gateway = gateway().section(&config).fixed("sft", &upstream.base_url, "").start().await;
    let ask = async || {
        let mut client = ProfileServiceClient::new(gateway.channel_of_another());
        client.get_profile(by(&good("me"), read())).await
    };
    let _ = ask().await;
    refused_by(&failure(ask().await), "rate");
}
