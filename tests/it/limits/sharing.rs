//! What one caller costs the others of a backend: its slots, its queue, its circuit, its pauses,
//! and the vendor's limits. Each address of this machine is a caller.

use std::{sync::Arc, time::Duration};

use profile_gateway::pb::{
    GetProfileRequest, ListProfilesRequest, profile_service_client::ProfileServiceClient,
};
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};
use tonic::{Code, Status, transport::Channel};

use crate::kit::{
    bodies,
    double::{self, Answer, Double, GET, LIST, OTHER, double},
    gateway::{Gateway, fresh, gateway},
    later, model,
    status::{fails, failure},
    until,
};

pub(super) const GREEDY: &str = "127.0.0.2";
pub(super) const OTHER_CALLER: &str = "127.0.0.3";

/// A gateway over an SFT account that has every profile that it is asked for.
pub(super) async fn start(lines: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let lines = format!("requests_per_second = \"off\"\nmax_attempts = 1\n{lines}");
    let gateway = gateway().fixed("sft", &upstream.base_url, &lines).start().await;
    upstream.always(GET, double::by(|seen| found(seen.id())));
    (upstream, gateway)
}

fn found(id: &str) -> Answer {
    double::json(bodies::profiles(&[bodies::profile(id, "one")]))
}

/// Answers each request when the gate lets it.
fn gate(upstream: &Double) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    let answer = double::by(|seen| found(seen.id()));
    upstream.always(GET, Answer::Gated(Arc::clone(&gate), Box::new(answer)));
    gate
}

pub(super) fn from(source: &str, gateway: &Gateway) -> ProfileServiceClient<Channel> {
    ProfileServiceClient::new(gateway.channel_from(source))
}

pub(super) async fn get(client: &ProfileServiceClient<Channel>, id: &str) -> Result<(), Status> {
    client.clone().get_profile(fresh(model::get(id))).await.map(drop)
}

/// A read that goes on by itself; through the cache if `cached`.
fn reads(
    client: &ProfileServiceClient<Channel>,
    id: &str,
    cached: bool,
) -> JoinHandle<Result<(), Status>> {
    let (mut client, request) = (client.clone(), model::get(id));
    tokio::spawn(async move {
        let request = if cached { tonic::Request::new(request) } else { fresh(request) };
        client.get_profile(request).await.map(drop)
    })
}

async fn depth(gateway: &Gateway, slots: f64, queued: f64) {
    until("so many in flight, and so many waiting", async || {
        gateway.metric("upstream_in_flight", "sft").await == slots
            && gateway.metric("upstream_queued", "sft").await == queued
    })
    .await;
}

fn ids(upstream: &Double) -> Vec<String> {
    upstream.requests(GET).iter().map(|seen| seen.id().to_owned()).collect()
}

#[tokio::test]
async fn a_caller_that_asks_for_everything_leaves_slots_and_places_to_others() {
    let (upstream, gateway) = start("max_concurrent_calls = 4\nmax_queued_calls = 8").await;
    let gate = gate(&upstream);
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    let calls: Vec<_> = (0..30).map(|n| reads(&greedy, &format!("SP_{n}"), n % 2 == 0)).collect();
    depth(&gateway, 3.0, 6.0).await;
    // The one that is left is another caller's, at once.
    let first = reads(&other, "SP_100", false);
    depth(&gateway, 4.0, 6.0).await;
    assert!(ids(&upstream).contains(&"SP_100".to_owned()));
    let second = reads(&other, "SP_101", true);
    depth(&gateway, 4.0, 7.0).await;
    gate.add_permits(100);
    let (mut served, mut refused) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(()) => served += 1,
            result => {
                let failed = fails(result, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
                assert!(failed.retry.is_some(), "{failed:#?}");
                refused += 1;
            }
        }
    }
    assert_eq!((served, refused), (9, 21));
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let shed = gateway.metric("upstream_shed_total", "why=\"caller_queue\"").await;
    assert!((shed - 21.0).abs() < 0.5, "{shed}");
}

#[tokio::test]
async fn callers_take_turns_in_the_queue() {
    let (upstream, gateway) = start("max_concurrent_calls = 1").await;
    let gate = gate(&upstream);
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    let mut calls = Vec::new();
    for n in 0..10 {
        calls.push(reads(&greedy, &format!("SP_{n}"), false));
        let queued = f64::from(n);
        depth(&gateway, 1.0, queued).await;
    }
    calls.push(reads(&other, "SP_100", false));
    depth(&gateway, 1.0, 10.0).await;
    gate.add_permits(100);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let order = ids(&upstream);
    let at = order.iter().position(|id| id == "SP_100").unwrap();
    assert!(at <= 3, "{order:?}: after the one in flight, the first in line, and one more");
}

