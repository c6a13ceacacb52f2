//! Tokens of one backend. One login serves all callers, and each refusal renews the token once.
//! After the upstream rejects the credentials logins pause, because it locks accounts that keep
//! trying.

mod kept;
mod refused;
mod shared;
mod sharing;

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::{HeaderName, HeaderValue};
use parking_lot::{Mutex, MutexGuard};
use secrecy::SecretString;
use tokio::time::Instant;

use self::refused::Refused;
pub(super) use self::{
    refused::{rejected, spans, why},
    sharing::Alone,
};
use super::{
    authentication::{Auth, Tokens},
    carried::CarriedToken,
    keeper::Keeper,
    needles::{LatestNeedles, Needles},
};
use crate::{
    error::{Error, Reason, Result},
    store::Kept,
};

/// Number of new tokens rejected in a row that start such a pause. One bad renewal alone is
/// followed by another login.
const REFUSED_IN_A_ROW: u32 = 3;

/// How long after its issue a token is expected to count everywhere in the upstream.
const COUNTS_AFTER: Duration = Duration::from_secs(1);

/// How long one request with rejected fixed credentials is waited for after their pause, before
/// another one may try.
pub(super) const TRIAL: Duration = Duration::from_secs(10);

/// How many replaced tokens are remembered, to keep them out of messages.
const MAX_RETIRED: usize = 4;

/// The current tokens. The generation tells a caller's rejected token from a newer one.
#[derive(Debug)]
pub(super) struct CurrentTokens {
    pub(super) generation: u64,
    pub(super) tokens: Tokens,
    since: Instant,
    /// Whether the upstream has accepted it.
    accepted: AtomicBool,
    carried: CarriedToken,
}

impl CurrentTokens {
    /// The headers that carry the access token.
    pub(super) fn headers(&self, auth: &dyn Auth) -> Result<&[(HeaderName, HeaderValue)]> {
        self.carried.headers(|| auth.headers(&self.tokens.access))
    }

    /// When a token that was refused has to be tried again, because it may have been too new.
    pub(super) fn counts_from(&self, now: Instant) -> Option<Instant> {
        let counts = self.since + COUNTS_AFTER;
        (now < counts && !self.accepted.load(Ordering::Relaxed)).then_some(counts)
    }

    /// Whether the token is about to expire according to its lifetime. Measured from when it was
    /// received, so that clock differences do not matter.
    fn is_stale(&self) -> bool {
        self.tokens.lifetime.is_some_and(|life| self.since.elapsed() + (life / 10) >= life)
    }

    /// Whether the token has expired according to its lifetime.
    fn is_over(&self) -> bool {
        self.tokens.lifetime.is_some_and(|life| self.since.elapsed() >= life)
    }
}

type Flight = Shared<BoxFuture<'static, Result<Arc<CurrentTokens>>>>;

/// The tokens of one backend.
#[derive(Default)]
pub(super) struct Credentials {
    state: Mutex<State>,
    /// Keeps pauses for the next process.
    keeper: OnceLock<Arc<Keeper>>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<CurrentTokens>>,
    /// Tokens that were replaced recently: answers to requests with them may still arrive.
    retired: VecDeque<Arc<CurrentTokens>>,
    /// Only ever increases, even after failures.
    generation: u64,
    /// The renewal in progress, if any. All callers wait for the same one.
    flight: Option<Flight>,
    refused: Option<Refused>,
    /// The latest change of the pause, until it is kept.
    keeps: Option<Kept>,
    /// What the secrets look like in an answer, with these generations of tokens.
    needles: LatestNeedles,
    /// Renewals since the upstream last accepted a token, or refusals of a fixed one.
    unaccepted: u32,
    /// How often the secrets were replaced: what those before lead to says nothing of these.
    round: u64,
    /// What is to be agreed on with other replicas.
    sharing: sharing::Sharing,
}

