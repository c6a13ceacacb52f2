//! What a caller may ask of the cache, and what an answer says of it.

use profile_gateway::pb::{GetProfileRequest, ListProfilesRequest, Profile};
use tonic::{Code, Request, Response};

use super::reads::{LONG, asked, caching, called, get, list, one, services, showing};
use crate::{
    conformance::{bench, samples::registered},
    kit::{
        bodies,
        double::{GET, LIST, double},
        model::{self, BACKEND, mask},
        status::fails,
        until,
    },
};

#[tokio::test]
async fn answers_say_how_they_were_served_and_how_old_they_are() {
    for sample in registered() {
        let bench = bench::caching("30s", LONG, sample).await;
        let (gateway, parent) = (&bench.gateway, bench.parent());
        let name = bench.name(sample.in_use);
        for (n, control, cache) in
            [(0, "", "miss"), (1, "", "hit"), (2, "no-cache", "bypass"), (3, "", "hit")]
        {
            let what = format!("{} {n}", sample.dialect);
            let read = get(gateway, &name, control).await;
            assert_eq!((read.cache.as_str(), read.result.is_ok()), (cache, true), "{what}");
            assert!(read.age.is_some(), "{what}");
            let read = list(gateway, &parent, control).await;
            assert_eq!((read.cache.as_str(), read.result.is_ok()), (cache, true), "{what}");
            assert!(read.age.is_some(), "{what}");
            if sample.upstream == "pcc" {
                continue;
            }
            let read = services(gateway, &parent, control).await;
            assert_eq!((read.cache.as_str(), read.result.is_ok()), (cache, true), "{what}");
            assert!(read.age.is_some(), "{what}");
        }
    }
}

#[tokio::test]
async fn an_age_grows_until_the_upstream_is_asked_again() {
    let upstream = double().await;
    let gateway = caching(&upstream, LONG).await;
    upstream.then(GET, called("one")).always(GET, called("two"));
    let first = one(&gateway).await.age.unwrap();
    until("it is a second older", async || one(&gateway).await.age > Some(first)).await;
    let name = model::name("SP_1");
    let old = get(&gateway, &name, "max-age=1000").await;
    assert_eq!(old.told(), ("one".to_owned(), "hit"), "young enough");
    let new = get(&gateway, &name, "max-age=0").await;
    assert_eq!(new.told(), ("two".to_owned(), "miss"), "too old for this caller");
    assert!(new.age.is_some());
    assert_eq!(one(&gateway).await.told(), ("two".to_owned(), "hit"), "and kept for the others");
    assert_eq!(upstream.count(GET), 2);
}

#[tokio::test]
async fn directives_are_obeyed_ignored_or_refused() {
    let upstream = double().await;
    let gateway = caching(&upstream, LONG).await;
    upstream.always(GET, called("one")).always(LIST, called("one"));
    let name = model::name("SP_1");
    let miss = get(&gateway, &name, "only-if-cached").await;
    assert_eq!(miss.cache, "", "nothing was read");
    let miss = fails(miss.result, Code::FailedPrecondition, "CACHE_MISS");
    assert_eq!((miss.meta("backend"), miss.meta("operation")), ("sft", "GetProfile"));
    let miss = list(&gateway, "backends/-", "only-if-cached").await;
    fails(miss.result, Code::FailedPrecondition, "CACHE_MISS");
    assert_eq!(upstream.seen().len(), 0, "no call may ask");

    one(&gateway).await.result.unwrap();
    for (control, cache) in [
        ("only-if-cached", "hit"),
        ("ONLY-IF-CACHED", "hit"),
        ("max-age=3600", "hit"),
        ("max-age=\"3600\", only-if-cached", "hit"),
        ("max-stale=5", "hit"),
        ("no-store", "hit"),
        ("private, x=\"y\", min-fresh=3", "hit"),
        (",, ,", "hit"),
        ("no-cache", "bypass"),
        ("max-age=3600, No-Cache", "bypass"),
    ] {
        let read = get(&gateway, &name, control).await;
        assert_eq!(read.told(), ("one".to_owned(), cache), "{control}");
    }
    let asked_so_far = upstream.seen().len();
    let long = "x".repeat(5000);
    for control in [
        "max-age",
        "max-age=",
        "max-age=-1",
        "max-age=1.5",
        "max-age=soon",
        "max-age=1, max-age=x",
        &long,
    ] {
        let read = get(&gateway, &name, control).await;
        assert_eq!(read.cache, "", "{control:.30}");
        let refused = fails(read.result, Code::InvalidArgument, "MALFORMED_REQUEST");
        assert_eq!(refused.meta("operation"), "GetProfile");
        let read = list(&gateway, BACKEND, control).await;
        fails(read.result, Code::InvalidArgument, "MALFORMED_REQUEST");
    }
    assert_eq!(upstream.seen().len(), asked_so_far);
}

