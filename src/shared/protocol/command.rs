//! What replicas ask of the server, and what it answers.
//!
//! Each command can be sent again until its answer comes: it does nothing more the second time, and
//! nothing that harms if it arrives late.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Adopt, EpochId, LeftRequest, Session, Target, Token, WriteId};

/// Why the server did not carry out a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The epoch is over: the replica has to join again.
    Epoch,
    /// It is not the primary any more.
    Demoted,
}

/// A command. All but [`Join`] are refused in another epoch than that of the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes a replica a member, and begins an epoch if this history of the server has
    /// no epoch yet.
    Join(Join),
    /// Says how much of the log a replica has applied.
    Renew {
        /// The membership.
        session: Session,
        /// The number of the last entry that was applied.
        applied: u64,
    },
    /// Asks how much each member has applied, in the epoch in which a write was closed: the members
    /// of a later one say nothing about the leases of this one.
    Members {
        /// The epoch.
        epoch: EpochId,
    },
    /// Asks how many members there are but those that were not heard of for long: these are members
    /// until a write has waited for them.
    Count,
    /// Removes members that have not applied this entry by now.
    Evict {
        /// The epoch in which the entry was written.
        epoch: EpochId,
        /// Who lags.
        sessions: Vec<Session>,
        /// The number of the entry.
        below: u64,
    },
    /// Begins an attempt at the write of a request id.
    Begin(Begin),
    /// Takes the turn of a profile.
    TakeTurn(TakeTurn),
    /// Announces a write, before it is sent.
    Open(Open),
    /// Ends a write.
    Close(Close),
    /// Outdates what all replicas keep, because a caller asked for it.
    Purge {
        /// What; everything if it is not said.
        target: Option<Target>,
    },
    /// Says again, to a server with a new epoch, what an earlier one knew.
    Restore(Restore),
    /// Takes over what processes have left that have ended.
    Adopt(Adopt),
    /// Asks of requests whether they took effect, or what an attempt at each has sent had none.
    Settled {
        /// The requests, and the attempts that sent something, if they are known.
        requests: Vec<(Arc<str>, Option<Token>)>,
    },
}

/// The answer to each command, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Command::Join`].
    Joined(Joined),
    /// To [`Command::Renew`].
    Renewal(Renewal),
    /// To [`Command::Members`].
    Members(Members),
    /// To [`Command::Count`].
    Counted {
        /// How many.
        alive: u64,
    },
    /// To [`Command::Evict`].
    Evicted,
    /// To [`Command::Begin`].
    Begun(Begun),
    /// To [`Command::TakeTurn`].
    TurnTaken(TurnTaken),
    /// To [`Command::Open`].
    Opened(Opened),
    /// To [`Command::Close`], and to [`Command::Purge`].
    Closed(Closed),
    /// To [`Command::Restore`].
    Restored(Restored),
    /// To [`Command::Adopt`].
    Adopted(Vec<LeftRequest>),
    /// To [`Command::Settled`], in the order of the requests.
    Settled(Vec<bool>),
}

/// See [`Command::Join`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The new membership.
    pub session: Session,
    /// The one that it replaces.
    pub leaves: Option<Session>,
    /// Names the epoch, if the server has to begin a new one.
    pub token: Token,
    /// How long writes may take effect after their end.
    pub settle: Duration,
    /// How long a new epoch gives no turns, and knows no new request ids.
    pub grace: Duration,
}

/// The answer to [`Command::Join`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The epoch.
    pub epoch: EpochId,
    /// The number of the last entry of the log.
    pub tail: u64,
    /// The writes under way.
    pub open: Vec<LeftOpen>,
}

/// A write under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOpen {
    /// Which.
    pub write: WriteId,
    /// What it may change.
    pub target: Target,
    /// When it ends at the latest.
    pub left: Duration,
}

/// The answer to [`Command::Renew`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The replica has applied the whole log.
    Valid,
    /// It has not.
    Behind {
        /// The number of the last entry.
        tail: u64,
    },
    /// It is not a member any more.
    Gone,
}

/// How much each member has applied.
pub type Members = BTreeMap<Session, u64>;

/// See [`Command::Begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// The request id.
    pub request: Arc<str>,
    /// What tells the same request from another one.
    pub fingerprint: Arc<str>,
    /// The attempt.
    pub attempt: Token,
    /// How long the attempt may send.
    pub lasts: Duration,
    /// How long a new epoch knows no new ids.
    pub grace: Duration,
    /// The attempt whose outcome it is to find out, if this replica knows of one.
    pub doubted: Option<Token>,
}

