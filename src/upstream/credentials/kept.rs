//! Pauses that outlive the process.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Credentials, refused::Refused};
use crate::{
    store::Clock,
    upstream::{keeper::Keeper, kept::KeptPause},
};

impl Credentials {
    /// Takes on an earlier pause, and keeps it as it changes.
    pub(in super::super) fn keep_in(
        &self,
        keeper: Option<&Arc<Keeper>>,
        (pause, clock): (Option<&KeptPause>, Clock),
        now: Instant,
    ) {
        let _ = keeper.map(|keeper| self.keeper.set(Arc::clone(keeper)));
        let mut state = self.lock();
        // Tokens that are shared with another upstream have its pause already.
        if state.refused.is_none() {
            state.refused = pause.and_then(|pause| Refused::kept(pause, clock, now));
        }
    }

    /// The pause as it would be kept.
    pub(in super::super) fn pause_to_keep(&self, clock: Clock) -> Option<KeptPause> {
        self.lock().refused.as_ref().map(|refused| refused.keep(clock))
    }

    /// Waits until the latest change of the pause is kept, if it can be.
    pub(in super::super) async fn kept(&self) {
        let keeps = self.lock().keeps.take();
        if let Some(keeps) = keeps {
            // The store reports what fails.
            let _ = keeps.soon().await;
        }
    }
}
