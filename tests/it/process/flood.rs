//! Floods of refusals: each is short on the wire, and still says the id of its call.

use std::collections::HashSet;

use profile_gateway::pb::{GetProfileRequest, profile_service_client::ProfileServiceClient};
use prost::Message as _;
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::{Request, Status, transport::Channel};

use super::{
    callers::EIGHT,
    calls::{GET, channel_from, failure, metadata, metric, named},
    child::{Gateway, serve, sft, until},
    frames::Frames,
    slow::Slow,
    wire::frame,
};

/// The caller whose calls wait for the upstream.
const HELD: &str = "127.0.0.1";

/// A gateway that refuses all calls of a caller: it has its share of the places, or of the queue.
async fn refusing(slow: &Slow, calls: &mut JoinSet<()>, by_queue: bool) -> Gateway {
    let queue = "max_concurrent_calls = 1\nmax_queued_calls = 4\n";
    let backend = sft(&slow.url, "ops", "hunter2");
    let (config, places) = match by_queue {
        true => (format!("{backend}{queue}"), "64"),
        false => (backend, "8"),
    };
    let gateway = serve(&config, &[(EIGHT.0, places)]).await;
    for _ in 0..4 {
        let mut client = ProfileServiceClient::new(channel_from(HELD, gateway.grpc).await);
        calls.spawn(async move { drop(client.get_profile(fresh("SP_2")).await) });
    }
    until("so many calls in flight", async || {
        metric(&gateway, "profile_gateway_calls_in_flight").await == 4
    })
    .await;
    gateway
}

/// A read past the cache.
fn fresh(id: &str) -> Request<GetProfileRequest> {
    let mut request = Request::new(named(id));
    request.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
    request
}

async fn refusal(client: &mut ProfileServiceClient<Channel>) -> Status {
    let status = client.get_profile(fresh("SP_2")).await.unwrap_err();
    assert_eq!(failure(&status).1, "CALLER_QUOTA_EXCEEDED", "{status:?}");
    status
}

/// The id in the header, and that in the details.
fn ids(status: &Status) -> (String, Option<String>) {
    let header = status.metadata().get("x-call-id").unwrap().to_str().unwrap().to_owned();
    (header, metadata(&failure(status).2).remove("call_id"))
}

#[tokio::test]
async fn each_refusal_says_the_id_of_its_call_however_many_there_are() {
    for by_queue in [false, true] {
        let (slow, mut calls) = (Slow::start().await, JoinSet::new());
        let gateway = refusing(&slow, &mut calls, by_queue).await;
        let mut client = ProfileServiceClient::new(channel_from(HELD, gateway.grpc).await);
        let first = refusal(&mut client).await;
        let (id, named) = ids(&first);
        assert_eq!(named.as_ref(), Some(&id), "{first:?}");
        let mut all = HashSet::from([id]);
        let mut same = Vec::new();
        until("refusals that are the same", async || {
            let status = refusal(&mut client).await;
            let (id, named) = ids(&status);
            assert_eq!(status.message(), first.message());
            if named.is_none() {
                same.push(status.details().to_vec());
            } else {
                assert_eq!(named.as_ref(), Some(&id), "{status:?}");
            }
            assert!(all.insert(id), "two calls have one id");
            same.len() >= 10
        })
        .await;
        assert!(same.iter().all(|details| *details == same[0]));

        gateway.program.signal(Signal::TERM);
        calls.shutdown().await;
        slow.open();
        let ended = gateway.program.ended().await;
        let lines = ended.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_calls = lines.filter(|line| line["reason"] == "CALLER_QUOTA_EXCEEDED");
        let logged: Vec<Value> = of_calls.collect();
        let found: HashSet<String> =
            logged.iter().map(|line| line["call_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, all);
        assert!(logged.iter().all(|line| line["error"] == first.message()), "{logged:?}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_takes_few_bytes_each() {
    for by_queue in [false, true] {
        let (slow, mut calls) = (Slow::start().await, JoinSet::new());
        let gateway = refusing(&slow, &mut calls, by_queue).await;
        let mut frames = Frames::connect(gateway.grpc).await;
        frames.makes_room().await;
        let message = frame(0, &named("SP_2").encode_to_vec());
        let mut refused = async || {
            let stream = frames.begin_with(&[("cache-control", "no-cache")], GET).await;
            frames.piece(stream, &message, true).await;
            frames.headers_of_last(stream).await
        };
        assert!(refused().await > 200, "the first one says all");
        until("short refusals", async || refused().await < 60).await;
    }
}
