//! Follows what replicas share of a watched backend, and looks for all of them while it has the
//! turn.
//!
//! Every replica with streams over the backend tries to have the turn. The one that has it polls;
//! what it finds it adds to the shared history, from where all take it, itself too. It gives the
//! turn back with its last stream; the turn of one that has died ends by itself.
//!
//! A stream that begins waits for a number here: that of a look that shows all writes that have
//! ended before, of whichever replica.

mod following;
mod looking;
mod waits;
mod wire;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::waits::Waits;
use super::{cadence::Cadence, poller::Poller};
use crate::{
    error::{Error, Reason},
    gateway::backend::Backend,
    shared::{
        history::{HistoryState, Looked, SharedHistory, Turn},
        membership::NoAnswer,
        protocol::{EpochId, Token},
    },
};

/// How long a turn lasts unless it is taken again.
const TURN: Duration = Duration::from_secs(10);
/// When it is taken again.
const RENEWED: Duration = Duration::from_secs(3);
/// How long after the end of a turn another replica takes it.
const MARGIN: Duration = Duration::from_millis(50);
/// How long it takes until streams are told that what replicas share cannot be read.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it takes until it is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How often a history may change while it is read, before there is a pause.
const MOST_CHANGED: u32 = 3;
/// What the others are told of a look that waits for the vendor's limits half way.
const PACES: &str = "paces";

/// The task of one backend, as long as any stream is open.
pub(super) struct Sharing {
    poller: Arc<Poller>,
    shared: Arc<SharedHistory>,
    backend: Arc<Backend>,
    cadence: Cadence,
    /// Names this replica in the turn that it has, or tries to have.
    token: Token,
    has_turn: bool,
    /// When the turn is taken again.
    renewed: Instant,
    /// When the next look is due without a reason.
    due: Instant,
    /// Before that it does not look, whatever the reason.
    rested: Instant,
    waits: Waits,
    /// Why the last own look has failed, if it has.
    failure: Option<(Looked, Error)>,
    /// Since when what replicas share cannot be read.
    away_since: Option<Instant>,
}

impl Sharing {
    pub(super) fn new(
        poller: Arc<Poller>,
        shared: Arc<SharedHistory>,
        backend: &Arc<Backend>,
    ) -> Self {
        let (now, cadence) = (Instant::now(), Cadence::new(poller.settings.interval));
        Self {
            poller,
            shared,
            backend: Arc::clone(backend),
            cadence,
            token: Token(rand::random()),
            has_turn: false,
            renewed: now,
            due: now,
            rested: now,
            waits: Waits::default(),
            failure: None,
            away_since: None,
        }
    }

