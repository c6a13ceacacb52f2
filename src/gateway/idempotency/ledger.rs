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
    Attempter, Begin, End, IdempotencyStore, RequestIdentity, RequestKey,
    entries::{Entries, Entry, OVERHEAD, Rank, State, Unresolved},
    limits::{Limits, Usage},
    metrics::{Bound, RequestIdMetrics},
    record::{self, KeptState},
};
use crate::{
    caller::CallerId,
    error::{Error, Reason, Result, Retry, whole_seconds},
    store::{Clock, Kept, Moment, Outlives, Store, Table},
};

/// The request ids of this process and, if the store outlives it, of those before and after it.
pub struct Ledger {
    limits: Limits,
    guarantee: String,
    metrics: RequestIdMetrics,
    store: Arc<dyn Store>,
    clock: Clock,
    inner: Mutex<Entries>,
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
        let (clock, inner) = Default::default();
        let ledger = Self { limits, guarantee, metrics, store, clock, inner };
        ledger.read()?;
        Ok(ledger)
    }

    fn read(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let mut changes = Vec::new();
        for entry in self.store.load(Table::Requests) {
            let (number, key, mut kept) = record::read(&entry)?;
            let entry = Entry::read(number, &kept, self.clock).ok_or_else(record::unreadable)?;
            if let (State::Unknown((ended, _), _), KeptState::Sent) = (&entry.state, kept.state()) {
                kept.set_state(KeptState::Unknown);
                kept.ended_at = self.clock.to_kept(*ended);
                changes.push(record::keep(number, &kept));
            }
            inner.put_kept(key, entry);
        }
        self.store.note(changes);
        self.expire(&mut inner);
        let is_in_doubt = |entry: &&Entry| matches!(entry.state, State::Unknown(..));
        let (ids, in_doubt) = (inner.all.len(), inner.all.values().filter(is_in_doubt).count());
        if ids > 0 {
            tracing::info!(target: "store", ids, in_doubt, "the store has writes of before");
        }
        self.measure(&inner);
        Ok(())
    }

    fn measure(&self, inner: &Entries) {
        self.metrics.kept(inner.used.entries);
    }

    /// The bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().used.bytes
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.inner.lock()
    }

    /// Drops entries that have been kept long enough.
    fn expire(&self, inner: &mut Entries) {
        let kept_for = Moment::try_from(self.limits.kept_for.as_millis()).unwrap_or(Moment::MAX);
        let expired = inner.expire(self.clock.now() - kept_for);
        if !expired.is_empty() {
            self.store.note(expired.into_iter().map(record::forget).collect());
        }
    }

    /// Refuses what there is no room for.
    fn check_room(&self, inner: &Entries, caller: CallerId, more: Usage) -> Result<()> {
        let own = inner.callers.get(&caller);
        let used = own.map(|own| own.used).unwrap_or_default();
        let has_share = caller != CallerId::Gateway;
        if has_share && !used.has_room(more, self.limits.of_one()) {
            self.metrics.refused(Bound::Caller);
            let message = format!(
                "this caller has its share of the writes with a request_id that are remembered for \
                 {}; nothing was sent",
                shown(self.limits.kept_for)
            );
            let error = Error::new(Reason::CallerQuotaExceeded, message);
            return Err(self.until_room(error, own.and_then(|own| own.over.first())));
        }
        if inner.used.has_room(more, self.limits.of_all()) {
            return Ok(());
        }
        self.metrics.refused(Bound::All);
        let message = format!(
            "too many writes with a request_id are running, or are remembered for {}; nothing was \
             sent",
            shown(self.limits.kept_for)
        );
        let error = Error::new(Reason::Overloaded, message);
        Err(self.until_room(error, inner.over.first_key_value().map(|(oldest, _)| oldest)))
    }

    /// There will be room when the oldest entry is forgotten; when one that runs ends is not known.
    fn until_room(&self, error: Error, oldest: Option<&Rank>) -> Error {
        let Some((ended, _)) = oldest else { return error };
        let wait = self.limits.kept_for.saturating_sub(self.clock.since(*ended));
        error.with_retry(Retry::After(Some(whole_seconds(wait))))
    }

    /// Hands the end of an attempt to the store.
    fn keep_end(&self, key: RequestKey, attempt: u64, end: &End) -> Option<Kept> {
        let inner = self.lock();
        let (entry, running) = inner.running(key, attempt)?;
        // What was not journaled is not kept.
        running.intent.as_ref()?;
        let (number, mut kept) = (entry.number, running.kept(key, entry, self.clock));
        match end {
            End::Done(result) => {
                kept.set_state(KeptState::Done);
                kept.ended_at = self.clock.to_kept(self.clock.now());
                kept.result = result.clone();
                kept.intent = Bytes::new();
                Some(self.store.end(vec![record::keep(number, &kept)]))
            }
            End::Unknown => {
                let ended = running.since.map_or(self.clock.now(), |(ended, _)| ended);
                kept.set_state(KeptState::Unknown);
                kept.ended_at = self.clock.to_kept(ended);
                self.store.note(vec![record::keep(number, &kept)]);
                None
            }
            End::Failed(_) | End::Nothing(_) => {
                self.store.note(vec![record::forget(number)]);
                None
            }
        }
    }

    fn end(&self, key: RequestKey, attempt: u64, end: End) {
        let mut inner = self.lock();
        let rank = (self.clock.now(), inner.number());
        let Some(entry) = inner.take_running(key, attempt) else { return };
        let Entry { fingerprint, number, sent, state } = entry;
        let State::Running(running) = state else { return };
        let state = match (&end, running.intent) {
            (End::Done(result), Some(_)) => Some(State::Done(rank, result.clone())),
            (End::Unknown, Some(intent)) => {
                Some(State::Unknown(running.since.unwrap_or(rank), intent))
            }
            // What was not journaled was not sent, and what has failed has written nothing.
            (End::Failed(_) | End::Nothing(_), _) | (End::Done(_) | End::Unknown, None) => None,
        };
        if let Some(state) = state {
            // It may be larger than what there was room for: a result is always kept.
            inner.put(key, Entry { fingerprint, number, sent, state });
        }
        self.measure(&inner);
        // If the end is unknown, the sender is dropped, and the waiting calls ask again.
        if !matches!(end, End::Unknown) {
            running.ending.send_replace(Some(end));
        }
    }
}

