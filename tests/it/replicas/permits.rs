//! What allows a write to be sent is asked for until the first byte of it: the store may be lost
//! while the upstream is being connected to.

use std::time::Duration;

use profile_gateway::pb::DeleteProfileRequest;
use tonic::{Code, Status};

use crate::kit::{
    gateway::{TOKEN, timed},
    model,
    redis::Redis,
    replicas::{Replica, replicas},
    status::fails,
    tls::{Authority, Speaks, Upstream, acceptor, upstream},
    until,
    wire::{Flow, To, Wire},
};

/// Long enough for all that a write waits for here.
const LONG: Option<Duration> = Some(Duration::from_secs(120));

/// A replica whose upstream is connected to through a wire.
struct Bench {
    _redis: Redis,
    upstream: Upstream,
    wire: Wire,
    replica: Replica,
}

impl Bench {
    /// The upstream speaks this protocol of HTTP.
    async fn over(protocol: &str) -> Self {
        let (redis, authority) = (Redis::start().await, Authority::new());
        let speaks = Speaks { protocols: &[protocol], ..Speaks::default() };
        let upstream = upstream(acceptor(&authority.issue("127.0.0.1"), &speaks)).await;
        let wire = Wire::to(upstream.address, 1).await;
        let section = format!(
            "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = \"https://{}\"\n\
             access_token = \"{TOKEN}\"\ntls.ca_file = {:?}\ntls.roots = \"file\"\n\
             connect_timeout = \"5m\"\nheader_timeout = \"5m\"\nrequest_timeout = \"5m\"\n",
            wire.address,
            authority.file(),
        );
        let mut all = replicas(1).sections(&section).over(&redis).await;
        let replica = all.pop().unwrap();
        until("it may write", async || replica.metric("shared_store_lease_valid", "").await > 0.5)
            .await;
        Self { _redis: redis, upstream, wire, replica }
    }

    async fn delete(&self) -> Result<(), Status> {
        let request =
            DeleteProfileRequest { name: model::name("SP_1"), ..DeleteProfileRequest::default() };
        self.replica.profiles().delete_profile(timed(request, LONG)).await.map(drop)
    }

    /// Waits until the write connects, which its upstream does not answer.
    async fn connects(&self) {
        until("the write connects", async || self.wire.opened() == 1).await;
    }
}

#[tokio::test]
async fn nothing_is_sent_if_the_store_is_lost_while_the_upstream_is_connected_to() {
    for protocol in ["http/1.1", "h2"] {
        let bench = Bench::over(protocol).await;
        bench.wire.flow(To::Server, Flow::Hold);
        let loses = async {
            bench.connects().await;
            let store = &bench.replica.wire;
            [To::Server, To::Client].into_iter().for_each(|to| store.flow(to, Flow::Lose));
            until("its lease is over", async || {
                bench.replica.metric("shared_store_lease_valid", "").await < 0.5
            })
            .await;
            bench.wire.flow(To::Server, Flow::Pass);
        };
        let (deleted, ()) = tokio::join!(bench.delete(), loses);
        let failed = fails(deleted, Code::Unavailable, "STORE_UNAVAILABLE");
        assert!(failed.message.contains("nothing was sent"), "{}", failed.message);
        assert_eq!(bench.upstream.connections(), 1, "it was connected to");
        assert!(bench.upstream.arrived().is_empty(), "{protocol}");
    }
}

#[tokio::test]
async fn a_write_that_takes_long_to_connect_is_sent_while_the_store_is_there() {
    let bench = Bench::over("http/1.1").await;
    bench.wire.flow(To::Server, Flow::Hold);
    let connects = async {
        bench.connects().await;
        bench.wire.flow(To::Server, Flow::Pass);
    };
    // What the upstream answers is that of a read.
    let _ = tokio::join!(bench.delete(), connects);
    assert!(!bench.upstream.arrived().is_empty());
}
