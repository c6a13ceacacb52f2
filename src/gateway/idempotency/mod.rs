//! Recognizes repeated writes: which writes were requested under a `request_id`, and the outcome of
//! each.
//!
//! [`IdempotencyStore`] keeps them. [`Ledger`] does so for this process, and for those after it if
//! its [`Store`](crate::store::Store) outlives it; a store that replicas share can replace it. An
//! id is unique for its caller, across methods and backends: using the same id for a different
//! request is the caller's error. Callers do not share ids.
//!
//! The entry of a write is also its journal: its intent is stored before it is sent, so that a
//! repeat, or the gateway itself, can find out the outcome. So a write without a `request_id` has
//! an entry too, under an id that no caller can name, until its outcome is known. Intents and
//! results are opaque bytes here.

mod adopted;
mod doubt;
mod entries;
mod key;
mod ledger;
mod limits;
mod metrics;
mod promise;
mod record;
mod settings;
mod settling;
mod shared;
#[cfg(test)]
mod tests;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::{
    doubt::{Closed, Closing, Doubt, Looks, Settling, Unsettled},
    key::{RequestIdentity, RequestKey},
    ledger::Ledger,
    limits::Limits,
    metrics::{RequestIdMetrics, SettledAs},
    promise::promises,
    record::{KeptRequest, KeptState, read},
    settings::{LONGEST_KEPT, RequestIdSettings},
    shared::Shared,
};
use super::agreement::SharedWrite;
use crate::{
    call::CallId,
    error::{Error, Result},
    store::SOON,
};

/// Who begins an attempt.
#[derive(Debug, Clone)]
pub struct Attempter {
    /// The call.
    pub call: CallId,
    /// The profile, or the backend of a creation.
    pub resource: String,
    /// When the call has to be answered.
    pub deadline: Instant,
    /// After this, the attempt sends nothing more, whatever becomes of the process.
    pub until: Instant,
}

/// Resolves when a running write has ended: with how it ended, or with `None` if the caller has to
/// ask the store again.
pub type Ending = Pin<Box<dyn Future<Output = Option<End>> + Send>>;

/// What a store knows about an id when a call wants to write.
pub enum Begin {
    /// Nothing has been written under it, so the caller may write. It owns the new attempt, which
    /// has this number, until it ends it.
    Fresh(u64),
    /// Another call is writing under it.
    Running(Ending),
    /// The write succeeded with this result.
    Done(Bytes),
    /// An earlier attempt was sent, and its outcome is unknown. The caller owns the new attempt.
    Unknown {
        /// The number of the new attempt.
        attempt: u64,
        /// What the earlier attempt was about to do.
        intent: Bytes,
        /// How long ago the earlier attempt ended: it has sent nothing since.
        ended: Duration,
    },
    /// It was used for another request.
    Reused,
    /// An operator has said that the write took effect. Its result is not known.
    Closed,
}

impl fmt::Debug for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fresh(_) => "Fresh",
            Self::Running(_) => "Running",
            Self::Done(_) => "Done",
            Self::Unknown { .. } => "Unknown",
            Self::Reused => "Reused",
            Self::Closed => "Closed",
        })
    }
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum End {
    /// It succeeded: a repeat gets this result.
    Done(Bytes),
    /// It succeeded with this result without writing anything: the calls that waited for it get the
    /// result, and its entry is dropped.
    Nothing(Bytes),
    /// It wrote nothing: the calls that waited for it get the error, and its entry is dropped.
    Failed(Error),
    /// Its outcome is unknown: a repeat has to find it out. An attempt that journaled nothing has
    /// sent nothing, so it counts as failed.
    Unknown,
    /// It found out that an earlier attempt has no effect and will not have any: its entry is
    /// dropped, and the calls that waited may write.
    NoEffect,
}

