//! What replicas share of one account: one refused login is enough for all, and all together keep
//! the vendor's limits.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use profile_gateway::pb::CircuitState;
use tokio::time::Instant;
use tonic::Code;

use crate::kit::{
    bodies::{self, result_with, tokens},
    double::{self, Answer, Double, GET, LOGIN, OTHER, come_back, double},
    gateway::{Builder, Gateway, PASSWORD, gateway},
    redis::Redis,
    status::{Failure, failure},
    until,
    vendors::vendors,
};

pub(super) const LOGIN_LINES: &str =
    "username = \"operator\"\npassword = \"password-of-the-kit\"\n";
pub(super) const NEW_PASSWORD: &str = "another-password-of-the-kit";

/// A replica over this server, without backends.
pub(super) fn replica(redis: &Redis) -> Builder {
    let store = format!("[store]\nkind = \"shared\"\nurl = \"redis://{}\"\n", redis.address());
    gateway().top("page_token_key = \"a page token key of-the-kit\"").section(&store)
}

/// Three of them with one backend, which agree.
pub(super) async fn three(make: impl Fn() -> Builder) -> Vec<Gateway> {
    let all = join_all((0..3).map(|_| make().start())).await;
    join_all(all.iter().map(agrees)).await;
    all
}

pub(super) async fn agrees(gateway: &Gateway) {
    until("it is a member", async || gateway.metric("shared_store_resyncs_total", "").await >= 1.0)
        .await;
}

pub(super) fn found() -> Answer {
    double::json(bodies::profiles(&[bodies::profile("SP_1", "one")]))
}

/// Reads a profile that is there. Gives when each request for it came.
fn timed(upstream: &Double) -> Arc<Mutex<Vec<Instant>>> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let answer = found();
    let by = double::by(move |_| {
        noted.lock().unwrap().push(Instant::now());
        answer.clone()
    });
    upstream.always(GET, by);
    times
}

/// So many reads through each replica at once, and how many of them fail.
async fn reads(all: &[Gateway], of_each: usize) -> usize {
    let calls = all.iter().flat_map(|gateway| (0..of_each).map(|_| gateway.get("SP_1")));
    join_all(calls).await.into_iter().filter(Result::is_err).count()
}

/// No time has more than the burst and what the rate gives, with what a busy machine may bunch.
fn keeps_within(times: &[Instant], per_second: f64, burst: f64) {
    const BUNCHED: f64 = 0.3;
    for (place, from) in times.iter().enumerate() {
        for (count, to) in (1_u32..).zip(&times[place..]) {
            let passed = to.duration_since(*from).as_secs_f64();
            let most = burst + 1.0 + per_second * (passed + BUNCHED);
            assert!(f64::from(count) <= most, "{count} within {passed} s, and not {most}");
        }
    }
}

/// What a replica adds that has taken a slow answer of the server for none: its part of a limit.
async fn with_parts(all: &[Gateway], limit: f64) -> f64 {
    let late = all.iter().map(|gateway| gateway.metric("shared_store_command_failures_total", ""));
    let late = join_all(late).await.into_iter().filter(|failures| *failures > 0.0).count();
    limit + limit / 3.0 * late as f64
}

pub(super) fn is_refused(failed: &Failure) {
    assert!(failed.is(Code::Internal, "UPSTREAM_AUTH_FAILED"), "{failed:#?}");
    assert_eq!(failed.meta("upstream_code"), "10126");
    let said = "the upstream rejected the gateway's username or password (10126)";
    assert!(failed.message.contains(said), "{}", failed.message);
}

/// Logs in with the new password alone.
pub(super) fn wants_new_password(upstream: &Double) {
    let words = "BadCredential Exception: Username or Password not valid";
    let refusal = double::json(result_with("10126", "1", words));
    let right = double::json(tokens("access-1-of-the-kit", "refresh-1-of-the-kit"));
    let by = double::by(move |seen| {
        let body = String::from_utf8_lossy(&seen.body);
        if body.contains(NEW_PASSWORD) { right.clone() } else { refusal.clone() }
    });
    upstream.always(LOGIN, by).always(GET, found());
}

