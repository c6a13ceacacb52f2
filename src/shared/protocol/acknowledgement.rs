//! The end of a write waits until no replica can answer with what was there before.
//!
//! A replica either says that it has applied the end of the write, or its lease runs out: the
//! server extended it for the last time before the write was closed.

use std::{collections::BTreeSet, time::Duration};

use super::{Closed, Command, EpochId, Members, Session, Time, Timing};

/// The first pause between two looks at the members. It doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// What the writer does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It answers: every replica knows of the write.
    Answer,
    /// It answers because the deadline is near, and goes on with the rest in the background.
    Cut,
    /// It waits until this time, or until the next answer.
    Wait(Time),
    /// It asks for the members, with this command.
    Poll(Command),
    /// It removes the members that lag, with this command, and answers.
    Evict(Command),
}

/// The wait of one write, from the answer to its close.
#[derive(Debug)]
pub struct Acknowledgement {
    epoch: EpochId,
    number: u64,
    lagging: BTreeSet<Session>,
    /// Those who lag have no lease any more.
    leases_until: Time,
    /// Leases of earlier epochs are over.
    earlier_until: Time,
    cut_at: Time,
    is_cut: bool,
    next_poll: Time,
    pause: Duration,
}

impl Acknowledgement {
    /// Begins at the time of the answer. `own` is the session that has outdated what the write has
    /// changed; the answer to a repeat has no such one, because the log of its own replica may lag,
    /// too. `earlier_until` is when the leases of earlier epochs are over.
    #[must_use]
    pub fn new(
        closed: &Closed,
        own: Option<Session>,
        earlier_until: Time,
        cut_at: Time,
        now: Time,
        timing: Timing,
    ) -> Self {
        let mut this = Self {
            epoch: closed.epoch.clone(),
            number: closed.number,
            lagging: closed
                .members
                .keys()
                .copied()
                .filter(|session| Some(*session) != own)
                .collect(),
            leases_until: now + Timing::waited(timing.lease),
            earlier_until,
            cut_at,
            is_cut: false,
            next_poll: now + FIRST_PAUSE,
            pause: FIRST_PAUSE,
        };
        this.keep_lagging(&closed.members);
        this
    }

    /// What to do now.
    #[must_use]
    pub fn step(&self, now: Time) -> Step {
        let is_acknowledged = self.lagging.is_empty();
        if is_acknowledged && now >= self.earlier_until {
            return Step::Answer;
        }
        if !self.is_cut && now >= self.cut_at {
            return Step::Cut;
        }
        let cut_at = if self.is_cut { Time::MAX } else { self.cut_at };
        if is_acknowledged {
            return Step::Wait(self.earlier_until.min(cut_at));
        }
        if now >= self.leases_until && now >= self.earlier_until {
            let (epoch, below) = (self.epoch.clone(), self.number);
            let sessions = self.lagging.iter().copied().collect();
            return Step::Evict(Command::Evict { epoch, sessions, below });
        }
        let all_until = self.leases_until.max(self.earlier_until);
        if now >= self.next_poll {
            return Step::Poll(Command::Members { epoch: self.epoch.clone() });
        }
        Step::Wait(self.next_poll.min(all_until).min(cut_at))
    }

    /// Takes the members, and plans the next look.
    pub fn polled(&mut self, members: &Members, now: Time) {
        self.keep_lagging(members);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.next_poll = now + self.pause;
    }

    /// The members cannot be told any more, because the server is away or its epoch is over. Time
    /// alone decides from now on.
    pub fn cannot_poll(&mut self) {
        self.next_poll = Time::MAX;
    }

    /// The caller has its answer, because of its deadline.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    fn keep_lagging(&mut self, members: &Members) {
        let number = self.number;
        self.lagging
            .retain(|session| members.get(session).is_some_and(|applied| *applied < number));
    }
}
