//! The entries of the ledger: their states, and what they take of the room.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Attempter, Doubt, End, RequestIdentity, RequestKey,
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
    /// Those whose outcome is unknown, also while it is being found out.
    pub(super) doubts: BTreeMap<u64, RequestKey>,
    /// Those of them that were dropped because their time was over, until someone asks.
    pub(super) dropped: Vec<Doubt>,
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
    /// It took effect, as an operator has said.
    Closed(Rank),
    Unknown(Box<Unresolved>),
}

/// An attempt.
pub(super) struct Running {
    pub(super) attempt: u64,
    pub(super) method: &'static str,
    pub(super) by: Attempter,
    pub(super) intent: Option<Bytes>,
    /// When it was last about to send.
    pub(super) sent_at: Moment,
    /// When it was first about to be sent, as that is kept; 0 if by this attempt.
    pub(super) first_sent_at: u64,
    /// What it finds out, unless it has written since.
    pub(super) earlier: Option<Box<Unresolved>>,
    /// Tells it to give way, if it is the gateway itself that finds that out.
    pub(super) gives_way: Option<CancellationToken>,
    /// The gateway itself is completing what the write has made, and gives way to no one.
    pub(super) goes_on: bool,
    /// Tells the waiting calls how it ended.
    pub(super) ending: watch::Sender<Option<End>>,
}

/// What an earlier attempt has left.
pub(super) struct Unresolved {
    /// When it ended.
    pub(super) since: Rank,
    /// As it is kept.
    pub(super) kept: KeptRequest,
    /// The gateway itself may complete the profile that it has made.
    pub(super) may_complete: bool,
}

impl Entry {
    pub(super) fn size(&self) -> usize {
        OVERHEAD
            + match &self.state {
                State::Running(running) => running.intent.as_ref().map_or(0, Bytes::len),
                State::Done(_, bytes) => bytes.len(),
                State::Closed(_) => 0,
                State::Unknown(unresolved) => unresolved.size(),
            }
    }

    fn rank(&self) -> Option<Rank> {
        match self.state {
            State::Done(rank, _) | State::Closed(rank) => Some(rank),
            State::Unknown(ref unresolved) => Some(unresolved.since),
            State::Running(_) => None,
        }
    }

    /// What is not known of it, and whether someone is finding that out.
    pub(super) fn unresolved(&self) -> Option<(&Unresolved, bool)> {
        match &self.state {
            State::Unknown(unresolved) => Some((unresolved, false)),
            State::Running(running) => Some((running.earlier.as_ref()?, true)),
            State::Done(..) | State::Closed(_) => None,
        }
    }

    /// The write whose outcome is unknown, if it is.
    pub(super) fn doubt(&self, key: RequestKey, clock: Clock) -> Option<Doubt> {
        let (unresolved, is_attended) = self.unresolved()?;
        let Unresolved { since: (since, _), kept, may_complete } = unresolved;
        let doubt = Doubt::of(self.number, key, kept, clock.since(*since));
        Some(Doubt { is_attended, may_complete: *may_complete, ..doubt })
    }

    /// Its attempt is about to send what this says, or has shown more by what it has sent.
    pub(super) fn intends(&mut self, intent: Bytes, clock: Clock) {
        let State::Running(running) = &mut self.state else { return };
        if running.intent.is_none() || running.earlier.is_some() {
            running.sent_at = clock.now();
            if let Some(earlier) = &running.earlier {
                running.first_sent_at = earlier.kept.first_sent_at;
            }
            self.sent += 1;
        }
        (running.intent, running.earlier) = (Some(intent), None);
    }

    /// What it was about to send first is not journaled: it sends nothing.
    fn intends_nothing(&mut self) {
        let State::Running(running) = &mut self.state else { return };
        (running.intent, self.sent) = (None, 0);
    }

    /// An entry that an earlier process has kept under this number.
    pub(super) fn read(
        number: u64,
        kept: KeptRequest,
        may_complete: bool,
        clock: Clock,
    ) -> Option<Self> {
        let (rank, sent) = ((clock.from_kept(kept.ended_at), number), kept.sent);
        let fingerprint = kept.fingerprint.as_ref().try_into().ok()?;
        let state = match kept.state() {
            KeptState::Done => State::Done(rank, kept.result),
            KeptState::Closed => State::Closed(rank),
            KeptState::Sent | KeptState::Unknown => {
                State::Unknown(Box::new(Unresolved { since: rank, kept, may_complete }))
            }
        };
        Some(Self { fingerprint, number, sent, state })
    }
}

impl Unresolved {
    /// What it takes beside the overhead of each entry.
    fn size(&self) -> usize {
        let KeptRequest { intent, unsettled_reason, unsettled_message, candidates, .. } =
            &self.kept;
        let words = unsettled_reason.len() + unsettled_message.len();
        OVERHEAD + intent.len() + words + candidates.iter().map(String::len).sum::<usize>()
    }
}