impl Credentials {
    /// The current tokens, unless they are of the refused generation; then the tokens of a renewal,
    /// which is started if none is in progress. `renew` gets the old tokens and runs to its end
    /// even if all callers leave.
    pub(super) async fn get<F>(
        self: &Arc<Self>,
        refused: Option<u64>,
        renew: impl FnOnce(Option<Tokens>) -> F,
    ) -> Result<Arc<CurrentTokens>>
    where
        F: Future<Output = Result<Tokens>> + Send + 'static,
    {
        let (flight, usable) = {
            let mut state = self.lock();
            let good = |current: &&Arc<CurrentTokens>| {
                Some(current.generation) != refused && !current.is_stale()
            };
            if let Some(current) = state.current.as_ref().filter(good) {
                return Ok(current.clone());
            }
            // This is an early renewal, so the current tokens still work if it fails.
            let still = |current: &&Arc<CurrentTokens>| {
                Some(current.generation) != refused && !current.is_over()
            };
            let usable = state.current.as_ref().filter(still).cloned();
            let flight = match &state.flight {
                Some(flight) => flight.clone(),
                None => {
                    // Where others are asked, one of them may have ended it.
                    let pause = state.pause(Instant::now()).filter(|_| !state.sharing.asks);
                    if let Some(error) = pause {
                        return usable.ok_or(error);
                    }
                    let old = state.current.as_ref().map(|current| current.tokens.clone());
                    state.sharing.has_heard = false;
                    let renewal = renew(old);
                    let this = Arc::clone(self);
                    let (keep, round) = (usable.is_some(), state.round);
                    let flight = async move {
                        let result = this.finish_renewal(renewal.await, keep, round);
                        this.kept().await;
                        result
                    };
                    let flight = flight.boxed().shared();
                    state.flight = Some(flight.clone());
                    // Bounded by the request timeout of its exchanges.
                    tokio::spawn(flight.clone());
                    flight
                }
            };
            (flight, usable)
        };
        match (flight.await, usable) {
            (Err(_), Some(current)) => Ok(current),
            (result, _) => result,
        }
    }

    /// Forgets new tokens that were rejected. Using the same refresh token again could loop
    /// forever, so the next caller logs in. If logins only give rejected tokens, they pause; then
    /// this returns true.
    pub(super) fn reject(&self, generation: u64) -> bool {
        let mut state = self.lock();
        let first = state.retire(|current| current.generation == generation);
        let pauses = first && state.unaccepted >= REFUSED_IN_A_ROW;
        if pauses {
            let what = "the upstream accepts logins but rejects the tokens that it issues";
            self.refuse(&mut state, Error::new(Reason::UpstreamAuthFailed, what), true);
        }
        pauses
    }

    /// The upstream accepted a token, which ends a pause. True the first time.
    pub(super) fn accept(&self, current: &CurrentTokens) -> bool {
        if current.accepted.swap(true, Ordering::Relaxed) {
            return false;
        }
        let mut state = self.lock();
        state.unaccepted = 0;
        self.end(&mut state, |refused| refused.tokens);
        true
    }

    fn finish_renewal(
        &self,
        result: Result<Tokens>,
        keep: bool,
        round: u64,
    ) -> Result<Arc<CurrentTokens>> {
        let mut state = self.lock();
        let is_of_these = state.round == round;
        state.flight.take_if(|_| is_of_these);
        match result {
            Ok(tokens) => {
                state.generation += 1;
                let current = Arc::new(CurrentTokens {
                    generation: state.generation,
                    tokens,
                    since: Instant::now(),
                    accepted: AtomicBool::new(false),
                    carried: CarriedToken::default(),
                });
                // With the secrets before: good for those who wait, and for no one after.
                if !is_of_these {
                    return Ok(current);
                }
                state.unaccepted = state.unaccepted.saturating_add(1);
                state.sharing.has_worked();
                state.retire(|_| true);
                state.current = Some(current.clone());
                self.end(&mut state, |refused| !refused.tokens);
                Ok(current)
            }
            Err(error) if !is_of_these => Err(error),
            Err(error) => {
                state.retire(|_| !keep);
                if error.facts().pauses_logins && !state.shares_pause(Instant::now()) {
                    self.refuse(&mut state, error.clone(), false);
                }
                Err(error)
            }
        }
    }

    /// Forgets the tokens, and ends a pause: the secrets are others now.
    pub(super) fn start_over(&self) {
        let mut state = self.lock();
        state.round += 1;
        (state.flight, state.unaccepted, state.sharing) = Default::default();
        state.retire(|_| true);
        state.needles = LatestNeedles::default();
        self.end(&mut state, |_| true);
    }

    /// How often the secrets were replaced.
    pub(super) fn round(&self) -> u64 {
        self.lock().round
    }

