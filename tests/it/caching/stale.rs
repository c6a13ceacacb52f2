//! Rule 4: what ran out of time is served within its bounds and says so; what was outdated never
//! is.

use profile_gateway::pb::Profile;
use serde_json::json;
use tonic::Code;

use super::reads::{caching, called, down, get, list, nothing, one, purge, services, within};
use crate::{
    conformance::{bench, samples::registered},
    kit::{
        bodies::{self, fixture},
        double::{self, Answer, CREATE, DELETE, Double, GET, LIST, MODIFY, double},
        gateway::Gateway,
        model::{self, BACKEND, named, profile},
        status::fails,
        until,
    },
};

/// Out of time at once, and then one of the bounds without end.
const WHILE_REFRESHED: &str =
    "ttl = \"0s\"\nstale_while_revalidate = \"1h\"\nstale_if_error = \"0s\"";
const IF_ERROR: &str = "ttl = \"0s\"\nstale_while_revalidate = \"0s\"\nstale_if_error = \"1h\"";
const BOTH: &str = "ttl = \"0s\"\nstale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"";

/// A gateway that holds `one` as `SP_1` and in its list, out of time.
async fn holding(cache: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let gateway = within("10s", &upstream, cache).await;
    upstream.then(GET, called("one")).then(LIST, called("one"));
    assert_eq!(one(&gateway).await.told(), ("one".to_owned(), "miss"));
    assert_eq!(list(&gateway, BACKEND, "").await.told(), (vec!["one"], "miss"));
    (upstream, gateway)
}

#[tokio::test]
async fn rule_4_what_ran_out_of_time_is_served_while_it_is_refreshed() {
    let (upstream, gateway) = holding(WHILE_REFRESHED).await;
    upstream.always(GET, called("two")).always(LIST, called("two"));
    until("the profile is refreshed", async || {
        let read = one(&gateway).await;
        assert!(["hit", "stale"].contains(&read.cache.as_str()), "a reader waited: {read:?}");
        assert!(read.age.is_some());
        // A value that was just read may still count in full, one from before it never does.
        read.told().0 == "two"
    })
    .await;
    until("the list is refreshed", async || {
        let read = list(&gateway, BACKEND, "").await;
        assert!(["hit", "stale"].contains(&read.cache.as_str()), "a reader waited: {read:?}");
        read.told().0 == ["two"]
    })
    .await;
}

#[tokio::test]
async fn rule_4_what_is_refreshed_is_read_once() {
    let (upstream, gateway) = holding(WHILE_REFRESHED).await;
    upstream.always(GET, Answer::Stall);
    until("it is being refreshed", async || {
        one(&gateway).await.result.unwrap();
        upstream.count(GET) == 2
    })
    .await;
    for _ in 0..50 {
        assert_eq!(one(&gateway).await.told(), ("one".to_owned(), "stale"));
    }
    assert_eq!(upstream.count(GET), 2);
}

#[tokio::test]
async fn rule_4_stale_values_are_served_for_an_upstream_that_fails() {
    for (what, fault) in [
        ("503", down()),
        ("500", double::http(500, "text/html", "<html>x</html>")),
        ("429", double::http(429, "text/html", "<html>x</html>")),
        ("closed", Answer::Close),
        ("reset", Answer::Reset(Vec::new())),
        ("no answer of the dialect", double::http(200, "text/html", "<html>x</html>")),
        ("a failure of its own", double::json(bodies::result("1328"))),
    ] {
        let (upstream, gateway) = holding(IF_ERROR).await;
        upstream.always(GET, fault.clone()).always(LIST, fault);
        until(what, async || one(&gateway).await.told() == ("one".to_owned(), "stale")).await;
        until(what, async || list(&gateway, BACKEND, "").await.told() == (vec!["one"], "stale"))
            .await;
        let read = one(&gateway).await;
        assert!(read.age.is_some(), "{what}: {read:?}");
        // And no longer once it is back.
        upstream.always(GET, called("two")).always(LIST, called("two"));
        until("it is back", async || one(&gateway).await.told().0 == "two").await;
        until("the list is back", async || list(&gateway, BACKEND, "").await.told().0 == ["two"])
            .await;
    }
}

