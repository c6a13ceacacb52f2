//! What operators do with the cache and see of it: purges, switching it off, metrics, and the end
//! of the process. The access log is read in `process::logs`.

use std::{sync::Arc, time::Duration};

use profile_gateway::{
    pb::{CreateProfileRequest, DeleteProfileRequest, Profile, UpdateProfileRequest},
    server::Drained,
};
use serde_json::json;
use tokio::{sync::Semaphore, time::timeout};
use tonic::Code;

use super::reads::{
    LONG, caching, called, down, gated, get, in_flight, list, metric, nothing, one, purge, reads,
    rejected, services, showing,
};
use crate::{
    conformance::{bench, samples::registered},
    kit::{
        bodies,
        double::{Answer, GET, LIST, double},
        model::{self, BACKEND},
        status::{fails, failure},
        until,
    },
};

#[tokio::test]
async fn a_purge_drops_and_counts() {
    for sample in registered() {
        let bench = bench::caching("30s", LONG, sample).await;
        let (gateway, parent) = (&bench.gateway, bench.parent());
        let (name, what) = (bench.name(sample.in_use), sample.dialect);
        let missing = bench.name(sample.missing);
        assert_eq!(purge(gateway, &parent).await.unwrap(), 0, "{what}: there is nothing yet");
        get(gateway, &name, "").await.result.unwrap();
        get(gateway, &missing, "").await.result.unwrap_err();
        assert_eq!(purge(gateway, &name).await.unwrap(), 1, "{what}: the profile");
        assert_eq!(purge(gateway, &name).await.unwrap(), 0, "{what}: it is gone");
        assert!(get(gateway, &missing, "").await.is_hit(), "{what}: others stay");
        assert_eq!(get(gateway, &name, "").await.cache, "miss", "{what}");
        let all = list(gateway, &parent, "").await.result.unwrap();
        assert_eq!(purge(gateway, &name).await.unwrap(), 2, "{what}: with the list it is in");
        let mut held = all.len();
        // What a list fills, the absence, and the services where there are any.
        held = if sample.upstream == "endpoint" { 1 } else { held };
        if services(gateway, &parent, "").await.result.is_ok() {
            held += 1;
        }
        let purged = purge(gateway, &parent).await.unwrap();
        assert_eq!(purged, i64::try_from(held).unwrap(), "{what}");
        assert_eq!(purge(gateway, &parent).await.unwrap(), 0, "{what}");
        assert_eq!(get(gateway, &missing, "").await.cache, "miss", "{what}");
        assert_eq!(list(gateway, &parent, "").await.cache, "miss", "{what}");
    }
}

#[tokio::test]
async fn a_purge_of_an_impossible_name_is_refused() {
    let upstream = double().await;
    let gateway = caching(&upstream, "").await;
    for (name, code, reason) in [
        ("backends/nope", Code::NotFound, "BACKEND_NOT_FOUND"),
        ("backends/nope/profiles/SP_1", Code::NotFound, "BACKEND_NOT_FOUND"),
        ("backends/sft/profiles/x", Code::NotFound, "PROFILE_NOT_FOUND"),
        ("backends/-", Code::InvalidArgument, "VALIDATION_FAILED"),
        ("backends/sft/services/4", Code::InvalidArgument, "VALIDATION_FAILED"),
        ("", Code::InvalidArgument, "VALIDATION_FAILED"),
    ] {
        let failed = failure(purge(&gateway, name).await);
        assert!(failed.is(code, reason), "{name}: {failed:#?}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_purge_during_a_load_keeps_it_out() {
    for name in [BACKEND.to_owned(), model::name("SP_1")] {
        let (upstream, gate) = (double().await, Arc::new(Semaphore::new(0)));
        let gateway = Arc::new(caching(&upstream, LONG).await);
        upstream
            .then(GET, gated(&gate, called("old")))
            .then(LIST, gated(&gate, called("old")))
            .always(GET, called("new"))
            .always(LIST, called("new"));
        let early = [false, true].map(|lists| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                match lists {
                    true => list(&gateway, BACKEND, "").await.result.unwrap().remove(0),
                    false => one(&gateway).await.result.unwrap(),
                }
            })
        });
        until("both have begun", async || upstream.count(GET) + upstream.count(LIST) == 2).await;
        assert_eq!(purge(&gateway, &name).await.unwrap(), 0, "{name}");
        // A read after the purge does not wait for what began before it.
        assert_eq!(one(&gateway).await.told(), ("new".to_owned(), "miss"), "{name}");
        gate.add_permits(2);
        for read in early {
            assert_eq!(read.await.unwrap().display_name, "old", "{name}");
        }
        until("both were turned away", async || rejected(&gateway).await == 2).await;
        assert_eq!(one(&gateway).await.told(), ("new".to_owned(), "hit"), "{name}");
        assert_eq!(list(&gateway, BACKEND, "").await.told(), (vec!["new"], "miss"), "{name}");
    }
}