    /// Until no stream is open any more, or the process ends.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        if closing.run_until_cancelled(self.go_on()).await.is_none() {
            self.leave().await;
        }
        self.backend.set_slow_watch(None);
        self.poller.metrics.interval(Duration::ZERO);
    }

    async fn go_on(&mut self) {
        let (mut news, mut writes) = (self.shared.news(), self.shared.writes());
        let poller = Arc::clone(&self.poller);
        loop {
            if poller.lock().is_unwatched() && self.end().await {
                break;
            }
            let next = match self.step().await {
                Ok(next) => next,
                Err(why) => self.unreached(&why),
            };
            let looks = self.has_turn && Instant::now() >= self.rested;
            tokio::select! {
                () = poller.wake.notified() => {}
                () = news.wait() => {}
                () = writes.wait(), if looks => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Takes in what there is, and looks if it has to. Returns when to come again.
    async fn step(&mut self) -> Result<Instant, NoAnswer> {
        let mut changed = 0;
        loop {
            let wanted = self.poller.lock().wanted;
            let had_turn = self.has_turn;
            let (epoch, state) = self.take_turn("").await?;
            let is_new = state.has_turn && !had_turn;
            if is_new {
                self.take_over(&state);
            }
            if !self.follow(&epoch, &state).await? {
                // It has changed since.
                changed += 1;
                if changed > MOST_CHANGED {
                    return Ok(Instant::now() + AGAIN);
                }
                continue;
            }
            self.settle(wanted, &epoch, &state, is_new);
            let now = Instant::now();
            if !state.has_turn {
                return Ok(now + state.turn_left + MARGIN);
            }
            if self.is_due(&state, now) && now >= self.rested {
                self.look(&epoch, &state).await?;
                continue;
            }
            let next = if self.is_due(&state, now) { self.rested } else { self.due };
            let rested = Some(self.rested).filter(|rested| *rested > now);
            return Ok(next.max(self.rested).min(self.renewed).min(rested.unwrap_or(next)));
        }
    }

    /// Takes the turn if it can, and asks what there is.
    async fn take_turn(&mut self, note: &str) -> Result<(EpochId, HistoryState), NoAnswer> {
        let turn = Turn::Take { token: self.token, lasts: TURN, note };
        let asked = Instant::now();
        let (epoch, state) = self.shared.turn(turn).await?;
        if state.has_turn {
            self.renewed = asked + RENEWED;
        } else if self.has_turn {
            // What was sent in the turn before and comes late does not count in another one.
            self.token = Token(rand::random());
        }
        self.has_turn = state.has_turn;
        self.away_since = None;
        Ok((epoch, state))
    }

    /// It looks from now on, when the one before would have.
    fn take_over(&mut self, state: &HistoryState) {
        let now = Instant::now();
        let left = state.interval.min(self.poller.settings.interval).saturating_sub(state.age);
        self.due = if state.looked > 0 { now + left } else { now };
        let backend = self.backend.name().id();
        tracing::debug!(target: "gateway", backend, "looks for changes for all replicas");
    }

    fn is_due(&self, state: &HistoryState, now: Instant) -> bool {
        let tried = tried(state);
        now >= self.due || tried == 0 || state.ended > tried || self.waits.want_after(tried)
    }

    /// Tells the streams what there is now.
    fn settle(&mut self, wanted: u64, epoch: &EpochId, state: &HistoryState, is_new: bool) {
        // While no one had the turn, no one has looked.
        let is_old = is_new && state.age > self.poller.settings.interval;
        let least = if is_old { state.looked + 1 } else { 1 };
        // One that begins now begins with the latest look, however that ended.
        self.waits.add(wanted, epoch, state.ended.max(least).max(tried(state)));
        let mut known = self.poller.lock();
        known.away = None;
        if !state.has_turn {
            known.pacing = state.note == PACES;
        }
        // If there is nothing, it begins here: no token is known.
        if state.standing.is_some() || state.has_turn {
            known.followed = wanted;
        }
        if state.standing.is_some() {
            let satisfied = self.waits.take(state.looked);
            match (&state.failed, satisfied) {
                (Some(_), Some(number)) => known.succeeded = number,
                (None, Some(number)) => known.recovered(number, &self.backend),
                (None, None) if known.failing.is_some() => {
                    let number = known.succeeded;
                    known.recovered(number, &self.backend);
                }
                (_, None) => {}
            }
        }
        if let Some((failed, why)) = &state.failed {
            let own = self.failure.as_ref().filter(|(own, _)| own == failed);
            let error = own.map_or_else(|| wire::read_error(why), |(_, error)| error.clone());
            let number = self.waits.failed_by(*failed).unwrap_or(known.succeeded);
            known.failed(number, error, &self.backend);
        }
        drop(known);
        self.poller.news.send_replace(());
    }

    /// Streams wait, and are told after a while; no replica looks by itself.
    fn unreached(&mut self, why: &NoAnswer) -> Instant {
        let now = Instant::now();
        let since = *self.away_since.get_or_insert(now);
        if now >= since + PATIENCE {
            let away = match why {
                NoAnswer::Lost(failure) => failure.error(UNREAD, SO),
                NoAnswer::Down | NoAnswer::Epoch => {
                    Error::new(Reason::StoreUnavailable, format!("{UNREAD}; {SO}"))
                }
            };
            if self.poller.lock().away.replace(away).is_none() {
                self.poller.news.send_replace(());
            }
        }
        now + AGAIN
    }

    /// Gives the turn back.
    async fn leave(&mut self) {
        if std::mem::take(&mut self.has_turn) {
            // If it is not heard, the turn ends by itself.
            let _ = self.shared.turn(Turn::Leave(self.token)).await;
            self.token = Token(rand::random());
        }
    }

    /// Gives the turn back. Returns whether it is over: a stream may have come meanwhile.
    async fn end(&mut self) -> bool {
        self.leave().await;
        let mut known = self.poller.lock();
        let is_over = known.is_unwatched();
        known.running &= !is_over;
        is_over
    }
}

/// What streams are told meanwhile.
const UNREAD: &str = "the changes that replicas share cannot be read";
const SO: &str = "streams that are open go on when they can be; open this one again then";

/// The latest look that has ended, however.
fn tried(state: &HistoryState) -> Looked {
    state.failed.as_ref().map_or(0, |(failed, _)| *failed).max(state.looked)
}
