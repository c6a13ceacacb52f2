//! Rule 5: only that there is no such profile is remembered, for a short time, and until one
//! is created. Errors are not values.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use tonic::Code;

use super::reads::{LONG, caching, called, down, gated, get, nothing, one, reads};
use crate::{
    conformance::{bench, samples::registered},
    kit::{
        bodies,
        double::{self, Answer, CREATE, GET, LIST, double},
        model::{self, profile},
        status::{fails, failure},
        until,
    },
};

#[tokio::test]
async fn rule_5_an_absence_is_remembered_until_any_creation() {
    for sample in registered() {
        let bench = bench::caching("30s", LONG, sample).await;
        let (gateway, missing) = (&bench.gateway, bench.name(sample.missing));
        let arrived = async || bench.sandbox.arrived(sample.operations.get).await;
        let first = get(gateway, &missing, "").await;
        assert_eq!(first.told(), ("NotFound".to_owned(), "miss"), "{}", sample.dialect);
        let asked = arrived().await;
        let second = get(gateway, &missing, "").await;
        assert!(second.is_hit() && second.age.is_some(), "{second:?}");
        let first = fails(first.result, Code::NotFound, "PROFILE_NOT_FOUND");
        let second = fails(second.result, Code::NotFound, "PROFILE_NOT_FOUND");
        assert_eq!(first.message, second.message, "a remembered absence reads like a fresh one");
        assert_eq!((first.metadata, first.resource), (second.metadata, second.resource));
        assert_eq!(arrived().await, asked, "{}", sample.dialect);

        // Whatever is created, under whichever id.
        let created = bench.create(bench.full()).await.unwrap();
        assert_eq!(get(gateway, &missing, "").await.cache, "miss", "{}", sample.dialect);
        assert!(get(gateway, &missing, "").await.is_hit());
        // What changes a profile says nothing about those that are not there.
        bench.delete(&created.name).await.unwrap();
        assert!(get(gateway, &missing, "").await.is_hit());
        // A deleted one is absent from the first read on, and that is remembered.
        assert_eq!(get(gateway, &created.name, "").await.told().0, "NotFound");
        assert!(get(gateway, &created.name, "").await.is_hit());
    }
}

#[tokio::test]
async fn rule_5_an_absence_is_remembered_briefly_and_never_served_for_its_age() {
    let upstream = double().await;
    let cache =
        "negative_ttl = \"300ms\"\nstale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"";
    let gateway = caching(&upstream, cache).await;
    upstream.then(GET, nothing()).always(GET, called("one"));
    assert_eq!(one(&gateway).await.told(), ("NotFound".to_owned(), "miss"));
    // Created behind the gateway's back.
    until("it is looked for again", async || {
        let read = one(&gateway).await;
        assert_ne!(read.cache, "stale", "{read:?}");
        read.told().0 == "one"
    })
    .await;
    // Not even when the upstream fails.
    let upstream = double().await;
    let gateway = caching(&upstream, cache).await;
    upstream.then(GET, nothing()).always(GET, down());
    assert_eq!(one(&gateway).await.told(), ("NotFound".to_owned(), "miss"));
    until("the upstream is asked again", async || {
        let read = one(&gateway).await;
        assert_ne!(read.cache, "stale", "{read:?}");
        read.told().0 == "Unavailable"
    })
    .await;
}

#[tokio::test]
async fn rule_5_a_read_from_before_a_creation_does_not_hide_the_new_profile() {
    let (upstream, gate) = (double().await, Arc::new(Semaphore::new(0)));
    let gateway = Arc::new(caching(&upstream, LONG).await);
    upstream
        .then(GET, gated(&gate, nothing()))
        .always(GET, called("one"))
        .always(LIST, nothing())
        .then(CREATE, double::json(bodies::created("SP_1")));
    let early = Arc::clone(&gateway);
    let early = tokio::spawn(async move { one(&early).await.told().0 });
    until("a call looks", async || upstream.count(GET) == 1).await;
    gateway.create(profile("one")).await.unwrap();
    gate.add_permits(1);
    assert_eq!(early.await.unwrap(), "NotFound");
    assert_eq!(one(&gateway).await.told(), ("one".to_owned(), "miss"));
    assert_eq!(one(&gateway).await.told(), ("one".to_owned(), "hit"));
}

#[tokio::test]
async fn rule_5_no_other_failure_is_remembered() {
    for sample in registered() {
        let bench = bench::caching("10s", LONG, sample).await;
        let name = bench.name(sample.in_use);
        for (what, fault) in [
            ("500", json!({"kind": "status", "status": 500})),
            ("503", json!({"kind": "status", "status": 503})),
            ("403", json!({"kind": "status", "status": 403})),
            ("429", json!({"kind": "status", "status": 429})),
            ("a page", json!({"kind": "html"})),
            ("a page that says 404", json!({"kind": "html", "status": 404})),
            ("no body", json!({"kind": "empty"})),
            ("cut", json!({"kind": "truncate"})),
            ("closed", json!({"kind": "drop"})),
        ] {
            let what = format!("{}: {what}", sample.dialect);
            // PCC has no envelope, so that any 404 is its own.
            if sample.upstream == "pcc" && what.contains("404") {
                continue;
            }
            bench.arm(sample.operations.get, &fault, 0).await;
            for _ in 0..2 {
                let before = bench.sandbox.arrived(sample.operations.get).await;
                let read = get(&bench.gateway, &name, "").await;
                assert_eq!((read.cache.as_str(), read.age), ("", None), "{what}");
                assert_ne!(failure(read.result).reason, "PROFILE_NOT_FOUND", "{what}");
                let after = bench.sandbox.arrived(sample.operations.get).await;
                assert!(after > before, "{what}: it was not asked for");
            }
            bench.sandbox.calm().await;
        }
        let read = get(&bench.gateway, &name, "").await;
        assert!(read.result.is_ok() && read.cache == "miss", "{read:?}");
    }
}

#[tokio::test]
async fn rule_5_an_absence_is_counted_as_such_and_needs_no_upstream_for_impossible_ids() {
    let upstream = double().await;
    let gateway = caching(&upstream, "").await;
    upstream.always(GET, nothing());
    for _ in 0..3 {
        fails(one(&gateway).await.result, Code::NotFound, "PROFILE_NOT_FOUND");
    }
    assert_eq!((reads(&gateway, "miss").await, reads(&gateway, "negative").await), (1, 2));
    // An id that cannot be is no matter of the cache.
    let impossible = get(&gateway, &model::name("x"), "").await;
    assert_eq!(impossible.told(), ("NotFound".to_owned(), ""));
    assert_eq!(upstream.count(GET), 1);
    // For a caller who does not want to ask it is an answer too.
    let cached = get(&gateway, &model::name("SP_1"), "only-if-cached").await;
    assert_eq!(cached.told(), ("NotFound".to_owned(), "hit"));
    upstream.always(GET, Answer::Close);
    let fresh = get(&gateway, &model::name("SP_1"), "no-cache").await;
    assert_eq!(fresh.told(), ("Unavailable".to_owned(), ""));
}
