//! Ids in the memory of this process, bounded in number and in bytes.
//!
//! What has ended makes room for what begins, oldest first. A write under way and one of unknown outcome
//! are never forgotten before their time: without them a repeat would write twice. When they are all
//! that is there, new ones are turned away before anything is sent.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::{Begin, End, IdempotencyStore, KEPT, RequestIdentity};
use crate::error::{Error, Reason, Result};

/// What an entry costs beside its bytes, generously.
const OVERHEAD: usize = 512;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Ids.
    pub entries: usize,
    /// Bytes of all entries, with what the store itself needs. The result of a write that was let in is
    /// always kept, also where it is larger than its intent was.
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
    /// Entries that may be forgotten, by their end.
    ended: BTreeMap<Place, Uuid>,
    /// Entries of unknown outcome, by the end of the last attempt that wrote.
    unknown: BTreeMap<Place, Uuid>,
    /// Counts attempts and ends.
    last: u64,
}

/// A time, and a number that tells two of the same time apart.
type Place = (Instant, u64);

struct Entry {
    fingerprint: [u8; 32],
    state: State,
}

enum State {
    Running {
        attempt: u64,
        intent: Option<Bytes>,
        /// Where an entry of unknown outcome stood, unless this attempt has written itself.
        since: Option<Place>,
        /// Tells those who wait how it ended.
        ending: watch::Sender<Option<End>>,
    },
    Done(Place, Bytes),
    Failed(Place),
    Unknown(Place, Bytes),
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what has ended until there is room for so much more.
    fn make_room(&self, inner: &mut Inner, entries: usize, bytes: usize) -> Result<()> {
        while inner.entries.len() + entries > self.limits.entries
            || inner.bytes + bytes > self.limits.bytes
        {
            let Some((_, id)) = inner.ended.pop_first() else {
                return Err(Error::new(
                    Reason::Overloaded,
                    "too many writes with a request_id are under way or of unknown outcome; this \
                     one was not sent",
                ));
            };
            inner.forget(id);
        }
        Ok(())
    }

    fn end(&self, id: Uuid, attempt: u64, end: End) {
        let mut inner = self.lock();
        let place = (Instant::now(), inner.number());
        let Some(entry) = inner.take_running(id, attempt) else { return };
        let State::Running { intent, since, ending, .. } = entry.state else { return };
        let state = match (&end, intent) {
            (End::Done(result), _) => State::Done(place, result.clone()),
            (End::Unknown, Some(intent)) => State::Unknown(since.unwrap_or(place), intent),
            (End::Failed(_), _) | (End::Unknown, None) => State::Failed(place),
        };
        let entry = Entry { fingerprint: entry.fingerprint, state };
        // The result is kept in any case; what has ended before makes room for it, if it can.
        let _ = self.make_room(&mut inner, 1, entry.size());
        inner.put(id, entry);
        // Of an unknown end, who waits learns by the sender's end, and asks again.
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
            State::Done(place, _) | State::Failed(place) => self.ended.insert(*place, id),
            State::Unknown(place, _) => self.unknown.insert(*place, id),
            State::Running { .. } => None,
        };
        self.entries.insert(id, entry);
    }

    fn take(&mut self, id: Uuid) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.bytes -= entry.size();
        match &entry.state {
            State::Done(place, _) | State::Failed(place) => self.ended.remove(place),
            State::Unknown(place, _) => self.unknown.remove(place),
            State::Running { .. } => None,
        };
        Some(entry)
    }

    fn take_running(&mut self, id: Uuid, attempt: u64) -> Option<Entry> {
        let is_it = |entry: &Entry| matches!(&entry.state, State::Running { attempt: own, .. } if *own == attempt);
        self.entries.get(&id).is_some_and(is_it).then(|| self.take(id)).flatten()
    }

    fn forget(&mut self, id: Uuid) {
        drop(self.take(id));
    }

    /// Forgets what has been known long enough.
    fn expire(&mut self) {
        let now = Instant::now();
        let over = |((ended, _), id): (&Place, &Uuid)| (*ended + KEPT <= now).then_some(*id);
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
        since: Option<Place>,
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
            return Err(Error::new(Reason::GatewayInternal, "the write is no longer this one's"));
        };
        // While it is taken out, its own bytes do not count.
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
    /// How many ids are known, and their bytes as they add up.
    pub(super) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        let counted: usize = inner.entries.values().map(Entry::size).sum();
        assert_eq!(inner.bytes, counted);
        (inner.entries.len(), counted)
    }
}