    /// There are other secrets.
    pub(super) fn forget_needles(&self) {
        self.lock().needles = LatestNeedles::default();
    }

    /// Refuses a request with fixed credentials while they pause. After the pause, one request
    /// tries, and the others keep waiting for its answer.
    pub(super) fn admit_fixed(&self, now: Instant) -> Result<()> {
        let mut state = self.lock();
        if let Some(error) = state.pause(now) {
            return Err(error);
        }
        if let Some(refused) = &mut state.refused {
            (refused.until, refused.trial) = (now + TRIAL, true);
        }
        Ok(())
    }

    /// The upstream rejected fixed credentials. The first time if they may be locked, or else
    /// several times in a row, this pauses them; then this returns true.
    pub(super) fn reject_fixed(&self, may_lock: bool) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        // Requests that were sent before the pause began say the same again.
        if state.refused.as_ref().is_some_and(|refused| now < refused.until && !refused.trial) {
            return false;
        }
        state.unaccepted = state.unaccepted.saturating_add(1);
        let pauses = may_lock || state.unaccepted >= REFUSED_IN_A_ROW;
        if pauses {
            self.refuse(&mut state, rejected(), !may_lock);
        }
        pauses
    }

    /// The upstream accepted fixed credentials. True if that ends a pause.
    pub(super) fn accept_fixed(&self) -> bool {
        let mut state = self.lock();
        state.unaccepted = 0;
        state.sharing.has_worked();
        self.end(&mut state, |_| true)
    }

    /// Ends a pause that has not passed, for an operator, or the wait without others after it, and
    /// returns whether there was one.
    pub(super) fn end_pause(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let waits = state.sharing.alone_at.is_some_and(|at| now < at);
        let ended = self.end(&mut state, |refused| now < refused.until);
        if ended || waits {
            state.sharing.alone_at = Some(now);
        }
        ended || waits
    }

    /// Starts a pause.
    fn refuse(&self, state: &mut State, error: Error, tokens: bool) {
        state.refused = Some(Refused::after(state.refused.as_ref(), error, tokens));
        state.sharing.was_refused();
        self.keep(state);
    }

    /// Ends the pause if it is such a one, and returns whether it was.
    fn end(&self, state: &mut State, which: impl FnOnce(&mut Refused) -> bool) -> bool {
        let ended = state.refused.take_if(which).is_some();
        if ended {
            self.keep(state);
        }
        ended
    }

    fn keep(&self, state: &mut State) {
        let Some(keeper) = self.keeper.get() else { return };
        let pause = state.refused.as_ref().map(|refused| refused.keep(keeper.clock()));
        state.keeps = Some(keeper.pause(pause));
    }

    /// When the pause of logins ends. If that is in the past, the next call will try.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.lock().refused.as_ref().map(|refused| refused.until)
    }

    /// Why logins pause, if they do.
    pub(super) fn paused_for(&self) -> Option<String> {
        self.lock().refused.as_ref().map(|refused| refused.error.message().to_owned())
    }

    /// What secrets look like: the configured ones, the recent tokens, and those that were `sent`.
    pub(super) fn needles<'c>(
        &self,
        configured: impl FnOnce() -> Vec<&'c SecretString>,
        sent: &[Arc<CurrentTokens>],
    ) -> Arc<Needles> {
        let State { current, retired, needles, .. } = &mut *self.lock();
        let all = || sent.iter().chain(&*current).chain(&*retired);
        let generations = all().map(|tokens| tokens.generation);
        let secrets = || configured().into_iter().chain(all().flat_map(secrets_of));
        needles.of(generations, secrets)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn secrets_of(current: &Arc<CurrentTokens>) -> impl Iterator<Item = &SecretString> {
    std::iter::once(&current.tokens.access).chain(current.tokens.refresh.as_ref())
}

impl State {
    /// Retires the current tokens if they match. True if they do.
    fn retire(&mut self, which: impl FnOnce(&CurrentTokens) -> bool) -> bool {
        let Some(tokens) = self.current.take_if(|current| which(current)) else { return false };
        self.retired.truncate(MAX_RETIRED - 1);
        self.retired.push_front(tokens);
        true
    }

    fn pause(&self, now: Instant) -> Option<Error> {
        self.refused.as_ref().filter(|refused| now < refused.until).map(|r| r.again(now))
    }
}

#[cfg(test)]
mod tests;
