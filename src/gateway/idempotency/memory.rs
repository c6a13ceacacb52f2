//! Request ids in the memory of this process, limited in number and in bytes.
//!
//! Ended writes make room for new ones, oldest first. A running write or one with an unknown
//! outcome is never dropped early: without its entry, a repeat would write twice. When only such
//! writes are left, new ones are refused before anything is sent.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::{Begin, End, IdempotencyStore, KEPT, RequestIdentity};
use crate::error::{Error, Reason, Result};

/// The overhead of an entry in addition to its bytes, rounded up generously.
const OVERHEAD: usize = 512;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The number of ids.
    pub entries: usize,
    /// The bytes of all entries, including the store's own overhead. The result of an admitted
    /// write is always kept, even if it is larger than the intent was.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 64 << 20 }
    }
}

/// A store in this process.
pub struct Memory {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Uuid, Entry>,
    bytes: usize,
    /// Entries that may be dropped, by the time they ended.
    ended: BTreeMap<Rank, Uuid>,
    /// Entries of unknown outcome, by the end of the last attempt that wrote.
    unknown: BTreeMap<Rank, Uuid>,
    /// Counts attempts and ends.
    last: u64,
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
    Failed(Rank),
    Unknown(Rank, Bytes),
}

impl Entry {
    fn size(&self) -> usize {
        OVERHEAD
            + match &self.state {
                State::Running { intent, .. } => intent.as_ref().map_or(0, Bytes::len),
                State::Done(_, bytes) | State::Unknown(_, bytes) => bytes.len(),
                State::Failed(_) => 0,
            }
    }
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, inner: Mutex::default() }
    }

    /// The bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Drops ended entries until there is room for this much more.
    fn make_room(&self, inner: &mut Inner, entries: usize, bytes: usize) -> Result<()> {
        while inner.entries.len() + entries > self.limits.entries
            || inner.bytes + bytes > self.limits.bytes
        {
            let Some((_, id)) = inner.ended.pop_first() else {
                return Err(Error::new(
                    Reason::Overloaded,
                    "too many writes with a request_id are still running or have an unknown \
                     outcome; nothing was sent",
                ));
            };
            inner.forget(id);
        }
        Ok(())
    }

    fn end(&self, id: Uuid, attempt: u64, end: End) {
        let mut inner = self.lock();
        let rank = (Instant::now(), inner.number());
        let Some(entry) = inner.take_running(id, attempt) else { return };
        let State::Running { intent, since, ending, .. } = entry.state else { return };
        let state = match (&end, intent) {
            (End::Done(result), _) => State::Done(rank, result.clone()),
            (End::Unknown, Some(intent)) => State::Unknown(since.unwrap_or(rank), intent),
            (End::Failed(_), _) | (End::Unknown, None) => State::Failed(rank),
        };
        let entry = Entry { fingerprint: entry.fingerprint, state };
        // The result is always kept; older ended entries make room for it if possible.
        let _ = self.make_room(&mut inner, 1, entry.size());
        inner.put(id, entry);
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

    fn put(&mut self, id: Uuid, entry: Entry) {
        self.bytes += entry.size();
        match &entry.state {
            State::Done(rank, _) | State::Failed(rank) => self.ended.insert(*rank, id),
            State::Unknown(rank, _) => self.unknown.insert(*rank, id),
            State::Running { .. } => None,
        };
        self.entries.insert(id, entry);
    }

    fn take(&mut self, id: Uuid) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.bytes -= entry.size();
        match &entry.state {
            State::Done(rank, _) | State::Failed(rank) => self.ended.remove(rank),
            State::Unknown(rank, _) => self.unknown.remove(rank),
            State::Running { .. } => None,
        };
        Some(entry)
    }

    fn take_running(&mut self, id: Uuid, attempt: u64) -> Option<Entry> {
        let is_owner = |entry: &Entry| match entry.state {
            State::Running { attempt: owner, .. } => owner == attempt,
            _ => false,
        };
        self.entries.get(&id).is_some_and(is_owner).then(|| self.take(id)).flatten()
    }

    fn forget(&mut self, id: Uuid) {
        drop(self.take(id));
    }

    /// Drops entries that have been kept long enough.
    fn expire(&mut self) {
        let now = Instant::now();
        let over = |((ended, _), id): (&Rank, &Uuid)| (*ended + KEPT <= now).then_some(*id);
        while let Some(id) = self.ended.first_key_value().and_then(over) {
            self.forget(id);
        }
        while let Some(id) = self.unknown.first_key_value().and_then(over) {
            self.forget(id);
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
        self.put(identity.id, Entry { fingerprint: identity.fingerprint, state });
        attempt
    }
}

#[async_trait]
impl IdempotencyStore for Memory {
    fn guarantee(&self) -> &'static str {
        "for 24 hours, the same id with the same request gives the first call's result without a \
         second upstream write; an unknown outcome is resolved before anything is written again; \
         ids are kept in the memory of one process, so a repeat that reaches another replica or \
         comes after a restart is not recognized"
    }

    async fn begin(&self, identity: &RequestIdentity) -> Result<Begin> {
        let mut inner = self.lock();
        inner.expire();
        let Some(entry) = inner.entries.get(&identity.id) else {
            self.make_room(&mut inner, 1, OVERHEAD)?;
            return Ok(Begin::Fresh(inner.run(identity, None, None)));
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
            State::Failed(_) => {
                inner.forget(identity.id);
                Ok(Begin::Fresh(inner.run(identity, None, None)))
            }
            State::Unknown(since, intent) => {
                let (since, intent) = (*since, intent.clone());
                inner.forget(identity.id);
                let attempt = inner.run(identity, Some(intent.clone()), Some(since));
                Ok(Begin::Unknown { attempt, intent, ended: since.0.elapsed() })
            }
        }
    }

    async fn intend(&self, id: Uuid, attempt: u64, new: Bytes) -> Result<()> {
        let mut inner = self.lock();
        let Some(mut entry) = inner.take_running(id, attempt) else {
            return Err(Error::new(
                Reason::GatewayInternal,
                "the attempt no longer owns this request_id",
            ));
        };
        // The entry is taken out, so its own bytes do not count now.
        let room = self.make_room(&mut inner, 1, OVERHEAD + new.len());
        if let (Ok(()), State::Running { intent, since, .. }) = (&room, &mut entry.state) {
            (*intent, *since) = (Some(new), None);
        }
        inner.put(id, entry);
        room
    }

    async fn finish(&self, id: Uuid, attempt: u64, end: End) -> Result<()> {
        self.end(id, attempt, end);
        Ok(())
    }

    fn abandon(&self, id: Uuid, attempt: u64) {
        self.end(id, attempt, End::Unknown);
    }
}

#[cfg(test)]
impl Memory {
    /// How many ids are stored, and the sum of their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        let counted: usize = inner.entries.values().map(Entry::size).sum();
        assert_eq!(inner.bytes, counted);
        (inner.entries.len(), counted)
    }
}
