//! Rules 6 to 8: what belongs to one account stays there, what a list may fill, and how much is
//! kept.

use futures_util::future::join_all;
use tonic::Code;

use super::reads::{LONG, caching, called, get, list, metric, nothing, showing};
use crate::{
    conformance::{bench, samples::registered},
    kit::{
        bodies,
        double::{self, GET, LIST, double},
        gateway::gateway,
        model::{self, BACKEND},
        status::fails,
        until,
    },
};

#[tokio::test]
async fn rule_6_accounts_at_one_address_do_not_share() {
    let upstream = double().await;
    let by_account = |operation| {
        upstream.always(
            operation,
            double::by(|seen| {
                let first = seen.header("x-authorization").ends_with("first");
                called(if first { "of the first" } else { "of the second" })
            }),
        );
    };
    by_account(GET);
    by_account(LIST);
    let account = |name: &str| {
        format!(
            "[backends.{name}]\ndialect = \"bics-sft\"\nbase_url = \"{}\"\n\
             access_token = \"token-of-the-kit-{name}\"\n",
            upstream.base_url
        )
    };
    let gateway = gateway().section(&account("first")).section(&account("second")).start().await;
    for served in ["miss", "hit"] {
        for name in ["first", "second"] {
            let expected = format!("of the {name}");
            let profile = format!("backends/{name}/profiles/SP_1");
            let read = get(&gateway, &profile, "").await;
            // The first round of lists fills nothing new: the profiles were read before.
            assert_eq!(read.told(), (expected.clone(), served));
            assert_eq!(read.result.unwrap().name, profile);
        }
    }
    for served in ["miss", "hit"] {
        for name in ["first", "second"] {
            let read = list(&gateway, &format!("backends/{name}"), "").await;
            assert_eq!(read.told(), (vec![format!("of the {name}").as_str()], served));
        }
    }
    let all = list(&gateway, "backends/-", "").await;
    assert_eq!(all.told(), (vec!["of the first", "of the second"], "hit"));
    assert_eq!((upstream.count(GET), upstream.count(LIST)), (2, 2));
}