#[tokio::test]
async fn without_a_cache_every_read_asks() {
    let upstream = double().await;
    let gateway = caching(&upstream, "enabled = false").await;
    upstream.always(GET, called("one")).always(LIST, called("one"));
    for n in 1..=2 {
        assert_eq!(one(&gateway).await.told(), ("one".to_owned(), "bypass"));
        assert_eq!(list(&gateway, BACKEND, "").await.told(), (vec!["one"], "bypass"));
        assert_eq!((upstream.count(GET), upstream.count(LIST)), (n, n));
    }
    let read = get(&gateway, &model::name("SP_1"), "only-if-cached").await;
    fails(read.result, Code::FailedPrecondition, "CACHE_MISS");
    // Nothing is served stale, nothing is remembered.
    upstream.always(GET, down());
    fails(one(&gateway).await.result, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    upstream.always(GET, nothing());
    for _ in 0..2 {
        assert_eq!(one(&gateway).await.told(), ("NotFound".to_owned(), "bypass"));
    }
    assert_eq!(purge(&gateway, BACKEND).await.unwrap(), 0);
    assert_eq!(metric(&gateway, "profile_gateway_cache_entries{backend=\"sft\"}").await, 0);
}

#[tokio::test]
async fn a_write_that_is_only_checked_leaves_the_cache_alone() {
    for sample in registered() {
        let bench = bench::caching("30s", LONG, sample).await;
        let created = bench.create(bench.full()).await.unwrap();
        let (gateway, mut profiles) = (&bench.gateway, bench.gateway.profiles.clone());
        let missing = bench.name(sample.missing);
        get(gateway, &created.name, "").await.result.unwrap();
        get(gateway, &missing, "").await.result.unwrap_err();
        list(gateway, &bench.parent(), "").await.result.unwrap();

        let create = CreateProfileRequest {
            parent: bench.parent(),
            profile: Some(bench.full()),
            validate_only: true,
            ..CreateProfileRequest::default()
        };
        profiles.create_profile(create).await.unwrap();
        let renamed = Profile { name: created.name.clone(), ..bench.other() };
        let update = UpdateProfileRequest {
            profile: Some(renamed),
            update_mask: Some(model::mask(&["display_name"])),
            validate_only: true,
            ..UpdateProfileRequest::default()
        };
        profiles.update_profile(update).await.unwrap();
        let delete = DeleteProfileRequest {
            name: created.name.clone(),
            validate_only: true,
            ..DeleteProfileRequest::default()
        };
        profiles.delete_profile(delete).await.unwrap();

        let what = sample.dialect;
        assert!(get(gateway, &created.name, "").await.is_hit(), "{what}");
        assert!(get(gateway, &missing, "").await.is_hit(), "{what}");
        assert!(list(gateway, &bench.parent(), "").await.is_hit(), "{what}");
        // Nor does one that is refused before it is sent.
        bench
            .update(
                Profile { name: created.name.clone(), etag: "\"old\"".into(), ..bench.other() },
                &["display_name"],
            )
            .await
            .unwrap_err();
        assert!(get(gateway, &created.name, "").await.is_hit(), "{what}");
    }
}

#[tokio::test]
async fn metrics_count_reads_loads_and_what_is_held() {
    let (upstream, gate) = (double().await, Arc::new(Semaphore::new(0)));
    let cache = "ttl = \"1h\"\nnegative_ttl = \"1h\"";
    let gateway = Arc::new(caching(&upstream, cache).await);
    for result in ["hit", "negative", "miss", "coalesced", "stale", "bypass"] {
        let line =
            format!("profile_gateway_cache_reads_total{{backend=\"sft\",result=\"{result}\"}} 0");
        let text = gateway.admin("/metrics").await;
        assert!(text.lines().any(|found| found == line), "no {line} in {text}");
    }
    upstream.then(GET, gated(&gate, called("one"))).always(GET, nothing());
    // As often as a read is tried.
    for _ in 0..3 {
        upstream.then(GET, down());
    }
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move { one(&gateway).await.result.unwrap() })
        })
        .collect();
    until("all wait", async || in_flight(&gateway).await == 4).await;
    gate.add_permits(1);
    for reader in readers {
        reader.await.unwrap();
    }
    let two = model::name("SP_2");
    one(&gateway).await.result.unwrap();
    get(&gateway, &two, "").await.result.unwrap_err();
    for _ in 0..3 {
        get(&gateway, &two, "").await.result.unwrap_err();
    }
    upstream.always(LIST, showing(&[bodies::profile("SP_1", "one")]));
    list(&gateway, BACKEND, "no-cache").await.result.unwrap();
    for (result, count) in
        [("miss", 3), ("coalesced", 3), ("hit", 1), ("negative", 2), ("bypass", 1), ("stale", 0)]
    {
        assert_eq!(reads(&gateway, result).await, count, "{result}");
    }
    let loads = async |outcome: &str| {
        let labels = format!("backend=\"sft\",outcome=\"{outcome}\"");
        let name = format!("profile_gateway_cache_load_duration_seconds_count{{{labels}}}");
        metric(&gateway, &name).await
    };
    assert_eq!((loads("ok").await, loads("failed").await), (2, 2));
    let held = async |what: &str| {
        metric(&gateway, &format!("profile_gateway_cache_{what}{{backend=\"sft\"}}")).await
    };
    // The profile, the absence and the list.
    until("entries are counted", async || held("entries").await == 3).await;
    assert!((300..5000).contains(&held("bytes").await), "{}", held("bytes").await);
    assert_eq!(rejected(&gateway).await, 0);
}

