//! One replica: whether it is a member, how much of the log it has applied, and until when it may
//! answer from memory.

use super::{
    Command, Entry, EntryKind, EpochId, Join, Joined, Refused, Renewal, Session, Target, Time,
    Timing, Token, WriteId, open::OpenWrites,
};

/// What is kept in memory, and has to follow the log. It is told before the replica says that it
/// has applied an entry.
pub trait Memory {
    /// A write is about to be sent: nothing that is loaded from now on is kept.
    fn opened(&mut self, write: WriteId, target: &Target);
    /// A write that was opened here has ended. What was loaded before is outdated.
    fn closed(&mut self, write: WriteId, target: &Target, is_unsettled: bool);
    /// The same of one that has made this.
    fn closed_with(&mut self, write: WriteId, target: &Target, made: &str) {
        let _ = made;
        self.closed(write, target, false);
    }
    /// What is kept, and what is being loaded, is outdated; all of it if no target is said.
    fn outdate(&mut self, target: Option<&Target>);
}

impl<M: Memory + ?Sized> Memory for Box<M> {
    fn opened(&mut self, write: WriteId, target: &Target) {
        (**self).opened(write, target);
    }

    fn closed(&mut self, write: WriteId, target: &Target, is_unsettled: bool) {
        (**self).closed(write, target, is_unsettled);
    }

    fn closed_with(&mut self, write: WriteId, target: &Target, made: &str) {
        (**self).closed_with(write, target, made);
    }

    fn outdate(&mut self, target: Option<&Target>) {
        (**self).outdate(target);
    }
}

/// What a replica does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It reads on, and renews its lease as usual.
    GoOn,
    /// It renews its lease now, because it has applied more of the log.
    Renew,
    /// It joins again.
    Join,
    /// It opens the connection to the log again, and goes on reading after the last entry that it
    /// has applied.
    Reconnect,
}

/// A renewal that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentRenewal {
    /// The epoch in which it is valid.
    pub epoch: EpochId,
    session: Session,
    applied: u64,
    sent: Time,
}

impl SentRenewal {
    /// The command.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::Renew { session: self.session, applied: self.applied }
    }
}

#[derive(Debug)]
enum Membership {
    Out,
    Joining(Session),
    Member { epoch: EpochId, session: Session },
}

/// One replica.
#[derive(Debug)]
pub struct Replica {
    timing: Timing,
    membership: Membership,
    /// The last membership that the server may know.
    last: Option<Session>,
    /// The last epoch of which this was a member, and since when its beginning is past.
    epoch: Option<(EpochId, Time)>,
    applied: u64,
    lease_until: Time,
    lags_since: Option<Time>,
    open: OpenWrites,
}

