//! A write that is dropped before it is closed, as by a panic or because its caller has left.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use tokio::time::Instant;

use super::SharedWrite;
use crate::shared::protocol::Outcome;

/// How long to try to give back what nothing was sent with.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(5);

impl Drop for SharedWrite {
    fn drop(&mut self) {
        let (is_open, is_closed) = {
            let state = self.state.lock();
            (state.is_open, state.is_closed)
        };
        if is_closed || self.is_alone() || !self.is_known.load(SeqCst) {
            return;
        }
        let may_have_sent = is_open && self.has_begun.load(SeqCst);
        let outcome = if may_have_sent { Outcome::Unknown } else { Outcome::Nothing };
        let now = self.agreement.membership.now();
        self.agreement.membership.own(|own| {
            if let Some(mut known) = own.running(self.id).cloned() {
                known.ended = Some((outcome.clone(), now));
                own.note(&known);
            }
        });
        let (agreement, command) =
            (Arc::clone(&self.agreement), self.closing(outcome, self.request.as_ref(), None));
        let end = match may_have_sent {
            true => self.forgotten_at(),
            // What it has ends by itself.
            false => Instant::now() + GIVEN_BACK_WITHIN,
        };
        self.agreement.spawn(async move {
            // Its turn ends by itself.
            let _ = agreement.ask_until(&command, end).await;
        });
    }
}
