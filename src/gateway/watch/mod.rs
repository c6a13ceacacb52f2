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
    gateway::Gateway,
    model::{method::Method, name::Parent},
    pb::WatchProfilesRequest,
    query::resume::ResumeTokens,
};

const OPERATION: &str = "WatchProfiles";

/// What the streams of a process share.
pub struct Watches {
    places: Arc<Semaphore>,
    tokens: Arc<ResumeTokens>,
}

impl Watches {
    /// Room for so many streams at once.
    #[must_use]
    pub fn new(places: usize, tokens: ResumeTokens) -> Self {
        let places = places.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(places)), tokens: Arc::new(tokens) }
    }
}

impl Gateway {
    /// Begins a stream of changes. One over a single backend begins when that has been read; of all
    /// backends, those that can be read do not wait for the others.
    pub async fn watch_profiles(
        &self,
        call: &Call,
        request: &WatchProfilesRequest,
    ) -> Result<ChangeStream> {
        let parent = Parent::parse("parent", &request.parent)?;
        let backends = self.backends_of(call, &parent, OPERATION)?;
        let explained = |error| match (&parent, backends.as_slice()) {
            (Parent::One(_), [backend]) => backend.explain(OPERATION, error),
            _ => error,
        };
        if let (Parent::One(_), [backend]) = (&parent, backends.as_slice()) {
            backend.require(Method::ListProfiles)?;
        }
        let Watches { places, tokens } = &self.watches;
        let cursors = match request.resume_token.as_str() {
            "" => Vec::new(),
            token => tokens.open(&request.parent, token).map_err(explained)?,
        };
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| explained(no_place()))?;
        let watcher =
            ChangeStream::new(&request.parent, &backends, cursors, Arc::clone(tokens), place);
        let mut watcher = watcher.map_err(explained)?;
        if let Parent::One(_) = parent {
            watcher.begun(call.deadline).await.map_err(explained)?;
        }
        Ok(watcher)
    }
}

fn no_place() -> Error {
    Error::new(Reason::Overloaded, "as many streams of changes are open as the gateway keeps")
}
