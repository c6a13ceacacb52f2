//! Circuits that operators force open or closed.

use std::time::Duration;

use profile_gateway::pb::{CircuitState, LeverKind, Profile};
use tempfile::TempDir;
use tonic::Code;

use super::{counted, end, in_force, operated, set, shown};
use crate::{
    caching::reads::{called, one},
    kit::{
        bodies,
        double::{self, Answer, Double, GET, MODIFY, double},
        gateway::Gateway,
        later,
        model::{self, named},
        status::{fails, failure},
        until,
    },
};

const OPEN: &str = "/backends/sft/circuit/open";
const CLOSED: &str = "/backends/sft/circuit/closed";

fn broken() -> Answer {
    double::http(500, "text/html", "<html>x</html>")
}

async fn start(lines: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let gateway = operated().fixed("sft", &upstream.base_url, lines).start().await;
    upstream.always(GET, called("one"));
    (upstream, gateway)
}

async fn circuit(gateway: &Gateway) -> CircuitState {
    gateway.status("sft").await.circuit_state()
}

#[tokio::test]
async fn forced_open_it_sends_nothing_and_reads_get_what_is_cached() {
    let cache = "[backends.sft.cache]\nttl = \"0s\"\nstale_while_revalidate = \"0s\"\n\
                 stale_if_error = \"1h\"";
    let (upstream, gateway) = start(cache).await;
    assert_eq!(one(&gateway).await.cache, "miss");
    let sent = upstream.seen().len();
    set(&gateway, &format!("{OPEN}?for=30m&note=vendor+asked")).await;
    assert_eq!(circuit(&gateway).await, CircuitState::Open);
    assert_eq!(shown(&gateway, "sft").await, [LeverKind::CircuitOpen]);
    assert!(
        !gateway.serving("backends/sft").await && counted(&gateway, "circuit_open", "sft").await
    );
    until("it is stale", async || one(&gateway).await.told() == ("one".to_owned(), "stale")).await;
    for failed in [
        failure(gateway.get("SP_1").await),
        failure(gateway.list().await),
        failure(gateway.delete("SP_1").await),
        failure(gateway.update(Profile { display_name: "two".into(), ..named("SP_1") }).await),
    ] {
        assert!(failed.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{failed:#?}");
        assert!(failed.message.contains("an operator has forced"), "{failed:#?}");
        assert!(failed.message.contains("(vendor asked)"), "{failed:#?}");
        assert_eq!(failed.meta("circuit"), "open");
        assert!(failed.meta("until").ends_with('Z'), "{failed:#?}");
        assert!((1..=1800).contains(&failed.retry.unwrap().as_secs()), "{failed:#?}");
    }
    assert_eq!(upstream.seen().len(), sent, "nothing was sent");
    assert!(gateway.status("sft").await.last_error.is_none());

    let ended = end(&gateway, OPEN).await;
    assert_eq!(ended["ended"]["lever"], "circuit_open", "{ended}");
    assert_eq!(circuit(&gateway).await, CircuitState::Closed);
    assert!(
        gateway.serving("backends/sft").await && !counted(&gateway, "circuit_open", "sft").await
    );
    gateway.get("SP_1").await.unwrap();
    assert!(end(&gateway, OPEN).await["ended"].is_null(), "it is over");
}

#[tokio::test]
async fn a_write_that_it_stops_is_not_journaled() {
    let (upstream, directory) = (double().await, TempDir::new().unwrap());
    let file = directory.path().join("audit.log");
    let builder = operated().audit(file.to_str().unwrap());
    let gateway = builder.fixed("sft", &upstream.base_url, "").start().await;
    set(&gateway, &format!("{OPEN}?for=1h")).await;
    fails(gateway.delete("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    end(&gateway, OPEN).await;
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    until("the end of the lever is written", async || lines().contains("EndLever")).await;
    assert!(!lines().contains("\"journal\""), "{}", lines());
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn forced_open_it_opens_no_trial_and_ends_by_itself() {
    let lines = "circuit_failures = 1\ncircuit_open = \"1ms\"\nmax_attempts = 1";
    let (upstream, gateway) = start(lines).await;
    upstream.always(GET, broken());
    fails(gateway.get("SP_1").await, Code::Internal, "UPSTREAM_INTERNAL");
    until("it would let a trial through", async || {
        circuit(&gateway).await == CircuitState::HalfOpen
    })
    .await;
    let sent = upstream.seen().len();
    set(&gateway, &format!("{OPEN}?for=1h")).await;
    for _ in 0..5 {
        fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
    assert_eq!(upstream.seen().len(), sent);
    upstream.always(GET, called("one"));
    later(Duration::from_secs(3601)).await;
    gateway.get("SP_1").await.unwrap();
    until("it serves", async || gateway.serving("backends/sft").await).await;
    assert_eq!((circuit(&gateway).await, in_force(&gateway).await), (CircuitState::Closed, vec![]));
}

#[tokio::test]
async fn it_opens_for_those_who_wait_for_their_turn() {
    let (upstream, gateway) = start("max_concurrent_calls = 1").await;
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    upstream.always(GET, Answer::Gated(gate.clone(), Box::new(called("one"))));
    let call = || {
        let mut client = gateway.profiles.clone();
        let request = crate::kit::gateway::fresh(model::get("SP_1"));
        tokio::spawn(async move { client.get_profile(request).await.map(drop) })
    };
    let calls = [call(), call()];
    until("one is sent", async || upstream.count(GET) == 1).await;
    set(&gateway, &format!("{OPEN}?for=1h")).await;
    gate.add_permits(10);
    // They share one answer, or one of them had to wait and is refused.
    for call in calls {
        if let Err(status) = call.await.unwrap() {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
    }
    assert_eq!(upstream.count(GET), 1);
}

/// What finds out what a write did passes, because its outcome would stay unknown without it.
#[tokio::test]
async fn a_write_that_was_sent_is_read_back_although_it_is_forced_open() {
    let (upstream, gateway) = start("max_attempts = 1").await;
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let renamed = bodies::profiles(&[bodies::profile("SP_1", "new")]);
    let lost = Answer::Gated(gate.clone(), Box::new(Answer::Close));
    upstream.then(GET, called("one")).then(MODIFY, lost).always(GET, double::json(renamed));
    let update = Profile { display_name: "new".into(), ..named("SP_1") };
    let writing = gateway.update(update);
    let forced = async {
        until("it is sent", async || upstream.count(MODIFY) == 1).await;
        set(&gateway, &format!("{OPEN}?for=1h")).await;
        gate.add_permits(1);
    };
    let (written, ()) = tokio::join!(writing, forced);
    assert_eq!(written.unwrap().display_name, "new");
    assert_eq!(upstream.count(MODIFY), 1);
    fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn forced_closed_it_does_not_open_and_goes_on_counting() {
    let lines = "circuit_failures = 3\ncircuit_min_calls = 100\ncircuit_open = \"1h\"\n\
                 circuit_max_open = \"1h\"\n\
                 max_attempts = 1\nrequests_per_second = \"off\"";
    let (upstream, gateway) = start(lines).await;
    let forced = set(&gateway, &format!("{CLOSED}?for=2h")).await;
    assert_eq!(forced["set"]["lever"], "circuit_closed");
    upstream.always(GET, broken());
    for n in 0..20 {
        let id = format!("SP_{n}");
        fails(gateway.get(&id).await, Code::Internal, "UPSTREAM_INTERNAL");
        assert_eq!(circuit(&gateway).await, CircuitState::Closed);
    }
    assert_eq!(upstream.count(GET), 20, "each was sent");
    assert_eq!(shown(&gateway, "sft").await, [LeverKind::CircuitClosed]);
    // Its own count is what it would have been.
    end(&gateway, CLOSED).await;
    assert_eq!(circuit(&gateway).await, CircuitState::Open);
    fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    // It also closes one that is open, and an answer closes it for good.
    set(&gateway, &format!("{CLOSED}?for=1h")).await;
    assert_eq!(circuit(&gateway).await, CircuitState::Closed);
    upstream.always(GET, called("one"));
    gateway.get("SP_1").await.unwrap();
    let replaced = set(&gateway, &format!("{OPEN}?for=1h")).await;
    assert_eq!(replaced["replaced"]["lever"], "circuit_closed", "{replaced}");
    assert_eq!(in_force(&gateway).await, [("circuit_open".into(), "sft".into())]);
    end(&gateway, OPEN).await;
    assert_eq!(circuit(&gateway).await, CircuitState::Closed);
}
