//! The load: a fixed number of calls at once, over few connections, until all are made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use profile_gateway::pb::{
    GetProfileRequest, Profile, profile_service_client::ProfileServiceClient,
};
use prost::Message;
use tokio::{task::JoinSet, time::Instant};
use tonic::transport::{Channel, Endpoint};

/// Calls at once.
pub(crate) const CONCURRENCY: usize = 32;
/// Connections that they share.
pub(crate) const CONNECTIONS: usize = 4;

/// Clients of one server.
pub(crate) struct Clients(Vec<ProfileServiceClient<Channel>>);

impl Clients {
    pub(crate) async fn connect(address: &str) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
            let channel = endpoint.tcp_nodelay(true).connect().await.unwrap();
            clients.push(ProfileServiceClient::new(channel));
        }
        Self(clients)
    }

    pub(crate) async fn get(&self) -> Profile {
        get(&mut self.0[0].clone()).await
    }

    /// Makes so many calls and says how long they took together.
    pub(crate) async fn load(&self, requests: usize) -> Duration {
        let clients = self.0.clone();
        all(requests, move |n| {
            let mut client = clients[n % CONNECTIONS].clone();
            async move { drop(get(&mut client).await) }
        })
        .await
    }
}

async fn get(client: &mut ProfileServiceClient<Channel>) -> Profile {
    let name = "backends/sft/profiles/SP_2".to_owned();
    let request = GetProfileRequest { name, read_mask: None };
    client.get_profile(request).await.unwrap().into_inner()
}

/// Does something so many times, [`CONCURRENCY`] at once, and says how long that took.
pub(crate) async fn all<F>(
    times: usize,
    once: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Duration
where
    F: Future<Output = ()> + Send,
{
    let done = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for n in 0..CONCURRENCY {
        let (done, once) = (Arc::clone(&done), once.clone());
        tasks.spawn(async move {
            while done.fetch_add(1, Ordering::Relaxed) < times {
                once(n).await;
            }
        });
    }
    tasks.join_all().await;
    started.elapsed()
}

/// A profile as an argument.
pub(crate) fn to_text(profile: &Profile) -> String {
    BASE64_STANDARD.encode(profile.encode_to_vec())
}

pub(crate) fn from_text(text: &str) -> Profile {
    Profile::decode(BASE64_STANDARD.decode(text).unwrap().as_slice()).unwrap()
}
