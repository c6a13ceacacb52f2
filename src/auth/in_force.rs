//! The rules that are in force now. A reload of the configuration replaces all of them at once.

use std::{fmt, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::authenticator::Authenticator;

/// What finds out who calls, by the rules of now.
pub struct InForce {
    current: ArcSwap<Authenticator>,
    /// Sent whenever the rules were replaced; how often what proves callers was others then.
    replaced: watch::Sender<u64>,
}

impl InForce {
    /// These rules, until they are replaced.
    #[must_use]
    pub fn new(authenticator: Authenticator) -> Self {
        Self { current: ArcSwap::from_pointee(authenticator), replaced: watch::Sender::default() }
    }

    /// The rules of now. Takes no lock.
    pub fn now(&self) -> Guard<Arc<Authenticator>> {
        self.current.load()
    }

    /// The same, for what takes long.
    #[must_use]
    pub fn for_long(&self) -> Arc<Authenticator> {
        self.current.load_full()
    }

    /// Puts other rules in force. `proofs_changed`: the same proof may be of someone else now.
    pub fn replace(&self, authenticator: Authenticator, proofs_changed: bool) {
        self.current.store(Arc::new(authenticator));
        self.replaced.send_modify(|round| *round += u64::from(proofs_changed));
    }

    /// Tells of each time that the rules are replaced, with how often what proves callers had
    /// changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }
}

impl Default for InForce {
    fn default() -> Self {
        Self::new(Authenticator::default())
    }
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InForce").finish_non_exhaustive()
    }
}
