//! Request ids over replicas: what the ledger of this process knows, and what all of them agree on.
//!
//! The ledger has the limits, the quotas, the doubts, and those who wait in this process. The store
//! that replicas share has one record for each id: an attempt begins there after it began here, and
//! its intent, its end, and its turn are there before anything is sent, or told. That a write is
//! done is only known here once all replicas know it.

mod attempted;
mod doubts;
mod hearing;
mod others;
mod words;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

pub(super) use self::words::name;
use self::{
    attempted::Attempted,
    others::Others,
    words::{Effective, described, fingerprint, undescribed},
};
use super::{
    Attempter, Begin, Closed, Closing, Doubt, End, IdempotencyStore, Ledger, RequestIdentity,
    RequestKey, Settler, Settling, Unsettled, promise,
};
use crate::{
    error::Result,
    gateway::agreement::{Agreement, Looks, RequestBegun, RequestRef, SharedWrite},
};

/// How long the end of a write that did not take effect is waited for.
const END: Duration = Duration::from_secs(1);

/// An attempt: the id, and its number in the ledger.
type Id = (RequestKey, u64);

/// The request ids of all replicas.
pub struct Shared {
    ledger: Arc<Ledger>,
    agreement: Arc<Agreement>,
    /// The attempts of this process that run.
    attempts: Mutex<HashMap<Id, Arc<Attempted>>>,
    others: Others,
    guarantee: String,
}

impl Shared {
    /// Over the ledger of this process.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, agreement: Arc<Agreement>) -> Self {
        let guarantee = promise::over_replicas(ledger.kept_for());
        let (attempts, others) = (Mutex::default(), Others::default());
        Self { ledger, agreement, attempts, others, guarantee }
    }

    fn put(&self, id: Id, attempted: Attempted) {
        self.attempts.lock().insert(id, Arc::new(attempted));
    }

    fn get(&self, id: Id) -> Option<Arc<Attempted>> {
        self.attempts.lock().get(&id).cloned()
    }

    fn take(&self, id: Id) -> Option<Arc<Attempted>> {
        self.attempts.lock().remove(&id)
    }

    /// What an attempt of this process is about to do, or an earlier one was, as all have it.
    fn described(&self, (key, attempt): Id, intent: &[u8]) -> Arc<[u8]> {
        match self.ledger.about(key, attempt) {
            Some((number, about)) => described(intent, number, &about),
            None => intent.into(),
        }
    }

    /// Ends an attempt apart from its call. The ledger knows of it, or does not have to.
    fn close_later(&self, attempted: Arc<Attempted>, end: End) {
        self.agreement.spawn(async move {
            // Otherwise it ends at its declared end.
            let _ = attempted.close(&end).await;
        });
    }

    /// Lets an attempt of the ledger go on, if no other replica is at the same. `known` is what the
    /// ledger knows of an earlier one.
    async fn begin_there(
        &self,
        identity: &RequestIdentity,
        by: &Attempter,
        known: Option<(Bytes, Duration)>,
        attempt: u64,
    ) -> Result<Begin> {
        let (id, answers_by) = ((identity.key, attempt), Agreement::answers_by(by.deadline));
        let request =
            RequestRef::new(name(&identity.key), fingerprint(&identity.fingerprint), true);
        let as_known = |known| match known {
            Some((intent, ended)) => Begin::Unknown { attempt, intent, ended },
            None => Begin::Fresh(attempt),
        };
        match self.agreement.begin(request.clone(), by.until, Some(answers_by), None).await? {
            RequestBegun::Granted { holds, earlier, .. } => {
                // What this process does not know to have had no effect is looked for.
                let forgotten = known.as_ref().filter(|_| earlier.is_none());
                let forgotten = forgotten.map(|(intent, _)| self.described(id, intent));
                self.put(id, Attempted::named(answers_by, request, holds, forgotten));
                let earlier = earlier.map(|(intent, ended)| (undescribed(&intent).0, ended));
                Ok(as_known(earlier.or(known)))
            }
            RequestBegun::Alone => {
                self.put(id, Attempted::alone(answers_by));
                Ok(as_known(known))
            }
            RequestBegun::Running(running) => {
                let deadline = by.deadline;
                Ok(Begin::Running(Box::pin(async move {
                    running.wait(&mut Looks::rare(), deadline).await;
                    None
                })))
            }
            RequestBegun::Done(result, closed) => {
                let told = self.agreement.acknowledged(&closed, true);
                self.agreement.waits(answers_by, told).await;
                Ok(match Effective::read(&result) {
                    Effective::Done(result) => Begin::Done(result),
                    Effective::Closed => Begin::Closed,
                })
            }
            RequestBegun::Reused => Ok(Begin::Reused),
        }
    }

    /// Ends a write that took effect: repeats find it, all replicas know of it, and then this
    /// process does too.
    async fn end_done(&self, id: Id, attempted: Arc<Attempted>, end: End) -> bool {
        let (ledger, agreement) = (Arc::clone(&self.ledger), Arc::clone(&self.agreement));
        let answers_by = attempted.answers_by;
        let (tell, told) = oneshot::channel();
        self.agreement.spawn(async move {
            close_done(&agreement, id, &attempted, &end).await;
            let (key, attempt) = id;
            // Who waits may have gone.
            let _ = tell.send(ledger.finish(key, attempt, end).await.unwrap_or(true));
        });
        let told = self.agreement.waits(answers_by, told).await;
        told.and_then(std::result::Result::ok).unwrap_or(true)
    }
}

