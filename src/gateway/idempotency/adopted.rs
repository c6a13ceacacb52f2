//! How the ledger serves a store that replicas share: what they are told of its writes, and the
//! doubts that it takes over from replicas that have ended.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Doubt, KeptRequest, RequestKey,
    entries::{Entry, State},
    ledger::Ledger,
    record::{self, KeptState},
};
use crate::store::{Change, Moment};

/// With so much of the room in use, in quarters, nothing is taken over: another replica may.
const IN_USE: usize = 3;
/// How many doubts are taken over at a time.
const AT_ONCE: usize = 64;

/// Who finds out a doubt at this moment.
pub(super) enum Attended {
    /// The gateway itself, with an attempt of this number.
    Itself(u64),
    /// A call.
    Call,
    /// None.
    No,
}

impl Ledger {
    /// What tells others of a write: its number, and all that is kept of it but what it was to do.
    pub(super) fn about(&self, key: RequestKey, attempt: u64) -> Option<(u64, KeptRequest)> {
        let inner = self.lock();
        let (entry, running) = inner.running(key, attempt)?;
        let kept = running.kept(key, entry, self.clock);
        Some((entry.number, KeptRequest { intent: Bytes::new(), ..kept }))
    }

    /// How many doubts there is room for.
    pub(super) fn room_for_doubts(&self) -> usize {
        let (used, all) = (self.lock().used, self.limits.of_all());
        let has_room =
            used.entries < all.entries / 4 * IN_USE && used.bytes < all.bytes / 4 * IN_USE;
        if has_room { AT_ONCE } else { 0 }
    }

    /// Takes over a write in doubt, which ended so long ago. False if it is known here.
    pub(super) fn adopt(
        &self,
        number: u64,
        key: RequestKey,
        mut kept: KeptRequest,
        ended: Duration,
    ) -> bool {
        let mut inner = self.lock();
        if inner.all.contains_key(&key) {
            return false;
        }
        let ago = Moment::try_from(ended.as_millis()).unwrap_or(Moment::MAX);
        kept.set_state(KeptState::Unknown);
        kept.ended_at = self.clock.to_kept(self.clock.now().saturating_sub(ago));
        let number = match inner.has_number(number) {
            true => inner.number(),
            false => number,
        };
        let change: Change = record::keep(number, &kept);
        let Some(entry) = Entry::read(number, kept, false, self.clock) else { return false };
        inner.put_kept(key, entry);
        self.note(|| change);
        self.measure(&inner);
        true
    }

    /// Who is finding out this doubt.
    pub(super) fn attended(&self, doubt: &Doubt) -> Attended {
        let inner = self.lock();
        match inner.all.get(&doubt.key).map(|entry| &entry.state) {
            Some(State::Running(running)) if running.gives_way.is_some() => {
                Attended::Itself(running.attempt)
            }
            Some(State::Running(_)) => Attended::Call,
            Some(State::Unknown(_) | State::Done(..) | State::Closed(_)) | None => Attended::No,
        }
    }

    /// Whether a write is known here.
    pub(super) fn knows(&self, key: RequestKey) -> bool {
        self.lock().all.contains_key(&key)
    }
}
