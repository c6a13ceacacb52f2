//! Request ids, limited in number and in bytes, in all and for each caller.
//!
//! The entries are in the memory of this process, and the store has those that were sent. An
//! attempt is kept before its write is sent, and one that is done before its caller is told.
//!
//! No entry is dropped before its time: without it, a repeat would write twice. When there is no
//! room, new writes are refused before anything is sent, first those of a caller that has its
//! share.
//! What wrote nothing takes no room once it is over: a repeat may try again.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::{
    Attempter, Begin, Closed, Closing, Doubt, End, IdempotencyStore, RequestIdentity, RequestKey,
    Settler, Settling, Unsettled,
    entries::{Entries, Entry, OVERHEAD, Rank, State},
    limits::{Limits, Usage},
    metrics::{Bound, RequestIdMetrics, SettledAs},
    promise::guarantee,
    record::{self, KeptState},
};
use crate::{
    caller::{CallerId, Callers, Named},
    error::{Error, Reason, Result, Retry, whole_seconds},
    store::{self, Change, Clock, Kept, Outlives, Store, Table},
};

/// How long before the start of this process a creation may have been sent, in milliseconds, that
/// its process was killed in and that this one may complete. Later, someone may have made a profile
/// of the name by other means.
const RECENT: u64 = 5 * 60 * 1_000;

/// The request ids of this process and, if the store outlives it, of those before and after it.
pub struct Ledger {
    pub(super) limits: Limits,
    guarantee: String,
    pub(super) metrics: RequestIdMetrics,
    pub(super) store: Arc<dyn Store>,
    /// Whether the store has anything for the next process.
    keeps: bool,
    pub(super) clock: Clock,
    inner: Mutex<Entries>,
    /// Some have a quota of their own.
    callers: Option<Callers>,
}

impl Ledger {
    /// With what the store has of earlier processes.
    ///
    /// # Errors
    ///
    /// When it has what this release cannot read.
    pub fn load(
        limits: Limits,
        metrics: RequestIdMetrics,
        store: Arc<dyn Store>,
    ) -> io::Result<Self> {
        let guarantee = guarantee(&limits, store.outlives());
        let keeps = store.outlives() != Outlives::Nothing;
        let clock = Clock::default();
        let inner = Mutex::new(Entries::after(clock));
        let callers = None;
        let ledger = Self { limits, guarantee, metrics, store, keeps, clock, inner, callers };
        ledger.read()?;
        Ok(ledger)
    }

    /// The same; those of these callers that have a quota of their own have that.
    #[must_use]
    pub fn among(self, callers: Callers) -> Self {
        Self { callers: Some(callers), ..self }
    }

    fn read(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let mut changes = Vec::new();
        let unreadable = || store::unreadable(Table::Requests);
        for entry in self.store.load(Table::Requests) {
            let (number, key, mut kept) = record::read(&entry)?;
            let mut may_complete = false;
            if kept.state() == KeptState::Sent {
                // It has sent nothing since that process died. When that was is not known: the
                // clock may have been set since.
                let now = self.clock.to_kept(self.clock.now());
                kept.set_state(KeptState::Unknown);
                kept.ended_at = now;
                kept.interrupted = true;
                may_complete = now.checked_sub(kept.sent_at).is_some_and(|age| age <= RECENT);
                changes.push(record::keep(number, &kept));
            }
            let entry = Entry::read(number, kept, may_complete, self.clock);
            let entry = entry.ok_or_else(unreadable)?;
            inner.put_kept(key, entry);
        }
        self.store.note(changes);
        self.expire(&mut inner);
        let (writes, in_doubt) = (inner.all.len(), inner.doubts.len());
        if writes > 0 {
            let message = "the store has writes of an earlier process";
            tracing::info!(target: "store", writes, in_doubt, message);
        }
        self.measure(&inner);
        Ok(())
    }

    pub(super) fn measure(&self, inner: &Entries) {
        self.metrics.kept(inner.used.entries);
    }

    /// The bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().used.bytes
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Entries> {
        self.inner.lock()
    }

    /// Drops entries that have been kept long enough.
    pub(super) fn expire(&self, inner: &mut Entries) {
        let in_doubt = inner.dropped.len();
        let expired = inner.expire(self.limits.kept_for, self.clock);
        inner.dropped.iter().skip(in_doubt).for_each(|_| self.metrics.settled(SettledAs::Dropped));
        if !expired.is_empty() {
            self.store.note(expired.into_iter().map(record::forget).collect());
        }
    }