async fn close_done(agreement: &Agreement, (key, _): Id, attempted: &Attempted, end: &End) {
    match attempted.close(end).await {
        Ok(Some(closed)) => {
            // The record of one without an id may have ended with an answer that was lost.
            if !closed.was_mine && key.is_named {
                tracing::warn!(
                    target: "gateway", request_id = %key.id,
                    "a write took effect after another replica had begun to find that out"
                );
            }
            agreement.acknowledged(&closed, false).await;
        }
        Ok(None) => {}
        Err(_) => tracing::warn!(
            target: "gateway", request_id = %key.id,
            "the end of a write is not in the store that replicas share; a repeat elsewhere finds \
             out that it took effect"
        ),
    }
}

/// An attempt of the ledger that has not begun elsewhere. If that fails, or is given up, all is as
/// before.
struct Beginning<'a> {
    ledger: &'a Ledger,
    id: Id,
    has_begun: bool,
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        if !self.has_begun {
            let (key, attempt) = self.id;
            self.ledger.abandon(key, attempt);
        }
    }
}

#[async_trait]
impl IdempotencyStore for Shared {
    fn guarantee(&self) -> &str {
        &self.guarantee
    }

    fn kept_for(&self) -> Duration {
        self.ledger.kept_for()
    }

    async fn begin(&self, identity: &RequestIdentity, attempter: Attempter) -> Result<Begin> {
        let begin = self.ledger.begin(identity, attempter.clone()).await?;
        let (attempt, known) = match begin {
            Begin::Fresh(attempt) => (attempt, None),
            Begin::Unknown { attempt, intent, ended } => (attempt, Some((intent, ended))),
            // What is known here holds for all.
            Begin::Running(_) | Begin::Done(_) | Begin::Reused | Begin::Closed => return Ok(begin),
        };
        let id = (identity.key, attempt);
        let mut beginning = Beginning { ledger: &self.ledger, id, has_begun: false };
        let begin = match identity.key.is_named {
            true => self.begin_there(identity, &attempter, known, attempt).await?,
            false => {
                let answers_by = Agreement::answers_by(attempter.deadline);
                let own = fingerprint(&identity.fingerprint);
                let request = RequestRef::new(name(&identity.key), own, false);
                self.put(id, Attempted::unnamed(answers_by, request));
                Begin::Fresh(attempt)
            }
        };
        beginning.has_begun = matches!(begin, Begin::Fresh(_) | Begin::Unknown { .. });
        Ok(begin)
    }

    fn under(&self, key: RequestKey, attempt: u64, write: &Arc<SharedWrite>) {
        if let Some(attempted) = self.get((key, attempt)) {
            attempted.under(write);
        }
    }

    async fn look(&self, key: RequestKey, attempt: u64) -> Result<()> {
        match self.get((key, attempt)) {
            Some(attempted) => attempted.open(None).await,
            None => Ok(()),
        }
    }

    async fn let_go(&self, key: RequestKey, attempt: u64) {
        if let Some(attempted) = self.get((key, attempt)) {
            attempted.let_go().await;
        }
    }

    async fn intend(&self, key: RequestKey, attempt: u64, intent: Bytes) -> Result<()> {
        self.ledger.intend(key, attempt, intent.clone()).await?;
        let Some(attempted) = self.get((key, attempt)) else { return Ok(()) };
        if let Some(token) = attempted.token() {
            self.others.sent(key, token);
        }
        attempted.open(Some(self.described((key, attempt), &intent))).await
    }

    /// A write is answered when all replicas know of it, or its call ends.
    fn patience(&self) -> Option<Duration> {
        None
    }

    async fn finish(&self, key: RequestKey, attempt: u64, end: End) -> Result<bool> {
        if !matches!(end, End::Unknown) {
            self.others.is_known(key);
        }
        let Some(attempted) = self.take((key, attempt)) else {
            return self.ledger.finish(key, attempt, end).await;
        };
        // What was not there before may still be in the memory of another replica.
        if matches!(end, End::Done(_) | End::Nothing(_)) {
            return Ok(self.end_done((key, attempt), attempted, end).await);
        }
        let ended = self.ledger.finish(key, attempt, end.clone()).await;
        let answers_by = attempted.answers_by;
        let (tell, told) = oneshot::channel();
        self.agreement.spawn(async move {
            // Otherwise it ends at its declared end.
            let _ = attempted.close(&end).await;
            let _ = tell.send(());
        });
        let _ = timeout_at(answers_by.min(Instant::now() + END), told).await;
        ended
    }

    fn abandon(&self, key: RequestKey, attempt: u64) {
        // One that is being finished is not there.
        if let Some(attempted) = self.take((key, attempt)) {
            self.ledger.abandon(key, attempt);
            self.close_later(attempted, End::Unknown);
        }
    }

    async fn doubts(&self, after: u64, limit: usize) -> Result<Vec<Doubt>> {
        self.ledger.doubts(after, limit).await
    }

    async fn settle(&self, number: u64, settler: Settler) -> Result<Settling> {
        self.settle_there(number, settler).await
    }

    async fn hear(&self) -> Vec<u64> {
        self.adopt().await;
        self.settled_elsewhere().await
    }

    async fn goes_on(&self, key: RequestKey, attempt: u64) -> Result<()> {
        self.ledger.goes_on(key, attempt).await
    }

    async fn leave(&self, key: RequestKey, attempt: u64, why: Unsettled) -> Result<()> {
        if let Some(attempted) = self.take((key, attempt)) {
            self.close_later(attempted, End::Unknown);
        }
        self.ledger.leave(key, attempt, why).await
    }

    async fn close(&self, doubt: &Doubt, closing: Closing) -> Result<Closed> {
        self.close_there(doubt, closing).await
    }

    async fn dropped(&self) -> Result<Vec<Doubt>> {
        self.ledger.dropped().await
    }
}
