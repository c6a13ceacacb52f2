//! A connection that is told to end: the call that runs on it is answered.

use std::sync::Arc;

use profile_gateway::pb::{
    GetBackendRequest, backend_service_client::BackendServiceClient,
    profile_service_client::ProfileServiceClient,
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tonic::{Status, transport::Channel};

use super::{
    certificates::{APP, Proving},
    limits::forged,
};
use crate::kit::{
    bodies::{profile, profiles},
    certificates::Leaf,
    double::{self, Answer, Double, GET, double},
    gateway::{Builder, Gateway},
    model,
    tokens::{by, good},
    until,
};

/// An upstream that answers reads once it may.
struct Slow {
    upstream: Double,
    gate: Arc<Semaphore>,
}

async fn slow() -> Slow {
    let (upstream, gate) = (double().await, Arc::new(Semaphore::new(0)));
    let found = double::json(profiles(&[profile("SP_1", "One")]));
    upstream.always(GET, Answer::Gated(Arc::clone(&gate), Box::new(found)));
    Slow { upstream, gate }
}

impl Slow {
    async fn gateway(&self, builder: Builder) -> Gateway {
        builder.fixed("sft", &self.upstream.base_url, "").start().await
    }

    /// A read that has arrived here, of this token or of the connection's certificate.
    async fn reading(
        &self,
        channel: &Channel,
        token: Option<&str>,
    ) -> JoinHandle<Result<(), Status>> {
        let mut client = ProfileServiceClient::new(channel.clone());
        let request = match token {
            Some(token) => by(token, model::get("SP_1")),
            None => tonic::Request::new(model::get("SP_1")),
        };
        let call = tokio::spawn(async move { client.get_profile(request).await.map(drop) });
        until("the read", async || self.upstream.count(GET) == 1).await;
        call
    }

    /// Lets the read end, which is served, and then the connection ends for this reason.
    async fn is_served(&self, gateway: &Gateway, call: JoinHandle<Result<(), Status>>, why: &str) {
        self.gate.add_permits(1);
        call.await.unwrap().unwrap();
        let labels = format!("reason=\"{why}\"");
        until("the connection ends", async || {
            gateway.metric("connections_closed_total", &labels).await >= 1.0
        })
        .await;
    }
}

async fn asks(channel: &Channel, token: Option<&str>) -> Result<(), Status> {
    let message = GetBackendRequest { name: model::BACKEND.to_owned() };
    let request = match token {
        Some(token) => by(token, message),
        None => tonic::Request::new(message),
    };
    BackendServiceClient::new(channel.clone()).get_backend(request).await.map(drop)
}

#[tokio::test]
async fn a_call_is_served_on_a_connection_with_too_many_calls_that_proved_nothing() {
    let (slow, proving) = (slow().await, Proving::new());
    let gateway = slow.gateway(proving.builder()).await;
    let channel = proving.channel(&gateway, None).await;
    let call = slow.reading(&channel, Some(&good("me"))).await;
    forged(&channel, 100).await;
    slow.is_served(&gateway, call, "unproved").await;
}

#[tokio::test]
async fn a_call_is_served_on_a_connection_that_has_become_too_old() {
    let (slow, proving) = (slow().await, Proving::new());
    let gateway = slow.gateway(proving.builder().server("max_connection_age = \"1s\"")).await;
    let channel = proving.channel(&gateway, None).await;
    let call = slow.reading(&channel, Some(&good("me"))).await;
    until("it takes no more calls", async || asks(&channel, Some(&good("me"))).await.is_err())
        .await;
    slow.is_served(&gateway, call, "age").await;
}

#[tokio::test]
async fn a_call_is_served_on_a_connection_whose_certificate_runs_out() {
    let (slow, proving) = (slow().await, Proving::new());
    let gateway = slow.gateway(proving.builder()).await;
    let own = proving.authority.issue(&Leaf::client(&[APP]).valid(-100, 15));
    let channel = proving.channel(&gateway, Some(&own)).await;
    let call = slow.reading(&channel, None).await;
    until("the certificate runs out", async || asks(&channel, None).await.is_err()).await;
    slow.is_served(&gateway, call, "certificate").await;
}
