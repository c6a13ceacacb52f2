//! What one gRPC call carries through the gateway: its deadline, and what the access log will show.
//!
//! The server makes it and the gateway reads it, so it is below both.

mod decision;
mod id;
mod ids;
mod writes;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::decision::Decision;
pub use self::{
    decision::Denial,
    id::{CALL_ID_LENGTH, CallId, ShownCallId},
    ids::CallerIds,
    writes::Writes,
};
use crate::{
    auth::{Identity, Right},
    cache::{Control, Served},
    caller::{Caller, Held, Spending},
    error::Error,
    text,
};

/// A call that the server has admitted: what is known before its message is read.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// When the response has to be ready: a little before the caller stops waiting.
    pub deadline: Instant,
    /// What the gateway learns while it handles the call.
    pub record: Arc<CallRecord>,
    /// For a stream: cancelled when it has to end, after one last message.
    pub leave: Option<CancellationToken>,
}

impl Admitted {
    /// The call, with what its metadata ask of the cache. No RPC gets one in another way.
    #[must_use]
    pub fn into_call(self, cache_control: Control) -> Call {
        let Self { deadline, record, leave } = self;
        Call { deadline, cache_control, record, leave }
    }
}

/// One gRPC call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Call {
    /// When the response has to be ready: a little before the caller stops waiting.
    pub deadline: Instant,
    /// The caller's cache directives.
    pub cache_control: Control,
    /// What the gateway learns while it handles the call.
    pub record: Arc<CallRecord>,
    /// For a stream: cancelled when it has to end, after one last message. For what the gateway
    /// does by itself: cancelled when it has to give way.
    pub leave: Option<CancellationToken>,
}

/// What proves who a call is of.
#[derive(Debug, Clone)]
pub enum Proof {
    /// Callers need not prove who they are, and may do everything.
    NotDemanded,
    /// Nothing, of a call that needs no proof: it may do what needs no right.
    Nothing,
    /// It is of this caller, and may do what that one may.
    Of(Arc<Identity>),
}

/// What the gateway learns while it handles a call, for the access log and the metrics.
#[derive(Debug, Default)]
pub struct CallRecord {
    id: CallId,
    peer: Option<Arc<str>>,
    /// `None` for what the gateway does for itself.
    caller: Option<Arc<Caller>>,
    /// Unset until it was asked for: until then, nothing may be done for the call.
    proof: OnceLock<Proof>,
    decision: Decision,
    caller_ids: CallerIds,
    /// What a call that failed was about.
    failed: OnceLock<String>,
    /// How it failed, once its status was made with its id in it.
    told: OnceLock<Error>,
    backend: OnceLock<String>,
    spending: Arc<Spending>,
    repeats: AtomicBool,
    /// The method and the resource of a write, which runs apart from its call.
    writing: OnceLock<(&'static str, String)>,
    cache: Mutex<Option<Served>>,
    upstream_requests: Mutex<Vec<String>>,
    omitted: OnceLock<String>,
    /// The memory of its request.
    request: OnceLock<Held>,
    /// The memory of the message that it answers with next.
    answer: Mutex<Option<Held>>,
}

/// How many of the upstream's own request ids a call remembers; a write has fewer steps than that.
const MAX_UPSTREAM_REQUESTS: usize = 16;
/// The longest name of a resource in the log.
const MAX_RESOURCE_BYTES: usize = 256;

impl CallRecord {
    /// The record of a call of this caller, from this peer, with these ids.
    #[must_use]
    pub fn from(peer: Option<Arc<str>>, caller: Arc<Caller>, caller_ids: CallerIds) -> Self {
        Self { peer, caller: Some(caller), caller_ids, ..Self::default() }
    }

    /// What the caller calls the call.
    #[must_use]
    pub fn caller_ids(&self) -> &CallerIds {
        &self.caller_ids
    }

    /// Who calls, to whom all that the call holds and costs is counted.
    #[must_use]
    pub fn caller(&self) -> &Arc<Caller> {
        let proved = self.identity().and_then(|identity| identity.caller());
        proved.or(self.caller.as_ref()).unwrap_or_else(|| Caller::gateway())
    }

    /// Sets what proves who the call is of. The first one stays.
    pub fn set_proof(&self, proof: Proof) {
        // It is found out once, before anything is done for the call.
        let _ = self.proof.set(proof);
    }

