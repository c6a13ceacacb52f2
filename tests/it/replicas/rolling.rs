//! Replicas behind a load balancer, the Envoy of `examples/replicas`, that are replaced one after
//! the other: each is told to end, and a new process takes its place.

pub(super) mod load;
pub(super) mod watchers;

use std::{net::SocketAddr, sync::Arc};

use futures_util::future::join_all;
use profile_gateway::pb::profile_service_client::ProfileServiceClient;
use rustix::process::Signal;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use self::{
    load::Load,
    watchers::{Followed, Watchers},
};
use crate::kit::{
    envoy::Envoy,
    model,
    redis::Redis,
    replicas::{Plan, Replica, replicas, unlimited},
    sandbox::{Sandbox, sandbox},
    show, until,
};

/// The default: balancers that ask each second notice within it.
const GRACE: &str = "3s";

/// So many over all simulated upstreams.
pub(super) fn plan(sandbox: &Sandbox, count: usize) -> Plan {
    let sections = unlimited(&sandbox.config());
    replicas(count).sections(&sections.replace("dialect =", "watch_interval = \"1s\"\ndialect ="))
}

/// The load balancer in front of these.
pub(super) async fn balancer(replicas: &[Replica]) -> (Envoy, SocketAddr) {
    let addresses: Vec<SocketAddr> = replicas.iter().map(Replica::grpc).collect();
    Envoy::balancing(&addresses, |example| example).await
}

/// A client with a connection of its own.
pub(super) fn client(balancer: SocketAddr) -> ProfileServiceClient<Channel> {
    let endpoint = Endpoint::new(format!("http://{balancer}")).unwrap();
    ProfileServiceClient::new(endpoint.connect_lazy())
}

/// Replaces each, and waits until the balancer takes it for healthy.
async fn replace(replicas: &[Replica], envoy: &Envoy) {
    for replica in replicas {
        let ended = replica.end().await;
        assert_eq!(ended.code(), Some(0), "it has cut calls off: {}", ended.stderr);
        replica.start_again().await;
        envoy.sees(replicas.len()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_and_no_stream_starts_over_while_three_with_one_store_are_replaced() {
    const WATCHERS: usize = 100;
    let (redis, sandbox) = (Redis::start().await, Arc::new(sandbox().await));
    let three = plan(&sandbox, 3).balanced(GRACE).over(&redis).await;
    let (envoy, address) = balancer(&three).await;
    let watchers = Watchers::begin(address, WATCHERS).await;
    let load = Load::begin(address, &sandbox, true).await;
    replace(&three, &envoy).await;
    let calls = load.end().await;
    let followed = watchers.end().await;
    show(&format!("calls: {calls:?}, and {followed:?}"));
    assert_eq!(followed.len(), WATCHERS);
    let went_on = |watcher: &Followed| watcher.resumed > 0 && watcher.snapshots == 0;
    assert!(followed.iter().all(went_on), "each replica has ended: {followed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_two_that_share_nothing_are_replaced() {
    const WATCHERS: usize = 50;
    let (redis, sandbox) = (Redis::start().await, Arc::new(sandbox().await));
    let two = plan(&sandbox, 2).apart().balanced(GRACE).over(&redis).await;
    let (envoy, address) = balancer(&two).await;
    let watchers = Watchers::begin(address, WATCHERS).await;
    let load = Load::begin(address, &sandbox, false).await;
    replace(&two, &envoy).await;
    let calls = load.end().await;
    let followed = watchers.end().await;
    show(&format!("calls: {calls:?}, and {followed:?}"));
    assert_eq!(followed.len(), WATCHERS);
    // Their tokens are good at one of them alone.
    let went_on = |watcher: &Followed| watcher.resumed > 0;
    assert!(followed.iter().all(went_on), "each replica has ended: {followed:?}");
}

#[tokio::test]
async fn the_balancer_gives_no_call_to_a_replica_that_ends_while_that_still_takes_some() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2).apart().balanced("5m").over(&redis).await;
    let (envoy, address) = balancer(&both).await;
    let counted = async || {
        let calls = both.iter().map(|it| it.metric("calls_total", "ProfileService/GetProfile"));
        join_all(calls).await
    };
    let mut through = client(address);
    // The balancer chooses by chance among those that have nothing to do.
    until("each has its share", async || {
        through.clone().get_profile(model::get("SP_2")).await.unwrap();
        counted().await.iter().all(|calls| *calls > 0.0)
    })
    .await;
    both[0].signal(Signal::TERM);
    let begin = Instant::now();
    envoy.sees(1).await;
    show(&format!("the balancer sees after {:?} that a replica ends", begin.elapsed()));
    let before = counted().await;
    for _ in 0..10 {
        through.get_profile(model::get("SP_2")).await.unwrap();
    }
    let after = [before[0], before[1] + 10.0];
    until("all go to the other", async || counted().await == after).await;
    both[0].profiles().get_profile(model::get("SP_2")).await.unwrap();
}
