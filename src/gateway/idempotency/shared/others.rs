//! What this replica knows of others beside the ledger: which attempts have sent what may be in
//! doubt, and what it has asked about.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{gateway::idempotency::RequestKey, shared::protocol::Token};

/// What is known of others.
#[derive(Default)]
pub(super) struct Others {
    /// The attempts that have sent what may be in doubt.
    pub(super) senders: Mutex<HashMap<RequestKey, Token>>,
    pub(super) asked: Mutex<Asked>,
}

#[derive(Default)]
pub(super) struct Asked {
    /// When doubts of replicas that have ended are looked for again.
    pub(super) adopts_at: Option<Instant>,
    /// The answer to that may be lost.
    pub(super) may_have_missed: bool,
    /// Doubts up to this number were asked about.
    pub(super) last: u64,
}

impl Others {
    /// An attempt is about to send something.
    pub(super) fn sent(&self, key: RequestKey, attempt: Token) {
        self.senders.lock().insert(key, attempt);
    }

    /// The attempt that has sent what is in doubt.
    pub(super) fn sender(&self, key: RequestKey) -> Option<Token> {
        self.senders.lock().get(&key).copied()
    }

    /// Nothing is in doubt any more.
    pub(super) fn is_known(&self, key: RequestKey) {
        self.senders.lock().remove(&key);
    }
}