/// The answer to [`Command::Begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing was sent under the id; the attempt may.
    Fresh {
        /// Counts the attempts at this id.
        generation: u64,
        /// What the attempt in doubt has sent is known to have had no effect.
        is_denied: bool,
    },
    /// Another attempt may still send for so long.
    Running {
        /// How long.
        left: Duration,
    },
    /// It is done, with this result. Its end may not be known everywhere yet, so that an answer has
    /// to wait for that, too.
    Done {
        /// The result.
        result: Arc<[u8]>,
        /// The end of the write.
        closed: Closed,
    },
    /// An earlier attempt may have been sent. This one has to find out whether it took effect.
    Unknown {
        /// Counts the attempts at this id.
        generation: u64,
        /// What was about to be sent.
        intent: Arc<[u8]>,
        /// How long ago that attempt ended: it has sent nothing since.
        ended: Duration,
    },
    /// The id is used for another request.
    Reused,
    /// The epoch is too new to say: a later attempt may not be restored yet. Ask again after so
    /// long.
    Grace {
        /// How long.
        left: Duration,
    },
}

/// See [`Command::TakeTurn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeTurn {
    /// The profile.
    pub profile: Target,
    /// Who takes it.
    pub token: Token,
    /// How long it is taken at most.
    pub lasts: Duration,
    /// How long a new epoch gives no turns.
    pub grace: Duration,
}

/// The answer to [`Command::TakeTurn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnTaken {
    /// It is taken.
    Taken,
    /// Another write has it, for so long at most.
    Held {
        /// How long.
        left: Duration,
    },
    /// The epoch is too new to give turns. Ask again after so long.
    Grace {
        /// How long.
        left: Duration,
    },
}

/// See [`Command::Open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Which.
    pub write: WriteId,
    /// What it may change.
    pub target: Target,
    /// How long it lasts at most.
    pub lasts: Duration,
    /// The turn that it needs: the profile, and who has taken it.
    pub turn: Option<(Target, Token)>,
    /// The request id and the attempt that it needs.
    pub request: Option<(Arc<str>, Token)>,
    /// What is about to be sent, never empty; unset if the attempt has to find out first what an
    /// earlier one did.
    pub intent: Option<Arc<[u8]>>,
    /// Begins the record of a request that no caller can name, with this fingerprint.
    pub unnamed: Option<Arc<str>>,
}

/// The answer to [`Command::Open`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It is in the log.
    Opened,
    /// The turn or the attempt belongs to another write: nothing may be sent.
    Lost,
}

/// See [`Command::Close`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Which.
    pub write: WriteId,
    /// What it may have changed.
    pub target: Target,
    /// The turn that it gives back.
    pub turn: Option<(Target, Token)>,
    /// The request id and the attempt that end.
    pub request: Option<(Arc<str>, Token)>,
    /// How it ended.
    pub outcome: Outcome,
    /// What this attempt sent, if the outcome is unknown: a new epoch may have lost it.
    pub intent: Option<Arc<[u8]>>,
    /// How long the outcome is remembered; zero if no caller can ask for it.
    pub kept: Duration,
    /// What it has made, for those who keep what they read.
    pub made: Option<Arc<str>>,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect, with this result for repeats.
    Done(Arc<[u8]>),
    /// It sent nothing. What an earlier attempt sent is as unknown as before.
    Nothing,
    /// Nothing of this attempt or of earlier ones has taken effect, or will.
    NoEffect,
    /// It may have taken effect, or may yet.
    Unknown,
}

/// The answer to [`Command::Close`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The epoch in which it was closed.
    pub epoch: EpochId,
    /// The number of the entry, or of a later one.
    pub number: u64,
    /// How much each member had applied at that moment.
    pub members: Members,
    /// Whether the attempt was still the one of the request id.
    pub was_mine: bool,
}

/// How far the write of a request id is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordState {
    /// An attempt runs.
    Running {
        /// For how long at most.
        left: Duration,
    },
    /// Its attempt has ended as said, so long ago.
    Ended(Outcome, Duration),
}

/// What a replica knows of an attempt of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// The request id.
    pub request: Arc<str>,
    /// What tells the same request from another one.
    pub fingerprint: Arc<str>,
    /// The attempt.
    pub attempt: Token,
    /// Counts the attempts at this id.
    pub generation: u64,
    /// How far it is.
    pub state: RecordState,
    /// What it was about to send, or an earlier attempt was.
    pub intent: Option<Arc<[u8]>>,
    /// How long ago the attempt that had the intent ended, if that is an earlier one.
    pub ended: Option<Duration>,
}

/// See [`Command::Restore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The write.
    pub write: WriteId,
    /// What it may change.
    pub target: Target,
    /// How long it may still send; unset if it has ended.
    pub left: Option<Duration>,
    /// Whether it is announced.
    pub is_open: bool,
    /// The turn that it has.
    pub turn: Option<(Target, Token)>,
    /// What is known of its request id.
    pub record: Option<RequestRecord>,
    /// The last epoch in which the server has confirmed that. What others have done since decides,
    /// unless that is the epoch before this one.
    pub known_in: EpochId,
    /// How long a new epoch gives no turns to others.
    pub grace: Duration,
    /// How long outcomes are remembered.
    pub kept: Duration,
}

/// The answer to [`Command::Restore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Whether the write has its turn, if it needs one.
    pub has_turn: bool,
    /// Whether the attempt is the one of the request id, if it has one.
    pub has_record: bool,
}
