//! What the log says.

use std::{sync::Arc, time::Duration};

use super::{EpochId, Target, WriteId};

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number. The next one has the next number.
    pub number: u64,
    /// The epoch in which it was written.
    pub epoch: EpochId,
    /// What it says.
    pub kind: EntryKind,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A write is about to be sent.
    Opened {
        /// Which.
        write: WriteId,
        /// What it may change.
        target: Target,
        /// How long it lasts at most.
        lasts: Duration,
    },
    /// A write has ended.
    Closed {
        /// Which.
        write: WriteId,
        /// What it may have changed.
        target: Target,
        /// Whether it may still take effect.
        is_unsettled: bool,
        /// The request id, whose repeats may wait.
        request: Option<Arc<str>>,
        /// What it has made, if it is settled and that is known.
        made: Option<Arc<str>>,
    },
    /// There is news of a shared history, which says nothing of what is kept.
    Looked {
        /// Its name.
        history: Arc<str>,
    },
    /// What is kept has to go, because a caller asked for it or because the entry is of a later
    /// release.
    Purged {
        /// What; everything if it is not said.
        target: Option<Target>,
    },
}
