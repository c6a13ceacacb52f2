//! Histories that replicas share: a list, the latest changes that led to it, and who looks for more
//! of them.
//!
//! One replica at a time has the turn to look. What it has found it adds to the history, which
//! refuses what comes of an earlier turn or does not follow the last change. All replicas read the
//! changes in their order, and are woken by the log when there are new ones.
//!
//! A server with a new epoch may have lost the latest changes, and would give their numbers to
//! others. So a history has another id in each epoch, and knows up to which number the changes
//! of earlier ones are its own.

mod answers;
mod commands;
mod handle;
mod state;
#[cfg(test)]
mod tests;

pub use self::{
    handle::SharedHistory,
    state::{
        Advance, Fill, HistoryId, HistoryRun, HistoryState, Looked, SharedChange, SharedEntry,
        Standing, Turn,
    },
};
