//! What is sent again and what never is, how often, and what each timeout ends.

use std::time::Duration;

use futures_util::future::join_all;
use profile_gateway::pb::Profile;
use serde_json::json;
use tonic::Code;

use crate::kit::{
    bodies::{self, fixture},
    double::{
        self, Answer, CREATE, ClosedPort, DELETE, Double, GET, LIST, LOGIN, MODIFY, come_back,
        double, double_on,
    },
    gateway::{self, Gateway, gateway},
    later,
    model::{named, profile},
    sandbox::sandbox,
    status::{fails, failure},
    until,
    vendors::vendors,
};

fn found() -> Answer {
    double::json(bodies::profiles(&[bodies::profile("SP_1", "one")]))
}

fn page(status: u16) -> Answer {
    double::http(status, "text/html", "<html>x</html>")
}

/// An answer whose length is declared and does not come.
fn cut() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"Resp"
        .to_vec()
}

/// Failures that say nothing of what was asked.
fn passing() -> Vec<(&'static str, Answer)> {
    vec![
        ("closed", Answer::Close),
        ("reset", Answer::Reset(Vec::new())),
        ("reset in the answer", Answer::Reset(cut())),
        ("cut", Answer::Raw(cut())),
        ("408", page(408)),
        ("499", page(499)),
        ("502", page(502)),
        ("503", page(503)),
        ("504", page(504)),
        ("524", page(524)),
    ]
}

async fn start(server: &str, lines: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let builder = gateway().server(server).fixed("sft", &upstream.base_url, lines);
    let gateway = builder.start().await;
    (upstream, gateway)
}

#[tokio::test]
async fn a_read_is_retried_after_one_failure() {
    for (what, answer) in passing() {
        let (upstream, gateway) = start("", "").await;
        upstream.then(GET, answer).always(GET, found());
        let profile = gateway.get("SP_1").await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert_eq!(profile.display_name, "one", "{what}");
        assert_eq!(upstream.count(GET), 2, "{what}");
        assert_eq!(gateway.metric("upstream_retries_total", "sft").await, 1.0, "{what}");
    }
    // A login before it too.
    let upstream = double().await;
    let gateway = gateway::login(&upstream.base_url).await;
    let tokens = double::json(bodies::tokens("access-of-the-kit", "refresh-of-the-kit"));
    upstream.then(LOGIN, Answer::Close).always(LOGIN, tokens).always(GET, found());
    gateway.get("SP_1").await.unwrap();
    assert_eq!((upstream.count(LOGIN), upstream.count(GET)), (2, 1));
}