impl Running {
    /// What is to be kept of it, apart from its state.
    pub(super) fn kept(&self, key: RequestKey, entry: &Entry, clock: Clock) -> KeptRequest {
        // As long as it has written nothing, the call before has sent it last.
        if let Some(earlier) = &self.earlier {
            return earlier.kept.clone();
        }
        let sent_at = clock.to_kept(self.sent_at);
        KeptRequest {
            caller: key.caller.to_string(),
            request_id: key.id.as_bytes().to_vec(),
            unnamed: !key.is_named,
            method: self.method.to_owned(),
            resource: self.by.resource.clone(),
            fingerprint: Bytes::copy_from_slice(&entry.fingerprint),
            call_id: self.by.call.to_string(),
            sent: entry.sent,
            state: KeptState::Sent.into(),
            sent_at,
            first_sent_at: if self.first_sent_at == 0 { sent_at } else { self.first_sent_at },
            until: clock.to_kept(clock.at(self.by.until)),
            ended_at: 0,
            intent: self.intent.clone().unwrap_or_default(),
            ..KeptRequest::default()
        }
    }

    /// What it leaves if it ends now and its outcome is unknown.
    pub(super) fn left(
        &self,
        key: RequestKey,
        entry: &Entry,
        rank: Rank,
        clock: Clock,
    ) -> Unresolved {
        let mut kept = self.kept(key, entry, clock);
        let Some(earlier) = &self.earlier else {
            kept.set_state(KeptState::Unknown);
            kept.ended_at = clock.to_kept(rank.0);
            return Unresolved { since: rank, kept, may_complete: false };
        };
        // A call tells its caller.
        let is_untold = self.gives_way.is_some();
        kept.interrupted &= is_untold;
        let may_complete = earlier.may_complete && is_untold;
        Unresolved { since: earlier.since, kept, may_complete }
    }

    /// Whether it leaves what was there before it, if its outcome is unknown.
    pub(super) fn is_as_before(&self) -> bool {
        let told = |earlier: &Unresolved| self.gives_way.is_some() || !earlier.kept.interrupted;
        self.earlier.as_deref().is_some_and(told)
    }
}

impl Entries {
    /// None yet. Its numbers come after those of earlier processes on the same store, also after
    /// those that are no longer kept: an operator may still have them.
    pub(super) fn after(clock: Clock) -> Self {
        Self { last: clock.to_kept(clock.now()) << 10, ..Self::default() }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether a doubt has this number, or whatever comes next may have it.
    pub(super) fn has_number(&self, number: u64) -> bool {
        self.doubts.contains_key(&number) || self.all.values().any(|entry| entry.number == number)
    }

    /// Puts an entry of an earlier process. Numbers go on after its.
    pub(super) fn put_kept(&mut self, key: RequestKey, entry: Entry) {
        self.last = self.last.max(entry.number);
        self.put(key, entry);
    }

    pub(super) fn put(&mut self, key: RequestKey, entry: Entry) {
        let size = entry.size();
        if entry.unresolved().is_some() {
            self.doubts.insert(entry.number, key);
        }
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
        self.doubts.remove(&entry.number);
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

    /// Takes back the first intent of an attempt, of which the store has nothing.
    pub(super) fn intends_nothing(&mut self, key: RequestKey, attempt: u64) {
        if let Some(mut entry) = self.take_running(key, attempt) {
            entry.intends_nothing();
            self.put(key, entry);
        }
    }

    /// Drops entries that ended this long ago.
    pub(super) fn expire(&mut self, kept_for: Duration, clock: Clock) -> Vec<u64> {
        let kept_for = Moment::try_from(kept_for.as_millis()).unwrap_or(Moment::MAX);
        let (before, mut expired) = (clock.now() - kept_for, Vec::new());
        while let Some(((ended, _), key)) = self.over.first_key_value()
            && *ended <= before
        {
            let key = *key;
            let Some(entry) = self.take(key) else { break };
            self.dropped.extend(entry.doubt(key, clock));
            expired.push(entry.number);
        }
        expired
    }

    /// Lets the first attempt of a write run.
    pub(super) fn run(&mut self, identity: &RequestIdentity, by: Attempter) -> u64 {
        let (attempt, (ending, _)) = (self.number(), watch::channel(None));
        let RequestIdentity { key, fingerprint, method } = *identity;
        let (intent, earlier, gives_way) = (None, None, None);
        let running = Running {
            attempt,
            method,
            by,
            intent,
            sent_at: 0,
            first_sent_at: 0,
            earlier,
            gives_way,
            goes_on: false,
            ending,
        };
        let state = State::Running(Box::new(running));
        self.put(key, Entry { fingerprint, number: attempt, sent: 0, state });
        attempt
    }

    /// Lets an attempt find out what an earlier one has left, if that is not known. Returns that as
    /// well.
    pub(super) fn resume(
        &mut self,
        key: RequestKey,
        (method, by): (&'static str, Attempter),
        gives_way: Option<CancellationToken>,
    ) -> Option<(u64, Rank, Bytes)> {
        let entry = self.all.get(&key)?;
        let State::Unknown(_) = &entry.state else { return None };
        let Entry { fingerprint, number, sent, state } = self.take(key)?;
        let State::Unknown(earlier) = state else { return None };
        let (attempt, (ending, _)) = (self.number(), watch::channel(None));
        let (since, intent) = (earlier.since, earlier.kept.intent.clone());
        let running = Running {
            attempt,
            method,
            by,
            intent: Some(intent.clone()),
            sent_at: 0,
            first_sent_at: 0,
            earlier: Some(earlier),
            gives_way,
            goes_on: false,
            ending,
        };
        self.put(
            key,
            Entry { fingerprint, number, sent, state: State::Running(Box::new(running)) },
        );
        Some((attempt, since, intent))
    }
}