#[tokio::test]
async fn rule_6_what_a_caller_may_not_name_is_refused_before_the_cache() {
    let upstream = double().await;
    let gateway = caching(&upstream, LONG).await;
    upstream.always(GET, called("one"));
    for name in ["backends/other/profiles/SP_1", "backends/-/profiles/SP_1", "SP_1"] {
        for _ in 0..2 {
            let read = get(&gateway, name, "").await;
            assert!(read.result.is_err());
            assert_eq!((read.cache.as_str(), read.age), ("", None), "{name}");
        }
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn rule_7_a_list_fills_profiles_only_where_it_shows_all_of_them() {
    for sample in registered() {
        let bench = bench::caching("30s", LONG, sample).await;
        let all = list(&bench.gateway, &bench.parent(), "").await.result.unwrap();
        assert!(all.len() > 3);
        for profile in &all {
            let read = get(&bench.gateway, &profile.name, "only-if-cached").await;
            if sample.upstream == "endpoint" {
                let miss = fails(read.result, Code::FailedPrecondition, "CACHE_MISS");
                assert_eq!(miss.meta("backend"), "endpoint");
            } else {
                assert!(read.is_hit(), "{}: {read:?}", sample.dialect);
                assert!(read.age.is_some());
                assert_eq!(&read.result.unwrap(), profile);
                // What the list shows is what reading it alone shows.
                assert_eq!(&bench.get(&profile.name).await.unwrap(), profile);
            }
        }
    }
}

#[tokio::test]
async fn rule_7_a_list_does_not_replace_what_was_read_later() {
    // The list was asked for first and answers last.
    let upstream = double().await;
    let gateway = std::sync::Arc::new(caching(&upstream, LONG).await);
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    upstream.always(LIST, super::reads::gated(&gate, called("older"))).always(GET, called("newer"));
    let early = std::sync::Arc::clone(&gateway);
    let early = tokio::spawn(async move { list(&early, BACKEND, "").await.result.unwrap() });
    until("the list is asked for", async || upstream.count(LIST) == 1).await;
    // Times are kept in milliseconds.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let name = model::name("SP_1");
    assert_eq!(get(&gateway, &name, "").await.told(), ("newer".to_owned(), "miss"));
    gate.add_permits(1);
    assert_eq!(early.await.unwrap()[0].display_name, "older");
    assert_eq!(get(&gateway, &name, "").await.told(), ("newer".to_owned(), "hit"));
}

#[tokio::test]
async fn rule_8_memory_is_bounded() {
    const PROFILES: u64 = 600;
    const MAX_BYTES: u64 = 64 * 1024;
    let upstream = double().await;
    let gateway = caching(&upstream, "ttl = \"1h\"\nmax_bytes = \"64KiB\"").await;
    let long = "x".repeat(400);
    upstream.always(
        GET,
        double::by(move |seen| {
            showing(&[bodies::profile(seen.id(), &format!("{long}{}", seen.id()))])
        }),
    );
    let size = async |what: &str| {
        metric(&gateway, &format!("profile_gateway_cache_{what}{{backend=\"sft\"}}")).await
    };
    assert_eq!((size("entries").await, size("bytes").await), (0, 0));
    let names: Vec<String> = (1..=PROFILES).map(|n| model::name(&format!("SP_{n}"))).collect();
    for some in names.chunks(50) {
        for read in join_all(some.iter().map(|name| get(&gateway, name, ""))).await {
            read.result.unwrap();
        }
    }
    // Which ones go is the store's own affair; what is kept is within the bound, and not nothing.
    until("the bound holds", async || size("bytes").await <= MAX_BYTES).await;
    let held = join_all(names.iter().map(|name| get(&gateway, name, "only-if-cached"))).await;
    let held = held.iter().filter(|read| read.is_hit()).count() as u64;
    assert!((10..PROFILES / 4).contains(&held), "{held} profiles of 400 bytes in 64 KiB");
    let (entries, bytes) = (size("entries").await, size("bytes").await);
    assert!(bytes <= MAX_BYTES && bytes >= held * 400, "{bytes} bytes of {held}");
    assert!(entries >= held, "{entries} entries, {held} found");

    // A list that is larger than the bound is answered, and not kept.
    let items: Vec<_> = (0..300)
        .map(|n| bodies::profile(&format!("SP_{n}"), &format!("{}{n}", "y".repeat(400))))
        .collect();
    upstream.always(LIST, showing(&items));
    for _ in 0..2 {
        assert_eq!(list(&gateway, BACKEND, "").await.result.unwrap().len(), items.len());
    }
    until("the bound holds", async || size("bytes").await <= MAX_BYTES).await;
}

#[tokio::test]
async fn rule_8_ids_that_do_not_exist_push_out_no_profile() {
    const PROFILES: u64 = 300;
    let upstream = double().await;
    let cache = "ttl = \"1h\"\nnegative_ttl = \"1h\"\nmax_bytes = \"512KiB\"";
    let gateway = caching(&upstream, cache).await;
    upstream.always(
        GET,
        double::by(|seen| {
            let number = seen.id().trim_start_matches("SP_").parse().unwrap_or(u64::MAX);
            match number <= PROFILES {
                true => showing(&[bodies::profile(seen.id(), "there")]),
                false => nothing(),
            }
        }),
    );
    let read = async |numbers: std::ops::Range<u64>, control: &str| {
        let mut hits = 0;
        let names: Vec<String> = numbers.map(|n| model::name(&format!("SP_{n}"))).collect();
        for some in names.chunks(50) {
            let reads = join_all(some.iter().map(|name| get(&gateway, name, control))).await;
            hits += reads.iter().filter(|read| read.is_hit()).count();
        }
        hits
    };
    read(1..PROFILES + 1, "").await;
    assert_eq!(read(1..PROFILES + 1, "").await, 300);
    for _ in 0..2 {
        // Each is asked for often, so that the cache thinks that it is worth a place.
        for first in (1_000..2_500).step_by(50) {
            read(first..first + 50, "").await;
            read(first..first + 50, "").await;
        }
    }
    assert_eq!(read(1..PROFILES + 1, "only-if-cached").await, 300);
    // Absences have their places all the same, and no more than those.
    let remembered = read(1_500..2_500, "only-if-cached").await;
    assert!((5..60).contains(&remembered), "{remembered} absences in 26 KiB");
}
