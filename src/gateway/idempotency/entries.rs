//! The entries of the ledger: their states, and what they take of the room.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Attempter, End, RequestIdentity, RequestKey,
    limits::Usage,
    record::{KeptRequest, KeptState},
};
use crate::{
    caller::CallerId,
    store::{Clock, Moment},
};

/// The overhead of an entry in addition to its bytes, rounded up generously.
pub(super) const OVERHEAD: usize = 512;

/// All entries, and who has how many.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) all: HashMap<RequestKey, Entry>,
    pub(super) used: Usage,
    /// What each caller has of it; those that have nothing are not there.
    pub(super) callers: HashMap<CallerId, Own>,
    /// Entries that are over, by the end of the last attempt that may have written.
    pub(super) over: BTreeMap<Rank, RequestKey>,
    /// Counts attempts and ends.
    last: u64,
}

/// What one caller has.
#[derive(Default)]
pub(super) struct Own {
    pub(super) used: Usage,
    /// Those of its entries that are over.
    pub(super) over: BTreeSet<Rank>,
}

/// A time, and a number that tells apart two entries of the same time.
pub(super) type Rank = (Moment, u64);

pub(super) struct Entry {
    pub(super) fingerprint: [u8; 32],
    /// Its number in the store.
    pub(super) number: u64,
    /// How often it was sent.
    pub(super) sent: u32,
    pub(super) state: State,
}

pub(super) enum State {
    Running(Box<Running>),
    Done(Rank, Bytes),
    Unknown(Rank, Bytes),
}

/// An attempt.
pub(super) struct Running {
    pub(super) attempt: u64,
    pub(super) method: &'static str,
    pub(super) by: Attempter,
    pub(super) intent: Option<Bytes>,
    /// When it was last about to send.
    pub(super) sent_at: Moment,
    /// The entry's rank from when its outcome was unknown, unless this attempt has written since.
    pub(super) since: Option<Rank>,
    /// Tells the waiting calls how it ended.
    pub(super) ending: watch::Sender<Option<End>>,
}

/// What an earlier attempt has left.
pub(super) struct Unresolved {
    pub(super) number: u64,
    pub(super) sent: u32,
    pub(super) since: Rank,
    pub(super) intent: Bytes,
}

impl Entry {
    pub(super) fn size(&self) -> usize {
        OVERHEAD
            + match &self.state {
                State::Running(running) => running.intent.as_ref().map_or(0, Bytes::len),
                State::Done(_, bytes) | State::Unknown(_, bytes) => bytes.len(),
            }
    }

    fn rank(&self) -> Option<Rank> {
        match self.state {
            State::Done(rank, _) | State::Unknown(rank, _) => Some(rank),
            State::Running(_) => None,
        }
    }

    /// An entry that an earlier process has kept under this number. It has sent nothing since that
    /// process died, nor after the time until when it would have.
    pub(super) fn read(number: u64, kept: &KeptRequest, clock: Clock) -> Option<Self> {
        let ended = match kept.ended_at {
            0 => clock.from_kept(kept.until),
            ended => clock.from_kept(ended),
        };
        let rank = (ended, number);
        let state = match kept.state() {
            KeptState::Done => State::Done(rank, kept.result.clone()),
            KeptState::Sent | KeptState::Unknown => State::Unknown(rank, kept.intent.clone()),
        };
        let fingerprint = kept.fingerprint.as_ref().try_into().ok()?;
        Some(Self { fingerprint, number, sent: kept.sent, state })
    }
}

impl Running {
    /// What is to be kept of it, apart from its state.
    pub(super) fn kept(&self, key: RequestKey, entry: &Entry, clock: Clock) -> KeptRequest {
        KeptRequest {
            caller: key.caller.to_string(),
            request_id: key.id.as_bytes().to_vec(),
            method: self.method.to_owned(),
            resource: self.by.resource.clone(),
            fingerprint: Bytes::copy_from_slice(&entry.fingerprint),
            call_id: self.by.call.to_string(),
            sent: entry.sent,
            state: KeptState::Sent.into(),
            sent_at: clock.to_kept(self.sent_at),
            until: clock.to_kept(clock.at(self.by.until)),
            ended_at: 0,
            intent: self.intent.clone().unwrap_or_default(),
            result: Bytes::new(),
        }
    }
}

impl Entries {
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Puts an entry of an earlier process. Numbers go on after its.
    pub(super) fn put_kept(&mut self, key: RequestKey, entry: Entry) {
        self.last = self.last.max(entry.number);
        self.put(key, entry);
    }

    pub(super) fn put(&mut self, key: RequestKey, entry: Entry) {
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
        self.all.insert(key, entry);
    }

    pub(super) fn take(&mut self, key: RequestKey) -> Option<Entry> {
        let entry = self.all.remove(&key)?;
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

    /// The running attempt of this number.
    pub(super) fn running(&self, key: RequestKey, attempt: u64) -> Option<(&Entry, &Running)> {
        let entry = self.all.get(&key)?;
        match &entry.state {
            State::Running(running) if running.attempt == attempt => Some((entry, running)),
            _ => None,
        }
    }

    pub(super) fn take_running(&mut self, key: RequestKey, attempt: u64) -> Option<Entry> {
        self.running(key, attempt).is_some().then(|| self.take(key)).flatten()
    }

    /// Drops entries that ended before this time.
    pub(super) fn expire(&mut self, before: Moment) -> Vec<u64> {
        let mut expired = Vec::new();
        while let Some(((ended, _), key)) = self.over.first_key_value()
            && *ended <= before
        {
            let key = *key;
            expired.extend(self.take(key).map(|entry| entry.number));
        }
        expired
    }

    /// Lets an attempt run, in the place of the entry of the same number if there was one.
    pub(super) fn run(
        &mut self,
        identity: &RequestIdentity,
        by: Attempter,
        unresolved: Option<Unresolved>,
    ) -> u64 {
        let attempt = self.number();
        let (number, sent) = unresolved.as_ref().map_or((attempt, 0), |u| (u.number, u.sent));
        let (since, intent) = unresolved.map(|u| (u.since, u.intent)).unzip();
        let (ending, _) = watch::channel(None);
        let method = identity.method;
        let running = Running { attempt, method, by, intent, sent_at: 0, since, ending };
        let state = State::Running(Box::new(running));
        self.put(identity.key, Entry { fingerprint: identity.fingerprint, number, sent, state });
        attempt
    }
}