#[tokio::test]
async fn one_refused_login_is_enough_for_all_replicas_and_what_starts_after() {
    let (redis, upstream) = (Redis::start().await, double().await);
    wants_new_password(&upstream);
    let with = |lines: &str| replica(&redis).backend("sft", &upstream.base_url, lines);
    let mut all = three(|| with(LOGIN_LINES)).await;
    let calls = all.iter().flat_map(|gateway| (0..5).map(|_| gateway.get("SP_1")));
    for result in join_all(calls).await {
        is_refused(&failure(result));
    }
    assert_eq!((upstream.count(LOGIN), upstream.seen().len()), (1, 1));
    for gateway in &all {
        let failed = failure(gateway.get("SP_1").await);
        is_refused(&failed);
        assert!(failed.message.contains("not retried for 4m"), "{}", failed.message);
        assert_eq!(gateway.status("sft").await.circuit_state(), CircuitState::Open);
    }
    all.pop().unwrap().stop().await;
    let again = with(LOGIN_LINES).start().await;
    is_refused(&failure(again.get("SP_1").await));
    assert_eq!(upstream.count(LOGIN), 1, "a restart tries nothing");
    let new = with(&LOGIN_LINES.replace(PASSWORD, NEW_PASSWORD)).start().await;
    new.get("SP_1").await.unwrap();
    assert_eq!(upstream.count(LOGIN), 2, "other credentials are tried at once");
    is_refused(&failure(all[0].get("SP_1").await));
    assert_eq!(upstream.count(LOGIN), 2, "which says nothing of the first ones");
    // An operator ends it for all.
    assert_eq!(all[0].post_admin("/backends/sft/end-pause").await, 200);
    is_refused(&failure(again.get("SP_1").await));
    is_refused(&failure(all[0].get("SP_1").await));
    is_refused(&failure(all[1].get("SP_1").await));
    assert_eq!(upstream.count(LOGIN), 3, "one tries, and that is true for all");
}

#[tokio::test]
async fn two_wrong_passwords_are_each_tried_once_for_a_pause() {
    let (redis, upstream) = (Redis::start().await, double().await);
    wants_new_password(&upstream);
    let with = |password| {
        let lines = LOGIN_LINES.replace(PASSWORD, password);
        replica(&redis).backend("sft", &upstream.base_url, &lines)
    };
    let all = [with(PASSWORD), with("a-mistyped-password"), with(PASSWORD)];
    let all = join_all(all.map(Builder::start)).await;
    join_all(all.iter().map(agrees)).await;
    let all_are_refused = async || {
        for gateway in all.iter().cycle().take(4 * all.len()) {
            is_refused(&failure(gateway.get("SP_1").await));
        }
    };
    all_are_refused().await;
    assert_eq!(upstream.count(LOGIN), 2, "one for each password");
    // An operator ends that of one of them.
    assert_eq!(all[0].post_admin("/backends/sft/end-pause").await, 200);
    until("the other one with that password knows", async || {
        all[2].status("sft").await.circuit_state() != CircuitState::Open
    })
    .await;
    assert_eq!(all[1].status("sft").await.circuit_state(), CircuitState::Open);
    all_are_refused().await;
    assert_eq!(upstream.count(LOGIN), 3, "one for that password");
}

#[tokio::test]
async fn replicas_that_start_log_in_one_after_another() {
    let (redis, upstream) = (Redis::start().await, double().await);
    wants_new_password(&upstream);
    let lines = LOGIN_LINES.replace(PASSWORD, NEW_PASSWORD);
    let all = three(|| replica(&redis).backend("sft", &upstream.base_url, &lines)).await;
    assert_eq!(reads(&all, 10).await, 0);
    assert_eq!(upstream.count(LOGIN), 3, "each has tokens of its own");
}