/// Keeps what is known about ids.
///
/// An attempt whose process has died counts as [`End::Unknown`]. A store that replicas share learns
/// of that only from the time that is over: it grants attempts `until` then.
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// What callers can rely on when they send a `request_id`, in a sentence.
    fn guarantee(&self) -> &str;

    /// How long a write is remembered after its end.
    fn kept_for(&self) -> Duration;

    /// Begins an attempt, unless the write is already done or another call is running it.
    ///
    /// # Errors
    ///
    /// `CALLER_QUOTA_EXCEEDED` if the caller has its share of the store, and `OVERLOADED` if the
    /// store is full.
    async fn begin(&self, identity: &RequestIdentity, attempter: Attempter) -> Result<Begin>;

    /// Says under which write, as all replicas know it, an attempt announces what it does next.
    fn under(&self, _: RequestKey, _: u64, _: &Arc<SharedWrite>) {}

    /// Announces to all replicas that an attempt finds out what an earlier one did.
    ///
    /// # Errors
    ///
    /// `STORE_UNAVAILABLE`: nothing that depends on it may be done.
    async fn look(&self, _: RequestKey, _: u64) -> Result<()> {
        Ok(())
    }

    /// Ends what an attempt has announced, which goes on.
    async fn let_go(&self, _: RequestKey, _: u64) {}

    /// Stores the intent of an attempt, which replaces that of an earlier one. Called before the
    /// write is sent.
    ///
    /// # Errors
    ///
    /// As [`Self::begin`], and `STORE_UNAVAILABLE`: the write must not be sent.
    async fn intend(&self, key: RequestKey, attempt: u64, intent: Bytes) -> Result<()>;

    /// How long the end of an attempt is waited for, if [`Self::finish`] has no bound of its own.
    fn patience(&self) -> Option<Duration> {
        Some(SOON)
    }

    /// Ends an attempt. When it returns, a write that is done stays done. False if the attempt had
    /// ended before: an operator has closed the doubt that it was to find out.
    ///
    /// # Errors
    ///
    /// If the end could not be stored; the attempt then counts as [`End::Unknown`].
    async fn finish(&self, key: RequestKey, attempt: u64, end: End) -> Result<bool>;

    /// Ends an attempt whose task is gone as [`End::Unknown`]. Must not block: it also runs during
    /// a panic.
    fn abandon(&self, key: RequestKey, attempt: u64);

    /// The writes whose outcome is unknown: those with a number above this one, at most so many, by
    /// number.
    ///
    /// # Errors
    ///
    /// `STORE_UNAVAILABLE` if the store cannot be read.
    async fn doubts(&self, after: u64, limit: usize) -> Result<Vec<Doubt>>;

    /// Begins an attempt of the gateway itself to find out the outcome of a write, unless a call is
    /// at it, or another replica has found it out, or nothing is in doubt any more. It is told to
    /// give way when a call wants to do that, or an operator ends the doubt; if it is
    /// [abandoned](Self::abandon), all is as before.
    ///
    /// # Errors
    ///
    /// As [`Self::doubts`].
    async fn settle(&self, number: u64, settler: Settler) -> Result<Settling>;

    /// Hears of other replicas: takes over the doubts of those that have ended, and gives the
    /// numbers of doubts that another one has found out.
    async fn hear(&self) -> Vec<u64> {
        Vec::new()
    }

    /// An attempt of the gateway itself is about to write: from here on, it gives way to no one.
    ///
    /// # Errors
    ///
    /// `CALLER_CANCELLED` if it has to give way, or has ended.
    async fn goes_on(&self, key: RequestKey, attempt: u64) -> Result<()>;

    /// Ends an attempt of the gateway itself that did not find out the outcome, and says why.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`].
    async fn leave(&self, key: RequestKey, attempt: u64, why: Unsettled) -> Result<()>;

    /// Ends a doubt, as it was seen, as an operator says. When it returns, it stays ended.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`].
    async fn close(&self, doubt: &Doubt, closing: Closing) -> Result<Closed>;

    /// Those that were dropped since this was asked before, because their time was over.
    ///
    /// # Errors
    ///
    /// As [`Self::doubts`].
    async fn dropped(&self) -> Result<Vec<Doubt>>;
}

/// The gateway itself, as it finds out the outcome of a write.
#[derive(Debug, Clone)]
pub struct Settler {
    /// After this, it sends nothing more.
    pub until: Instant,
    /// Cancelled when it has to give way.
    pub gives_way: CancellationToken,
}

/// A running attempt. If it is dropped before it ends, as by a panic, its outcome is unknown.
pub struct Attempt {
    store: Arc<dyn IdempotencyStore>,
    key: RequestKey,
    number: u64,
    over: bool,
}

impl Attempt {
    /// The attempt that [`IdempotencyStore::begin`] granted.
    #[must_use]
    pub fn new(store: Arc<dyn IdempotencyStore>, key: RequestKey, number: u64) -> Self {
        Self { store, key, number, over: false }
    }

    /// Whether a repeat of the write is recognized.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.key.is_named
    }

    /// See [`IdempotencyStore::leave`].
    pub async fn leave(mut self, why: Unsettled) {
        // If it fails, `drop` abandons the attempt.
        self.over = self.store.leave(self.key, self.number, why).await.is_ok();
    }

    /// See [`IdempotencyStore::under`].
    pub(crate) fn under(&self, write: &Arc<SharedWrite>) {
        self.store.under(self.key, self.number, write);
    }

    /// See [`IdempotencyStore::look`].
    pub async fn look(&self) -> Result<()> {
        self.store.look(self.key, self.number).await
    }

    /// See [`IdempotencyStore::let_go`].
    pub async fn let_go(&self) {
        self.store.let_go(self.key, self.number).await;
    }

    /// See [`IdempotencyStore::intend`].
    pub async fn intend(&self, intent: Bytes) -> Result<()> {
        self.store.intend(self.key, self.number, intent).await
    }

    /// See [`IdempotencyStore::goes_on`].
    pub async fn goes_on(&self) -> Result<()> {
        self.store.goes_on(self.key, self.number).await
    }

    /// See [`IdempotencyStore::patience`].
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.store.patience()
    }

    /// See [`IdempotencyStore::finish`].
    pub async fn finish(mut self, end: End) -> bool {
        match self.store.finish(self.key, self.number, end).await {
            Ok(ended) => {
                self.over = true;
                ended
            }
            // `drop` abandons the attempt.
            Err(error) => {
                tracing::warn!(
                    target: "gateway", request_id = %self.key.id, %error,
                    "could not record the outcome of a write"
                );
                true
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.over {
            self.store.abandon(self.key, self.number);
        }
    }
}