#[tokio::test]
async fn a_read_that_a_front_end_gave_up_is_retried_in_all_dialects() {
    for vendor in vendors() {
        for status in [408, 425, 499, 502, 503, 504, 520, 524, 599] {
            let what = format!("{}, {status}", vendor.dialect);
            let upstream = double().await;
            let served = vendor.on(gateway(), &upstream.base_url, "").start().await;
            let body = double::http(status, "application/json", r#"{"message": "timeout"}"#);
            upstream.then(vendor.get, body).always(vendor.get, vendor.found.clone());
            served.get(vendor.id).await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
            assert_eq!(upstream.seen().len(), 2, "{what}");

            let upstream = double().await;
            let served = vendor.on(gateway(), &upstream.base_url, "").start().await;
            upstream.always(vendor.get, page(status));
            let failed = failure(served.get(vendor.id).await);
            assert!(failed.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{what}: {failed:#?}");
            assert!(failed.retry.is_some() && upstream.seen().len() == 3, "{what}");
        }
    }
}

#[tokio::test]
async fn a_read_is_tried_no_more_often_than_configured() {
    for (lines, times) in [("max_attempts = 1", 1), ("", 3), ("max_attempts = 5", 5)] {
        let (upstream, gateway) = start("", lines).await;
        upstream.always(GET, Answer::Close);
        fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert_eq!(upstream.count(GET), times, "{lines:?}");
    }
}

#[tokio::test]
async fn a_definite_answer_is_not_asked_for_again() {
    for (what, answer) in [
        ("500", page(500)),
        ("501", page(501)),
        ("400", page(400)),
        ("401", page(401)),
        ("403", page(403)),
        ("404", page(404)),
        ("a page", page(200)),
        ("nothing", double::http(200, "application/json", "")),
        ("no data", double::json(fixture("get-failure-no-data-available"))),
        ("a failure", double::json(fixture("get-failure"))),
        ("a timeout of its own", double::json(bodies::result("10240"))),
    ] {
        let (upstream, gateway) = start("", "").await;
        upstream.always(GET, answer);
        failure(gateway.get("SP_1").await);
        assert_eq!(upstream.count(GET), 1, "{what}");
    }
}

#[tokio::test]
async fn a_write_that_may_have_left_is_sent_once() {
    let more = [
        ("429", page(429)),
        ("500", page(500)),
        ("a page", page(200)),
        ("nothing", double::http(200, "application/json", "")),
        ("no envelope", double::json(json!({"Response": {}}))),
        ("not UTF-8", double::http(200, "application/json", [b'"', 0xff, b'"'])),
        ("10239", double::json(bodies::result("10239"))),
        ("a timeout of its own", double::json(bodies::result("10240"))),
        ("an unknown code", double::json(bodies::result("7777"))),
        ("silence", Answer::Stall),
    ];
    let cases = passing().into_iter().chain(more).flat_map(|(what, answer)| {
        [CREATE, MODIFY, DELETE]
            .map(|operation| (format!("{operation}, {what}"), operation, answer.clone()))
    });
    let tried = cases.map(async |(what, operation, answer)| {
        let (upstream, gateway) = start("default_timeout = \"1500ms\"", "").await;
        upstream.always(operation, answer).always(GET, found());
        upstream.always(LIST, double::json(bodies::profiles(&[])));
        let renamed = Profile { display_name: "new".into(), ..named("SP_1") };
        let failed = match operation {
            CREATE => failure(gateway.create(profile("new")).await),
            MODIFY => failure(gateway.update(renamed).await),
            _ => failure(gateway.delete("SP_1").await),
        };
        assert_eq!(upstream.count(operation), 1, "{what}: {failed:#?}");
    });
    join_all(tried).await;
}

#[tokio::test]
async fn a_write_that_found_no_connection_is_retried() {
    let closed = ClosedPort::new();
    let builder = gateway().fixed("sft", &closed.base_url(), "max_attempts = 10");
    let gateway = builder.start().await;
    let caller = async { gateway.delete("SP_1").await };
    let listener = async {
        let tried = async || gateway.metric("upstream_retries_total", "sft").await >= 1.0;
        until("a first retry", tried).await;
        let upstream = double_on(closed.listen());
        upstream.always(DELETE, double::json(fixture("delete-success")));
        upstream
    };
    let (deleted, upstream) = tokio::join!(caller, listener);
    deleted.unwrap();
    assert_eq!(upstream.count(DELETE), 1);
}

#[tokio::test]
async fn retries_stay_within_their_budget() {
    const CALLS: usize = 200;
    let (upstream, gateway) = start("", "circuit_breaker = \"off\"").await;
    upstream.always(GET, page(503));
    for _ in 0..CALLS / 20 {
        for result in join_all((0..20).map(|_| gateway.get("SP_1"))).await {
            fails(result, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        }
    }
    let sent = gateway.metric("upstream_requests_total", "sft").await;
    let retried = gateway.metric("upstream_retries_total", "sft").await;
    let over = gateway.metric("upstream_retries_over_budget_total", "sft").await;
    let calls = f64::from(u32::try_from(CALLS).unwrap());
    assert!(sent <= 1.1 * calls && retried > 0.0 && over > 0.0, "{sent}: {retried}, {over}");
    assert_eq!(sent, calls + retried);
    assert_eq!(upstream.count(GET), CALLS + retried as usize);
}

// Regression: the rest of a minute was dropped, so that tries at the wrong times earned less.
#[tokio::test]
async fn the_budget_refills_by_the_minute_whenever_it_is_used() {
    let lines = "circuit_breaker = \"off\"\nmax_attempts = 2";
    let (upstream, gateway) = start("", lines).await;
    upstream.always(GET, page(503));
    let retried = async || {
        for result in join_all((0..8).map(|_| gateway.get("SP_1"))).await {
            fails(result, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        }
        gateway.metric("upstream_retries_total", "sft").await
    };
    assert_eq!(retried().await, 5.0);
    // One retry has been earned, and more than half of another.
    later(Duration::from_secs(100)).await;
    assert_eq!(retried().await, 6.0);
    later(Duration::from_secs(100)).await;
    assert_eq!(retried().await, 8.0, "three minutes are over");
}

// How long it waits shows in what the deadline leaves time for.
#[tokio::test]
async fn a_retry_after_beyond_the_deadline_ends_the_call_and_one_before_it_is_waited_for() {
    for status in [429, 503] {
        let (upstream, gateway) = start("default_timeout = \"900ms\"", "").await;
        upstream.then(GET, come_back(status, 1)).always(GET, found());
        let failed = failure(gateway.get("SP_1").await);
        assert_eq!(failed.retry.map(|retry| retry.as_secs()), Some(1), "{status}: {failed:#?}");
        assert_eq!(upstream.count(GET), 1, "{status}");

        let (upstream, gateway) = start("default_timeout = \"20s\"", "").await;
        upstream.then(GET, come_back(status, 1)).always(GET, found());
        gateway.get("SP_1").await.unwrap();
        assert_eq!(upstream.count(GET), 2, "{status}");
    }
}

#[tokio::test]
async fn each_part_of_an_answer_has_its_own_time() {
    for (what, lines, fault) in [
        ("did not start answering", "header_timeout = \"150ms\"", json!({"kind": "hang"})),
        (
            "sent no more of its answer to",
            "body_timeout = \"150ms\"",
            json!({"kind": "trickle", "chunk": 10, "pause_ms": 5000}),
        ),
        (
            "did not finish answering",
            "request_timeout = \"500ms\"",
            json!({"kind": "trickle", "chunk": 1, "pause_ms": 20}),
        ),
    ] {
        let sandbox = sandbox().await;
        let lines = format!("{}{lines}", sandbox.credentials());
        let gateway = gateway().backend("sft", &sandbox.base_url(), &lines).start().await;
        // With a token in hand only the read itself meets the fault.
        gateway.get("SP_2").await.unwrap();
        sandbox.arm("GetServiceProfile", fault).await;
        let failed = fails(gateway.get("SP_2").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(failed.message.contains(what), "{failed:#?}");
        // Who is slow is not asked twice.
        assert_eq!(sandbox.arrived("GetServiceProfile").await, 2, "{what}");
    }
}

#[tokio::test]
async fn a_write_without_headers_in_time_is_read_back() {
    let lines = "header_timeout = \"300ms\"\ncircuit_failures = 1";
    let (upstream, gateway) = start("default_timeout = \"5s\"", lines).await;
    upstream
        .then(DELETE, Answer::Stall)
        .always(GET, double::json(fixture("get-failure-no-data-available")));
    gateway.delete("SP_1").await.unwrap();
    assert_eq!(upstream.count(DELETE), 1);
    // It was the upstream's time that ended it, not the caller's, which would say nothing of it.
    assert_eq!(gateway.metric("upstream_circuit_transitions_total", "to=\"open\"").await, 1.0);
}
