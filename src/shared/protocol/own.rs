//! The writes of this replica, so that it can restore what the server may have lost of them.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    EpochId, Outcome, RecordState, RequestRecord, Restore, Restored, Target, Time, Timing, Token,
    WriteId,
};

/// How long a write that has ended is remembered, and how many of them, with how many bytes.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
const MAX_ENDED: usize = 16_384;
const MAX_ENDED_BYTES: usize = 32 * 1024 * 1024;

/// A write of this replica.
#[derive(Debug, Clone)]
pub struct OwnWrite {
    /// Which.
    pub write: WriteId,
    /// What it may change.
    pub target: Target,
    /// The last epoch in which the server has confirmed its turn and its attempt.
    pub known_in: EpochId,
    /// After this, it may send nothing: the turn or the attempt may belong to another write. As
    /// long as the server grants, counted from before the first of them was asked for.
    pub sends_until: Time,
    /// Whether it is announced.
    pub is_open: bool,
    /// The turn that it has.
    pub turn: Option<(Target, Token)>,
    /// Its request id, what tells the same request from another, the attempt, and which it is.
    pub request: Option<(Arc<str>, Arc<str>, Token, u64)>,
    /// What it was about to send, or an earlier attempt was.
    pub intent: Option<Arc<[u8]>>,
    /// When the attempt that had the intent ended, if it is an earlier one.
    pub intent_ended: Option<Time>,
    /// How it ended, and when.
    pub ended: Option<(Outcome, Time)>,
}

/// The writes of this replica that are under way, or have ended lately.
#[derive(Debug, Default)]
pub struct OwnWrites {
    running: Vec<OwnWrite>,
    /// The oldest first.
    ended: VecDeque<OwnWrite>,
    /// Which these are.
    ended_ids: HashSet<WriteId>,
    /// The bytes of them.
    ended_bytes: usize,
}

impl OwnWrites {
    /// Remembers a write, or what is new of it.
    pub fn note(&mut self, write: &OwnWrite) {
        self.running.retain(|known| known.write != write.write);
        match write.ended {
            None => self.running.push(write.clone()),
            Some((_, at)) if write.request.is_some() => self.note_ended(write.clone(), at),
            Some(_) => {}
        }
    }

    fn note_ended(&mut self, mut write: OwnWrite, now: Time) {
        if let Some((Outcome::Done(_) | Outcome::NoEffect, _)) = write.ended {
            // Nothing has to be found out any more.
            (write.intent, write.intent_ended) = (None, None);
        }
        if !self.ended_ids.insert(write.write) {
            self.ended.retain(|known| known.write != write.write);
            self.ended_bytes = self.ended.iter().map(OwnWrite::bytes).sum();
        }
        self.ended_bytes += write.bytes();
        self.ended.push_back(write);
        self.forget_old(now);
    }

    /// Forgets those that are old, and the oldest if there are too many.
    fn forget_old(&mut self, now: Time) {
        while self.ended.front().is_some_and(|first| {
            let is_too_much = self.ended.len() > MAX_ENDED || self.ended_bytes > MAX_ENDED_BYTES;
            is_too_much || is_old(first, now)
        }) {
            let Some(first) = self.ended.pop_front() else { return };
            self.ended_ids.remove(&first.write);
            self.ended_bytes -= first.bytes();
        }
    }

    /// Forgets a write: it was never announced.
    pub fn forget(&mut self, write: WriteId) {
        self.running.retain(|known| known.write != write);
    }

    /// One of those that run.
    #[must_use]
    pub fn running(&self, write: WriteId) -> Option<&OwnWrite> {
        self.running.iter().find(|known| known.write == write)
    }

    /// Whether a write may send. Asked before each request that may change anything. Before the
    /// first of them, the replica needs its lease, too: the turn may be lost in an epoch that it
    /// does not know of, but not given to another write until the lease is over.
    #[must_use]
    pub fn may_send(&self, write: WriteId, now: Time) -> bool {
        self.running(write).is_some_and(|known| known.is_open && now < known.sends_until)
    }

