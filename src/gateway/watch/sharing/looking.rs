//! Looks for changes, for all replicas.

use std::sync::Arc;

use tokio::{
    pin,
    time::{Instant, sleep_until},
};

use super::{PACES, Sharing, following::fresh, wire};
use crate::{
    error::Result,
    gateway::watch::poller::Seen,
    shared::{
        history::{Advance, Fill, HistoryState},
        membership::NoAnswer,
        protocol::EpochId,
    },
};

impl Sharing {
    /// Looks for changes, and adds what it has found to the shared history.
    pub(super) async fn look(
        &mut self,
        epoch: &EpochId,
        state: &HistoryState,
    ) -> std::result::Result<(), NoAnswer> {
        let (poller, backend) = (Arc::clone(&self.poller), self.poller.current(&self.backend));
        let began = Instant::now();
        let before = {
            let mut known = poller.lock();
            known.polling = Some(began);
            known.history.has_begun().then(|| Arc::clone(known.history.profiles()))
        };
        let looked = async {
            let seeing = poller.see(&backend, before.as_deref());
            pin!(seeing);
            loop {
                tokio::select! {
                    seen = &mut seeing => break Some(seen),
                    () = sleep_until(self.renewed) => {}
                    // A stream has come.
                    () = poller.wake.notified() => {}
                }
                if !self.renew(epoch).await {
                    break None;
                }
            }
        };
        let looked = looked.await;
        let unwanted = {
            let mut known = poller.lock();
            known.polling = None;
            std::mem::take(&mut known.pacing) && known.is_unwatched()
        };
        let Some((seen, polled)) = looked else { return Ok(()) };
        let mut pause = self.cadence.after(&polled, backend.sustainable_watch());
        // What is read half way through a poll is the older the longer it waits for the rest.
        pause.least = pause.least.max(backend.watch_room(self.cadence.cost()));
        poller.tell(&backend, &self.cadence, pause);
        let now = Instant::now();
        self.due = now + pause.interval;
        self.rested = now + (now - began).max(pause.least);
        if unwanted && seen.is_err() {
            return Ok(());
        }
        self.publish(epoch, state, seen, pause.interval).await
    }

    /// Keeps the turn during a look, and tells streams that come what there was before. Returns
    /// whether what the look finds is still of use, as far as it is known.
    async fn renew(&mut self, began_in: &EpochId) -> bool {
        let (wanted, note) = {
            let known = self.poller.lock();
            (known.wanted, if known.is_pacing() { PACES } else { "" })
        };
        match self.take_turn(note).await {
            Ok((epoch, state)) if state.has_turn && epoch == *began_in => {
                self.settle(wanted, &epoch, &state, false);
                true
            }
            Ok(_) => false,
            Err(why) => {
                // What is found is refused if another replica has the turn by then.
                self.renewed = self.unreached(&why);
                true
            }
        }
    }

    async fn publish(
        &mut self,
        epoch: &EpochId,
        state: &HistoryState,
        seen: Result<Seen>,
        interval: std::time::Duration,
    ) -> std::result::Result<(), NoAnswer> {
        let (by, looked) = ((epoch, self.token), state.now);
        match (seen, &state.standing) {
            (Ok((_, Some(changes))), Some(standing)) => {
                let changes = changes.iter().map(wire::shared).collect();
                let (id, after) = (standing.id, standing.last);
                let advance = Advance { id, after, changes, looked, interval };
                self.shared.advance(by, &advance).await?;
            }
            (Ok((profiles, _)), _) => {
                let (list, runs) = (wire::entries(&profiles), Vec::new());
                let (id, changes) = (fresh(), Vec::new());
                let fill = Fill { id, runs, list, first: 1, changes, looked, interval };
                self.shared.fill(by, &fill).await?;
            }
            (Err(error), _) => {
                self.shared.failed(by, (looked, &wire::error(&error))).await?;
                self.failure = Some((looked, error));
            }
        }
        Ok(())
    }
}
