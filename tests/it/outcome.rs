//! Single questions about outcomes: whose profile a read-back found, deadlines, callers that leave,
//! upstreams that cannot be reached, and failures without effect.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use profile_gateway::{pb::Profile, server::Drained};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tonic::Code;

use crate::kit::{
    bodies::{self, fixture, profile_with},
    double::{self, Answer, CREATE, ClosedPort, DELETE, Double, GET, LIST, MODIFY, double},
    gateway::{self, Gateway, gateway},
    model::{self, named, profile},
    sandbox::sandbox,
    status::{fails, failure},
    until,
};

/// A gateway over a double where every call has this long.
async fn within(time: &str) -> (Double, Gateway) {
    with(time, "").await
}

/// The same with these lines of its backend.
async fn with(time: &str, lines: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let server = format!("default_timeout = \"{time}\"");
    let gateway = gateway().server(&server).fixed("sft", &upstream.base_url, lines).start().await;
    (upstream, gateway)
}

fn listed(items: &[Value]) -> Answer {
    double::json(bodies::profiles(items))
}

fn renamed() -> Profile {
    Profile { display_name: "new".into(), ..named("SP_1") }
}

#[tokio::test]
async fn a_lost_create_claims_only_what_is_certainly_its_own() {
    let old = bodies::profile("SP_7", "same");
    let ours = bodies::profile("SP_8", "same");
    let foreign = profile_with("SP_9", "same", json!({"serviceName": "MT-SMS"}));
    let mut forbidden = bodies::result("401");
    forbidden["Response"]["resultParam"]["resultDescription"] = json!("Authorisation Failure");
    for (what, before, after, found) in [
        ("the name was taken", listed(std::slice::from_ref(&old)), vec![old.clone()], None),
        (
            "the name was taken by another",
            listed(std::slice::from_ref(&old)),
            vec![old.clone(), ours.clone()],
            Some("SP_8"),
        ),
        ("another one of that name", listed(&[]), vec![foreign.clone()], None),
        ("both at once", listed(&[]), vec![foreign, ours.clone()], Some("SP_8")),
        ("what was there is not known", double::json(forbidden), vec![ours], None),
    ] {
        let (upstream, gateway) = within(if found.is_some() { "20s" } else { "1500ms" }).await;
        upstream.then(LIST, before).then(CREATE, Answer::Close).always(LIST, listed(&after));
        let result = gateway.create(profile("same")).await;
        match found {
            Some(id) => assert_eq!(result.unwrap().name, model::name(id), "{what}"),
            None => {
                let failed = failure(result);
                assert!(failed.is(Code::Unknown, "WRITE_OUTCOME_UNKNOWN"), "{what}: {failed:#?}");
            }
        }
        assert_eq!(upstream.count(CREATE), 1, "{what}");
    }
}

#[tokio::test]
async fn a_list_that_fails_stops_a_creation_before_it_is_sent() {
    for (answer, reason) in [
        (double::http(500, "text/html", "x"), "UPSTREAM_INTERNAL"),
        (double::http(200, "text/html", "<html>"), "UPSTREAM_CONTRACT_VIOLATION"),
    ] {
        let (upstream, gateway) = within("20s").await;
        upstream.always(LIST, answer).always(CREATE, double::json(bodies::created("SP_5")));
        fails(gateway.create(profile("same")).await, Code::Internal, reason);
        assert_eq!(upstream.writes(), 0, "{reason}");
    }
}

