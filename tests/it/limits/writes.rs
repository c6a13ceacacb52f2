//! What the writes of one caller cost the others: on one profile, in all, and of the upstream. Each
//! address of this machine is a caller.

use std::sync::Arc;

use profile_gateway::{
    pb::{DeleteProfileRequest, profile_service_client::ProfileServiceClient},
    server::Drained,
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tonic::{Code, Status, transport::Channel};
use uuid::Uuid;

use crate::kit::{
    bodies::{self, fixture},
    double::{self, Answer, DELETE, Double, GET, double},
    gateway::{Gateway, fresh, gateway},
    model::{self, rename},
    status::fails,
    until,
};

const GREEDY: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";

/// A gateway over an account where each deletion waits for the gate.
async fn start(server: &str) -> (Double, Gateway, Arc<Semaphore>) {
    start_with(server, "requests_per_second = \"off\"").await
}

async fn start_with(server: &str, lines: &str) -> (Double, Gateway, Arc<Semaphore>) {
    let upstream = double().await;
    let lines = format!("max_attempts = 1\n{lines}");
    let gateway = gateway().server("default_timeout = \"60s\"").server(server);
    let gateway = gateway.fixed("sft", &upstream.base_url, &lines).start().await;
    let gate = Arc::new(Semaphore::new(0));
    upstream
        .always(DELETE, gated(&gate, double::json(fixture("delete-success"))))
        .always(GET, double::by(|seen| found(seen.id())));
    (upstream, gateway, gate)
}

fn gated(gate: &Arc<Semaphore>, answer: Answer) -> Answer {
    Answer::Gated(Arc::clone(gate), Box::new(answer))
}

fn found(id: &str) -> Answer {
    double::json(bodies::profiles(&[bodies::profile(id, "one")]))
}

fn from(source: &str, gateway: &Gateway) -> ProfileServiceClient<Channel> {
    ProfileServiceClient::new(gateway.channel_from(source))
}

type Deleting = JoinHandle<Result<(), Status>>;

/// A deletion that goes on by itself.
fn delete(client: &ProfileServiceClient<Channel>, id: &str, request_id: &str) -> Deleting {
    let mut client = client.clone();
    let (name, request_id) = (model::name(id), request_id.to_owned());
    let request = DeleteProfileRequest { name, request_id, ..DeleteProfileRequest::default() };
    tokio::spawn(async move { client.delete_profile(request).await.map(drop) })
}

async fn sent(upstream: &Double, deletions: usize) {
    until("so many are sent", async || upstream.count(DELETE) == deletions).await;
}

async fn in_flight(gateway: &Gateway, calls: f64) {
    until("so many calls", async || gateway.metric("calls_in_flight", "").await == calls).await;
}

#[tokio::test]
async fn a_write_whose_caller_left_before_it_was_sent_is_never_sent() {
    let (upstream, gateway, gate) = start("").await;
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER, &gateway));
    let first = delete(&greedy, "SP_1", "");
    sent(&upstream, 1).await;
    let waiting: Vec<_> = (0..20).map(|_| delete(&greedy, "SP_1", "")).collect();
    // One that reads before it is sent.
    let reads = Arc::new(Semaphore::new(0));
    upstream.always(GET, gated(&reads, found("SP_2")));
    let mut client = greedy.clone();
    let reading = tokio::spawn(async move { client.update_profile(rename("SP_2", "new")).await });
    until("it reads", async || upstream.count(GET) == 1).await;
    in_flight(&gateway, 22.0).await;
    first.abort();
    reading.abort();
    waiting.iter().for_each(|caller| caller.abort());
    in_flight(&gateway, 0.0).await;
    let written = delete(&other, "SP_1", "");
    in_flight(&gateway, 1.0).await;
    reads.add_permits(100);
    gate.add_permits(100);
    // What was sent goes on, and comes first.
    written.await.unwrap().unwrap();
    assert_eq!(gateway.stop().await, Drained::Clean);
    assert_eq!(upstream.writes(), 2);
}

