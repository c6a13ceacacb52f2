//! What one upstream asks the other replicas, and the requests that wait for an answer.
//!
//! While one question is under way, further requests gather, and go together as the next one.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{
    class::Class, credentials::Credentials, keeper::Account, pace::Pace, shared::Replicas,
};
use crate::{
    shared::commands::{KnownLogins, Reserve, Reserved},
    store::StoreKey,
};

/// After a question without an answer, none is asked for so long.
const AWAY: Duration = Duration::from_millis(250);

/// What one upstream shares with those of other replicas.
pub(super) struct Sharing {
    pub(super) replicas: Arc<dyn Replicas>,
    key: Arc<StoreKey>,
    /// A keyed hash of the secrets: others are other credentials.
    credentials: ArcSwap<String>,
    gate: Mutex<Gate>,
    /// Held for each question, so that what is known last is the latest.
    asking: tokio::sync::Mutex<()>,
    heard: Mutex<Heard>,
    /// Held by the one who learns what the latest answer should have told.
    learning: tokio::sync::Mutex<()>,
}

/// What was last heard of the logins.
#[derive(Default)]
struct Heard {
    logins: KnownLogins,
    /// The latest question has its answer, so nothing later is known.
    is_latest: bool,
    /// None will come before.
    silent_until: Option<Instant>,
}

/// Requests that wait for an answer.
#[derive(Default)]
struct Gate {
    waiting: Batch,
    is_asking: bool,
    away_until: Option<Instant>,
}

/// Those that wait, by class.
type Batch = [Vec<oneshot::Sender<Permit>>; Class::COUNT];

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// It may, then.
    At(Instant),
    /// It has to pass the limits of this replica again, from then on.
    Again(Instant),
}

/// What a request has to do for its permit.
pub(super) enum Asks {
    /// It has it.
    Has(Permit),
    /// It waits for it. The first of a batch has to have it served.
    Waits(oneshot::Receiver<Permit>, bool),
}

impl Sharing {
    pub(super) fn new(replicas: Arc<dyn Replicas>, key: Arc<StoreKey>, account: &Account) -> Self {
        let credentials = ArcSwap::from_pointee(account.name_of_secrets(&key));
        Self {
            replicas,
            key,
            credentials,
            gate: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            heard: Mutex::default(),
            learning: tokio::sync::Mutex::default(),
        }
    }

    /// The keyed hash of the secrets.
    pub(super) fn credentials(&self) -> Arc<String> {
        self.credentials.load_full()
    }

    /// There are other secrets.
    pub(super) fn change_credentials(&self, account: &Account) {
        self.credentials.store(Arc::new(account.name_of_secrets(&self.key)));
        *self.heard.lock() = Heard::default();
    }

    /// Whether logins with the credentials pause, or one tries after a pause, as was heard with the
    /// latest answer.
    pub(super) fn was_refused(&self) -> bool {
        self.heard.lock().logins.pause.is_some()
    }

    /// Whether what was heard of the logins is the latest, or is now: it is asked for if the latest
    /// question had no answer.
    pub(super) async fn learns(&self, credentials: &Credentials) -> bool {
        if self.heard.lock().is_latest {
            return true;
        }
        let _learning = self.learning.lock().await;
        {
            let heard = self.heard.lock();
            if heard.is_latest || heard.silent_until.is_some_and(|until| Instant::now() < until) {
                return heard.is_latest;
            }
        }
        let (round, used) = (credentials.round(), self.credentials());
        let batch = Reserve { credentials: used.as_str().to_owned(), ..Reserve::default() };
        let answer = self.replicas.look(&batch).await;
        if answer.is_none() {
            self.heard.lock().silent_until = Some(Instant::now() + AWAY);
        }
        let answer = answer.filter(|_| credentials.round() == round);
        self.hears(answer.as_ref());
        answer.is_some()
    }