#[tokio::test]
async fn what_no_one_waits_for_and_was_not_sent_is_dropped() {
    let (upstream, gateway) = start("max_concurrent_calls = 1").await;
    let gate = gate(&upstream);
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    for cached in [true, false] {
        let before = upstream.count(GET);
        let kept = reads(&greedy, &format!("SP_{}", 900 + i32::from(cached)), cached);
        depth(&gateway, 1.0, 0.0).await;
        let leaving: Vec<_> = (0..20).map(|n| reads(&greedy, &format!("SP_{n}"), cached)).collect();
        depth(&gateway, 1.0, 20.0).await;
        leaving.iter().for_each(JoinHandle::abort);
        depth(&gateway, 1.0, 0.0).await;
        let waiting = reads(&other, &format!("SP_{}", 800 + i32::from(cached)), cached);
        depth(&gateway, 1.0, 1.0).await;
        gate.add_permits(2);
        kept.await.unwrap().unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(upstream.count(GET) - before, 2, "{:?}", ids(&upstream));
    }
}

#[tokio::test]
async fn a_load_that_was_sent_goes_on_for_those_who_come_later() {
    let (upstream, gateway) = start("").await;
    let gate = gate(&upstream);
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    let left = reads(&greedy, "SP_1", true);
    depth(&gateway, 1.0, 0.0).await;
    left.abort();
    let joined = reads(&other, "SP_1", true);
    gate.add_permits(1);
    joined.await.unwrap().unwrap();
    assert_eq!(upstream.count(GET), 1);
}

