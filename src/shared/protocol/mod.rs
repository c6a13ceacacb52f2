//! How replicas agree: what one of them knows, and what it decides. No IO, and no clock.
//!
//! All replicas read one ordered log, which says of each write when it begins and when it ends. A
//! replica answers from memory only while it holds a lease, which the server extends only for one
//! that has applied the whole log ([`Replica`]). So the end of a write is known everywhere once
//! each replica has applied it, or its lease is over ([`Acknowledgement`]).
//!
//! An epoch is one history of the server. A server that was emptied, restarted, or promoted has
//! another one: then all replicas join again, and each restores what the server may have lost of
//! its own writes ([`OwnWrites`]).
//!
//! Only the rates of clocks matter, never what they show: each is within 1 % of real time.

mod acknowledgement;
mod command;
mod entry;
mod left;
mod open;
mod own;
mod replica;
#[cfg(test)]
pub(crate) mod tests;

use std::{sync::Arc, time::Duration};

pub use self::{
    acknowledgement::{Acknowledgement, Step},
    command::{
        Answer, Begin, Begun, Close, Closed, Command, Join, Joined, LeftOpen, Members, Open,
        Opened, Outcome, RecordState, Refused, Renewal, RequestRecord, Restore, Restored, TakeTurn,
        TurnTaken,
    },
    entry::{Entry, EntryKind},
    left::{Adopt, ENDED_AFTER, LeftRequest},
    own::{OwnWrite, OwnWrites},
    replica::{Memory, Next, Replica, SentRenewal},
};

/// A time on the clock of this process, since any fixed point. It never goes back.
pub type Time = Duration;

/// One history of the server.
pub type EpochId = Arc<str>;

/// What a write may change. Its text is for the rooms to the right.
pub type Target = Arc<str>;

/// One membership of a replica: each time that it joins, it has another one. Random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u64);

/// A write, of whichever replica. Random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

impl WriteId {
    /// Who has begun it.
    #[must_use]
    pub fn process(self) -> Process {
        Process::of(self.0)
    }
}

impl Session {
    /// Whose it is. One of an earlier release has a random one, which is never asked for.
    #[must_use]
    pub fn process(self) -> Process {
        Process::of(self.0)
    }
}

/// This process, among those whose writes are in the log. Random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process(u32);

impl Process {
    /// Another one than all before.
    #[must_use]
    pub fn new() -> Self {
        Self(rand::random())
    }

    /// The id of a new write.
    #[must_use]
    pub fn new_write(self) -> WriteId {
        WriteId(self.random())
    }

    /// A new membership.
    #[must_use]
    pub fn new_session(self) -> Session {
        Session(self.random())
    }

    /// Whether a write is of this process.
    #[must_use]
    pub fn has_begun(self, write: WriteId) -> bool {
        write.process() == self
    }

    /// As the server knows it.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    fn random(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(rand::random::<u32>())
    }

    /// That of one of its ids.
    fn of(id: u64) -> Self {
        Self(u32::try_from(id >> 32).unwrap_or_default())
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

/// One attempt at the write of a request id, or one holder of a turn. Random, so that a command
/// that arrives late is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// How long things take. All replicas of one server have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a replica may answer from memory after the server has heard of it.
    pub lease: Duration,
    /// How long a new epoch gives no new turns and knows no new request ids, so that replicas can
    /// restore theirs. Not shorter than the lease.
    pub grace: Duration,
    /// How long a write may still take effect after it has ended.
    pub settle: Duration,
    /// How long a replica may lag behind the log before its connection counts as broken.
    pub longest_lag: Duration,
}

impl Timing {
    /// As much of a span as is over here before it is over on any other clock.
    #[must_use]
    pub fn granted(span: Duration) -> Duration {
        span * 98 / 100
    }

    /// When so much is over here, the span is over on every other clock.
    #[must_use]
    pub fn waited(span: Duration) -> Duration {
        span * 103 / 100
    }
}
