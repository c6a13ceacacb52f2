//! What a process leaves when it ends: writes whose outcome no one has found out.

use std::{sync::Arc, time::Duration};

use super::{Process, Token};

/// A process that was not heard of for so long has ended: its doubts are taken over. Should it only
/// have been cut off, no harm is done: the record of each request says who may look.
pub const ENDED_AFTER: Duration = Duration::from_secs(10);

/// Takes over doubts of processes that have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopt {
    /// Who does.
    pub process: Process,
    /// How many of them at most.
    pub limit: u32,
    /// Also tells those that are its own already, 1,024 at most: the answer to an earlier command
    /// may be lost.
    pub also_own: bool,
    /// How long a new epoch gives none.
    pub grace: Duration,
}

/// A doubt that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftRequest {
    /// The request id.
    pub request: Arc<str>,
    /// What was about to be sent.
    pub intent: Arc<[u8]>,
    /// How long ago that attempt ended.
    pub ended: Duration,
    /// The attempt that was about to send it, if it is known.
    pub sender: Option<Token>,
    /// The process ended before it could tell its caller.
    pub was_running: bool,
}