#[tokio::test]
async fn directives_on_several_lines_add_up() {
    let upstream = double().await;
    let gateway = caching(&upstream, LONG).await;
    let mut request = Request::new(model::get("SP_1"));
    request.metadata_mut().append("cache-control", "max-age=5".parse().unwrap());
    request.metadata_mut().append("cache-control", "only-if-cached".parse().unwrap());
    let read = gateway.profiles.clone().get_profile(request).await;
    fails(read, Code::FailedPrecondition, "CACHE_MISS");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_list_of_all_backends_promises_what_the_least_of_them_does() {
    let (first, second) = (double().await, double().await);
    let gateway = crate::kit::gateway::gateway()
        .fixed("a", &first.base_url, "")
        .fixed("b", &second.base_url, "")
        .start()
        .await;
    first.always(LIST, called("a"));
    second.always(LIST, called("b"));
    assert_eq!(list(&gateway, "backends/a", "").await.told(), (vec!["a"], "miss"));
    assert_eq!(list(&gateway, "backends/-", "").await.told(), (vec!["a", "b"], "miss"));
    assert_eq!(list(&gateway, "backends/-", "").await.told(), (vec!["a", "b"], "hit"));
    assert_eq!(list(&gateway, "backends/b", "").await.told(), (vec!["b"], "hit"));
    assert_eq!((first.count(LIST), second.count(LIST)), (1, 1));
}

#[tokio::test]
async fn pages_of_one_list_cost_one_upstream_call() {
    let upstream = double().await;
    let gateway = caching(&upstream, LONG).await;
    let items: Vec<_> =
        (1..=25).map(|n| bodies::profile(&format!("SP_{n}"), &format!("profile {n}"))).collect();
    upstream.always(LIST, showing(&items));
    let (mut token, mut names, mut served) = (String::new(), Vec::new(), Vec::new());
    loop {
        let request =
            ListProfilesRequest { page_size: 10, page_token: token, ..model::list(BACKEND) };
        let answer = gateway.profiles.clone().list_profiles(request).await.unwrap();
        served.push(answer.metadata().get("x-profile-cache").unwrap().to_str().unwrap().to_owned());
        let page = answer.into_inner();
        names.extend(page.profiles.into_iter().map(|profile| profile.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let expected: Vec<String> = (1..=25).map(|n| model::name(&format!("SP_{n}"))).collect();
    assert_eq!((names, served), (expected, ["miss", "hit", "hit"].map(str::to_owned).to_vec()));
    assert_eq!(upstream.count(LIST), 1);
}

#[tokio::test]
async fn a_hit_reads_like_what_it_was_read_from() {
    for sample in registered() {
        let bench = bench::caching("30s", LONG, sample).await;
        let (gateway, created) = (&bench.gateway, bench.create(bench.full()).await.unwrap());
        let read = async |paths: Option<&[&str]>, control: &str| {
            let request =
                GetProfileRequest { name: created.name.clone(), read_mask: paths.map(mask) };
            let answer = gateway.profiles.clone().get_profile(asked(request, control)).await;
            answer.map(Response::into_inner).unwrap()
        };
        let fresh = read(None, "no-cache").await;
        let cached = get(gateway, &created.name, "").await;
        assert!(cached.is_hit());
        let cached = cached.result.unwrap();
        assert_eq!((&cached, cached.etag.is_empty()), (&fresh, false), "{}", sample.dialect);
        assert_eq!(cached.etag, created.etag, "the etag does not depend on the cache");
        // A mask cuts the answer and not what is kept.
        let cut = Profile { display_name: fresh.display_name.clone(), ..Profile::default() };
        assert_eq!(read(Some(&["display_name"]), "only-if-cached").await, cut);
        assert_eq!(read(Some(&["*"]), "only-if-cached").await, fresh);
        assert_eq!(read(None, "only-if-cached").await, fresh);
        // Nor does a read with a mask that has to ask.
        super::reads::purge(gateway, &created.name).await.unwrap();
        assert_eq!(read(Some(&["display_name"]), "").await, cut);
        assert_eq!(read(None, "only-if-cached").await, fresh);
        // A cached etag is a precondition that holds.
        let update = Profile { etag: cached.etag, name: created.name.clone(), ..bench.other() };
        bench.update(update, &["display_name"]).await.unwrap();
    }
}

#[tokio::test]
async fn writes_carry_no_cache_metadata() {
    let sample = registered().remove(0);
    let bench = bench::caching("30s", LONG, sample).await;
    let created = bench.create(bench.full()).await.unwrap();
    let request =
        profile_gateway::pb::DeleteProfileRequest { name: created.name, ..Default::default() };
    let answer = bench.gateway.profiles.clone().delete_profile(request).await.unwrap();
    assert!(!answer.metadata().contains_key("x-profile-cache"));
    assert!(!answer.metadata().contains_key("age"));
}
