//! What the load balancer of `examples/replicas` passes on, and what it sends to another replica.

use std::{net::SocketAddr, sync::Arc};

use http::HeaderMap;
use profile_gateway::pb::{GetProfileRequest, UpdateProfileRequest};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::rolling::{balancer, client, load::Load, plan, watchers::Watchers};
use crate::kit::{
    envoy::Envoy, gateway::fresh, model, redis::Redis, replicas::Replica, sandbox::sandbox,
    status::failure, until,
};

const NO_GRACE: &str = "0s";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_when_its_connection_is_asked_to_end_for_its_age() {
    let (redis, sandbox) = (Redis::start().await, Arc::new(sandbox().await));
    let plan = plan(&sandbox, 2).server("max_connection_age = \"1s\"");
    let both = plan.balanced(NO_GRACE).over(&redis).await;
    let (_envoy, address) = balancer(&both).await;
    let watchers = Watchers::begin(address, 10).await;
    let load = Load::begin(address, &sandbox, true).await;
    for replica in &both {
        until("connections have become too old", async || {
            replica.metric("connections_closed_total", "reason=\"age\"").await >= 5.0
        })
        .await;
    }
    load.end().await;
    let followed = watchers.end().await;
    assert!(followed.iter().all(|watcher| watcher.resumed > 0 && watcher.snapshots == 0));
}

/// A call without any of a client's own timers.
async fn raw(address: SocketAddr, request: &GetProfileRequest, timeout: &str) -> Status {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let url = format!("http://{address}/profilegateway.v1.ProfileService/GetProfile");
    let call = client.post(url).body([&[0][..], &length, &message[..]].concat());
    let call = call.header("content-type", "application/grpc").header("te", "trailers");
    let answer = call.header("grpc-timeout", timeout).send().await.unwrap();
    let headers: &HeaderMap = answer.headers();
    Status::from_header_map(headers).expect("a status in the headers")
}

#[tokio::test]
async fn the_deadline_of_a_caller_is_that_of_its_call_at_the_replica() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2).server("default_timeout = \"5m\"");
    let both = both.balanced(NO_GRACE).over(&redis).await;
    let (_envoy, address) = balancer(&both).await;
    sandbox.arm("GetServiceProfile", json!({"kind": "hang"})).await;
    let status = raw(address, &model::get("SP_2"), "300m").await;
    let failure = failure(Err::<(), _>(status));
    assert_eq!(failure.code, Code::DeadlineExceeded, "{failure:?}");
}

/// The access log's lines of reads.
fn reads(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_read = |line: &Value| {
        line["target"] == "access" && line["method"].as_str().unwrap().ends_with("/GetProfile")
    };
    lines.filter(is_read).collect()
}

#[tokio::test]
async fn the_id_of_a_request_is_in_the_log_of_the_replica() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let one = plan(&sandbox, 1).apart().balanced(NO_GRACE).over(&redis).await;
    let (_envoy, address) = balancer(&one).await;
    let mut through = client(address);
    let mut named = Request::new(model::get("SP_2"));
    named.metadata_mut().insert("x-request-id", "order-7".parse().unwrap());
    through.get_profile(named).await.unwrap();
    through.get_profile(model::get("SP_2")).await.unwrap();

    let reads = reads(&one[0].end().await.stderr);
    let [named, unnamed] = &reads[..] else { panic!("{reads:#?}") };
    assert_eq!(named["caller_request_id"], "order-7");
    let made = unnamed["caller_request_id"].as_str().expect("the balancer makes one");
    assert!(uuid::Uuid::parse_str(made).is_ok(), "{made}");
}

/// The load balancer, which is not told of the health of replicas after its first look.
async fn unaware(replicas: &[Replica]) -> (Envoy, SocketAddr) {
    let addresses: Vec<_> = replicas.iter().map(Replica::grpc).collect();
    let once = |example: String| {
        let never = example.replace("interval: 1s", "interval: 3600s");
        assert_ne!(never, example);
        never
    };
    Envoy::balancing(&addresses, once).await
}

fn rename(name: &str) -> UpdateProfileRequest {
    let request_id = uuid::Uuid::new_v4().to_string();
    UpdateProfileRequest { request_id, ..model::rename("SP_352", name) }
}

#[tokio::test]
async fn what_has_reached_no_replica_is_sent_to_the_next() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2).balanced(NO_GRACE).over(&redis).await;
    let (envoy, address) = unaware(&both).await;
    let mut through = client(address);
    both[0].end().await;
    for round in 0..4 {
        through.get_profile(fresh(model::get("SP_2"))).await.unwrap();
        let name = format!("Round {round}");
        let renamed = through.update_profile(rename(&name)).await.unwrap();
        assert_eq!(renamed.into_inner().display_name, name);
    }
    let retried = envoy.stat("cluster.replicas.upstream_rq_retry").await;
    assert!(retried.unwrap() > 0, "it has not noticed: {retried:?}");
    assert_eq!(sandbox.arrived("ModifyServiceProfile").await, 4);
}

#[tokio::test]
async fn a_write_that_a_killed_replica_has_sent_is_not_sent_by_another() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2).balanced(NO_GRACE).over(&redis).await;
    let (_envoy, address) = unaware(&both).await;
    sandbox.arm("ModifyServiceProfile", json!({"kind": "hang"})).await;
    let mut through = client(address);
    let write = tokio::spawn(async move { through.update_profile(rename("Renamed")).await });
    until("it is sent", async || sandbox.armed().await == 0).await;
    let mut killed = 0;
    for replica in &both {
        if replica.metric("calls_in_flight", "").await > 0.0 {
            replica.kill().await;
            killed += 1;
        }
    }
    assert_eq!(killed, 1);
    let status = write.await.unwrap().unwrap_err();
    // Not a promise of a replica that nothing was done: those have details.
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_error_details().error_info().is_none(), "{status:?}");
    assert_eq!(sandbox.arrived("ModifyServiceProfile").await, 1);
}
