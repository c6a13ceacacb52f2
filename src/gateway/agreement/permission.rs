//! What lets a write be sent.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::write::SharedWrite;
use crate::{
    cache::made,
    error::Result,
    shared::protocol::{Outcome, Target},
    upstream::Session,
};

/// How long the end of a part of a write is waited for.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// What a lock gives, and no write is sent without: that the write is the only one in this process,
/// and that it has its turn among all replicas, if they share a store.
pub(crate) struct Permission(Option<Arc<SharedWrite>>);

impl Permission {
    /// Of a write in a process that shares no store.
    pub(crate) fn here() -> Self {
        Self(None)
    }

    /// Of a write that has its turn.
    pub(crate) fn shared(write: Arc<SharedWrite>) -> Self {
        Self(Some(write))
    }

    /// What other replicas know of it.
    pub(crate) fn write(&self) -> Option<&Arc<SharedWrite>> {
        self.0.as_ref()
    }

    /// Says what the write may change, before it is announced.
    pub(crate) fn about(&self, target: impl FnOnce() -> Target) -> &Self {
        if let Some(write) = &self.0 {
            write.about(target());
        }
        self
    }

    /// A session that asks this right before each of its writes.
    pub(crate) fn guard(&self, session: Session) -> Session {
        match &self.0 {
            Some(write) => session.permitted_by(Arc::clone(write) as _),
            None => session,
        }
    }

    /// Announces a write that is a part of another one.
    ///
    /// # Errors
    ///
    /// `STORE_UNAVAILABLE` if nothing of it may be sent.
    pub(crate) async fn open(&self, end: Instant) -> Result<()> {
        match &self.0 {
            Some(write) => write.open(None, None, end).await,
            None => Ok(()),
        }
    }

    /// Says what the write has made of a profile, before it is closed: its etag if it is there,
    /// empty if it could not be read. To be said whenever the cache is told.
    pub(crate) fn made(&self, id: &str, etag: Option<&str>) {
        if let Some(write) = &self.0 {
            write.has_made(made(id, etag));
        }
    }

    /// The rest of what this call has begun to send is a part of it.
    pub(crate) fn goes_on(&self) {
        self.0.iter().for_each(|write| write.goes_on());
    }

    /// Closes such a part, within this time if that is possible. The rest of the write waits for
    /// all replicas.
    pub(crate) async fn close(&self, is_unsettled: bool, end: Instant) {
        let Some(write) = &self.0 else { return };
        let outcome = if is_unsettled { Outcome::Unknown } else { Outcome::Nothing };
        let (tell, told) = oneshot::channel();
        let closing = Arc::clone(write);
        write.agreement().spawn(async move {
            // Otherwise it ends at its declared end.
            let _ = closing.close(outcome, None, None, closing.forgotten_at()).await;
            let _ = tell.send(());
        });
        let _ = timeout_at(end.min(Instant::now() + CLOSED_WITHIN), told).await;
    }
}
