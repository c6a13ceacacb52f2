//! `grpc.health.v1`: the health of the process, for probes and for clients that balance load.
//!
//! Written here because tonic-health serves Check and Watch but not List. It monitors nothing
//! itself: other parts of the gateway report to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::{Ready, ready},
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use http::{Request as HttpRequest, Response as HttpResponse};
use tokio::{sync::watch, time::timeout};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Body as HttpBody, BoxFuture, BoxStream, Service, StdError},
    server::{Grpc, NamedService, UnaryService},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health as Api, health_server::HealthServer,
};
use tonic_prost::ProstCodec;

use crate::{
    auth::Right,
    call::Admitted,
    error::{Error, Kind, Reason, metadata},
    rpc::{self, compression::with_each},
    server::layers::methods::MAX_PROBE_BYTES,
};

/// What the names of backends begin with.
const BACKENDS: &str = "backends/";
/// The longest that can follow.
const MAX_BACKEND_BYTES: usize = 63;

/// The process's health. A handle: clones share the same state.
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    /// Whether each name that probes can ask for is serving.
    serving: BTreeMap<Arc<str>, bool>,
    draining: bool,
    /// What the process waits for before it serves.
    awaited: BTreeSet<String>,
    /// How long a watch may be without a message.
    keep_alive: Option<Duration>,
}

impl Health {
    /// Everything serves: the process (`""`), each service, and `backends/{backend}` for each id.
    #[must_use]
    pub fn new(services: &[&str], backends: &[impl AsRef<str>]) -> Self {
        let names = services.iter().map(|name| Arc::from(*name));
        let backends = backends.iter().map(|id| backend_name(id.as_ref()).into());
        let serving = names.chain(backends).chain([Arc::from("")]).map(|name| (name, true));
        let state = State { serving: serving.collect(), ..State::default() };
        Self(Arc::new(watch::Sender::new(state)))
    }

    /// Adds a backend, which can be called.
    pub fn add_backend(&self, id: &str) {
        self.0.send_if_modified(|state| {
            state.serving.insert(backend_name(id).into(), true) != Some(true)
        });
    }

    /// Removes a backend: its name is unknown from now on.
    pub fn remove_backend(&self, id: &str) {
        let name = backend_name(id);
        self.0.send_if_modified(|state| state.serving.remove(name.as_str()).is_some());
    }

    /// Sets whether a backend can be called. Changes neither the process's health nor its
    /// readiness: when one backend is down, the others must still be served.
    pub fn set_backend(&self, id: &str, serving: bool) {
        let name = backend_name(id);
        self.0.send_if_modified(|state| {
            let known = state.serving.get_mut(name.as_str());
            known.is_some_and(|known| mem::replace(known, serving) != serving)
        });
    }

    /// Nothing is serving until all of these are [there](Self::has).
    pub fn await_all(&self, names: impl IntoIterator<Item = String>) {
        self.0.send_modify(|state| state.awaited.extend(names));
    }

    /// What the process waited for is there.
    pub fn has(&self, name: &str) {
        self.0.send_if_modified(|state| state.awaited.remove(name));
    }

    /// What the process waits for before it serves.
    pub(crate) fn awaited(&self) -> Vec<String> {
        self.0.borrow().awaited.iter().cloned().collect()
    }

    /// Whether the process accepts calls: all is there that it waits for, and it is not shutting
    /// down. A backend that is down does not count.
    pub(crate) fn is_ready(&self) -> bool {
        let state = self.0.borrow();
        !state.draining && state.awaited.is_empty()
    }

    /// Nothing is serving from now on. This cannot be undone.
    pub(crate) fn drain(&self) {
        self.0.send_modify(|state| state.draining = true);
    }

    /// Sets how long a watch may be without a message. Concerns the watches that begin later.
    pub(crate) fn keep_alive(&self, longest: Option<Duration>) {
        self.0.send_if_modified(|state| {
            state.keep_alive = longest;
            false
        });
    }

