//! The load: a fixed number of calls at once, over few connections, until all are made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use profile_gateway::pb::{
    DeleteProfileRequest, GetProfileRequest, Profile, profile_service_client::ProfileServiceClient,
};
use prost::Message;
use tokio::{task::JoinSet, time::Instant};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// Calls at once: 32 unless asked for otherwise, in every process of the benchmark.
static CONCURRENCY: AtomicUsize = AtomicUsize::new(32);
/// Connections that they share.
pub(crate) const CONNECTIONS: usize = 4;

pub(crate) fn concurrency() -> usize {
    CONCURRENCY.load(Ordering::Relaxed)
}

pub(crate) fn set_concurrency(calls: usize) {
    CONCURRENCY.store(calls.max(1), Ordering::Relaxed);
}

/// A load with another number of calls at once.
pub(crate) async fn with_concurrency<T>(calls: usize, load: impl Future<Output = T>) -> T {
    let usual = concurrency();
    set_concurrency(calls);
    let result = load.await;
    set_concurrency(usual);
    result
}

/// Clients of one server.
pub(crate) struct Clients {
    clients: Vec<ProfileServiceClient<Channel>>,
    /// The next profile that has not been asked for yet.
    next: Arc<AtomicUsize>,
}

impl Clients {
    pub(crate) async fn connect(address: &str) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
            let channel = endpoint.tcp_nodelay(true).connect().await.unwrap();
            clients.push(ProfileServiceClient::new(channel));
        }
        Self { clients, next: Arc::new(AtomicUsize::new(1000)) }
    }

    pub(crate) async fn get(&self) -> Profile {
        get(&mut self.clients[0].clone(), 2).await
    }

    /// Reads one profile so many times, all at once.
    pub(crate) async fn get_at_once(&self, id: usize, times: usize) {
        let mut tasks = JoinSet::new();
        for n in 0..times {
            let mut client = self.clients[n % CONNECTIONS].clone();
            tasks.spawn(async move { get(&mut client, id).await });
        }
        tasks.join_all().await;
    }

    /// Makes so many calls and says how long they took together.
    pub(crate) async fn load(&self, requests: usize) -> Duration {
        let clients = self.clients.clone();
        all(requests, move |n| {
            let mut client = clients[n % CONNECTIONS].clone();
            async move { drop(get(&mut client, 2).await) }
        })
        .await
    }

    /// The same, each for a profile that has not been asked for yet.
    pub(crate) async fn load_new(&self, requests: usize) -> Duration {
        let (clients, next) = (self.clients.clone(), Arc::clone(&self.next));
        all(requests, move |n| {
            let mut client = clients[n % CONNECTIONS].clone();
            let id = next.fetch_add(1, Ordering::Relaxed);
            async move { drop(get(&mut client, id).await) }
        })
        .await
    }

    /// Deletes so many profiles that were not deleted yet, each under a `request_id`. Returns how
    /// long they took together, and each.
    pub(crate) async fn delete(&self, requests: usize) -> (Duration, Vec<Duration>) {
        let first = self.next.fetch_add(requests, Ordering::Relaxed);
        self.delete_from(first, requests).await
    }

    /// The same, beginning with this one.
    pub(crate) async fn delete_from(
        &self,
        first: usize,
        requests: usize,
    ) -> (Duration, Vec<Duration>) {
        let (clients, next) = (self.clients.clone(), Arc::new(AtomicUsize::new(first)));
        let times = Arc::new(Mutex::new(Vec::with_capacity(requests)));
        let each = Arc::clone(&times);
        let took = all(requests, move |n| {
            let mut client = clients[n % CONNECTIONS].clone();
            let (number, times) = (next.fetch_add(1, Ordering::Relaxed), Arc::clone(&each));
            async move {
                let began = Instant::now();
                delete(&mut client, number).await;
                times.lock().push(began.elapsed());
            }
        })
        .await;
        let times = std::mem::take(&mut *times.lock());
        (took, times)
    }
}

/// Deletes a profile under the `request_id` of its number.
async fn delete(client: &mut ProfileServiceClient<Channel>, number: usize) {
    let request = DeleteProfileRequest {
        name: format!("backends/sft/profiles/SP_{number}"),
        request_id: format!("00000000-0000-4000-8000-{number:012x}"),
        ..DeleteProfileRequest::default()
    };
    client.delete_profile(request).await.unwrap();
}

async fn get(client: &mut ProfileServiceClient<Channel>, id: usize) -> Profile {
    let name = format!("backends/sft/profiles/SP_{id}");
    let request = GetProfileRequest { name, read_mask: None };
    client.get_profile(request).await.unwrap().into_inner()
}

/// Does something so many times, [`concurrency`] at once, and says how long that took.
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
    for n in 0..concurrency() {
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

/// A status as an argument.
pub(crate) fn status_to_text(status: &Status) -> String {
    let details = BASE64_STANDARD.encode(status.details());
    format!("{} {details} {}", i32::from(status.code()), status.message())
}

pub(crate) fn status_from_text(text: &str) -> Status {
    let mut parts = text.splitn(3, ' ');
    let code = Code::from_i32(parts.next().unwrap().parse().unwrap());
    let details = BASE64_STANDARD.decode(parts.next().unwrap()).unwrap();
    Status::with_details(code, parts.next().unwrap(), details.into())
}
