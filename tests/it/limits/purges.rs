//! What one caller may drop from the caches, which others then have to read again.

use std::time::Duration;

use profile_gateway::pb::{PurgeCacheRequest, backend_service_client::BackendServiceClient};
use tonic::{Code, Status};

use super::sharing::{GREEDY, OTHER_CALLER, from, get, list, listing, start, timed};
use crate::kit::{
    double::{self, GET},
    gateway::Gateway,
    model::{self, BACKEND},
    status::{Failure, fails, failure},
    until,
};

async fn purge(source: &str, gateway: &Gateway, name: &str) -> Result<(), Status> {
    let mut client = BackendServiceClient::new(gateway.channel_from(source));
    client.purge_cache(PurgeCacheRequest { name: name.to_owned() }).await.map(drop)
}

fn owes(result: Result<(), Status>) -> Failure {
    fails(result, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED")
}

#[tokio::test]
async fn a_caller_drops_a_backend_once_a_minute_and_others_are_not_refused() {
    let (upstream, gateway) = start("").await;
    purge(GREEDY, &gateway, BACKEND).await.unwrap();
    let mut reader = from(OTHER_CALLER, &gateway);
    reader.get_profile(model::get("SP_1")).await.unwrap();
    for _ in 0..20 {
        let refused = owes(purge(GREEDY, &gateway, BACKEND).await);
        let wait = refused.retry.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60), "{refused:#?}");
        owes(purge(GREEDY, &gateway, &model::name("SP_1")).await);
        reader.get_profile(model::get("SP_1")).await.unwrap();
    }
    assert_eq!(upstream.count(GET), 1, "nothing was dropped");
    purge(OTHER_CALLER, &gateway, &model::name("SP_1")).await.unwrap();
    purge(OTHER_CALLER, &gateway, BACKEND).await.unwrap();
    assert!(gateway.metric("caller_refusals_total", "resource=\"purges\"").await >= 40.0);
}

#[tokio::test]
async fn the_list_that_goes_with_a_profile_counts_with_what_it_takes_to_read() {
    let (_upstream, gateway) = listing("off").await;
    list(&from(OTHER_CALLER, &gateway), "e").await.unwrap();
    let mut dropped = 0;
    let refused = loop {
        match purge(GREEDY, &gateway, "backends/e/profiles/1").await {
            Ok(()) => dropped += 1,
            result => break result,
        }
        assert!(dropped < 90, "each counts as one request, and takes twelve");
    };
    assert!(owes(refused).retry.is_some());
}

#[tokio::test]
async fn purges_of_single_profiles_count_too() {
    let (_upstream, gateway) = start("").await;
    let mut purged = 0;
    let refused = loop {
        match purge(GREEDY, &gateway, &model::name(&format!("SP_{purged}"))).await {
            Ok(()) => purged += 1,
            result => break result,
        }
        assert!(purged < 10_000, "no end of purges");
    };
    owes(refused);
    // Each takes two hundredths of what a caller may do at once.
    assert!(purged >= 50, "{purged}");
}

#[tokio::test]
async fn leaving_does_not_make_up_for_a_purge() {
    let (_upstream, gateway) = start("").await;
    purge(GREEDY, &gateway, BACKEND).await.unwrap();
    // Callers that hold nothing are forgotten when metrics are read.
    until("no connection", async || gateway.metric("connections", "").await == 0.0).await;
    owes(purge(GREEDY, &gateway, BACKEND).await);
}

#[tokio::test]
async fn only_an_operator_ends_a_pause() {
    let (upstream, gateway) = start("").await;
    upstream.then(GET, double::come_back(429, 86_400));
    let reader = from(OTHER_CALLER, &gateway);
    let paused = async || {
        let failed = failure(reader.clone().get_profile(timed("SP_2", 20)).await);
        assert!(failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{failed:#?}");
    };
    failure(get(&reader, "SP_1").await);
    purge(GREEDY, &gateway, BACKEND).await.unwrap();
    paused().await;
    assert_eq!(gateway.post_admin("/backends/nope/end-pause").await, 404);
    // A page in a browser of an operator.
    let url = format!("http://{}/backends/sft/end-pause", gateway.admin);
    let post = reqwest::Client::new().post(&url);
    for origin in ["http://evil.example", "http://127.0.0.1:9090", "null"] {
        let sent = post.try_clone().unwrap().header("origin", origin).send().await.unwrap();
        assert_eq!(sent.status(), 403, "{origin}");
    }
    let sent = post.header("host", "evil.example").send().await.unwrap();
    assert_eq!(sent.status(), 421);
    paused().await;
    assert_eq!(gateway.post_admin("/backends/sft/end-pause").await, 200);
    get(&reader, "SP_2").await.unwrap();
    let again = reqwest::Client::new().post(url).send().await.unwrap();
    assert!(again.text().await.unwrap().starts_with("there is no pause to end"));
}
