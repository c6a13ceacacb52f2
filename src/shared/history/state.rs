//! What replicas know of a shared history, and what they add to it.

use std::{sync::Arc, time::Duration};

use crate::shared::protocol::Token;

/// One history: its numbers mean the same to all who know its id. Random, and never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryId(pub u64);

/// A part of the list, in no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedEntry {
    /// Where in the list.
    pub position: String,
    /// What is there.
    pub value: Arc<[u8]>,
}

/// A change of the list at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedChange {
    /// Where in the list.
    pub position: String,
    /// What kind of change it is: one letter. `r` removes what is there.
    pub kind: char,
    /// More about the change.
    pub fields: String,
    /// What is there after it, or what tells what was removed.
    pub value: Arc<[u8]>,
}

/// An earlier history, and up to which number its changes are those of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryRun {
    /// Its id.
    pub id: HistoryId,
    /// The last number.
    pub end: u64,
}

/// A look that has ended, by when it began: one more than the number of the last entry of the log
/// before. Zero is before all looks.
pub type Looked = u64;

/// What there is of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub id: HistoryId,
    /// The number of the first change that is kept.
    pub first: u64,
    /// The number of the last change.
    pub last: u64,
    /// Earlier histories, the earliest first.
    pub runs: Vec<HistoryRun>,
}

/// What there is, and who looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryState {
    /// What there is, if there is anything.
    pub standing: Option<Standing>,
    /// The latest look that has ended well in this epoch.
    pub looked: Looked,
    /// How long ago it ended.
    pub age: Duration,
    /// How long the one who has looked waits between two looks.
    pub interval: Duration,
    /// A later look that has failed, and why.
    pub failed: Option<(Looked, String)>,
    /// Whether the one who asks has the turn now.
    pub has_turn: bool,
    /// How long the turn is taken, by this replica or another one.
    pub turn_left: Duration,
    /// What the one with the turn says of its look.
    pub note: String,
    /// A look has to have begun so late to show all writes to the account that have ended.
    pub ended: Looked,
    /// A look that begins now.
    pub now: Looked,
}

/// What a replica wants of the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn<'a> {
    /// Nothing: it only asks.
    Ask,
    /// To have it, or to keep it, for so long.
    Take {
        /// Names this replica, each time that it has the turn another.
        token: Token,
        /// How long.
        lasts: Duration,
        /// What it says of its look.
        note: &'a str,
    },
    /// To give it back.
    Leave(Token),
}

/// A new history, or one that the server has lost.
#[derive(Debug, Clone)]
pub struct Fill {
    /// Its id.
    pub id: HistoryId,
    /// Earlier histories.
    pub runs: Vec<HistoryRun>,
    /// The list.
    pub list: Vec<SharedEntry>,
    /// The number of the first change.
    pub first: u64,
    /// The changes that have led to the list.
    pub changes: Vec<SharedChange>,
    /// The look that has found the list, if it is not an old one.
    pub looked: Looked,
    /// How long it is until the next look.
    pub interval: Duration,
}

/// What a look has found.
#[derive(Debug, Clone)]
pub struct Advance {
    /// The history that it goes on with.
    pub id: HistoryId,
    /// The last change before.
    pub after: u64,
    /// The changes.
    pub changes: Vec<SharedChange>,
    /// The look.
    pub looked: Looked,
    /// How long it is until the next look.
    pub interval: Duration,
}