#[tokio::test]
async fn a_lost_update_that_shows_in_part_is_not_done() {
    let (upstream, gateway) = within("1500ms").await;
    let both = Profile { state: 2, ..renamed() };
    let half = profile_with("SP_1", "new", json!({"status": "1"}));
    upstream
        .then(GET, listed(&[bodies::profile("SP_1", "one")]))
        .then(MODIFY, Answer::Close)
        .always(GET, listed(&[half]));
    fails(gateway.update(both).await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    assert_eq!(upstream.count(MODIFY), 1);
}

#[tokio::test]
async fn reading_back_goes_on_through_failures() {
    let (upstream, gateway) = within("20s").await;
    upstream
        .then(GET, listed(&[bodies::profile("SP_1", "one")]))
        .then(MODIFY, Answer::Reset(Vec::new()))
        .then(GET, double::http(503, "text/html", "x"))
        .then(GET, Answer::Close)
        .then(GET, double::http(200, "text/html", "<html>"))
        .always(GET, listed(&[bodies::profile("SP_1", "new")]));
    assert_eq!(gateway.update(renamed()).await.unwrap().display_name, "new");
    assert_eq!((upstream.count(MODIFY), upstream.count(GET)), (1, 5));
}

#[tokio::test]
async fn a_completed_write_succeeds_although_reading_it_fails() {
    let (upstream, gateway) = within("20s").await;
    upstream
        .always(LIST, listed(&[]))
        .then(GET, listed(&[bodies::profile("SP_1", "one")]))
        .always(GET, double::http(500, "text/html", "x"))
        .then(MODIFY, double::json(fixture("modify-base-plan")))
        .then(CREATE, double::json(bodies::created("SP_5")));
    assert_eq!(gateway.update(renamed()).await.unwrap().display_name, "new");
    let created = gateway.create(profile("five")).await.unwrap();
    assert_eq!((created.name, created.display_name.as_str()), (model::name("SP_5"), "five"));
    assert_eq!(upstream.writes(), 2);
}

#[tokio::test]
async fn a_deadline_that_ends_a_read_is_reported_as_such() {
    let (upstream, gateway) = within("1s").await;
    upstream.always(GET, Answer::Stall).always(LIST, Answer::Stall);
    fails(gateway.get("SP_1").await, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    fails(gateway.list().await, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let caller = gateway::fixed(&upstream.base_url).await;
    let request = gateway::timed(model::get("SP_1"), Some(Duration::from_secs(1)));
    let failed = caller.profiles.clone().get_profile(request).await;
    fails(failed, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn a_deadline_before_a_write_is_sent_is_reported_as_such() {
    let (upstream, gateway) = within("2s").await;
    upstream.always(GET, Answer::Stall).always(LIST, Answer::Stall);
    let updated = gateway.update(renamed()).await;
    fails(updated, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let created = gateway.create(profile("new")).await;
    fails(created, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    assert_eq!(upstream.writes(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_a_write() {
    let (upstream, gateway) = within("60s").await;
    let gate = Arc::new(Semaphore::new(0));
    let gated = |answer| Answer::Gated(Arc::clone(&gate), Box::new(answer));
    upstream
        .always(LIST, listed(&[]))
        .then(CREATE, gated(double::json(bodies::created("SP_5"))))
        .then(DELETE, gated(Answer::Close))
        .always(
            GET,
            double::by(|seen| match seen.id() {
                "SP_5" => listed(&[bodies::profile("SP_5", "five")]),
                _ => double::json(fixture("get-failure-no-data-available")),
            }),
        );
    let gateway = Arc::new(gateway);
    let caller = |gateway: &Arc<Gateway>, id: Option<&'static str>| {
        let gateway = Arc::clone(gateway);
        tokio::spawn(async move {
            match id {
                Some(id) => gateway.delete(id).await,
                None => gateway.create(profile("five")).await.map(drop),
            }
        })
    };
    let callers = [caller(&gateway, None), caller(&gateway, Some("SP_6"))];
    until("both writes have left", async || upstream.writes() == 2).await;
    callers.iter().for_each(|caller| caller.abort());
    for caller in callers {
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    until("both calls are over", async || {
        let metrics = gateway.admin("/metrics").await;
        metrics.lines().any(|line| line == "profile_gateway_calls_in_flight 0")
    })
    .await;
    gate.add_permits(2);
    // What follows an answer: the create is read, the lost delete is looked for.
    for id in ["SP_5", "SP_6"] {
        until(id, async || upstream.requests(GET).iter().any(|seen| seen.id() == id)).await;
    }
    assert_eq!(upstream.writes(), 2);
    let gateway = Arc::into_inner(gateway).unwrap();
    assert_eq!(gateway.stop().await, Drained::Clean);
}

#[tokio::test]
async fn a_shutdown_waits_for_a_write_whose_caller_has_left() {
    let (upstream, gateway) = within("60s").await;
    let gate = Arc::new(Semaphore::new(0));
    let answer = double::json(fixture("delete-success"));
    upstream.then(DELETE, Answer::Gated(Arc::clone(&gate), Box::new(answer)));
    let mut client = gateway.profiles.clone();
    let request = profile_gateway::pb::DeleteProfileRequest {
        name: model::name("SP_1"),
        ..Default::default()
    };
    let caller = tokio::spawn(async move { client.delete_profile(request).await });
    until("the write has left", async || upstream.writes() == 1).await;
    caller.abort();
    let address = gateway.address;
    let end = tokio::spawn(gateway.stop());
    let refused = async || tokio::net::TcpStream::connect(address).await.is_err();
    until("it takes no more connections", refused).await;
    assert!(!end.is_finished());
    gate.add_permits(1);
    assert_eq!(end.await.unwrap(), Drained::Clean);
}

#[tokio::test]
async fn a_host_name_without_an_address_is_named_as_the_cause() {
    let gateway = gateway::fixed("https://nowhere.invalid:9").await;
    for failed in [failure(gateway.get("SP_1").await), failure(gateway.delete("SP_1").await)] {
        assert!(failed.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{failed:#?}");
        let why = ": its name does not resolve; check base_url";
        assert!(failed.message.contains(why), "{failed:#?}");
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_has_done_nothing() {
    let closed = ClosedPort::new();
    for gateway in
        [gateway::fixed(&closed.base_url()).await, gateway::login(&closed.base_url()).await]
    {
        for failed in [
            failure(gateway.get("SP_1").await),
            failure(gateway.list().await),
            failure(gateway.create(profile("x")).await),
            failure(gateway.update(renamed()).await),
            failure(gateway.delete("SP_1").await),
        ] {
            assert!(failed.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{failed:#?}");
            assert!(failed.retry.is_some(), "{failed:#?}");
            assert!(failed.metadata.contains_key("backend"), "{failed:#?}");
        }
    }
}

#[tokio::test]
async fn reads_that_fail_say_how() {
    // Each failure as it is: asked once, however many came before. The pause that the 429 asks for
    // ends after the deadline.
    let (upstream, gateway) = with("5s", "max_attempts = 1\ncircuit_breaker = \"off\"").await;
    const DOWN: (Code, &str, bool) = (Code::Unavailable, "UPSTREAM_UNAVAILABLE", true);
    let status = |status| double::http(status, "text/html", "<html>x</html>");
    let headers = [("retry-after", "7"), ("content-type", "text/html")];
    let headers = headers.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    let throttled = Answer::Http { status: 429, headers, body: b"x".to_vec() };
    for (what, answer, (code, reason, retry)) in [
        ("closed", Answer::Close, DOWN),
        ("reset", Answer::Reset(Vec::new()), DOWN),
        (
            "reset in the answer",
            Answer::Reset(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()),
            DOWN,
        ),
        ("502", status(502), DOWN),
        ("503", status(503), DOWN),
        ("504", status(504), DOWN),
        ("500", status(500), (Code::Internal, "UPSTREAM_INTERNAL", false)),
        ("429", throttled, (Code::ResourceExhausted, "UPSTREAM_THROTTLED", true)),
    ] {
        upstream.always(GET, answer.clone()).always(LIST, answer);
        for failed in [failure(gateway.get("SP_1").await), failure(gateway.list().await)] {
            assert!(failed.is(code, reason), "{what}: {failed:#?}");
            assert_eq!(failed.retry.is_some(), retry, "{what}: {failed:#?}");
            let asked = if what == "429" { Some(Duration::from_secs(7)) } else { failed.retry };
            assert_eq!(failed.retry, asked);
        }
    }
}

#[tokio::test]
async fn a_write_is_read_back_when_the_upstream_exceeds_its_own_timeout() {
    let upstream = double().await;
    let builder = gateway().fixed("sft", &upstream.base_url, "request_timeout = \"500ms\"");
    let gateway = builder.start().await;
    upstream.always(GET, Answer::Stall);
    let failed = fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert!(failed.retry.is_some());
    upstream
        .then(DELETE, Answer::Stall)
        .always(GET, double::json(fixture("get-failure-no-data-available")));
    gateway.delete("SP_1").await.unwrap();
    assert_eq!(upstream.count(DELETE), 1);
}

/// The status, the reason, the upstream's code, and after how many seconds to try again.
type Told = (Code, &'static str, &'static str, Option<u64>);

const LOST: Told = (Code::Unknown, "WRITE_OUTCOME_UNKNOWN", "", None);
const TIMED_OUT: Told = (Code::Unknown, "WRITE_OUTCOME_UNKNOWN", "10240", None);
const LATE: Told = (Code::DeadlineExceeded, "WRITE_OUTCOME_UNKNOWN", "", None);
const FAILED: Told = (Code::Unknown, "UPSTREAM_FAILURE", "10239", None);
const ODD: Told = (Code::Unknown, "UPSTREAM_FAILURE", "7777", None);
const THROTTLED: Told = (Code::ResourceExhausted, "UPSTREAM_THROTTLED", "", Some(7));

/// What a caller is told of a write without effect: the fault, the deadline, the answer. `matrix`
/// has the same faults with effect.
const WITHOUT_EFFECT: [(&str, &str, Told); 14] = [
    (r#"{"kind":"result","code":"10240"}"#, "5s", TIMED_OUT),
    (r#"{"kind":"reset"}"#, "5s", LOST),
    (r#"{"kind":"drop"}"#, "5s", LOST),
    (r#"{"kind":"html"}"#, "5s", LOST),
    (r#"{"kind":"empty"}"#, "5s", LOST),
    (r#"{"kind":"body","body":"{\"Response\":{}}"}"#, "5s", LOST),
    (r#"{"kind":"status","status":500}"#, "5s", LOST),
    (r#"{"kind":"status","status":502}"#, "5s", LOST),
    (r#"{"kind":"status","status":503,"retry_after_seconds":1}"#, "5s", LOST),
    (r#"{"kind":"status","status":504}"#, "5s", LOST),
    (r#"{"kind":"hang"}"#, "2s", LATE),
    (r#"{"kind":"result","code":"10239"}"#, "20s", FAILED),
    (r#"{"kind":"result","code":"7777"}"#, "20s", ODD),
    (r#"{"kind":"status","status":429,"retry_after_seconds":7}"#, "20s", THROTTLED),
];

#[tokio::test]
async fn a_write_without_effect_fails_as_its_answer_allows() {
    let operations = ["CreateServiceProfile", "ModifyServiceProfile", "DeleteServiceProfile"];
    let cells = operations.iter().flat_map(|write| WITHOUT_EFFECT.map(|row| (*write, row)));
    let cells = cells.map(async |(operation, (fault, time, told))| {
        let (code, reason, upstream_code, retry) = told;
        let what = format!("{operation} {fault}");
        let sandbox = sandbox().await;
        let gateway = gateway::within(time, &sandbox).await;
        sandbox.arm(operation, serde_json::from_str(fault).unwrap()).await;
        let renamed = Profile { display_name: "Renamed".into(), ..named("SP_352") };
        let failed = match operation {
            "CreateServiceProfile" => failure(gateway.create(profile("Created")).await),
            "ModifyServiceProfile" => failure(gateway.update(renamed).await),
            _ => failure(gateway.delete("SP_352").await),
        };
        assert!(failed.is(code, reason), "{what}: {failed:#?}");
        assert_eq!(failed.meta("upstream_code"), upstream_code, "{what}");
        assert_eq!(failed.retry.map(|retry| retry.as_secs()), retry, "{what}: {failed:#?}");
        assert_eq!(sandbox.arrived(operation).await, 1, "{what}: sent once");
        assert_eq!(sandbox.effects().await.len(), 0, "{what}");
    });
    join_all(cells).await;
}
