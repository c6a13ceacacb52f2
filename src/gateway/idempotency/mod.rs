//! Which writes have been asked for under a `request_id`, and what became of each: how a repeated write
//! is recognized.
//!
//! [`IdempotencyStore`] keeps them; [`Memory`] does so in this process, and a store that replicas share can
//! replace it. An id is unique in the whole gateway, whatever the method and the backend: the same id with
//! a different request is an error of the caller.
//!
//! The entry of a write is its journal too: what a write is about to do is kept before it is sent, so
//! that a repeat can find out what became of it. Intents and results are opaque here.

mod memory;
#[cfg(test)]
mod tests;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use memory::{Limits, Memory};

use crate::error::{Error, Result};

/// How long an ended write is known.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Identifies a requested write, so that repeats of it are recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdentity {
    /// The caller's id, whatever its spelling.
    pub id: Uuid,
    /// SHA-256 of the method and the whole request.
    pub fingerprint: [u8; 32],
}

impl RequestIdentity {
    /// The identity of a request whose `request_id` has been taken out of it; `None` without a valid
    /// id. Fields are encoded in their order and maps by their sorted keys, so equal
    /// requests have equal bytes.
    #[must_use]
    pub fn of(method: &str, request_id: &str, request: &impl Message) -> Option<Self> {
        let id = Uuid::try_parse(request_id).ok()?;
        let mut hash = Sha256::new();
        hash.update(method.as_bytes());
        hash.update([0]);
        hash.update(request.encode_to_vec());
        Some(Self { id, fingerprint: hash.finalize().into() })
    }
}

/// Resolves when a write under way has ended: with its end, or with nothing where the store has to be
/// asked again.
pub type Ending = Pin<Box<dyn Future<Output = Option<End>> + Send>>;

/// What a store knows of an id, for a call that would write.
pub enum Begin {
    /// Nothing has been written under it: write. The attempt is the caller's until it is ended.
    Fresh(u64),
    /// Another call is writing.
    Running(Ending),
    /// It is done, with this result.
    Done(Bytes),
    /// An earlier attempt was sent, and what became of it is not known. The new attempt is the caller's.
    Unknown {
        /// The number of the new attempt.
        attempt: u64,
        /// What the earlier one was about to do.
        intent: Bytes,
        /// How long ago the earlier one ended: it has sent nothing since.
        ended: Duration,
    },
    /// It was used for another request.
    Reused,
}

impl fmt::Debug for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fresh(_) => "Fresh",
            Self::Running(_) => "Running",
            Self::Done(_) => "Done",
            Self::Unknown { .. } => "Unknown",
            Self::Reused => "Reused",
        })
    }
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum End {
    /// It is done: a repeat gets this result.
    Done(Bytes),
    /// It wrote nothing: callers that waited for it get the error, and a repeat tries again.
    Failed(Error),
    /// Its outcome is not known: a repeat has to find out. An attempt that journaled nothing has sent
    /// nothing, and counts as failed.
    Unknown,
}

/// Keeps what is known of ids.
///
/// A store that replicas share gives out attempts that run out unless renewed; one that has run out
/// counts as [`End::Unknown`].
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Begins an attempt, unless there is nothing left to do or another call is doing it.
    ///
    /// # Errors
    ///
    /// `OVERLOADED` when there is no room and no entry may be dropped.
    async fn begin(&self, identity: &RequestIdentity) -> Result<Begin>;

    /// Keeps what an attempt is about to do, in place of what an earlier one was. Comes before the
    /// write is sent.
    ///
    /// # Errors
    ///
    /// `OVERLOADED` when there is no room: the write must not be sent.
    async fn intend(&self, id: Uuid, attempt: u64, intent: Bytes) -> Result<()>;

    /// Ends an attempt.
    ///
    /// # Errors
    ///
    /// When it could not be kept; it then counts as [`End::Unknown`].
    async fn finish(&self, id: Uuid, attempt: u64, end: End) -> Result<()>;

    /// Ends an attempt whose task is gone, as [`End::Unknown`]. Must not wait: a panic calls it.
    fn abandon(&self, id: Uuid, attempt: u64);
}

/// An attempt under way. Dropped before its end, as by a panic, it is of unknown outcome.
pub struct Attempt {
    store: Arc<dyn IdempotencyStore>,
    id: Uuid,
    number: u64,
    over: bool,
}

impl Attempt {
    /// The attempt that [`IdempotencyStore::begin`] has given out.
    #[must_use]
    pub fn new(store: Arc<dyn IdempotencyStore>, id: Uuid, number: u64) -> Self {
        Self { store, id, number, over: false }
    }

    /// See [`IdempotencyStore::intend`].
    pub async fn intend(&self, intent: Bytes) -> Result<()> {
        self.store.intend(self.id, self.number, intent).await
    }

    /// See [`IdempotencyStore::finish`].
    pub async fn finish(mut self, end: End) {
        match self.store.finish(self.id, self.number, end).await {
            Ok(()) => self.over = true,
            // Left to `drop`.
            Err(error) => {
                tracing::warn!(target: "gateway", request_id = %self.id, %error, "could not record the \
                    outcome of a write");
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.over {
            self.store.abandon(self.id, self.number);
        }
    }
}