#[tokio::test]
async fn fixed_credentials_that_one_replica_was_refused_with_are_not_tried_by_others() {
    let redis = Redis::start().await;
    for vendor in vendors().into_iter().filter(|vendor| vendor.dialect == "pcc") {
        let upstream = double().await;
        upstream.always(OTHER, double::http(401, "application/json", "{}"));
        let all = three(|| vendor.on(replica(&redis), &upstream.base_url, "")).await;
        for gateway in all.iter().chain(&all) {
            let failed = failure(gateway.get(vendor.id).await);
            assert!(failed.is(Code::Internal, "UPSTREAM_AUTH_FAILED"), "{failed:#?}");
        }
        assert_eq!(upstream.seen().len(), 1);
        upstream.always(OTHER, vendor.found.clone());
        assert_eq!(all[1].post_admin("/backends/sft/end-pause").await, 200);
        for gateway in &all {
            gateway.get(vendor.id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn all_replicas_together_keep_within_the_rate() {
    let (redis, upstream) = (Redis::start().await, double().await);
    let times = timed(&upstream);
    let lines = "requests_per_second = 40";
    let all = three(|| replica(&redis).fixed("sft", &upstream.base_url, lines)).await;
    assert_eq!(reads(&all, 50).await, 0);
    let per_second = with_parts(&all, 40.0).await;
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 150);
    keeps_within(&times, per_second, 20.0);
}

#[tokio::test]
async fn all_replicas_together_keep_within_a_window() {
    let (redis, upstream) = (Redis::start().await, double().await);
    let times = timed(&upstream);
    let lines = "request_limit = \"60/1h\"";
    let all = three(|| replica(&redis).fixed("sft", &upstream.base_url, lines)).await;
    let failed = reads(&all, 40).await;
    // A fifth is kept for what ends a write.
    assert_eq!(times.lock().unwrap().len() + failed, 120);
    for gateway in &all {
        until("there is no room", async || gateway.get("SP_1").await.is_err()).await;
    }
    let most = with_parts(&all, 48.0).await;
    let sent = times.lock().unwrap().len() as f64;
    // The part of one that is alone is small.
    let least = if most > 48.0 { 1.0 } else { 48.0 };
    assert!((least..=most).contains(&sent), "{sent}, and not {least} to {most}");
    let left = 60.0 - sent;
    for gateway in &all {
        let refused = failure(gateway.get("SP_1").await);
        assert!(refused.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{refused:#?}");
        let wait = refused.retry.unwrap().as_secs();
        assert!((3500..=3661).contains(&wait), "{wait}");
    }
    let requests = "window=\"requests\"";
    until("each shows what all have used", async || {
        let shown = all.iter().map(|gateway| gateway.metric("upstream_window_remaining", requests));
        join_all(shown).await.iter().all(|shown| *shown <= left)
    })
    .await;
}

/// Waits until a replica knows that its account pauses.
pub(super) async fn knows_of_a_pause(gateway: &Gateway) {
    until("it has heard of the pause", async || {
        gateway.metric("upstream_pause_remaining_seconds", "").await > 0.0
    })
    .await;
}

#[tokio::test]
async fn a_429_pauses_all_replicas_until_an_operator_ends_it() {
    let (redis, upstream) = (Redis::start().await, double().await);
    let lines = "max_pause = \"1h\"\nmax_attempts = 1";
    let make = || replica(&redis).fixed("sft", &upstream.base_url, lines);
    let mut all = three(make).await;
    upstream.then(GET, come_back(429, 3000)).always(GET, found());
    let is_paused = async |gateway: &Gateway| {
        let failed = failure(gateway.get("SP_1").await);
        assert!(failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{failed:#?}");
        let wait = failed.retry.unwrap().as_secs();
        assert!((2900..=3001).contains(&wait), "{wait}");
    };
    is_paused(&all[0]).await;
    for gateway in &all {
        knows_of_a_pause(gateway).await;
        is_paused(gateway).await;
    }
    all.pop().unwrap().stop().await;
    let again = make().start().await;
    agrees(&again).await;
    knows_of_a_pause(&again).await;
    is_paused(&again).await;
    assert_eq!(upstream.seen().len(), 1, "the pause outlives the process");
    assert_eq!(all[1].post_admin("/backends/sft/end-pause").await, 200);
    for gateway in all.iter().chain([&again]) {
        until("it has ended here", async || gateway.get("SP_1").await.is_ok()).await;
    }
}

#[tokio::test]
async fn without_the_server_each_goes_on_with_its_part_and_they_agree_again_later() {
    let (redis, upstream) = (Redis::start().await, double().await);
    let times = timed(&upstream);
    let lines = "requests_per_second = 30\nrequest_limit = \"600/1h\"\nmax_attempts = 1";
    let all = three(|| replica(&redis).fixed("sft", &upstream.base_url, lines)).await;
    let lost = async |gateway: &Gateway| gateway.metric("shared_store_connected", "").await == 0.0;
    assert_eq!(reads(&all, 10).await, 0);
    redis.kill().await;
    for gateway in &all {
        until("it is alone", async || lost(gateway).await).await;
    }
    assert_eq!(reads(&all, 30).await, 0);
    let sent = times.lock().unwrap().clone();
    assert_eq!(sent.len(), 120);
    keeps_within(&sent, 30.0, 15.0);
    redis.start_again().await;
    for gateway in &all {
        until("it is back", async || !lost(gateway).await).await;
    }
    let used = "window=\"requests\"";
    until("what was sent alone is counted", async || {
        let left = all.iter().map(|gateway| gateway.metric("upstream_window_remaining", used));
        let left = join_all(left).await;
        left.iter().all(|own| *own <= 480.0 && *own == left[0])
    })
    .await;
    assert_eq!(reads(&all, 20).await, 0);
    keeps_within(&times.lock().unwrap(), 30.0, 15.0);
}

#[tokio::test]
async fn credentials_that_have_not_worked_yet_are_not_tried_at_once_without_the_server() {
    let (redis, upstream) = (Redis::start().await, double().await);
    wants_new_password(&upstream);
    let lines = LOGIN_LINES.replace(PASSWORD, NEW_PASSWORD);
    let make = || replica(&redis).backend("sft", &upstream.base_url, &lines);
    let known = make().start().await;
    known.get("SP_1").await.unwrap();
    redis.kill().await;
    known.get("SP_1").await.unwrap();
    let fresh = make().start().await;
    let failed = failure(fresh.get("SP_1").await);
    assert!(failed.is(Code::Unavailable, "STORE_UNAVAILABLE"), "{failed:#?}");
    assert!(failed.retry.is_some_and(|retry| retry <= Duration::from_secs(30)), "{failed:#?}");
    assert!(failed.message.contains("it tries them once in"), "{}", failed.message);
    assert_eq!(upstream.count(LOGIN), 1);
}