    /// Whether the process is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.borrow().draining
    }

    /// Every name with its status, for List and for `/readyz`.
    pub(crate) fn all(&self) -> Vec<(String, ServingStatus)> {
        let state = self.0.borrow();
        state.serving.keys().map(|name| (name.to_string(), state.status(name))).collect()
    }

    /// The ids of all backends.
    pub(crate) fn backends(&self) -> Vec<String> {
        let ids = |name: &Arc<str>| name.strip_prefix(BACKENDS).map(str::to_owned);
        self.0.borrow().serving.keys().filter_map(ids).collect()
    }

    /// The gRPC service.
    pub(crate) fn service(&self, audience: Audience) -> HealthService {
        let view = HealthView { health: self.clone(), audience };
        // Clients that compress all their requests compress these too.
        let generated = with_each(HealthServer::new(view.clone()), HealthServer::accept_compressed);
        let generated = generated.max_decoding_message_size(MAX_PROBE_BYTES);
        HealthService { view, generated }
    }
}

/// Who asks for the health.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Audience {
    /// Callers of the gRPC port, who are told of the backends that they may read.
    Callers,
    /// Whatever probes the process on a port of its own, where there are no callers. It is told of
    /// the backends whose names it knows.
    Probes,
}

/// The health as an audience sees it.
#[derive(Debug, Clone)]
pub(crate) struct HealthView {
    health: Health,
    audience: Audience,
}

impl HealthView {
    /// Whether a call may know of what has this name. Of a backend, no call may that was not
    /// admitted.
    fn may_see(&self, call: Option<&Admitted>, name: &str) -> bool {
        match (self.audience, name.strip_prefix(BACKENDS)) {
            (_, None) | (Audience::Probes, _) => true,
            (Audience::Callers, Some(backend)) => {
                call.is_some_and(|call| call.record.may(Right::Read, backend))
            }
        }
    }
}

impl State {
    /// The name as a watch keeps it for as long as its stream lasts: the one that is here already,
    /// or that of a backend, which may be configured later; and nothing of any other.
    fn known(&self, name: &str) -> Option<Arc<str>> {
        let here = self.serving.get_key_value(name).map(|(name, _)| Arc::clone(name));
        here.or_else(|| {
            let backend = name.strip_prefix(BACKENDS)?;
            (backend.len() <= MAX_BACKEND_BYTES).then(|| name.into())
        })
    }

    fn status(&self, name: &str) -> ServingStatus {
        match self.serving.get(name) {
            None => ServingStatus::ServiceUnknown,
            Some(true) if !self.draining && self.awaited.is_empty() => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        }
    }
}

fn backend_name(id: &str) -> String {
    format!("{BACKENDS}{id}")
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Api for HealthView {
    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = &request.get_ref().service;
        let seen = self.may_see(request.extensions().get(), name);
        match self.health.0.borrow().status(name) {
            _ if !seen => Err(unknown(name)),
            ServingStatus::ServiceUnknown => Err(unknown(name)),
            status => Ok(Response::new(answer(status))),
        }
    }

    // An unknown name is a status here, not an error: the protocol requires the stream to stay
    // open. A backend may be configured later; no other unknown name is kept. A status that stays
    // the same is sent again before a proxy takes the connection for dead; clients that balance
    // load take it as it is. The stream ends with its connection.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let seen = self.may_see(request.extensions().get(), &request.get_ref().service);
        let Health(state) = &self.health;
        let name = state.borrow().known(&request.into_inner().service).filter(|_| seen);
        let seen: Option<ServingStatus> = None;
        let keep_alive = state.borrow().keep_alive.unwrap_or(Duration::MAX);
        let begun = (state.subscribe(), seen, name);
        let statuses = stream::unfold(begun, move |(mut state, seen, name)| async move {
            let status = |state: &State| match &name {
                Some(name) => state.status(name),
                None => ServingStatus::ServiceUnknown,
            };
            let changed = state.wait_for(|state| Some(status(state)) != seen);
            let status = match timeout(keep_alive, changed).await {
                Ok(changed) => status(&*changed.ok()?),
                Err(_) => seen?,
            };
            Some((Ok(answer(status)), (state, Some(status), name)))
        });
        Ok(Response::new(statuses.boxed()))
    }
}