    /// What to restore in a new epoch: first those that run.
    #[must_use]
    pub fn to_restore(&mut self, now: Time, timing: Timing, kept: Duration) -> Vec<Restore> {
        self.forget_old(now);
        let writes = self.running.iter().chain(&self.ended);
        writes.map(|write| write.restore(now, timing, kept)).collect()
    }

    /// Takes the answer to what was restored in this epoch: a write that has lost its turn or its
    /// attempt sends nothing more.
    pub fn restored(&mut self, write: WriteId, answer: Restored, epoch: &EpochId) {
        let mut all = self.running.iter_mut().chain(&mut self.ended);
        let Some(known) = all.find(|known| known.write == write) else { return };
        if answer.has_turn && answer.has_record {
            known.known_in = epoch.clone();
        } else {
            known.sends_until = Time::ZERO;
        }
    }
}

fn is_old(write: &OwnWrite, now: Time) -> bool {
    write.ended.as_ref().is_some_and(|(_, at)| *at + REMEMBERED <= now)
}

impl OwnWrite {
    /// About how many it takes.
    fn bytes(&self) -> usize {
        const OVERHEAD: usize = 512;
        let result = match &self.ended {
            Some((Outcome::Done(result), _)) => result.len(),
            _ => 0,
        };
        OVERHEAD + result + self.intent.as_ref().map_or(0, |intent| intent.len())
    }

    fn restore(&self, now: Time, timing: Timing, kept: Duration) -> Restore {
        let left = self.sends_until.saturating_sub(now);
        let is_running = self.ended.is_none();
        let state = match &self.ended {
            None => RecordState::Running { left: Timing::waited(left) },
            Some((outcome, at)) => RecordState::Ended(outcome.clone(), now.saturating_sub(*at)),
        };
        let record = self.request.clone();
        Restore {
            write: self.write,
            target: self.target.clone(),
            left: is_running.then(|| Timing::waited(left)),
            is_open: is_running && self.is_open,
            turn: self.turn.clone().filter(|_| is_running),
            record: record.map(|(request, fingerprint, attempt, generation)| RequestRecord {
                request,
                fingerprint,
                attempt,
                generation,
                state,
                intent: self.intent.clone(),
                ended: self.intent_ended.map(|at| now.saturating_sub(at)),
            }),
            known_in: self.known_in.clone(),
            grace: timing.grace,
            kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(id: u64, outcome: Outcome, bytes: usize, at: Time) -> OwnWrite {
        OwnWrite {
            write: WriteId(id),
            target: "p".into(),
            known_in: "e".into(),
            sends_until: at,
            is_open: true,
            turn: None,
            request: Some(("r".into(), "f".into(), Token(id), 1)),
            intent: Some(vec![0; bytes].into()),
            intent_ended: None,
            ended: Some((outcome, at)),
        }
    }

    #[test]
    fn what_has_ended_is_remembered_for_a_time_and_within_bytes() {
        const MIB: usize = 1024 * 1024;
        let mut own = OwnWrites::default();
        (0..100).for_each(|id| own.note(&ended(id, Outcome::Unknown, MIB, Time::ZERO)));
        assert!(own.ended.len() < 32 && own.ended_bytes <= MAX_ENDED_BYTES, "{}", own.ended.len());
        // What took effect needs no intent.
        let done = |id| ended(id, Outcome::Done([1].into()), MIB, Time::ZERO);
        (100..200).for_each(|id| own.note(&done(id)));
        assert!(own.ended.len() > 100, "{}", own.ended.len());
        own.note(&done(150));
        assert_eq!(own.ended.iter().filter(|write| write.write == WriteId(150)).count(), 1);
        own.note(&ended(300, Outcome::Unknown, 1, REMEMBERED));
        assert_eq!(own.ended.len(), 1, "the others are old");
        let bytes = own.ended.iter().map(OwnWrite::bytes).sum::<usize>();
        assert_eq!((own.ended_bytes, own.ended_ids.len()), (bytes, 1));
    }
}
