//! Request ids in the memory of this process, limited in number and in bytes, in all and for each
//! caller.
//!
//! No entry is dropped before its time: without it, a repeat would write twice. When there is no
//! room, new writes are refused before anything is sent, first those of a caller that has its
//! share.
//! What wrote nothing takes no room once it is over: a repeat may try again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time::Instant};

use super::{
    Begin, End, IdempotencyStore, RequestIdentity, RequestKey,
    metrics::{Bound, RequestIdMetrics},
    settings::RequestIdSettings,
};
use crate::{
    caller::{CallerId, percent_of},
    error::{Error, Reason, Result, Retry, whole_seconds},
};

/// The overhead of an entry in addition to its bytes, rounded up generously.
const OVERHEAD: usize = 512;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long an ended write is remembered.
    pub kept_for: Duration,
    /// The number of ids.
    pub entries: usize,
    /// The bytes of all entries, including the store's own overhead. The result of an admitted
    /// write is always kept, even if it is larger than the intent was.
    pub bytes: usize,
    /// How much of both one caller may have, in percent, but at least one entry.
    pub share_percent: u32,
}

impl Limits {
    /// The limits of the settings, of which each caller has this share.
    #[must_use]
    pub fn new(settings: &RequestIdSettings, share_percent: u32) -> Self {
        let RequestIdSettings { kept_for, max_entries: entries, max_bytes: bytes } = *settings;
        Self { kept_for, entries, bytes, share_percent }
    }

    /// What one caller may have.
    fn of_one(&self) -> Usage {
        let share = |all| percent_of(all, self.share_percent);
        Usage { entries: share(self.entries).max(1), bytes: share(self.bytes) }
    }

    fn of_all(&self) -> Usage {
        Usage { entries: self.entries, bytes: self.bytes }
    }
}

/// What entries take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Usage {
    fn has_room(self, more: Self, limit: Self) -> bool {
        self.entries + more.entries <= limit.entries && self.bytes + more.bytes <= limit.bytes
    }
}

/// A store in this process.
pub struct Memory {
    limits: Limits,
    guarantee: String,
    metrics: RequestIdMetrics,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<RequestKey, Entry>,
    used: Usage,
    /// What each caller has of it; those that have nothing are not there.
    callers: HashMap<CallerId, Own>,
    /// Entries that are over, by the end of the last attempt that may have written.
    over: BTreeMap<Rank, RequestKey>,
    /// Counts attempts and ends.
    last: u64,
}

/// What one caller has.
#[derive(Default)]
struct Own {
    used: Usage,
    /// Those of its entries that are over.
    over: BTreeSet<Rank>,
}

/// A time, and a number that tells apart two entries of the same time.
type Rank = (Instant, u64);

struct Entry {
    fingerprint: [u8; 32],
    state: State,
}

enum State {
    Running {
        attempt: u64,
        intent: Option<Bytes>,
        /// The entry's rank from when its outcome was unknown, unless this attempt has written
        /// since.
        since: Option<Rank>,
        /// Tells the waiting calls how it ended.
        ending: watch::Sender<Option<End>>,
    },
    Done(Rank, Bytes),
    Unknown(Rank, Bytes),
}

impl Entry {
    fn size(&self) -> usize {
        OVERHEAD
            + match &self.state {
                State::Running { intent, .. } => intent.as_ref().map_or(0, Bytes::len),
                State::Done(_, bytes) | State::Unknown(_, bytes) => bytes.len(),
            }
    }

    fn rank(&self) -> Option<Rank> {
        match self.state {
            State::Done(rank, _) | State::Unknown(rank, _) => Some(rank),
            State::Running { .. } => None,
        }
    }
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits, metrics: RequestIdMetrics) -> Self {
        let guarantee = format!(
            "for {}, the same id with the same request of the same caller gives the first call's \
             result without a second upstream write; an unknown outcome is resolved before \
             anything is written again; ids are kept in the memory of one process, so a repeat \
             that reaches another replica or comes after a restart is not recognized",
            shown(limits.kept_for)
        );
        Self { limits, guarantee, metrics, inner: Mutex::default() }
    }

    fn measure(&self, inner: &Inner) {
        self.metrics.kept(inner.used.entries);
    }

    /// The bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().used.bytes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Refuses what there is no room for.
    fn check_room(&self, inner: &Inner, caller: CallerId, more: Usage) -> Result<()> {
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
        let wait = self.limits.kept_for.saturating_sub(ended.elapsed());
        error.with_retry(Retry::After(Some(whole_seconds(wait))))
    }

    fn end(&self, key: RequestKey, attempt: u64, end: End) {
        let mut inner = self.lock();
        let rank = (Instant::now(), inner.number());
        let Some(entry) = inner.take_running(key, attempt) else { return };
        let State::Running { intent, since, ending, .. } = entry.state else { return };
        let state = match (&end, intent) {
            (End::Done(result), Some(_)) => Some(State::Done(rank, result.clone())),
            (End::Unknown, Some(intent)) => Some(State::Unknown(since.unwrap_or(rank), intent)),
            // What was not journaled was not sent, and what has failed has written nothing.
            (End::Failed(_) | End::Nothing(_), _) | (End::Done(_) | End::Unknown, None) => None,
        };
        if let Some(state) = state {
            // It may be larger than what there was room for: a result is always kept.
            inner.put(key, Entry { fingerprint: entry.fingerprint, state });
        }
        self.measure(&inner);
        // If the end is unknown, the sender is dropped, and the waiting calls ask again.
        if !matches!(end, End::Unknown) {
            ending.send_replace(Some(end));
        }
    }
}