#[tokio::test]
async fn a_write_that_has_sent_nothing_ends_when_the_process_drains() {
    let (upstream, gateway, gate) = start("").await;
    let client = from(GREEDY, &gateway);
    let first = delete(&client, "SP_1", "");
    sent(&upstream, 1).await;
    let waiting: Vec<_> = (0..5).map(|_| delete(&client, "SP_1", "")).collect();
    in_flight(&gateway, 6.0).await;
    let end = tokio::spawn(gateway.stop());
    for caller in waiting {
        let failed = fails(caller.await.unwrap(), Code::Unavailable, "OVERLOADED");
        assert!(failed.message.contains("nothing was sent"), "{failed:#?}");
    }
    assert!(!end.is_finished(), "what was sent is waited for");
    gate.add_permits(1);
    first.await.unwrap().unwrap();
    assert_eq!(end.await.unwrap(), Drained::Clean);
    assert_eq!(upstream.writes(), 1);
}

#[tokio::test]
async fn callers_take_turns_to_write_one_profile() {
    let (upstream, gateway, gate) = start("").await;
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER, &gateway));
    let first = delete(&greedy, "SP_1", "");
    sent(&upstream, 1).await;
    let waiting: Vec<_> = (0..10).map(|_| delete(&greedy, "SP_1", "")).collect();
    in_flight(&gateway, 11.0).await;
    let written = delete(&other, "SP_1", "");
    in_flight(&gateway, 12.0).await;
    // The one under way, one more of the same caller, and then the other one.
    gate.add_permits(3);
    written.await.unwrap().unwrap();
    first.await.unwrap().unwrap();
    sent(&upstream, 4).await;
    gate.add_permits(100);
    for caller in waiting {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(upstream.writes(), 12);
}

#[tokio::test]
async fn a_caller_has_its_share_of_the_writes_under_way_also_when_it_has_left() {
    let (upstream, gateway, gate) = start("max_concurrent_calls = 8").await;
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER, &gateway));
    for n in 1..=4 {
        let caller = delete(&greedy, &format!("SP_{n}"), "");
        sent(&upstream, n).await;
        caller.abort();
    }
    in_flight(&gateway, 0.0).await;
    let refused = delete(&greedy, "SP_5", "").await.unwrap();
    let failed = fails(refused, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
    assert!(failed.retry.is_some(), "{failed:#?}");
    let refusals = "resource=\"writes\",bound=\"caller\"";
    assert!(gateway.metric("caller_refusals_total", refusals).await > 0.5);
    greedy.clone().get_profile(fresh(model::get("SP_6"))).await.unwrap();
    let written = delete(&other, "SP_7", "");
    sent(&upstream, 5).await;
    gate.add_permits(100);
    written.await.unwrap().unwrap();
    let again = async || delete(&greedy, "SP_5", "").await.unwrap().is_ok();
    until("its places are free", again).await;
}

#[tokio::test]
async fn who_waits_for_a_repeated_write_writes_when_its_first_caller_has_left() {
    let (upstream, gateway, gate) = start("").await;
    let client = from(GREEDY, &gateway);
    let before = delete(&client, "SP_1", "");
    sent(&upstream, 1).await;
    let id = Uuid::from_u128(7).to_string();
    let first = delete(&client, "SP_1", &id);
    until("it has its id", async || gateway.metric("request_ids", "").await > 0.5).await;
    let repeat = delete(&client, "SP_1", &id);
    in_flight(&gateway, 3.0).await;
    first.abort();
    in_flight(&gateway, 2.0).await;
    gate.add_permits(100);
    before.await.unwrap().unwrap();
    repeat.await.unwrap().unwrap();
    assert_eq!(upstream.writes(), 2);
    // That one is remembered.
    delete(&client, "SP_1", &id).await.unwrap().unwrap();
    assert_eq!(upstream.writes(), 2);
}

#[tokio::test]
async fn reads_of_many_acknowledged_writes_leave_turns_to_others() {
    let lines = "requests_per_second = 10\nconfirm_deletions = true\nsettle_time = \"50s\"";
    let (upstream, gateway, gate) = start_with("", lines).await;
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER, &gateway));
    let callers: Vec<_> = (0..30).map(|n| delete(&greedy, &format!("SP_{n}"), "")).collect();
    sent(&upstream, 30).await;
    gate.add_permits(30);
    // They look for more than the rate allows.
    until("they look", async || upstream.count(GET) >= 30).await;
    let before = upstream.count(GET);
    for n in 100..103 {
        other.clone().get_profile(fresh(model::get(&format!("SP_{n}")))).await.unwrap();
    }
    // For each, the look that is next, one more of the same caller, and its own.
    let needed = upstream.count(GET) - before;
    assert!(needed <= 20, "{needed}");
    callers.iter().for_each(|caller| caller.abort());
}
