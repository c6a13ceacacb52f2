//! Streams of the changes of profiles.
//!
//! The upstreams tell of no changes, so the gateway looks: `poller` is one backend, listed by one task for
//! all streams, at an interval and after each write; `history` what was last seen and the latest changes;
//! `stream` one stream, which takes them from there at its caller's pace.

mod history;
mod poller;
mod settings;
mod stream;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub(super) use poller::Poller;
pub use poller::{Observer, Settings};
pub use settings::WatchSettings;
pub use stream::ChangeStream;

use crate::{
    call::Call,
    error::{Error, Reason, Result},
    gateway::backend::SelectedBackends,
    model::method::Method,
    pb::WatchProfilesRequest,
    query::resume::ResumeTokens,
};

const OPERATION: &str = "WatchProfiles";

/// What the streams of a process share.
pub struct Watches {
    slots: Arc<Semaphore>,
    tokens: Arc<ResumeTokens>,
}

impl Watches {
    /// Room for so many streams at once.
    #[must_use]
    pub fn new(slots: usize, tokens: ResumeTokens) -> Self {
        let slots = slots.min(Semaphore::MAX_PERMITS);
        Self { slots: Arc::new(Semaphore::new(slots)), tokens: Arc::new(tokens) }
    }
}

impl Watches {
    /// Begins a stream of changes. One over a single backend begins when that has been read; of all
    /// backends, those that can be read do not wait for the others.
    pub(super) async fn open(
        &self,
        backends: &SelectedBackends<'_>,
        call: &Call,
        request: &WatchProfilesRequest,
    ) -> Result<ChangeStream> {
        let decorated = |error| backends.decorate(OPERATION, error);
        if let Some(backend) = backends.as_single() {
            backend.require(Method::ListProfiles)?;
        }
        let cursors = match request.resume_token.as_str() {
            "" => Vec::new(),
            token => self.tokens.open(&request.parent, token).map_err(decorated)?,
        };
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot.map_err(|_| decorated(no_slot()))?;
        let tokens = Arc::clone(&self.tokens);
        let stream = ChangeStream::new(&request.parent, backends.all(), cursors, tokens, slot);
        let mut stream = stream.map_err(decorated)?;
        if backends.as_single().is_some() {
            stream.begun(call.deadline).await.map_err(decorated)?;
        }
        Ok(stream)
    }
}

fn no_slot() -> Error {
    Error::new(Reason::Overloaded, "as many streams of changes are open as the gateway keeps")
}