    /// Refuses what there is no room for.
    fn check_room(&self, inner: &Entries, caller: CallerId, more: Usage) -> Result<()> {
        let own = inner.callers.get(&caller);
        let used = own.map(|own| own.used).unwrap_or_default();
        let has_share = caller != CallerId::Gateway;
        let found = self.callers.as_ref().and_then(|callers| callers.find_named(caller));
        let named = found.as_ref().and_then(|caller| caller.named());
        let quota = named.and_then(Named::request_ids);
        if has_share && !used.has_room(more, self.limits.of_one(quota)) {
            self.metrics.refused(Bound::Caller);
            named.filter(|_| quota.is_some()).into_iter().for_each(Named::refused_request_id);
            let error = self.limits.share_is_used(used, more, quota);
            return Err(self.until_room(error, own.and_then(|own| own.over.first())));
        }
        if inner.used.has_room(more, self.limits.of_all()) {
            return Ok(());
        }
        self.metrics.refused(Bound::All);
        let error = self.limits.all_is_used(inner.used, more);
        Err(self.until_room(error, inner.over.first_key_value().map(|(oldest, _)| oldest)))
    }

    /// There will be room when the oldest entry is forgotten; when one that runs ends is not known.
    fn until_room(&self, error: Error, oldest: Option<&Rank>) -> Error {
        let Some((ended, _)) = oldest.filter(|_| error.retry() != Retry::No) else { return error };
        let wait = self.limits.kept_for.saturating_sub(self.clock.since(*ended));
        error.with_retry(Retry::After(Some(whole_seconds(wait))))
    }

    /// Hands changes to the store, if it has anything for the next process.
    pub(super) fn keep(&self, change: impl FnOnce() -> Change) -> Option<Kept> {
        self.keeps.then(|| self.store.end(vec![change()]))
    }

    /// Hands a change to the store that nothing depends on.
    pub(super) fn note(&self, change: impl FnOnce() -> Change) {
        if self.keeps {
            self.store.note(vec![change()]);
        }
    }

    /// Hands the end of an attempt to the store.
    fn keep_end(&self, key: RequestKey, attempt: u64, end: &End) -> Option<Kept> {
        let inner = self.lock();
        let (entry, running) = inner.running(key, attempt)?;
        // What was not journaled is not kept.
        running.intent.as_ref()?;
        let (number, now) = (entry.number, self.clock.now());
        match end {
            End::Done(result) if key.is_named => self.keep(|| {
                let mut kept = running.kept(key, entry, self.clock);
                kept.set_state(KeptState::Done);
                kept.ended_at = self.clock.to_kept(now);
                kept.result = result.clone();
                kept.intent = Bytes::new();
                record::keep(number, &kept)
            }),
            // Before its caller is told, so that the next process knows that it was.
            End::Unknown if !running.is_as_before() => self.keep(|| {
                record::keep(number, &running.left(key, entry, (now, number), self.clock).kept)
            }),
            End::Unknown => None,
            End::Done(_) | End::Failed(_) | End::Nothing(_) | End::NoEffect => {
                self.note(|| record::forget(number));
                None
            }
        }
    }

    /// Ends an attempt; false if it has ended before.
    fn end(&self, key: RequestKey, attempt: u64, end: End) -> bool {
        let mut inner = self.lock();
        let rank = (self.clock.now(), inner.number());
        let Some(entry) = inner.take_running(key, attempt) else { return false };
        let State::Running(running) = &entry.state else { return false };
        let state = match &end {
            // What was not journaled was not sent.
            _ if running.intent.is_none() => None,
            End::Done(result) if key.is_named => Some(State::Done(rank, result.clone())),
            End::Unknown => {
                Some(State::Unknown(Box::new(running.left(key, &entry, rank, self.clock))))
            }
            // What has failed has written nothing, and no one repeats what has no name.
            End::Done(_) | End::Failed(_) | End::Nothing(_) | End::NoEffect => None,
        };
        if running.gives_way.is_some() {
            match end {
                End::Done(_) => self.metrics.settled(SettledAs::TookEffect),
                End::NoEffect => self.metrics.settled(SettledAs::NoEffect),
                End::Unknown | End::Failed(_) | End::Nothing(_) => {}
            }
        }
        let Entry { fingerprint, number, sent, state: before } = entry;
        if let Some(state) = state {
            // It may be larger than what there was room for: a result is always kept.
            inner.put(key, Entry { fingerprint, number, sent, state });
        }
        self.measure(&inner);
        // Otherwise the sender is dropped, and the waiting calls ask again.
        if let State::Running(running) = before
            && !matches!(end, End::Unknown | End::NoEffect)
        {
            running.ending.send_replace(Some(end));
        }
        true
    }
}

#[async_trait]
impl IdempotencyStore for Ledger {
    fn guarantee(&self) -> &str {
        &self.guarantee
    }

    fn kept_for(&self) -> Duration {
        self.limits.kept_for
    }