#[tokio::test]
async fn one_who_asks_for_what_waits_for_another_s_share_does_not_wait_with_it() {
    let (upstream, gateway) = start("max_concurrent_calls = 4").await;
    let gate = gate(&upstream);
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    let calls: Vec<_> = (0..9).map(|n| reads(&greedy, &format!("SP_{n}"), true)).collect();
    depth(&gateway, 3.0, 6.0).await;
    let sent = ids(&upstream);
    let waits = (0..9).map(|n| format!("SP_{n}")).find(|id| !sent.contains(id)).unwrap();
    let joined = reads(&other, &waits, true);
    depth(&gateway, 4.0, 6.0).await;
    assert!(ids(&upstream).contains(&waits));
    gate.add_permits(100);
    joined.await.unwrap().unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_fresh_list_does_not_wait_with_one_that_waits_for_another_s_share() {
    let (upstream, gateway) = start("max_concurrent_calls = 4").await;
    upstream.always(LIST, found("SP_1"));
    let gate = gate(&upstream);
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    let calls: Vec<_> = (0..9).map(|n| reads(&greedy, &format!("SP_{n}"), false)).collect();
    depth(&gateway, 3.0, 6.0).await;
    let of_greedy = tokio::spawn(async move { list(&greedy, "sft").await });
    depth(&gateway, 3.0, 7.0).await;
    list(&other, "sft").await.unwrap();
    assert!(!of_greedy.is_finished());
    gate.add_permits(100);
    of_greedy.await.unwrap().unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_pause_that_the_upstream_asks_for_is_bounded_and_can_be_ended() {
    let (upstream, gateway) = start("max_pause = \"2m\"").await;
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    let left = async || gateway.metric("upstream_pause_remaining_seconds", "\"sft\"").await;
    upstream.then(GET, double::come_back(429, 86_400));
    let failed = failure(get(&greedy, "SP_1").await);
    assert!(failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{failed:#?}");
    assert!(failed.retry.unwrap() <= Duration::from_secs(120), "{failed:#?}");
    let refused = failure(other.clone().get_profile(timed("SP_2", 20)).await);
    assert!(refused.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{refused:#?}");
    assert!((1.0..=120.0).contains(&left().await));
    later(Duration::from_secs(121)).await;
    assert_eq!(left().await, 0.0);
    get(&other, "SP_2").await.unwrap();

    upstream.then(GET, double::come_back(429, 86_400));
    failure(get(&greedy, "SP_1").await);
    // One who waits goes on as soon as an operator ends the pause.
    let mut patient = other.clone();
    let waiting = tokio::spawn(async move { patient.get_profile(timed("SP_3", 240)).await });
    depth(&gateway, 0.0, 1.0).await;
    assert!(left().await > 0.0);
    assert_eq!(gateway.post_admin("/backends/sft/end-pause").await, 200);
    assert_eq!(left().await, 0.0);
    // Who has no time for the rest of the pause comes after the one who waits.
    other.clone().get_profile(timed("SP_4", 20)).await.unwrap();
    waiting.await.unwrap().unwrap();
}

pub(super) fn timed(id: &str, seconds: u64) -> tonic::Request<GetProfileRequest> {
    let mut request = fresh(model::get(id));
    request.set_timeout(Duration::from_secs(seconds));
    request
}

/// A gateway over an endpoint account of ten profiles, whose list takes eleven requests.
pub(super) async fn listing(limit: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let section = format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{}\"\nauth_token = \"t-of-the-kit\"\n\
         requests_per_second = \"off\"\nmax_attempts = 1\nrequest_limit = \"{limit}\"\n",
        upstream.base_url
    );
    let gateway = gateway().section(&section).start().await;
    upstream.always(
        OTHER,
        double::by(|seen| match seen.path.rsplit('/').next() {
            Some("service_profile") => {
                let each = (1..=10).map(|id| json!({"id": id, "name": "n"}));
                double::json(Value::Array(each.collect()))
            }
            id => double::json(json!({"id": id, "name": "n"})),
        }),
    );
    (upstream, gateway)
}

pub(super) async fn list(
    client: &ProfileServiceClient<Channel>,
    backend: &str,
) -> Result<(), Status> {
    let parent = format!("backends/{backend}");
    let request = ListProfilesRequest { parent, ..ListProfilesRequest::default() };
    client.clone().list_profiles(fresh(request)).await.map(drop)
}

async fn read(client: &ProfileServiceClient<Channel>) -> Result<(), Status> {
    let name = "backends/e/profiles/1".to_owned();
    client.clone().get_profile(fresh(GetProfileRequest { name, read_mask: None })).await.map(drop)
}

#[tokio::test]
async fn lists_in_a_loop_use_up_no_more_than_a_share_of_the_vendor_s_limit() {
    let (upstream, gateway) = listing("100/5m").await;
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    read(&other).await.unwrap();
    let mut lists = 0;
    let refused = loop {
        match list(&greedy, "e").await {
            Ok(()) => lists += 1,
            result => break result,
        }
    };
    let failed = fails(refused, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
    assert!(
        failed.retry.unwrap() > Duration::from_secs(60),
        "until the other has left: {failed:#?}"
    );
    // Half of the sixty that lists may use; the last one began below that.
    assert_eq!((lists, upstream.count(OTHER)), (3, 34));
    for _ in 0..30 {
        read(&other).await.unwrap();
    }
    assert!(gateway.metric("upstream_shed_total", "why=\"caller_limit\"").await >= 1.0);
    later(Duration::from_secs(310)).await;
    list(&greedy, "e").await.unwrap();
}

#[tokio::test]
async fn what_one_used_who_has_left_takes_nothing_of_the_vendor_s_limit_from_others() {
    let (upstream, gateway) = listing("100/24h").await;
    let (stranger, only) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    read(&stranger).await.unwrap();
    let refused = loop {
        if let result @ Err(_) = read(&only).await {
            break fails(result, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
        }
    };
    let used = upstream.count(OTHER);
    assert!((40..=45).contains(&used), "{used}");
    let wait = refused.retry.unwrap();
    assert!(wait <= Duration::from_secs(300), "{refused:#?}");
    later(wait).await;
    while upstream.count(OTHER) < 80 {
        read(&only).await.unwrap();
    }
}

#[tokio::test]
async fn a_caller_alone_may_use_all_that_there_is() {
    let (upstream, gateway) = listing("100/5m").await;
    let greedy = from(GREEDY, &gateway);
    for _ in 0..80 {
        read(&greedy).await.unwrap();
    }
    assert_eq!(upstream.count(OTHER), 80);
    let failed = failure(read(&greedy).await);
    assert!(failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{failed:#?}");
}

#[tokio::test]
async fn a_well_behaved_caller_is_served_beside_one_that_reads_and_leaves_in_a_loop() {
    let (upstream, gateway) = start("max_concurrent_calls = 4\nmax_queued_calls = 16").await;
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    let mut loops = JoinSet::new();
    for worker in 0..20 {
        let greedy = greedy.clone();
        loops.spawn(async move {
            for n in 0.. {
                let call = reads(&greedy, &format!("SP_{}", 1000 * worker + n), n % 2 == 0);
                tokio::task::yield_now().await;
                if n % 3 == 0 {
                    call.abort();
                }
                let _ = call.await;
            }
        });
    }
    until("a crowd", async || upstream.count(GET) > 100).await;
    for n in 0..100 {
        get(&other, &format!("SP_{n}")).await.unwrap();
    }
    loops.abort_all();
}