    /// Asks for a request that has passed the limits of this replica.
    pub(super) fn join(&self, class: Class, pace: &Pace, now: Instant) -> Asks {
        let mut gate = self.gate.lock();
        let is_away = gate.away_until.is_some_and(|until| now < until);
        if is_away || !self.replicas.is_up() {
            drop(gate);
            return Asks::Has(self.unanswered(pace, now));
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(line) = gate.waiting.get_mut(usize::from(class.rank())) {
            line.push(sender);
        }
        Asks::Waits(receiver, !std::mem::replace(&mut gate.is_asking, true))
    }

    /// Asks for all that wait, until none does.
    pub(super) async fn serve(&self, pace: &Pace, credentials: &Credentials) {
        let mut serving = Serving { sharing: self, is_over: false };
        loop {
            let batch = {
                let mut gate = self.gate.lock();
                gate.waiting.iter_mut().for_each(|line| line.retain(|asks| !asks.is_closed()));
                if gate.waiting.iter().all(Vec::is_empty) {
                    gate.is_asking = false;
                    serving.is_over = true;
                    return;
                }
                std::mem::take(&mut gate.waiting)
            };
            let wanted = batch.each_ref().map(|line| u32::try_from(line.len()).unwrap_or(u32::MAX));
            let answer = self.ask(wanted, pace, credentials).await;
            let now = Instant::now();
            let Some((answer, again)) = answer else {
                let permit = self.unanswered(pace, now);
                batch.into_iter().flatten().for_each(|asks| {
                    let _ = asks.send(permit);
                });
                continue;
            };
            for (place, asks) in (0..).zip(batch.into_iter().flatten()) {
                let _ = asks.send(permit(&answer, place, again, now));
            }
        }
    }

    /// Asks for so many requests of each class, and takes over what the answer says.
    pub(super) async fn ask(
        &self,
        wanted: [u32; Class::COUNT],
        pace: &Pace,
        credentials: &Credentials,
    ) -> Option<(Reserved, Instant)> {
        let _asking = self.asking.lock().await;
        let (round, used) = (credentials.round(), self.credentials());
        let batch = pace.asks(wanted, Instant::now());
        let batch = Reserve { credentials: used.as_str().to_owned(), ..batch };
        let answer = self.replicas.reserve(&batch).await;
        let now = Instant::now();
        let mut gate = self.gate.lock();
        gate.away_until = answer.is_none().then_some(now + AWAY);
        let waiting: usize = gate.waiting.iter().map(Vec::len).sum();
        drop(gate);
        self.hears(answer.as_ref().filter(|_| credentials.round() == round));
        let answer = answer?;
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let again = pace.know(&batch, &answer, waiting, now);
        Some((answer, again))
    }

    /// Notes what the latest answer says of the logins with these credentials, or that none came.
    fn hears(&self, answer: Option<&Reserved>) {
        let mut heard = self.heard.lock();
        heard.is_latest = answer.is_some();
        if let Some(answer) = answer {
            heard.logins.clone_from(&answer.logins);
        }
    }

    /// What was last heard of the logins.
    pub(super) fn logins(&self) -> KnownLogins {
        self.heard.lock().logins.clone()
    }

    /// The permit of a request that others cannot be asked for.
    pub(super) fn unanswered(&self, pace: &Pace, now: Instant) -> Permit {
        self.heard.lock().is_latest = false;
        if pace.alone(now) { Permit::Again(now) } else { Permit::At(now) }
    }
}

/// One that asks for those who wait. However it ends, the next one who waits has another begin.
struct Serving<'s> {
    sharing: &'s Sharing,
    is_over: bool,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let left = {
            let mut gate = self.sharing.gate.lock();
            gate.is_asking = false;
            std::mem::take(&mut gate.waiting)
        };
        // That tells them.
        drop(left);
    }
}

/// The permit of a request at a place of the batch.
fn permit(answer: &Reserved, place: u32, again: Instant, now: Instant) -> Permit {
    if answer.granted <= place {
        return Permit::Again(again);
    }
    let later = answer.interval.saturating_mul(answer.granted - 1 - place);
    Permit::At(now + answer.last.saturating_sub(later).max(answer.first))
}

#[cfg(test)]
pub(super) mod tests;