    async fn begin(&self, identity: &RequestIdentity, attempter: Attempter) -> Result<Begin> {
        let mut inner = self.lock();
        self.expire(&mut inner);
        let Some(entry) = inner.all.get(&identity.key) else {
            let more = Usage { entries: 1, bytes: OVERHEAD };
            self.check_room(&inner, identity.key.caller, more)?;
            let attempt = inner.run(identity, attempter);
            self.measure(&inner);
            return Ok(Begin::Fresh(attempt));
        };
        if entry.fingerprint != identity.fingerprint {
            return Ok(Begin::Reused);
        }
        match &entry.state {
            State::Running(running) => {
                if let Some(settler) = &running.gives_way {
                    settler.cancel();
                }
                let mut ending = running.ending.subscribe();
                Ok(Begin::Running(Box::pin(async move {
                    ending.wait_for(Option::is_some).await.ok().and_then(|end| end.clone())
                })))
            }
            State::Done(_, result) => Ok(Begin::Done(result.clone())),
            State::Closed(_) => Ok(Begin::Closed),
            State::Unknown(_) => {
                let by = (identity.method, attempter);
                let resumed = inner.resume(identity.key, by, None);
                let (attempt, (ended, _), intent) = resumed.ok_or_else(not_there)?;
                Ok(Begin::Unknown { attempt, intent, ended: self.clock.since(ended) })
            }
        }
    }

    async fn intend(&self, key: RequestKey, attempt: u64, new: Bytes) -> Result<()> {
        let kept = {
            let mut inner = self.lock();
            let Some(mut entry) = inner.take_running(key, attempt) else {
                return Err(Error::new(
                    Reason::GatewayInternal,
                    "the attempt no longer owns this request_id",
                ));
            };
            // The entry is taken out, so its own bytes do not count now.
            let more = Usage { entries: 1, bytes: OVERHEAD + new.len() };
            let (is_first, amends) = match &entry.state {
                State::Running(r) => {
                    (r.intent.is_none(), r.intent.is_some() && r.earlier.is_none())
                }
                _ => (false, false),
            };
            // What was sent is known better now: there is always room for that.
            let room = if amends { Ok(()) } else { self.check_room(&inner, key.caller, more) };
            if room.is_ok() {
                entry.intends(new, self.clock);
            }
            inner.put(key, entry);
            self.measure(&inner);
            room?;
            // In the order in which entries change.
            let (entry, running) = inner.running(key, attempt).ok_or_else(not_there)?;
            if !self.keeps {
                return Ok(());
            }
            let record = running.kept(key, entry, self.clock);
            let kept = self.store.put(vec![record::keep(entry.number, &record)]);
            if is_first && kept.is_refused() {
                inner.intends_nothing(key, attempt);
            }
            kept
        };
        kept.wait().await.map_err(|cause| cause.nothing_sent())
    }

    async fn finish(&self, key: RequestKey, attempt: u64, end: End) -> Result<bool> {
        let kept = self.keep_end(key, attempt, &end);
        // At once: its caller may give up on the disk, and it has ended so all the same.
        let has_ended = self.end(key, attempt, end);
        if let Some(kept) = kept {
            // If it fails, it is still true, and the store makes up for it. Should the process die
            // before that, a repeat looks for what was done.
            let _ = kept.wait().await;
        }
        Ok(has_ended)
    }

    fn abandon(&self, key: RequestKey, attempt: u64) {
        let _ = self.keep_end(key, attempt, &End::Unknown);
        self.end(key, attempt, End::Unknown);
    }

    async fn doubts(&self, after: u64, limit: usize) -> Result<Vec<Doubt>> {
        Ok(self.list_doubts(after, limit))
    }

    async fn settle(&self, number: u64, settler: Settler) -> Result<Settling> {
        let begun = self.begin_to_settle(number, settler);
        Ok(begun.map_or(Settling::NotNow, |(doubt, attempt)| Settling::Begun(doubt, attempt)))
    }

    async fn goes_on(&self, key: RequestKey, attempt: u64) -> Result<()> {
        self.hold(key, attempt)
    }

    async fn leave(&self, key: RequestKey, attempt: u64, why: Unsettled) -> Result<()> {
        self.end_unsettled(key, attempt, why);
        Ok(())
    }

    async fn close(&self, doubt: &Doubt, closing: Closing) -> Result<Closed> {
        let (closed, kept) = self.close_by_hand(doubt, closing)?;
        if let Some(kept) = kept {
            // If it fails now, or is late, the store makes up for it.
            let _ = kept.soon().await;
        }
        Ok(closed)
    }

    async fn dropped(&self) -> Result<Vec<Doubt>> {
        Ok(self.take_dropped())
    }
}

/// An error that cannot be: what was found a moment ago is not there.
fn not_there() -> Error {
    Error::new(Reason::GatewayInternal, "the attempt is not there any more")
}

#[cfg(test)]
impl Ledger {
    /// How many ids are stored, and the sum of their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        let bytes: usize = inner.all.values().map(Entry::size).sum();
        let used = Usage { entries: inner.all.len(), bytes };
        assert_eq!(inner.used, used);
        let of_callers = inner.callers.values().fold(Usage::default(), |all, own| Usage {
            entries: all.entries + own.used.entries,
            bytes: all.bytes + own.used.bytes,
        });
        assert_eq!(of_callers, used);
        let over: usize = inner.callers.values().map(|own| own.over.len()).sum();
        assert_eq!(over, inner.over.len());
        (used.entries, used.bytes)
    }
}