fn unknown(name: &str) -> Status {
    let shown: String = name.chars().take(64).collect();
    let reason = if name.starts_with("backends/") {
        Reason::BackendNotFound
    } else {
        Reason::OperationNotSupported
    };
    let error = Error::new(reason, format!("unknown service {shown:?}"));
    let error = error.with_metadata(metadata::OPERATION, "Check");
    rpc::status::status(&error.with_kind(Kind::NotFound))
}

/// The gRPC service: `List`, and the generated service for the rest.
#[derive(Debug, Clone)]
pub(crate) struct HealthService {
    view: HealthView,
    generated: HealthServer<HealthView>,
}

impl NamedService for HealthService {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl<B> Service<HttpRequest<B>> for HealthService
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        if request.uri().path() != "/grpc.health.v1.Health/List" {
            return self.generated.call(request);
        }
        let list = List(self.view.clone());
        Box::pin(async move {
            let grpc = with_each(Grpc::new(ProstCodec::default()), Grpc::accept_compressed);
            let mut grpc = grpc.max_decoding_message_size(MAX_PROBE_BYTES);
            Ok(grpc.unary(list, request).await)
        })
    }
}

struct List(HealthView);

/// `grpc.health.v1.HealthListRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HealthListRequest {}

/// `grpc.health.v1.HealthListResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HealthListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    pub statuses: BTreeMap<String, HealthCheckResponse>,
}

impl UnaryService<HealthListRequest> for List {
    type Response = HealthListResponse;
    type Future = Ready<Result<Response<HealthListResponse>, Status>>;

    fn call(&mut self, request: Request<HealthListRequest>) -> Self::Future {
        let call = request.extensions().get();
        let Self(view) = self;
        let all = view.health.all().into_iter();
        let seen = all.filter(|(name, _)| view.may_see(call, name));
        let statuses = seen.map(|(name, status)| (name, answer(status)));
        ready(Ok(Response::new(HealthListResponse { statuses: statuses.collect() })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{CallRecord, Proof};

    #[tokio::test]
    async fn a_watch_keeps_a_name_that_is_there_already_and_no_other() {
        let health = Health::new(&["a.Service"], &["sft"]);
        let holders = |name: &str| {
            let state = health.0.borrow();
            state.serving.get_key_value(name).map(|(name, _)| Arc::strong_count(name))
        };
        for known in ["", "a.Service", "backends/sft"] {
            let before = holders(known).unwrap();
            let request = HealthCheckRequest { service: known.to_owned() };
            let view = HealthView { health: health.clone(), audience: Audience::Probes };
            let _watch = view.watch(Request::new(request)).await.unwrap();
            assert_eq!(holders(known), Some(before + 1), "{known}");
        }
        let state = health.0.borrow();
        assert_eq!(state.known("backends/other").as_deref(), Some("backends/other"));
        assert_eq!(state.known(&format!("backends/{}", "x".repeat(64))), None);
        assert_eq!(state.known(&"x".repeat(4096)), None);
    }

    /// What a call is told of the process and of a backend.
    async fn told(health: &Health, audience: Audience, admitted: Option<Admitted>) -> [bool; 2] {
        let view = HealthView { health: health.clone(), audience };
        let mut seen = [false; 2];
        for (seen, name) in seen.iter_mut().zip(["", "backends/sft"]) {
            let mut request = Request::new(HealthCheckRequest { service: name.to_owned() });
            admitted.clone().map(|admitted| request.extensions_mut().insert(admitted));
            *seen = view.check(request).await.is_ok();
        }
        seen
    }

    #[tokio::test]
    async fn a_call_that_nothing_was_found_out_about_is_told_of_no_backend() {
        let health = Health::new(&[], &["sft"]);
        let admitted = |proof: Option<Proof>| {
            let record = Arc::<CallRecord>::default();
            proof.into_iter().for_each(|proof| record.set_proof(proof));
            Some(Admitted { deadline: tokio::time::Instant::now(), record, leave: None })
        };
        for (audience, call, expected) in [
            (Audience::Callers, None, false),
            (Audience::Callers, admitted(None), false),
            (Audience::Callers, admitted(Some(Proof::Nothing)), false),
            (Audience::Callers, admitted(Some(Proof::NotDemanded)), true),
            (Audience::Probes, None, true),
        ] {
            assert_eq!(told(&health, audience, call).await, [true, expected]);
        }
    }
}
