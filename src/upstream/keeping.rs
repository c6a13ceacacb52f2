//! Keeps the state of an upstream as it changes.
//!
//! What is used of its limits, and pauses that it asks for, are noted a moment after they change,
//! at most each second or hundredth of a window, so that no request waits for the disk. A login and
//! the pause of logins are kept before their outcome is told.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{
    client::Upstream,
    keeper::{Account, EarlierUpstreams},
    kept::KeptUpstream,
};
use crate::store::{Clock, Kept};

/// How long requests are not kept at most.
const EVERY: Duration = Duration::from_secs(1);

impl Upstream {
    /// Takes on what an earlier process has left of the same account, and keeps it for the next one
    /// as it changes.
    pub fn keep_in(self: &Arc<Self>, earlier: &EarlierUpstreams, account: &Account) {
        let (keeper, earlier) = earlier.of(&self.backend, account);
        let (keeper, now) = (keeper.map(Arc::new), Instant::now());
        self.credentials.keep_in(keeper.as_ref(), (earlier.pause.as_ref(), earlier.clock), now);
        if let Some(upstream) = &earlier.upstream {
            self.pace.go_on(upstream, earlier.clock);
            self.breaker.go_on(upstream.openings, now);
        }
        if let Some(keeper) = keeper {
            // Requests that may have been sent, and were not kept, are counted once.
            keeper.note(self.state(false, keeper.clock()));
            let _ = self.keeper.set(keeper);
        }
        self.publish(None);
    }

    /// Leaves the state for the next upstream of this name: another one takes its place, or none.
    /// What it finds out from now on, with the calls that it still has, is told to no one.
    pub fn leave_in(&self, earlier: &EarlierUpstreams, account: &Account) {
        self.retired.store(true, Ordering::Relaxed);
        let clock = earlier.clock();
        let state = (self.credentials.pause_to_keep(clock), self.state(false, clock));
        earlier.leave(&self.backend, account, state);
    }

    /// Keeps the state as it changes, until it is given up.
    pub async fn keep(self: Arc<Self>) {
        let Some(keeper) = self.keeper.get() else { return };
        let mut running = false;
        loop {
            let woken = match running {
                true => timeout(EVERY, self.pace.changed()).await.is_ok(),
                false => {
                    self.pace.changed().await;
                    true
                }
            };
            running = woken || self.pace.has_unkept();
            keeper.note(self.state(running, keeper.clock()));
        }
    }

    /// Keeps the last state: nothing is sent any more.
    pub fn keep_last(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.note(self.state(false, keeper.clock()));
        }
    }

    /// Keeps the state now, if anything does.
    pub(super) fn keep_now(&self) -> Option<Kept> {
        let keeper = self.keeper.get()?;
        Some(keeper.end(self.state(true, keeper.clock())))
    }

    /// Ends the pause that the upstream has asked for, and that after it rejected the credentials.
    /// Returns whether there was one, on any replica of those that share an account.
    #[must_use]
    pub async fn end_pause(self: &Arc<Self>) -> bool {
        let shared = self.end_shared_pauses().await;
        let now = Instant::now();
        let (asked_for, of_logins) = (self.pace.end_pause(now), self.credentials.end_pause(now));
        if asked_for {
            drop(self.keep_now());
        }
        if of_logins {
            self.publish(None);
        }
        asked_for || of_logins || shared
    }

    fn state(&self, running: bool, clock: Clock) -> KeptUpstream {
        KeptUpstream { openings: self.breaker.openings(), ..self.pace.keep(running, clock) }
    }
}