#[async_trait]
impl IdempotencyStore for Ledger {
    fn guarantee(&self) -> &str {
        &self.guarantee
    }

    async fn begin(&self, identity: &RequestIdentity, attempter: Attempter) -> Result<Begin> {
        let mut inner = self.lock();
        self.expire(&mut inner);
        let Some(entry) = inner.all.get(&identity.key) else {
            let more = Usage { entries: 1, bytes: OVERHEAD };
            self.check_room(&inner, identity.key.caller, more)?;
            let attempt = inner.run(identity, attempter, None);
            self.measure(&inner);
            return Ok(Begin::Fresh(attempt));
        };
        if entry.fingerprint != identity.fingerprint {
            return Ok(Begin::Reused);
        }
        match &entry.state {
            State::Running(running) => {
                let mut ending = running.ending.subscribe();
                Ok(Begin::Running(Box::pin(async move {
                    ending.wait_for(Option::is_some).await.ok().and_then(|end| end.clone())
                })))
            }
            State::Done(_, result) => Ok(Begin::Done(result.clone())),
            State::Unknown(since, intent) => {
                let (since, intent) = (*since, intent.clone());
                let (number, sent) = (entry.number, entry.sent);
                drop(inner.take(identity.key));
                let unresolved = Unresolved { number, sent, since, intent: intent.clone() };
                let attempt = inner.run(identity, attempter, Some(unresolved));
                Ok(Begin::Unknown { attempt, intent, ended: self.clock.since(since.0) })
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
            let room = self.check_room(&inner, key.caller, more);
            if room.is_ok() {
                self.intended(&mut entry, new);
            }
            inner.put(key, entry);
            self.measure(&inner);
            room?;
            // In the order in which entries change.
            let (entry, running) = inner.running(key, attempt).ok_or_else(|| {
                Error::new(Reason::GatewayInternal, "the attempt is not there any more")
            })?;
            let kept = running.kept(key, entry, self.clock);
            self.store.put(vec![record::keep(entry.number, &kept)])
        };
        kept.wait().await.map_err(|cause| cause.nothing_sent())
    }

    async fn finish(&self, key: RequestKey, attempt: u64, end: End) -> Result<()> {
        if let Some(kept) = self.keep_end(key, attempt, &end) {
            // If it fails, it is still true, and the store makes up for it. Should the process die
            // before that, a repeat looks for what was done.
            let _ = kept.wait().await;
        }
        self.end(key, attempt, end);
        Ok(())
    }

    fn abandon(&self, key: RequestKey, attempt: u64) {
        let _ = self.keep_end(key, attempt, &End::Unknown);
        self.end(key, attempt, End::Unknown);
    }
}

impl Ledger {
    fn intended(&self, entry: &mut Entry, intent: Bytes) {
        if let State::Running(running) = &mut entry.state {
            // What this attempt has sent already may have shown more.
            if running.intent.is_none() || running.since.is_some() {
                running.sent_at = self.clock.now();
                entry.sent += 1;
            }
            (running.intent, running.since) = (Some(intent), None);
        }
    }
}

fn guarantee(limits: &Limits, outlives: Outlives) -> String {
    let kept = match outlives {
        Outlives::Nothing => {
            "ids are kept in the memory of one process, so a repeat that reaches another replica \
             or comes after a restart is not recognized"
        }
        Outlives::Restarts => {
            "ids are kept on the disk of one process before anything is sent, so a repeat is \
             recognized after a crash or a restart, but not by another replica"
        }
    };
    format!(
        "for {}, the same id with the same request of the same caller gives the first call's \
         result without a second upstream write; an unknown outcome is resolved before anything \
         is written again; {kept}",
        shown(limits.kept_for)
    )
}

/// A time as people read it.
fn shown(time: Duration) -> String {
    match (time.as_secs() / 3600, time.as_secs() % 3600) {
        (hours @ 2.., 0) => format!("{hours} hours"),
        _ => humantime::format_duration(time).to_string(),
    }
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
