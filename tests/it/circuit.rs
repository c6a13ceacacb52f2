//! An upstream that keeps failing is left alone for a while, which shows everywhere; and one that
//! hangs takes only its own slots and its own queue.

mod trials;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use profile_gateway::pb::{
    CircuitState, GetProfileRequest, Profile, profile_service_client::ProfileServiceClient,
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tonic::{Code, Status, transport::Channel};

use crate::kit::{
    bodies::{self, result_with, tokens},
    double::{self, Answer, Double, GET, LOGIN, MODIFY, REFRESH, double},
    gateway::{self, Gateway, PASSWORD, fresh, gateway},
    later,
    model::{self, named},
    status::{fails, failure},
    until,
};

fn found() -> Answer {
    double::json(bodies::profiles(&[bodies::profile("SP_1", "one")]))
}

fn broken() -> Answer {
    double::http(500, "text/html", "<html>x</html>")
}

async fn start(lines: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let gateway = gateway().fixed("sft", &upstream.base_url, lines).start().await;
    (upstream, gateway)
}

async fn circuit(gateway: &Gateway) -> CircuitState {
    gateway.status("sft").await.circuit_state()
}

/// An error that it answers may be about what was asked for. No answer is not.
#[tokio::test]
async fn an_upstream_that_does_not_answer_is_left_alone_whatever_was_asked_for() {
    let lines = "circuit_failures = 4\ncircuit_min_calls = 100\nmax_attempts = 1";
    let (upstream, gateway) = start(lines).await;
    upstream.always(GET, Answer::Close);
    for _ in 0..4 {
        assert_eq!(circuit(&gateway).await, CircuitState::Closed);
        fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
    assert_eq!(circuit(&gateway).await, CircuitState::Open);
}

#[tokio::test]
async fn an_upstream_that_keeps_failing_is_left_alone_and_tried_again() {
    let (upstream, gateway) = start("circuit_failures = 3\ncircuit_open = \"60s\"").await;
    upstream.then(GET, found());
    gateway.get("SP_1").await.unwrap();
    upstream.always(GET, broken());
    for id in ["SP_1", "SP_2", "SP_3"] {
        assert_eq!(circuit(&gateway).await, CircuitState::Closed);
        fails(gateway.get(id).await, Code::Internal, "UPSTREAM_INTERNAL");
    }
    let refused = [
        failure(gateway.get("SP_1").await),
        failure(gateway.list().await),
        failure(gateway.delete("SP_1").await),
    ];
    for failed in refused {
        assert!(failed.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{failed:#?}");
        let retry = failed.retry.unwrap();
        assert!((1..=60).contains(&retry.as_secs()), "{failed:#?}");
        assert_eq!(failed.meta("circuit"), "open");
    }
    assert_eq!(upstream.seen().len(), 4, "nothing was sent");
    let status = gateway.status("sft").await;
    assert_eq!(status.circuit_state(), CircuitState::Open);
    assert_eq!(status.last_error.unwrap().reason, "UPSTREAM_INTERNAL", "what opened it");
    assert!(!gateway.serving("backends/sft").await);
    assert!(gateway.serving("").await, "the process serves");
    let ready = reqwest::get(format!("http://{}/readyz", gateway.admin)).await.unwrap();
    assert!(ready.status().is_success());
    assert_eq!(gateway.metric("upstream_circuit_state", "sft").await, 2.0);

    // Nothing calls meanwhile: time alone shows that a call may try.
    later(Duration::from_secs(61)).await;
    until("it serves again", async || gateway.serving("backends/sft").await).await;
    assert_eq!(circuit(&gateway).await, CircuitState::HalfOpen);
    upstream.always(GET, found());
    gateway.get("SP_1").await.unwrap();
    assert_eq!(circuit(&gateway).await, CircuitState::Closed);
    for to in ["open", "half_open", "closed"] {
        let changes = gateway.metric("upstream_circuit_transitions_total", to).await;
        assert!(changes >= 1.0, "{to}: {changes}");
    }
    assert_eq!(gateway.metric("upstream_circuit_state", "sft").await, 0.0);
}

#[tokio::test]
async fn a_trial_that_fails_leaves_it_open() {
    let (upstream, gateway) = start("circuit_failures = 1\ncircuit_open = \"1ms\"").await;
    upstream.always(GET, broken());
    fails(gateway.get("SP_1").await, Code::Internal, "UPSTREAM_INTERNAL");
    until("a trial", async || gateway.get("SP_1").await.is_err() && upstream.count(GET) > 1).await;
    // It may be half open again before that is noticed.
    assert!(gateway.metric("upstream_circuit_transitions_total", "sft").await >= 1.0);
    upstream.always(GET, found());
    until("it closes", async || gateway.get("SP_1").await.is_ok()).await;
}

/// One of several callers.
fn from(source: &str, gateway: &Gateway) -> ProfileServiceClient<Channel> {
    ProfileServiceClient::new(gateway.channel_from(source))
}

async fn get(client: &ProfileServiceClient<Channel>, id: &str) -> Result<(), Status> {
    client.clone().get_profile(fresh(model::get(id))).await.map(drop)
}

fn profile_of(id: &str) -> Answer {
    double::json(bodies::profiles(&[bodies::profile(id, "one")]))
}

#[tokio::test]
async fn an_id_that_always_fails_opens_no_circuit_and_several_do() {
    let lines = "requests_per_second = \"off\"\ncircuit_failures = 8\ncircuit_min_calls = 100";
    let (upstream, gateway) = start(lines).await;
    upstream.always(
        GET,
        double::by(move |seen| if seen.id() < "SP_5" { broken() } else { profile_of(seen.id()) }),
    );
    let (greedy, other) = (from("127.0.0.2", &gateway), from("127.0.0.3", &gateway));
    for _ in 0..30 {
        fails(get(&greedy, "SP_1").await, Code::Internal, "UPSTREAM_INTERNAL");
    }
    get(&other, "SP_7").await.unwrap();
    for _ in 0..10 {
        fails(get(&greedy, "SP_1").await, Code::Internal, "UPSTREAM_INTERNAL");
        fails(get(&greedy, "SP_2").await, Code::Internal, "UPSTREAM_INTERNAL");
    }
    assert_eq!(circuit(&gateway).await, CircuitState::Closed);
    for id in ["SP_1", "SP_2", "SP_3", "SP_4"].repeat(3) {
        fails(get(&greedy, id).await, Code::Internal, "UPSTREAM_INTERNAL");
    }
    assert_eq!(circuit(&gateway).await, CircuitState::Closed);
    // Several different ones of several callers say something about the upstream.
    for id in ["SP_1", "SP_2", "SP_3", "SP_4"].repeat(3) {
        let _ = (get(&greedy, id).await, get(&other, id).await);
    }
    assert_eq!(circuit(&gateway).await, CircuitState::Open);
}

#[tokio::test]
async fn a_breaker_that_is_off_lets_everything_through() {
    let (upstream, gateway) = start("circuit_breaker = \"off\"").await;
    upstream.always(GET, broken());
    for _ in 0..50 {
        fails(gateway.get("SP_1").await, Code::Internal, "UPSTREAM_INTERNAL");
    }
    assert_eq!(upstream.count(GET), 50);
}

#[tokio::test]
async fn failures_that_the_upstream_did_not_cause_do_not_open_it() {
    let upstream = double().await;
    let lines = "circuit_failures = 1\nmax_attempts = 1";
    let builder = gateway().server("default_timeout = \"300ms\"");
    let gateway = builder.fixed("sft", &upstream.base_url, lines).start().await;
    for (what, answer) in [
        ("a failure in its envelope", double::json(bodies::result("1324"))),
        ("a refusal", double::http(403, "text/html", "x")),
        ("no page of its own", double::http(404, "text/html", "x")),
        ("a page", double::http(200, "text/html", "<html>")),
        ("the caller's deadline", Answer::Stall),
        ("429", double::come_back(429, 0)),
    ] {
        upstream.always(GET, answer);
        failure(gateway.get("SP_1").await);
        assert_eq!(circuit(&gateway).await, CircuitState::Closed, "{what}");
    }
    assert_eq!(upstream.count(GET), 6, "each was sent");
}

#[tokio::test]
async fn a_lost_write_is_read_back_although_the_circuit_is_open() {
    let (upstream, gateway) = start("circuit_failures = 1\ncircuit_open = \"60s\"").await;
    let renamed = bodies::profiles(&[bodies::profile("SP_1", "new")]);
    upstream
        .then(GET, found())
        .then(MODIFY, Answer::Close)
        .then(GET, broken())
        .always(GET, double::json(renamed));
    let update = Profile { display_name: "new".into(), ..named("SP_1") };
    assert_eq!(gateway.update(update).await.unwrap().display_name, "new");
    assert_eq!((upstream.count(MODIFY), upstream.count(GET)), (1, 3));
    assert_eq!(gateway.metric("upstream_circuit_transitions_total", "to=\"open\"").await, 1.0);
    assert_eq!(circuit(&gateway).await, CircuitState::Closed, "it answers, so it is closed");
}

#[tokio::test]
async fn failed_logins_open_it_once_for_all_waiting_calls() {
    let upstream = double().await;
    let lines = format!(
        "username = \"operator\"\npassword = \"{PASSWORD}\"\nmax_attempts = 1\n\
         circuit_failures = 2\ncircuit_open = \"60s\"\n"
    );
    let gateway = gateway().backend("sft", &upstream.base_url, &lines).start().await;
    let gate = Arc::new(Semaphore::new(0));
    let page = double::http(503, "text/html", "x");
    upstream.then(LOGIN, Answer::Gated(gate.clone(), Box::new(page.clone()))).always(LOGIN, page);
    let callers = join_all((0..10).map(|_| gateway.get("SP_1")));
    let waited = async {
        until("all wait", async || gateway.metric("upstream_in_flight", "sft").await == 10.0).await;
        gate.add_permits(1);
    };
    for result in tokio::join!(callers, waited).0 {
        fails(result, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
    assert_eq!(circuit(&gateway).await, CircuitState::Closed, "one login failed, not ten");
    failure(gateway.get("SP_1").await);
    assert_eq!(circuit(&gateway).await, CircuitState::Open);
    failure(gateway.get("SP_1").await);
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn logins_whose_tokens_are_refused_pause() {
    let upstream = double().await;
    let lines = format!("username = \"operator\"\npassword = \"{PASSWORD}\"\n");
    let gateway = gateway().backend("sft", &upstream.base_url, &lines).start().await;
    let refusal = double::json(result_with("401", "1", "Authorization Failed"));
    upstream
        .always(LOGIN, double::json(tokens("access-of-the-kit", "refresh-of-the-kit")))
        .always(REFRESH, refusal.clone())
        .always(GET, refusal);
    for _ in 0..20 {
        fails(gateway.get("SP_1").await, Code::Internal, "UPSTREAM_AUTH_FAILED");
    }
    assert_eq!((upstream.count(LOGIN), upstream.count(GET)), (4, 8), "two calls, two tokens each");
    assert_eq!(circuit(&gateway).await, CircuitState::Open);
    assert!(!gateway.serving("backends/sft").await);
}

/// A call that goes on by itself.
fn call(gateway: &Gateway, backend: &str) -> JoinHandle<Result<(), Status>> {
    let mut client = gateway.profiles.clone();
    let name = format!("backends/{backend}/profiles/SP_1");
    let request = fresh(GetProfileRequest { name, read_mask: None });
    tokio::spawn(async move { client.get_profile(request).await.map(drop) })
}

async fn is_full(gateway: &Gateway, slots: f64, queued: f64) {
    until("slots and queue are taken", async || {
        gateway.metric("upstream_in_flight", "sft").await == slots
            && gateway.metric("upstream_queued", "sft").await == queued
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_turns_calls_away_at_once() {
    let (upstream, gateway) = start("max_concurrent_calls = 1\nmax_queued_calls = 1").await;
    let gate = Arc::new(Semaphore::new(0));
    upstream.always(GET, Answer::Gated(gate.clone(), Box::new(found())));
    let waiting = [call(&gateway, "sft"), call(&gateway, "sft")];
    is_full(&gateway, 1.0, 1.0).await;
    for _ in 0..5 {
        let failed = fails(gateway.get("SP_1").await, Code::Unavailable, "OVERLOADED");
        assert!(failed.retry.is_some_and(|retry| retry > Duration::ZERO), "{failed:#?}");
    }
    assert_eq!(upstream.count(GET), 1);
    assert_eq!(gateway.metric("upstream_shed_total", "why=\"queue_full\"").await, 5.0);
    gate.add_permits(2);
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    is_full(&gateway, 0.0, 0.0).await;
    assert_eq!(upstream.count(GET), 2);
}

#[tokio::test]
async fn waiting_in_the_queue_ends_at_the_deadline() {
    let upstream = double().await;
    let builder = gateway().server("default_timeout = \"500ms\"");
    let lines = "max_concurrent_calls = 1";
    let gateway = builder.fixed("sft", &upstream.base_url, lines).start().await;
    upstream.always(GET, Answer::Stall);
    let patient = gateway::timed(model::get("SP_1"), Some(Duration::from_secs(60)));
    let mut client = gateway.profiles.clone();
    let first = tokio::spawn(async move { client.get_profile(patient).await });
    is_full(&gateway, 1.0, 0.0).await;
    let second = failure(gateway.get("SP_1").await);
    assert!(second.is(Code::Unavailable, "OVERLOADED"), "{second:#?}");
    assert_eq!(gateway.metric("upstream_shed_total", "why=\"deadline\"").await, 1.0);
    assert!(!first.is_finished() && upstream.count(GET) == 1);
}

#[tokio::test]
async fn a_backend_that_hangs_does_not_keep_calls_from_another() {
    let (hanging, well) = (double().await, double().await);
    let lines = "max_concurrent_calls = 4\nmax_queued_calls = 4";
    let builder = gateway().section("[callers]\nshare_percent = 100\n");
    let builder = builder.fixed("sft", &hanging.base_url, lines);
    let gateway = builder.fixed("well", &well.base_url, lines).start().await;
    hanging.always(GET, Answer::Stall);
    well.always(GET, found());
    let stuck: Vec<_> = (0..8).map(|_| call(&gateway, "sft")).collect();
    is_full(&gateway, 4.0, 4.0).await;
    for _ in 0..20 {
        for done in join_all((0..4).map(|_| call(&gateway, "well"))).await {
            done.unwrap().unwrap();
        }
        fails(call(&gateway, "sft").await.unwrap(), Code::Unavailable, "OVERLOADED");
    }
    assert_eq!((hanging.count(GET), well.count(GET)), (4, 80));
    assert!(stuck.iter().all(|call| !call.is_finished()), "they still hang");
}
