//! What outlives the process: entries, in tables, each with a key.
//!
//! A [`Store`] knows nothing of what it keeps. The rooms above hold in memory what they need, take
//! what an earlier process has left when they start ([`Store::load`]), and hand over each change.
//! So nothing is read while calls are answered, and a store that fails later can only refuse new
//! writes.
//!
//! There are two makers: [`Memory`] keeps nothing, and [`File`] has an embedded database. Both pass
//! the suite in `tests`. What replicas share is another matter, and is in the room `shared`: it is
//! asked before what is above, such as the ledger of request ids, and that has the memory here.

mod clock;
mod file;
mod key;
mod memory;
mod metrics;
mod settings;
#[cfg(test)]
mod tests;
mod unreadable;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::oneshot, time::timeout};

pub use self::{
    clock::{Clock, Moment, can_be_shown, time},
    file::{File, Found, compact, examine, exposed},
    key::StoreKey,
    memory::Memory,
    metrics::StoreMetrics,
    settings::{StoreKind, StoreSettings},
    unreadable::{forget_unreadable, unreadable, unreadable_at},
};
use crate::error::{Error, Reason};

/// The longest that a write waits for the disk before it is sent.
pub const SOON: Duration = Duration::from_secs(3);

/// A table. Its name is part of the format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Writes that are under way, in doubt, or remembered for their repeats.
    Requests,
    /// Creations that are running or in doubt.
    Creations,
    /// The profiles that creations have claimed.
    Claims,
    /// What is secret of the store itself.
    Keys,
    /// The pauses of logins, of backends.
    Logins,
    /// What is used of the limits of upstreams, and their other pauses.
    Upstreams,
    /// The lists and the changes of watched backends.
    History,
}

impl Table {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::Creations,
        Self::Claims,
        Self::Keys,
        Self::Logins,
        Self::Upstreams,
        Self::History,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Creations => "creations",
            Self::Claims => "claims",
            Self::Keys => "keys",
            Self::Logins => "logins",
            Self::Upstreams => "upstreams",
            Self::History => "history",
        }
    }
}

/// An entry: its key and its value.
pub type Entry = (Bytes, Bytes);

/// A change of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it is.
    pub table: Table,
    /// What it is found by.
    pub key: Bytes,
    /// Its new value; `None` removes it.
    pub value: Option<Bytes>,
}

impl Change {
    /// Puts a value in the place of the one before.
    pub fn put(table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { table, key: key.into(), value: Some(value.into()) }
    }

    /// Removes an entry, if it is there.
    pub fn remove(table: Table, key: impl Into<Bytes>) -> Self {
        Self { table, key: key.into(), value: None }
    }

    fn size(&self) -> usize {
        64 + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// What an entry outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlives {
    /// Nothing: it ends with the process.
    Nothing,
    /// The process, however it ends, and the machine.
    Restarts,
}

/// Keeps entries for the next process.
///
/// All changes take effect in the order in which they are handed over, and those of one call all
/// together or not at all. What is handed over is never read back by this process.
pub trait Store: Send + Sync + 'static {
    /// What an entry outlives.
    fn outlives(&self) -> Outlives;

    /// What earlier processes have left in a table. The second time, there is nothing.
    fn load(&self, table: Table) -> Vec<Entry>;

    /// Makes changes that something depends on: if it fails, or is given up, what they announce
    /// must not be done, and [`Self::end`] has to take them back.
    fn put(&self, changes: Vec<Change>) -> Kept;

    /// Why [`Self::put`] would refuse changes at once, if it would: the last ones could not be
    /// made, or too many wait. Nothing is to be noted of what is refused.
    fn trouble(&self) -> Option<Unavailable>;

    /// Makes changes about what is over, which cannot be refused: if they cannot be made now, that
    /// is reported, and they are made as soon as they can.
    fn end(&self, changes: Vec<Change>) -> Kept;

    /// Makes changes that no write waits for, with the next of the others or a moment later. Those
    /// of the last moment are lost when the process is killed.
    fn note(&self, changes: Vec<Change>);

    /// Makes all changes that are left, and gives up what the store has for itself. It refuses
    /// everything from then on. Blocks.
    fn close(&self);
}

/// Resolves when changes are kept: they outlive what [`Store::outlives`] says.
#[must_use = "changes may fail"]
pub struct Kept(Answer);

enum Answer {
    Known(Result<(), Unavailable>),
    Coming(oneshot::Receiver<Result<(), Unavailable>>),
}

impl Kept {
    pub(crate) fn known(result: Result<(), Unavailable>) -> Self {
        Self(Answer::Known(result))
    }

    /// Whether they were refused at once.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.0, Answer::Known(Err(_)))
    }

    /// Of a disk that does not answer any more.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        let (sender, answer) = oneshot::channel();
        std::mem::forget(sender);
        Self(Answer::Coming(answer))
    }

    /// Waits until they are kept.
    ///
    /// # Errors
    ///
    /// When they are not.
    pub async fn wait(self) -> Result<(), Unavailable> {
        match self.0 {
            Answer::Known(result) => result,
            Answer::Coming(answer) => answer.await.unwrap_or_else(|_| Err(Unavailable::closed())),
        }
    }

    /// Waits no longer than a write that was not sent may.
    ///
    /// # Errors
    ///
    /// When they are not kept, or not by then.
    pub async fn soon(self) -> Result<(), Unavailable> {
        match self.0 {
            Answer::Known(result) => result,
            coming => timeout(SOON, Self(coming).wait())
                .await
                .unwrap_or_else(|_| Err(Unavailable::late())),
        }
    }
}

/// Why changes are not kept.
#[derive(Debug, Clone)]
pub struct Unavailable {
    /// For callers: it names no path.
    why: &'static str,
    /// The same for the log.
    cause: Arc<str>,
}

impl Unavailable {
    /// `cause` is for the log alone.
    pub(crate) fn new(why: &'static str, cause: impl fmt::Display) -> Self {
        Self { why, cause: cause.to_string().into() }
    }

    fn closed() -> Self {
        Self::new("it is closed", "it is closed")
    }

    /// What is not kept in time.
    #[must_use]
    pub fn late() -> Self {
        Self::new("its disk took too long", "it is not kept in time")
    }

    /// The error of a write that is not sent.
    #[must_use]
    pub fn nothing_sent(&self) -> Error {
        self.error("the write could not be recorded in the store", "it was not sent")
    }

    /// The error of a write in doubt that is not closed.
    #[must_use]
    pub fn not_closed(&self) -> Error {
        self.error("this could not be recorded in the store", "the write was not closed")
    }

    fn error(&self, what: &str, so: &str) -> Error {
        let Self { why, cause } = self;
        Error::new(Reason::StoreUnavailable, format!("{what}, because {why}; {so}"))
            .with_internal(format_args!("the store takes no changes: {cause}"))
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}
