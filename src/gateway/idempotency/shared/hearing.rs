//! What this replica hears of doubts from the others: those of replicas that have ended are its own
//! from then on, and what another one has found out ends its own.

use std::time::Duration;

use tokio::time::Instant;

use super::{Shared, name, undescribed};
use crate::{gateway::idempotency::Doubt, shared::membership::NoAnswer};

/// How often doubts of replicas that have ended are looked for.
const ADOPTED_EVERY: Duration = Duration::from_secs(3);
/// How many doubts are asked about at a time.
const ASKED_AT_ONCE: usize = 128;

impl Shared {
    /// Takes over doubts of replicas that have ended.
    pub(super) async fn adopt(&self) {
        let (room, now) = (self.ledger.room_for_doubts(), Instant::now());
        let also_own = {
            let mut asked = self.others.asked.lock();
            if room == 0 || asked.adopts_at.is_some_and(|at| now < at) {
                return;
            }
            asked.adopts_at = Some(now + ADOPTED_EVERY.mul_f64(rand::random_range(0.75..1.25)));
            std::mem::replace(&mut asked.may_have_missed, true)
        };
        let left = self.agreement.adopt(room, also_own).await;
        self.others.asked.lock().may_have_missed = match &left {
            Ok(_) => false,
            Err(NoAnswer::Lost(_)) => true,
            Err(NoAnswer::Down | NoAnswer::Epoch) => also_own,
        };
        let mut taken = 0;
        for left in left.unwrap_or_default() {
            // One of an earlier release does not say whose it is: only a repeat finds it out.
            let (intent, Some((number, key, mut kept))) = undescribed(&left.intent) else {
                continue;
            };
            (kept.intent, kept.interrupted) = (intent, left.was_running);
            if self.ledger.adopt(number, key, kept, left.ended) {
                left.sender.into_iter().for_each(|sender| self.others.sent(key, sender));
                taken += 1;
            }
        }
        if taken > 0 {
            tracing::info!(
                target: "gateway", doubts = taken,
                "took over writes of unknown outcome from a replica that has ended"
            );
        }
    }

    /// The same, whenever it did so last.
    #[cfg(test)]
    pub(in crate::gateway::idempotency) async fn adopt_now(&self) {
        self.others.asked.lock().adopts_at = None;
        self.adopt().await;
    }

    /// The numbers of doubts whose outcome another replica has found out. Each time some are asked
    /// about, one after the other.
    pub(super) async fn settled_elsewhere(&self) -> Vec<u64> {
        let after = self.others.asked.lock().last;
        let page = self.ledger.list_doubts(after, ASKED_AT_ONCE);
        let last = page.last().filter(|_| page.len() == ASKED_AT_ONCE);
        self.others.asked.lock().last = last.map_or(0, |doubt| doubt.number);
        if last.is_none() {
            self.forget_senders();
        }
        let doubts: Vec<Doubt> = page.into_iter().filter(|doubt| !doubt.is_attended).collect();
        if doubts.is_empty() {
            return Vec::new();
        }
        let asks = |doubt: &Doubt| (name(&doubt.key), self.others.sender(doubt.key));
        let settled = self.agreement.settled(doubts.iter().map(asks).collect()).await;
        let settled = doubts.iter().zip(settled.unwrap_or_default());
        settled.filter(|(_, is_settled)| *is_settled).map(|(doubt, _)| doubt.number).collect()
    }

    /// Forgets the attempts at what is not known here any more, if there are many.
    fn forget_senders(&self) {
        let mut senders = self.others.senders.lock();
        if senders.len() > ASKED_AT_ONCE {
            senders.retain(|key, _| self.ledger.knows(*key));
        }
    }
}
