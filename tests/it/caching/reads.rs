//! Reads together with what their metadata say of the cache, and a vendor whose content a test
//! turns.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use profile_gateway::pb::{
    ListServicesRequest, Profile, PurgeCacheRequest, Service,
    backend_service_client::BackendServiceClient,
};
use serde_json::Value;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use crate::kit::{
    bodies::{self, fixture},
    double::{self, Answer, Double, GET, LIST},
    gateway::{Gateway, gateway},
    model,
};

/// Long enough for everything to stay fresh as long as a test takes.
pub const LONG: &str = "ttl = \"1h\"\nnegative_ttl = \"1h\"";

/// An answer or a status, and how the cache served it.
#[derive(Debug)]
pub struct Read<T> {
    pub result: Result<T, Status>,
    /// `x-profile-cache`, or nothing.
    pub cache: String,
    /// `age`, in seconds.
    pub age: Option<u64>,
}

impl<T> Read<T> {
    fn of(answer: Result<Response<T>, Status>) -> Self {
        let text = |metadata: &MetadataMap, key: &str| {
            metadata.get(key).map(|value| value.to_str().unwrap().to_owned())
        };
        let metadata = match &answer {
            Ok(answer) => answer.metadata(),
            Err(status) => status.metadata(),
        };
        let cache = text(metadata, "x-profile-cache").unwrap_or_default();
        let age = text(metadata, "age").map(|age| age.parse().unwrap());
        Self { result: answer.map(Response::into_inner), cache, age }
    }

    /// Whether the cache answered by itself, with something that counts in full.
    pub fn is_hit(&self) -> bool {
        self.cache == "hit"
    }
}

impl Read<Profile> {
    /// The display name and how it was served; the failure's code in place of a name.
    pub fn told(&self) -> (String, &str) {
        let name = match &self.result {
            Ok(profile) => profile.display_name.clone(),
            Err(status) => format!("{:?}", status.code()),
        };
        (name, &self.cache)
    }
}

impl Read<Vec<Profile>> {
    /// The display names and how they were served.
    pub fn told(&self) -> (Vec<&str>, &str) {
        let names = self.result.as_ref().unwrap().iter().map(|p| p.display_name.as_str());
        (names.collect(), &self.cache)
    }
}

/// A request with this `cache-control`, or none.
pub fn asked<T>(message: T, control: &str) -> Request<T> {
    let mut request = Request::new(message);
    if !control.is_empty() {
        request.metadata_mut().insert("cache-control", control.parse().unwrap());
    }
    request
}

pub async fn get(gateway: &Gateway, name: &str, control: &str) -> Read<Profile> {
    let request = profile_gateway::pb::GetProfileRequest { name: name.to_owned(), read_mask: None };
    Read::of(gateway.profiles.clone().get_profile(asked(request, control)).await)
}

/// Profile `SP_1` of backend `sft`.
pub async fn one(gateway: &Gateway) -> Read<Profile> {
    get(gateway, &model::name("SP_1"), "").await
}

/// All profiles, or the first thousand.
pub async fn list(gateway: &Gateway, parent: &str, control: &str) -> Read<Vec<Profile>> {
    let mut request = model::list(parent);
    request.page_size = 1000;
    let read = Read::of(gateway.profiles.clone().list_profiles(asked(request, control)).await);
    Read { result: read.result.map(|page| page.profiles), cache: read.cache, age: read.age }
}

pub async fn services(gateway: &Gateway, parent: &str, control: &str) -> Read<Vec<Service>> {
    let request = ListServicesRequest { parent: parent.to_owned() };
    let read = Read::of(gateway.backends.clone().list_services(asked(request, control)).await);
    Read { result: read.result.map(|all| all.services), cache: read.cache, age: read.age }
}

/// Drops values as a caller that has dropped none before.
pub async fn purge(gateway: &Gateway, name: &str) -> Result<i64, Status> {
    let request = PurgeCacheRequest { name: name.to_owned() };
    let mut client = BackendServiceClient::new(gateway.channel_of_another());
    let answer = client.purge_cache(request).await?;
    Ok(answer.into_inner().purged_count)
}

/// A metric of the gateway; zero when it is not there.
pub async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = gateway.admin("/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

/// How many calls are under way.
pub async fn in_flight(gateway: &Gateway) -> u64 {
    metric(gateway, "profile_gateway_calls_in_flight").await
}

/// Reads of backend `sft` that were answered so.
pub async fn reads(gateway: &Gateway, result: &str) -> u64 {
    let labels = format!("backend=\"sft\",result=\"{result}\"");
    metric(gateway, &format!("profile_gateway_cache_reads_total{{{labels}}}")).await
}

/// Values of backend `sft` that were not kept.
pub async fn rejected(gateway: &Gateway) -> u64 {
    metric(gateway, "profile_gateway_cache_rejected_fills_total{backend=\"sft\"}").await
}

/// A gateway with one backend `sft` over a double, with these lines in the section of its cache.
pub async fn caching(upstream: &Double, cache: &str) -> Gateway {
    within("30s", upstream, cache).await
}

/// The same where every call has this long.
pub async fn within(time: &str, upstream: &Double, cache: &str) -> Gateway {
    let server = format!("default_timeout = \"{time}\"");
    let lines = format!("[backends.sft.cache]\n{cache}");
    gateway().server(&server).fixed("sft", &upstream.base_url, &lines).start().await
}

/// The answer to a read that finds these.
pub fn showing(items: &[Value]) -> Answer {
    double::json(bodies::profiles(items))
}

/// The vendor's answer where there is nothing.
pub fn nothing() -> Answer {
    double::json(fixture("get-failure-no-data-available"))
}

/// The answer to a read that finds `SP_1` under this name.
pub fn called(name: &str) -> Answer {
    showing(&[bodies::profile("SP_1", name)])
}

pub fn down() -> Answer {
    double::http(503, "text/html", "<html>down</html>")
}

/// The answer after the gate has opened.
pub fn gated(gate: &Arc<Semaphore>, answer: Answer) -> Answer {
    Answer::Gated(Arc::clone(gate), Box::new(answer))
}

/// What a double shows of `SP_1`: one thing at first, another once it has been turned.
#[derive(Clone)]
pub struct Turn {
    pub before: Answer,
    pub after: Answer,
    turned: Arc<AtomicBool>,
}

impl Turn {
    /// Lets reads and lists of the double show it.
    pub fn of(upstream: &Double, before: Option<Value>, after: Option<Value>) -> Self {
        let show = |item: Option<Value>| item.map_or_else(nothing, |item| showing(&[item]));
        let turn = Self { before: show(before), after: show(after), turned: Arc::default() };
        for operation in [GET, LIST] {
            let turn = turn.clone();
            upstream.always(operation, double::by(move |_| turn.now()));
        }
        turn
    }

    fn now(&self) -> Answer {
        if self.turned.load(SeqCst) { self.after.clone() } else { self.before.clone() }
    }

    pub fn turn(&self) {
        self.turned.store(true, SeqCst);
    }

    /// The answer to a write, which turns it.
    pub fn turning(&self, answer: Answer) -> Answer {
        let turn = self.clone();
        double::by(move |_| {
            turn.turn();
            answer.clone()
        })
    }
}
