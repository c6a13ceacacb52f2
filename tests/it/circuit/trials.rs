//! The requests that find out whether an upstream works again: one at a time, and of whom.

use std::{sync::Arc, time::Duration};

use profile_gateway::pb::{
    CircuitState, DeleteProfileRequest, profile_service_client::ProfileServiceClient,
};
use tokio::sync::Semaphore;
use tonic::{Code, Response, Status, transport::Channel};

use super::{broken, circuit, found, from, get, is_full};
use crate::kit::{
    bodies,
    double::{self, Answer, DELETE, Double, GET, double},
    gateway::{Gateway, gateway},
    later, model,
    status::fails,
};

/// An upstream that has failed for two callers, where a trial may be sent. What is written is
/// journaled to this file.
async fn after_an_outage(journal: &str) -> (Double, Gateway, [ProfileServiceClient<Channel>; 2]) {
    let upstream = double().await;
    let lines = "circuit_failures = 4\ncircuit_open = \"60s\"\ncircuit_window = \"10m\"";
    let builder = gateway().audit(journal).fixed("sft", &upstream.base_url, lines);
    let gateway = builder.start().await;
    let callers = ["127.0.0.2", "127.0.0.3"].map(|source| from(source, &gateway));
    upstream.always(GET, broken());
    for n in 0..8 {
        let _ = get(&callers[0], "SP_666").await;
        let _ = get(&callers[1], &format!("SP_{n}")).await;
    }
    assert_eq!(circuit(&gateway).await, CircuitState::Open);
    later(Duration::from_secs(61)).await;
    upstream.always(GET, double::by(|seen| if seen.id() == "SP_1" { found() } else { broken() }));
    upstream.always(DELETE, double::json(bodies::fixture("delete-success")));
    (upstream, gateway, callers)
}

async fn delete(client: &ProfileServiceClient<Channel>, id: &str) -> Result<(), Status> {
    let request = DeleteProfileRequest { name: model::name(id), ..Default::default() };
    client.clone().delete_profile(request).await.map(Response::into_inner)
}

/// The circuit refuses it.
#[track_caller]
fn refused(result: Result<(), Status>) {
    let failed = fails(result, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(failed.meta("circuit"), "open", "{failed:#?}");
}

#[tokio::test]
async fn after_an_outage_a_profile_that_always_fails_keeps_no_one_from_the_trial() {
    let (upstream, gateway, [greedy, other]) = after_an_outage("/dev/null").await;
    fails(get(&greedy, "SP_666").await, Code::Internal, "UPSTREAM_INTERNAL");
    // Whatever it asks for, it waits for the others now.
    let sent = upstream.count(GET);
    for id in ["SP_666", "SP_1"] {
        refused(get(&greedy, id).await);
    }
    assert_eq!(upstream.count(GET), sent);
    get(&other, "SP_1").await.unwrap();
    assert_eq!(circuit(&gateway).await, CircuitState::Closed);
}

#[tokio::test]
async fn after_a_trial_that_decided_nothing_a_write_of_something_else_is_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("audit.log");
    let (upstream, gateway, [greedy, other]) = after_an_outage(journal.to_str().unwrap()).await;
    fails(get(&greedy, "SP_666").await, Code::Internal, "UPSTREAM_INTERNAL");
    // Its caller has failed, or what it is about.
    refused(delete(&greedy, "SP_1").await);
    refused(delete(&other, "SP_666").await);
    delete(&other, "SP_1").await.unwrap();
    assert_eq!(circuit(&gateway).await, CircuitState::Closed);
    assert_eq!(upstream.count(DELETE), 1);
    let lines = std::fs::read_to_string(journal).unwrap();
    let journaled: Vec<_> = lines.lines().filter(|line| line.contains("\"journal\"")).collect();
    assert!(journaled.len() == 1 && journaled[0].contains("profiles/SP_1\""), "{lines}");
}

#[tokio::test]
async fn beside_a_trial_nothing_is_sent() {
    let (upstream, gateway, [greedy, other]) = after_an_outage("/dev/null").await;
    let gate = Arc::new(Semaphore::new(0));
    upstream.always(GET, Answer::Gated(Arc::clone(&gate), Box::new(found())));
    let sent = upstream.seen().len();
    let reader = other.clone();
    let trial = tokio::spawn(async move { get(&reader, "SP_1").await });
    is_full(&gateway, 1.0, 0.0).await;
    refused(delete(&other, "SP_2").await);
    refused(delete(&greedy, "SP_1").await);
    refused(get(&greedy, "SP_1").await);
    gate.add_permits(1);
    trial.await.unwrap().unwrap();
    assert_eq!(upstream.seen().len(), sent + 1);
    delete(&greedy, "SP_2").await.unwrap();
}