impl Replica {
    /// One that is not a member yet.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            membership: Membership::Out,
            last: None,
            epoch: None,
            applied: 0,
            lease_until: Time::ZERO,
            lags_since: None,
            open: OpenWrites::default(),
        }
    }

    /// When it has to stop answering from memory, unless a renewal comes before.
    #[must_use]
    pub fn lease_until(&self) -> Time {
        self.lease_until
    }

    /// Whether what is in memory may be used for an answer to a read that has begun.
    #[must_use]
    pub fn may_serve(&self, now: Time) -> bool {
        now < self.lease_until
    }

    /// The epoch and the membership, if it has one.
    #[must_use]
    pub fn member(&self) -> Option<(&EpochId, Session)> {
        match &self.membership {
            Membership::Member { epoch, session } => Some((epoch, *session)),
            Membership::Out | Membership::Joining(_) => None,
        }
    }

    /// When the leases of earlier epochs are over.
    #[must_use]
    pub fn earlier_leases_until(&self) -> Time {
        let since = self.epoch.as_ref().map_or(Time::ZERO, |(_, since)| *since);
        since + Timing::waited(self.timing.lease)
    }

    /// The number of the last entry that was applied: the log is read after it.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Begins to join, with a new session. From now on nothing is answered from memory.
    pub fn join(&mut self, session: Session, token: Token) -> Join {
        let leaves = self.last.replace(session);
        self.lease_until = Time::ZERO;
        self.lags_since = None;
        self.membership = Membership::Joining(session);
        let Timing { settle, grace, .. } = self.timing;
        Join { session, leaves, token, settle, grace }
    }

    /// Takes the answer to a join. Returns whether the replica is a member of a new epoch, so that
    /// it has to restore its own writes.
    ///
    /// All that is kept is outdated here, not when the replica begins to join: a load that began
    /// between the two may have missed a write whose entry is not read any more.
    pub fn joined(
        &mut self,
        session: Session,
        answer: &Joined,
        now: Time,
        memory: &mut impl Memory,
    ) -> bool {
        if !matches!(self.membership, Membership::Joining(own) if own == session) {
            return false;
        }
        let is_new = self.epoch.as_ref().is_none_or(|(epoch, _)| *epoch != answer.epoch);
        if is_new {
            self.epoch = Some((answer.epoch.clone(), now));
        } else {
            for (write, target) in self.open.take_others(&answer.open) {
                memory.closed(write, &target, false);
            }
        }
        for left in &answer.open {
            self.open_one(left.write, &left.target, left.left, now, memory);
        }
        memory.outdate(None);
        self.applied = answer.tail;
        self.membership = Membership::Member { epoch: answer.epoch.clone(), session };
        is_new
    }

    /// The renewal to send now, if it is a member.
    #[must_use]
    pub fn renew(&self, now: Time) -> Option<SentRenewal> {
        let (epoch, session) = self.member()?;
        Some(SentRenewal { epoch: epoch.clone(), session, applied: self.applied, sent: now })
    }

    /// Takes the answer to a renewal, in whichever order they come.
    pub fn renewed(
        &mut self,
        sent: &SentRenewal,
        answer: Result<Renewal, Refused>,
        now: Time,
    ) -> Next {
        let current = matches!(self.member(), Some((_, session)) if session == sent.session);
        match answer {
            _ if !current => Next::GoOn,
            Ok(Renewal::Valid) => {
                let until = sent.sent + Timing::granted(self.timing.lease);
                self.lease_until = self.lease_until.max(until);
                self.lags_since = None;
                Next::GoOn
            }
            Ok(Renewal::Behind { tail }) if tail < sent.applied => self.leave(),
            Ok(Renewal::Behind { tail }) if tail > self.applied => {
                let since = *self.lags_since.get_or_insert(now);
                if now >= since + self.timing.longest_lag {
                    self.lags_since = None;
                    return Next::Reconnect;
                }
                Next::GoOn
            }
            Ok(Renewal::Behind { .. }) => Next::GoOn,
            Ok(Renewal::Gone) | Err(Refused::Epoch) => self.leave(),
            Err(Refused::Demoted) => Next::Reconnect,
        }
    }

    /// Applies entries of the log. Those that were applied before are skipped.
    pub fn read(&mut self, entries: &[Entry], now: Time, memory: &mut impl Memory) -> Next {
        let Some((epoch, _)) = self.member() else { return Next::GoOn };
        let epoch = epoch.clone();
        let before = self.applied;
        for entry in entries {
            if entry.number <= self.applied {
                continue;
            }
            // From another history, or after some that were dropped.
            if entry.epoch != epoch || entry.number != self.applied + 1 {
                return self.leave();
            }
            self.apply(&entry.kind, now, memory);
            self.applied = entry.number;
        }
        if self.applied > before { Next::Renew } else { Next::GoOn }
    }

    /// Ends writes whose end was never told, once they have no effect any more.
    pub fn expire(&mut self, now: Time, memory: &mut impl Memory) {
        for (write, target) in self.open.take_over(now) {
            memory.closed(write, &target, false);
        }
    }

    /// Ends the membership, because the process ends. From now on nothing is answered from memory.
    /// Gives the command that says so, and its epoch.
    pub fn end(&mut self) -> Option<(EpochId, Command)> {
        let (epoch, session) = self.member()?;
        let (epoch, sessions) = (epoch.clone(), vec![session]);
        self.leave();
        Some((epoch.clone(), Command::Evict { epoch, sessions, below: u64::MAX }))
    }

    fn leave(&mut self) -> Next {
        self.lease_until = Time::ZERO;
        self.membership = Membership::Out;
        Next::Join
    }

    fn apply(&mut self, kind: &EntryKind, now: Time, memory: &mut impl Memory) {
        match kind {
            EntryKind::Opened { write, target, lasts } => {
                self.open_one(*write, target, *lasts, now, memory);
            }
            EntryKind::Closed { write, target, is_unsettled, made, .. } => {
                let was_open = self.open.close(*write);
                match made.as_ref().filter(|_| !is_unsettled) {
                    _ if !was_open => memory.outdate(Some(target)),
                    Some(made) => memory.closed_with(*write, target, made),
                    None => memory.closed(*write, target, *is_unsettled),
                }
            }
            EntryKind::Looked { .. } => {}
            EntryKind::Purged { target } => memory.outdate(target.as_ref()),
        }
    }

    fn open_one(
        &mut self,
        write: WriteId,
        target: &Target,
        left: Time,
        now: Time,
        memory: &mut impl Memory,
    ) {
        let until = now + Timing::waited(left + self.timing.settle);
        if self.open.open(write, target, until) {
            memory.opened(write, target);
        }
    }
}
