//! Streams of profile changes.
//!
//! The upstreams do not announce changes, so the gateway polls. `poller` lists one backend in one
//! task for all streams, at an interval and after each write. `history` keeps the last list and the
//! latest changes. `stream` is one stream, which reads them from there at its caller's pace.

mod cadence;
mod follower;
mod history;
mod keeper;
mod kept;
mod listed;
mod metrics;
mod poller;
mod settings;
mod sharing;
mod state;
mod stream;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};

pub use keeper::EarlierHistories;
pub use kept::{can_read, count};
pub use metrics::{BackendWatchMetrics, WatchMetrics};
pub use settings::WatchSettings;
pub use stream::ChangeStream;

use crate::{
    cache::{AccountName, BackgroundTasks},
    call::Call,
    caller::{Callers, Pool, Resource},
    error::Result,
    gateway::{
        backend::Backend,
        door::{Reads, SelectedBackends},
        watch::{
            poller::Poller,
            state::replaced,
            stream::{Ends, METHOD, Source},
        },
    },
    model::method::Method,
    pb::WatchProfilesRequest,
    query::resume::ResumeTokens,
    resources::Share,
    shared::{history::SharedHistory, membership::Membership},
};

/// Most change streams at once.
const MAX_STREAMS: usize = 1000;

/// What the streams of a process share.
pub struct Watches {
    slots: Arc<Pool>,
    tokens: Arc<ResumeTokens>,
    /// Runs the polls. They end together with the cache's loads, when no call is left.
    tasks: BackgroundTasks,
    /// By the id of the backend.
    pollers: RwLock<BTreeMap<String, Arc<Poller>>>,
    /// How long a stream may be without a message.
    keep_alive: Option<Duration>,
    /// The memory of what the pollers keep.
    memory: Share,
    /// What earlier processes have left, and where it is kept.
    earlier: Mutex<Option<EarlierHistories>>,
    /// The replicas that share what they see.
    replicas: Option<Arc<Membership>>,
}

impl Watches {
    /// Room for streams among the concurrent calls of the process. An open stream counts as a call,
    /// and other calls need room too, so streams get half of it.
    #[must_use]
    pub fn among_calls(
        max_concurrent_calls: usize,
        callers: &Callers,
        tokens: ResumeTokens,
        tasks: BackgroundTasks,
    ) -> Self {
        let slots = (max_concurrent_calls / 2).clamp(1, MAX_STREAMS);
        Self::new(callers.pool(Resource::Streams, slots), tokens, tasks)
    }

    /// Room for a stream in each of the places, with no backends yet.
    #[must_use]
    pub fn new(slots: Arc<Pool>, tokens: ResumeTokens, tasks: BackgroundTasks) -> Self {
        Self {
            slots,
            tokens: Arc::new(tokens),
            tasks,
            pollers: RwLock::default(),
            keep_alive: None,
            memory: Share::boundless(Resource::HistoryBytes),
            earlier: Mutex::default(),
            replicas: None,
        }
    }

    /// Lets each stream send a bookmark when it had no message for so long.
    #[must_use]
    pub fn keep_alive(self, longest: Option<Duration>) -> Self {
        Self { keep_alive: longest, ..self }
    }

    /// Keeps changes and lists within this memory, of backends that are added later.
    #[must_use]
    pub fn within(self, memory: Share) -> Self {
        Self { memory, ..self }
    }

    /// Goes on with what earlier processes have left of backends that are added later, and keeps it
    /// for the next one.
    #[must_use]
    pub fn keep_in(self, earlier: EarlierHistories) -> Self {
        Self { earlier: Mutex::new(Some(earlier)), ..self }
    }

    /// Shares with these replicas what is seen of backends that are added later.
    #[must_use]
    pub fn share_with(self, replicas: Option<Arc<Membership>>) -> Self {
        Self { replicas, ..self }
    }

    /// Adds a backend, in the place of one of the same name, whose streams end: a client that opens
    /// them again is told what is there now. `account` tells its account from others, to this
    /// process and to all replicas.
    pub fn add(
        &self,
        backend: &str,
        (account, shared): (u32, &AccountName),
        settings: WatchSettings,
        metrics: BackendWatchMetrics,
    ) {
        let (tasks, memory) = (self.tasks.clone(), self.memory.clone());
        self.remove(backend);
        let mut earlier = self.earlier.lock();
        let earlier = earlier.as_mut().and_then(|earlier| earlier.of(backend, account));
        let replicas = self.replicas.clone();
        // One of another account has another list, also where only secrets tell them apart.
        let name = format!("{backend}-{account:x}");
        let shared = replicas.map(|replicas| SharedHistory::new(replicas, shared, &name));
        let poller = Poller::new(settings, tasks, metrics, memory, (earlier, shared));
        self.pollers.write().insert(backend.to_owned(), Arc::new(poller));
    }

    /// Streams over this backend, and over no other of its name, are opened from now on.
    pub fn bind(&self, backend: &Arc<Backend>) {
        if let Some(poller) = self.pollers.read().get(backend.name().id()) {
            poller.bind(backend);
        }
    }

    /// Removes a backend. Its streams end, and nothing is kept of what they told.
    pub fn remove(&self, backend: &str) {
        let removed = self.pollers.write().remove(backend);
        if let Some(poller) = removed {
            poller.retire(backend);
        }
    }

    /// All backends are added: forgets what earlier processes have left of others.
    #[must_use]
    pub fn complete(self) -> Self {
        if let Some(earlier) = self.earlier.lock().as_mut() {
            earlier.forget();
        }
        self
    }

    /// Opens a change stream. A stream over a single backend begins when that backend has been
    /// read. A stream over all backends begins at once, and each backend joins when it has been
    /// read.
    pub(super) async fn open(
        &self,
        backends: &SelectedBackends<Reads>,
        call: &Call,
        request: &WatchProfilesRequest,
    ) -> Result<ChangeStream> {
        let decorated = |error| backends.decorate(METHOD, error);
        if let Some(backend) = backends.as_single() {
            backend.require(Method::ListProfiles)?;
        }
        let caller = call.record.caller().id().to_string();
        let cursors = match request.resume_token.as_str() {
            "" => Vec::new(),
            token => self.tokens.open(&caller, &request.parent, token).map_err(decorated)?,
        };
        let slot = self.slots.acquire(call.record.caller(), 1);
        let slot = slot.map_err(|full| decorated(full.into()))?;
        let mut sources = Vec::new();
        for backend in backends.all() {
            let poller = self.poller(backend).map_err(decorated)?;
            let mut source = Source::new(backend, &poller);
            if let Some(cursor) =
                cursors.iter().find(|cursor| cursor.backend == backend.name().id())
            {
                source.resume(cursor, call.deadline).await.map_err(decorated)?;
            }
            sources.push(source);
        }
        let tokens = Arc::clone(&self.tokens);
        let ends = Ends { keep_alive: self.keep_alive, leave: call.leave.clone() };
        let mut stream = ChangeStream::new((caller, &request.parent), sources, tokens, ends, slot);
        if backends.as_single().is_some() {
            stream.begun(call.deadline).await.map_err(decorated)?;
        }
        Ok(stream)
    }

    /// What polls a backend. A backend that was replaced since the call has found it has none.
    fn poller(&self, backend: &Arc<Backend>) -> Result<Arc<Poller>> {
        let id = backend.name().id();
        let poller = self.pollers.read().get(id).cloned();
        poller.filter(|poller| poller.is_of(backend)).ok_or_else(|| replaced(id))
    }
}