#[tokio::test]
async fn rule_4_stale_values_are_served_for_an_upstream_that_is_too_slow_for_the_caller() {
    let upstream = double().await;
    let gateway = within("700ms", &upstream, IF_ERROR).await;
    upstream.then(GET, called("one")).always(GET, Answer::Stall);
    assert_eq!(one(&gateway).await.cache, "miss");
    until("it is served stale", async || one(&gateway).await.told() == ("one".to_owned(), "stale"))
        .await;
}

#[tokio::test]
async fn rule_4_stale_values_are_served_for_each_upstream() {
    for sample in registered() {
        let bench = bench::caching("10s", IF_ERROR, sample).await;
        let name = bench.name(sample.in_use);
        let there = get(&bench.gateway, &name, "").await.result.unwrap();
        let all = list(&bench.gateway, &bench.parent(), "").await.result.unwrap();
        for operation in [sample.operations.get, sample.operations.list] {
            bench.arm(operation, &json!({"kind": "drop"}), 0).await;
        }
        until("the profile is served stale", async || {
            let read = get(&bench.gateway, &name, "").await;
            assert_eq!(read.result.unwrap(), there);
            read.cache == "stale"
        })
        .await;
        until("the list is served stale", async || {
            let read = list(&bench.gateway, "backends/-", "").await;
            assert_eq!(read.result.unwrap(), all);
            read.cache == "stale"
        })
        .await;
        let failed = fails(bench.get(&name).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(failed.retry.is_some(), "a caller that wants the upstream's own answer gets it");
    }
}

#[tokio::test]
async fn rule_4_beyond_its_bound_nothing_is_served_stale() {
    for bound in ["stale_while_revalidate", "stale_if_error"] {
        let other = ["stale_while_revalidate", "stale_if_error"].into_iter().find(|b| *b != bound);
        let cache = format!("ttl = \"0s\"\n{bound} = \"400ms\"\n{} = \"0s\"", other.unwrap());
        let (upstream, gateway) = holding(&cache).await;
        upstream.always(GET, down()).always(LIST, down());
        until("the bound is over", async || {
            let read = one(&gateway).await;
            match &read.result {
                Ok(found) => {
                    assert_eq!(found.display_name, "one");
                    assert!(["hit", "stale"].contains(&read.cache.as_str()), "{read:?}");
                }
                Err(_) => assert_eq!(read.cache, ""),
            }
            read.result.is_err()
        })
        .await;
        // It does not come back.
        for _ in 0..5 {
            fails(one(&gateway).await.result, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        }
        until("the bound of the list is over", async || {
            list(&gateway, BACKEND, "").await.result.is_err()
        })
        .await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outdating {
    Update,
    Refused,
    Create,
    Delete,
    PurgeProfile,
    PurgeBackend,
}

use Outdating::{Create, Delete, PurgeBackend, PurgeProfile, Refused, Update};

#[tokio::test]
async fn rule_4_nothing_stale_is_served_after_a_write_or_a_purge() {
    for what in [Update, Refused, Create, Delete, PurgeProfile, PurgeBackend] {
        let (upstream, gateway) = holding(BOTH).await;
        // Enough for the write itself; whatever is read then fails.
        if [Update, Refused].contains(&what) {
            upstream.then(GET, called("one"));
        }
        if what == Create {
            upstream.then(LIST, called("one"));
        }
        upstream
            .always(GET, down())
            .always(LIST, down())
            .then(CREATE, double::json(bodies::created("SP_5")))
            .then(DELETE, double::json(fixture("delete-success")));
        let modified = match what {
            Refused => double::json(bodies::result("6554")),
            _ => double::json(fixture("modify-base-plan")),
        };
        upstream.then(MODIFY, modified);
        let update = Profile { display_name: "two".into(), ..named("SP_1") };
        match what {
            Update => drop(gateway.update(update).await.unwrap()),
            Refused => drop(gateway.update(update).await.unwrap_err()),
            Create => drop(gateway.create(profile("five")).await.unwrap()),
            Delete => gateway.delete("SP_1").await.unwrap(),
            PurgeProfile => drop(purge(&gateway, &model::name("SP_1")).await.unwrap()),
            PurgeBackend => drop(purge(&gateway, BACKEND).await.unwrap()),
        }
        for _ in 0..3 {
            let listed = list(&gateway, BACKEND, "only-if-cached").await;
            fails(listed.result, Code::FailedPrecondition, "CACHE_MISS");
            assert_ne!(list(&gateway, BACKEND, "").await.cache, "stale", "{what:?}");
            if what == Create {
                // What was created is another one.
                continue;
            }
            let read = get(&gateway, &model::name("SP_1"), "only-if-cached").await;
            fails(read.result, Code::FailedPrecondition, "CACHE_MISS");
        }
        if what != Create {
            assert_ne!(one(&gateway).await.cache, "stale", "{what:?}");
        }
    }
}

#[tokio::test]
async fn rule_4_what_the_upstream_refuses_is_never_papered_over() {
    let refusal = double::http(403, "text/html", "<html>no</html>");
    for cache in [IF_ERROR, WHILE_REFRESHED, BOTH] {
        let (upstream, gateway) = holding(cache).await;
        upstream.always(GET, refusal.clone()).always(LIST, refusal.clone());
        // One that is served while it is refreshed may be served until the refusal arrives.
        until("the profile is refused", async || one(&gateway).await.result.is_err()).await;
        until("the list is refused", async || list(&gateway, BACKEND, "").await.result.is_err())
            .await;
        let refused = one(&gateway).await;
        fails(refused.result, Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED");
        // What was there before the refusal does not come back when the upstream fails otherwise.
        upstream.always(GET, down()).always(LIST, down());
        fails(one(&gateway).await.result, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        let listed = list(&gateway, BACKEND, "").await;
        fails(listed.result, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
}

#[tokio::test]
async fn rule_4_a_refusal_that_a_caller_has_seen_is_not_followed_by_an_old_value() {
    let upstream = double().await;
    let gateway = caching(&upstream, "ttl = \"1h\"").await;
    upstream.then(GET, called("one"));
    assert_eq!(one(&gateway).await.cache, "miss");
    upstream.always(GET, double::http(403, "text/html", "<html>no</html>"));
    fails(gateway.get("SP_1").await, Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED");
    let read = one(&gateway).await;
    fails(read.result, Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED");
}

#[tokio::test]
async fn rule_4_a_profile_that_is_gone_is_not_served_for_its_age() {
    for cache in [IF_ERROR, WHILE_REFRESHED] {
        let (upstream, gateway) = holding(&format!("{cache}\nnegative_ttl = \"200ms\"")).await;
        upstream.always(GET, nothing());
        until("it is gone", async || one(&gateway).await.told().0 == "NotFound").await;
        upstream.always(GET, down());
        until("what was found is over", async || {
            let told = one(&gateway).await.told().0;
            assert_ne!(told, "one", "it came back");
            told == "Unavailable"
        })
        .await;
    }
}

#[tokio::test]
async fn rule_4_a_stale_catalog_is_served_too() {
    let sample = registered().into_iter().find(|sample| sample.upstream == "endpoint").unwrap();
    let cache = format!("services_ttl = \"0s\"\n{IF_ERROR}");
    let bench = bench::caching("10s", &cache, sample).await;
    let parent = bench.parent();
    let all = services(&bench.gateway, &parent, "").await.result.unwrap();
    bench.arm("ListServices", &json!({"kind": "drop"}), 0).await;
    until("it is served stale", async || {
        let read = services(&bench.gateway, &parent, "").await;
        assert_eq!(read.result.unwrap(), all);
        read.cache == "stale"
    })
    .await;
}
