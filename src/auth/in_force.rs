//! The rules that are in force now. A reload of the configuration replaces all of them at once; the
//! keys of issuers change more often.

use std::{fmt, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::authenticator::Authenticator;

/// What finds out who calls, by the rules of now.
pub struct InForce {
    current: ArcSwap<Authenticator>,
    changes: watch::Sender<Changes>,
}

/// How often the rules have changed. Sent also when keys have, which count nothing here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// How often they were replaced.
    pub rules: u64,
    /// How often the same proof may have been of someone else since.
    pub proofs: u64,
}

impl InForce {
    /// These rules, until they are replaced.
    #[must_use]
    pub fn new(authenticator: Authenticator) -> Self {
        Self { current: ArcSwap::from_pointee(authenticator), changes: watch::Sender::default() }
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
        self.changes.send_modify(|changes| {
            changes.rules += 1;
            changes.proofs += u64::from(proofs_changed);
        });
    }

    /// Tells those who have subscribed that issuers have other keys.
    pub fn keys_changed(&self) {
        self.changes.send_modify(|_| {});
    }

    /// Tells of each time that the rules are replaced, or the keys of an issuer.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
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