    /// Who the call is of, if that is proved.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self.proof.get()? {
            Proof::Of(identity) => Some(identity),
            Proof::NotDemanded | Proof::Nothing => None,
        }
    }

    /// Sets the right that let the call pass. The first one stays.
    pub fn allow(&self, right: Right) {
        self.decision.allow(right);
    }

    /// The right that let the call pass, where callers have to prove who they are.
    #[must_use]
    pub fn allowed(&self) -> Option<Right> {
        self.decision.allowed()
    }

    /// Sets why the call is denied. The first one stays.
    pub fn deny(&self, denial: Denial) {
        self.decision.deny(denial);
    }

    /// Why the call is denied, if it is.
    #[must_use]
    pub fn denied(&self) -> Option<&Denial> {
        self.decision.denied()
    }

    /// Whether its caller may do this in the backend of this name, whether there is one or not.
    #[must_use]
    pub fn may(&self, right: Right, backend: &str) -> bool {
        match self.proof.get() {
            Some(Proof::NotDemanded) => true,
            Some(Proof::Of(identity)) => identity.may(right, backend),
            Some(Proof::Nothing) | None => false,
        }
    }

    /// The gateway's own id of the call.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.id
    }

    /// The other end of the connection: the caller or a proxy.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.peer.as_deref()
    }

    /// Sets the configured backend that the call is for. The first one stays.
    pub fn set_backend(&self, id: &str) {
        // A call that is set twice touches several backends: the first is the one it names.
        let _ = self.backend.set(id.to_owned());
    }

    /// The configured backend that the call is for; `-` for all of them.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        self.backend.get().map(String::as_str)
    }

    /// Sets what the call was about, once it has failed. The first one stays.
    pub fn set_failed(&self, resource: &str) {
        let _ = self.failed.set(text::cut(resource, MAX_RESOURCE_BYTES).into_owned());
    }

    /// Sets how the call failed. Its status has the call's id already.
    pub fn set_told(&self, error: Error) {
        // A call has one status.
        let _ = self.told.set(error);
    }

    /// How the call failed, if its status was made with its id in it.
    #[must_use]
    pub fn told(&self) -> Option<&Error> {
        self.told.get()
    }

    /// The profile or the backend that a call was about that has failed, or that a write is about.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        let failed = self.failed.get().map(String::as_str);
        failed.or_else(|| self.writing().map(|(_, resource)| resource))
    }

    /// Sets how a read was answered. Of several reads, as in a list of all backends, the outcome
    /// that promises least stays, with the age of the oldest.
    pub fn set_cache(&self, served: Served) {
        let mut cache = self.cache.lock();
        *cache = Some(cache.map_or(served, |other| Served {
            outcome: served.outcome.max(other.outcome),
            age: served.age.max(other.age),
        }));
    }

    /// How a read was answered.
    #[must_use]
    pub fn cache(&self) -> Option<Served> {
        *self.cache.lock()
    }

    /// Counts the requests to upstreams, and their time.
    #[must_use]
    pub fn spending(&self) -> &Arc<Spending> {
        &self.spending
    }

    /// Requests to upstreams so far, logins included.
    #[must_use]
    pub fn upstream_calls(&self) -> u32 {
        self.spending.requests()
    }

    /// Adds the upstream's own id of a request of this call.
    pub fn add_upstream_request(&self, id: String) {
        let mut ids = self.upstream_requests.lock();
        if ids.len() < MAX_UPSTREAM_REQUESTS && !ids.contains(&id) {
            ids.push(id);
        }
    }

    /// The upstream's own ids of the requests of this call, if it sends any.
    #[must_use]
    pub fn upstream_requests(&self) -> Vec<String> {
        self.upstream_requests.lock().clone()
    }

    /// Sets the fields that a write leaves out of its response.
    pub fn set_omitted(&self, fields: String) {
        // A call has one response.
        let _ = self.omitted.set(fields);
    }

    /// The fields that a write leaves out of its response, because they are too large.
    #[must_use]
    pub fn omitted(&self) -> Option<&str> {
        self.omitted.get().map(String::as_str)
    }

    /// Keeps the memory of the request for as long as the call.
    pub fn hold_request(&self, taken: Held) {
        // A call has one request.
        let _ = self.request.set(taken);
    }

    /// The memory of the request.
    #[must_use]
    pub fn request(&self) -> Option<&Held> {
        self.request.get()
    }

    /// Keeps the memory of a message until the message is sent, or for as long as the call.
    pub fn hold_answer(&self, taken: Held) {
        *self.answer.lock() = Some(taken);
    }

    /// Takes the memory of the message, to keep it with the message's bytes.
    #[must_use]
    pub fn take_answer(&self) -> Option<Held> {
        self.answer.lock().take()
    }

    /// Marks the call as a repeat of a write whose outcome is unknown.
    pub fn set_repeats(&self) {
        self.repeats.store(true, Ordering::Relaxed);
    }

    /// Marks the call as one whose write runs apart from it.
    pub fn set_writing(&self, method: &'static str, resource: String) {
        // A call is one write.
        let _ = self.writing.set((method, resource));
    }

    /// The method and the resource of such a write.
    #[must_use]
    pub fn writing(&self) -> Option<(&'static str, &str)> {
        self.writing.get().map(|(method, resource)| (*method, resource.as_str()))
    }

    /// Whether the write that the call is about may have taken effect, or may do so later even if
    /// the call ends.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.writing.get().is_some() || self.repeats.load(Ordering::Relaxed)
    }

    /// Whether the write that the call is about may have taken effect, by this call or an earlier
    /// one.
    #[must_use]
    pub fn may_have_written(&self) -> bool {
        self.upstream_calls() > 0 || self.repeats.load(Ordering::Relaxed)
    }
}