impl Inner {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn put(&mut self, key: RequestKey, entry: Entry) {
        let size = entry.size();
        let own = self.callers.entry(key.caller).or_default();
        for usage in [&mut self.used, &mut own.used] {
            usage.entries += 1;
            usage.bytes += size;
        }
        if let Some(rank) = entry.rank() {
            own.over.insert(rank);
            self.over.insert(rank, key);
        }
        self.entries.insert(key, entry);
    }

    fn take(&mut self, key: RequestKey) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        let (size, rank) = (entry.size(), entry.rank());
        let take = |usage: &mut Usage| {
            usage.entries -= 1;
            usage.bytes -= size;
        };
        take(&mut self.used);
        if let Some(own) = self.callers.get_mut(&key.caller) {
            take(&mut own.used);
            if let Some(rank) = rank {
                own.over.remove(&rank);
            }
            if own.used.entries == 0 {
                self.callers.remove(&key.caller);
            }
        }
        if let Some(rank) = rank {
            self.over.remove(&rank);
        }
        Some(entry)
    }

    fn take_running(&mut self, key: RequestKey, attempt: u64) -> Option<Entry> {
        let is_owner = |entry: &Entry| match entry.state {
            State::Running { attempt: owner, .. } => owner == attempt,
            _ => false,
        };
        self.entries.get(&key).is_some_and(is_owner).then(|| self.take(key)).flatten()
    }

    /// Drops entries that have been kept long enough.
    fn expire(&mut self, kept_for: Duration) {
        let now = Instant::now();
        let is_due =
            |((ended, _), key): (&Rank, &RequestKey)| (*ended + kept_for <= now).then_some(*key);
        while let Some(key) = self.over.first_key_value().and_then(is_due) {
            drop(self.take(key));
        }
    }

    fn run(
        &mut self,
        identity: &RequestIdentity,
        intent: Option<Bytes>,
        since: Option<Rank>,
    ) -> u64 {
        let attempt = self.number();
        let (ending, _) = watch::channel(None);
        let state = State::Running { attempt, intent, since, ending };
        self.put(identity.key, Entry { fingerprint: identity.fingerprint, state });
        attempt
    }
}

#[async_trait]
impl IdempotencyStore for Memory {
    fn guarantee(&self) -> &str {
        &self.guarantee
    }

    async fn begin(&self, identity: &RequestIdentity) -> Result<Begin> {
        let mut inner = self.lock();
        inner.expire(self.limits.kept_for);
        let Some(entry) = inner.entries.get(&identity.key) else {
            let more = Usage { entries: 1, bytes: OVERHEAD };
            self.check_room(&inner, identity.key.caller, more)?;
            let attempt = inner.run(identity, None, None);
            self.measure(&inner);
            return Ok(Begin::Fresh(attempt));
        };
        if entry.fingerprint != identity.fingerprint {
            return Ok(Begin::Reused);
        }
        match &entry.state {
            State::Running { ending, .. } => {
                let mut ending = ending.subscribe();
                Ok(Begin::Running(Box::pin(async move {
                    ending.wait_for(Option::is_some).await.ok().and_then(|end| end.clone())
                })))
            }
            State::Done(_, result) => Ok(Begin::Done(result.clone())),
            State::Unknown(since, intent) => {
                let (since, intent) = (*since, intent.clone());
                drop(inner.take(identity.key));
                let attempt = inner.run(identity, Some(intent.clone()), Some(since));
                Ok(Begin::Unknown { attempt, intent, ended: since.0.elapsed() })
            }
        }
    }

    async fn intend(&self, key: RequestKey, attempt: u64, new: Bytes) -> Result<()> {
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
        if let (Ok(()), State::Running { intent, since, .. }) = (&room, &mut entry.state) {
            (*intent, *since) = (Some(new), None);
        }
        inner.put(key, entry);
        self.measure(&inner);
        room
    }

    async fn finish(&self, key: RequestKey, attempt: u64, end: End) -> Result<()> {
        self.end(key, attempt, end);
        Ok(())
    }

    fn abandon(&self, key: RequestKey, attempt: u64) {
        self.end(key, attempt, End::Unknown);
    }
}

/// A time as people read it.
fn shown(time: Duration) -> String {
    match (time.as_secs() / 3600, time.as_secs() % 3600) {
        (hours @ 2.., 0) => format!("{hours} hours"),
        _ => humantime::format_duration(time).to_string(),
    }
}

#[cfg(test)]
impl Memory {
    /// How many ids are stored, and the sum of their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        let bytes: usize = inner.entries.values().map(Entry::size).sum();
        let used = Usage { entries: inner.entries.len(), bytes };
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
