//! Rule 1: reads of one cold key share one load, which outlives its callers.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;
use tonic::Code;

use super::reads::{caching, called, gated, get, in_flight, list, metric, one, services};
use crate::{
    conformance::{
        bench::{self, Bench},
        samples::registered,
    },
    kit::{
        double::{GET, LIST, double},
        gateway::timed,
        model, until,
    },
};

const READERS: usize = 200;

/// That one of them asked, that the others shared its answer, and that none asked twice.
#[track_caller]
fn assert_shared(what: &str, served: &[String]) {
    let count = |word: &str| served.iter().filter(|cache| *cache == word).count();
    let (miss, coalesced, hit) = (count("miss"), count("coalesced"), count("hit"));
    assert_eq!((miss, miss + coalesced + hit), (1, READERS), "{what}: {served:?}");
    assert!(coalesced > 0, "{what}: no reader came while it was loaded");
}

#[tokio::test]
async fn rule_1_concurrent_reads_of_a_cold_key_make_one_upstream_call() {
    for sample in registered() {
        let slow = json!({"kind": "delay", "ms": 400});
        let cold = async || {
            let bench = bench::caching("60s", "", sample).await;
            for operation in [sample.operations.get, sample.operations.list] {
                bench.arm(operation, &slow, 1).await;
            }
            bench
        };
        let Bench { gateway, sandbox, .. } = cold().await;
        let name = format!("backends/{}/profiles/{}", sample.upstream, sample.in_use);
        let all = join_all((0..READERS).map(|_| get(&gateway, &name, ""))).await;
        let first = all[0].result.as_ref().unwrap();
        assert!(all.iter().all(|read| read.result.as_ref().unwrap() == first));
        let served: Vec<String> = all.iter().map(|read| read.cache.clone()).collect();
        assert_shared(sample.dialect, &served);
        assert_eq!(sandbox.arrived(sample.operations.get).await, 1, "{}", sample.dialect);

        let Bench { gateway, sandbox, .. } = cold().await;
        let parent = format!("backends/{}", sample.upstream);
        let all = join_all((0..READERS).map(|_| list(&gateway, &parent, ""))).await;
        let served: Vec<String> = all.iter().map(|read| read.cache.clone()).collect();
        assert_shared(sample.dialect, &served);
        assert_eq!(sandbox.arrived(sample.operations.list).await, 1, "{}", sample.dialect);
    }
}

#[tokio::test]
async fn rule_1_concurrent_reads_of_a_catalog_make_one_upstream_call() {
    let sample = registered().into_iter().find(|sample| sample.upstream == "endpoint").unwrap();
    let bench = bench::caching("60s", "", sample).await;
    bench.arm("ListServices", &json!({"kind": "delay", "ms": 400}), 1).await;
    let all = (0..READERS).map(|_| services(&bench.gateway, "backends/endpoint", ""));
    let all = join_all(all).await;
    let served: Vec<String> = all.iter().map(|read| read.cache.clone()).collect();
    assert_shared("services", &served);
    assert_eq!(bench.sandbox.arrived("ListServices").await, 1);
}

#[tokio::test]
async fn rule_1_callers_that_leave_or_have_no_time_neither_end_a_load_nor_begin_another() {
    let (upstream, gate) = (double().await, Arc::new(Semaphore::new(0)));
    let gateway = Arc::new(caching(&upstream, "").await);
    upstream.then(GET, gated(&gate, called("one"))).always(GET, called("two"));
    let reader = || {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { one(&gateway).await })
    };
    // The one who began it leaves.
    let leader = reader();
    until("the load has begun", async || upstream.count(GET) == 1).await;
    leader.abort();
    until("the leader has left", async || in_flight(&gateway).await == 0).await;
    // The next ones have less time than it takes.
    let hasty = (0..20).map(|_| {
        let request = timed(model::get("SP_1"), Some(Duration::from_millis(300)));
        let mut profiles = gateway.profiles.clone();
        async move { profiles.get_profile(request).await }
    });
    for read in join_all(hasty).await {
        // The gateway's end or the client's own, whichever comes first.
        let code = read.unwrap_err().code();
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&code), "{code:?}");
    }
    until("those in a hurry have left", async || in_flight(&gateway).await == 0).await;
    let patient: Vec<_> = (0..20).map(|_| reader()).collect();
    until("all wait for it", async || in_flight(&gateway).await == 20).await;
    gate.add_permits(1);
    for read in join_all(patient).await {
        assert_eq!(read.unwrap().told(), ("one".to_owned(), "coalesced"));
    }
    assert_eq!(one(&gateway).await.told(), ("one".to_owned(), "hit"));
    assert_eq!(upstream.count(GET), 1);
}

#[tokio::test]
async fn rule_1_a_load_whose_callers_have_all_left_goes_on_and_fills() {
    let (upstream, gate) = (double().await, Arc::new(Semaphore::new(0)));
    let gateway = Arc::new(caching(&upstream, "").await);
    upstream.always(GET, gated(&gate, called("one")));
    let callers: Vec<_> = (0..5)
        .map(|_| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move { one(&gateway).await })
        })
        .collect();
    until("all wait", async || in_flight(&gateway).await == 5 && upstream.count(GET) == 1).await;
    callers.iter().for_each(|caller| caller.abort());
    until("all have left", async || in_flight(&gateway).await == 0).await;
    gate.add_permits(1);
    let name = model::name("SP_1");
    until("the load has filled", async || {
        get(&gateway, &name, "only-if-cached").await.told() == ("one".to_owned(), "hit")
    })
    .await;
    assert_eq!(upstream.count(GET), 1);
    let loads = "profile_gateway_cache_load_duration_seconds_count{backend=\"sft\",outcome=\"ok\"}";
    assert_eq!(metric(&gateway, loads).await, 1);
}

#[tokio::test]
async fn fresh_lists_wait_for_one_load_and_share_the_next() {
    for cache in ["", "enabled = false"] {
        let (upstream, gate) = (double().await, Arc::new(Semaphore::new(0)));
        let gateway = Arc::new(caching(&upstream, cache).await);
        upstream.then(LIST, gated(&gate, called("one"))).always(LIST, called("two"));
        let reader = || {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move { list(&gateway, "backends/sft", "no-cache").await })
        };
        let first = reader();
        until("the load has begun", async || upstream.count(LIST) == 1).await;
        let others: Vec<_> = (0..64).map(|_| reader()).collect();
        until("all wait for it", async || in_flight(&gateway).await == 65).await;
        assert_eq!(upstream.count(LIST), 1, "{cache}");
        gate.add_permits(1);
        assert_eq!(first.await.unwrap().told(), (vec!["one"], "bypass"));
        // What began before they asked is not fresh for them.
        for other in others {
            assert_eq!(other.await.unwrap().told(), (vec!["two"], "bypass"));
        }
        assert_eq!(upstream.count(LIST), 2, "{cache}");
    }
}