#[tokio::test]
async fn a_load_in_the_background_does_not_delay_shutdown() {
    for cache in ["", "ttl = \"0s\"\nstale_while_revalidate = \"1h\""] {
        let upstream = double().await;
        let gateway = Arc::new(caching(&upstream, cache).await);
        if cache.is_empty() {
            // One whose caller has left.
            upstream.always(GET, Answer::Stall);
            let caller = Arc::clone(&gateway);
            let caller = tokio::spawn(async move { one(&caller).await.cache });
            until("the load has begun", async || upstream.count(GET) == 1).await;
            caller.abort();
            until("the caller has left", async || in_flight(&gateway).await == 0).await;
            let _ = caller.await;
        } else {
            // One for those who come later.
            upstream.then(GET, called("one")).always(GET, Answer::Stall);
            one(&gateway).await.result.unwrap();
            until("it is refreshed", async || {
                one(&gateway).await.result.unwrap();
                upstream.count(GET) == 2
            })
            .await;
        }
        let gateway = Arc::into_inner(gateway).unwrap();
        // The upstream never answers: waiting for it would take until the client's timeout.
        let end = timeout(Duration::from_secs(20), gateway.stop()).await;
        assert_eq!(end.expect("it waits for a load"), Drained::Clean, "{cache}");
    }
}

#[tokio::test]
async fn changes_behind_the_gateway_show_when_time_is_over() {
    let sample = registered().into_iter().find(|sample| sample.upstream == "sft").unwrap();
    let bench =
        bench::caching("30s", "ttl = \"300ms\"\nstale_while_revalidate = \"0s\"", sample).await;
    let name = bench.name("SP_402");
    let before = get(&bench.gateway, &name, "").await.result.unwrap();
    bench
        .sandbox
        .put("SP_402", json!({"name": "changed", "services": ["DATA"], "rat": "2G"}))
        .await;
    until("the change shows", async || {
        let read = get(&bench.gateway, &name, "").await;
        assert!(["hit", "miss"].contains(&read.cache.as_str()), "{read:?}");
        let shown = read.result.unwrap();
        assert!(shown.display_name == "changed" || shown == before);
        shown.display_name == "changed"
    })
    .await;
}
