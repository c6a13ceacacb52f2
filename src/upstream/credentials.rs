//! Tokens of one backend. One login serves all callers, and each refusal renews the token once.
//! After the upstream rejects the credentials logins pause, because it locks accounts that keep
//! trying.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::{HeaderName, HeaderValue};
use parking_lot::{Mutex, MutexGuard};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::{
    message::{Reply, Request},
    needles::{LatestNeedles, Needles},
};
use crate::error::{Error, Reason, Result, Retry};

/// First pause after the upstream rejected the credentials; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Longest pause between logins with rejected credentials.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// First pause after the upstream rejected the tokens that its logins gave. It is shorter, because
/// a successful login locks no account. It doubles up to [`MAX_TOKEN_PAUSE`].
const FIRST_TOKEN_PAUSE: Duration = Duration::from_secs(30);
/// Longest pause between logins whose tokens are rejected.
const MAX_TOKEN_PAUSE: Duration = Duration::from_secs(10 * 60);
/// Number of new tokens rejected in a row that start such a pause. One bad renewal alone is
/// followed by another login.
const REFUSED_IN_A_ROW: u32 = 3;

/// How long after its issue a token is expected to count everywhere in the upstream.
const COUNTS_AFTER: Duration = Duration::from_secs(1);

/// How long one request with rejected fixed credentials is waited for after their pause, before
/// another one may try.
const TRIAL: Duration = Duration::from_secs(10);

/// How many replaced tokens are remembered, to keep them out of messages.
const MAX_RETIRED: usize = 4;

/// How a dialect authenticates the gateway. Pure: it builds requests and reads answers.
pub trait Auth: Send + Sync + 'static {
    /// The headers that carry a token.
    fn headers(&self, token: &SecretString) -> Result<Vec<(HeaderName, HeaderValue)>>;
    /// A credential from the configuration that needs no login and cannot be renewed.
    fn fixed(&self) -> Option<&SecretString>;
    /// Whether the upstream may lock the account after a few requests with wrong fixed credentials.
    fn may_lock(&self) -> bool {
        false
    }
    /// The request that logs in.
    fn login(&self) -> Option<Request>;
    /// The request that renews a token.
    fn refresh(&self, refresh: &SecretString) -> Option<(Request, Vec<(HeaderName, HeaderValue)>)>;
    /// The tokens in the answer to a login or a refresh.
    fn tokens(&self, reply: &Reply) -> Result<Tokens>;
    /// Whether an answer says that the token is invalid or expired.
    fn is_refused(&self, reply: &Reply) -> bool;
    /// Secrets from the configuration, to be kept out of messages.
    fn secrets(&self) -> Vec<&SecretString>;
}

/// The result of a login.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Sent with every request.
    pub access: SecretString,
    /// Renews the access token.
    pub refresh: Option<SecretString>,
    /// How long the access token is valid, if it says so.
    pub lifetime: Option<Duration>,
}

/// How long a JSON Web Token (RFC 7519) is valid, from its `iat` to its `exp`; `None` for any other
/// text. The token is not verified, because only its issuer could.
#[must_use]
pub fn jwt_lifetime(token: &SecretString) -> Option<Duration> {
    let payload = token.expose_secret().split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let (issued, expires) = (claims.get("iat")?.as_u64()?, claims.get("exp")?.as_u64()?);
    let lifetime = Duration::from_secs(expires.checked_sub(issued)?);
    // A shorter lifetime would cause a renewal for nearly every call; a refusal triggers it
    // instead.
    (lifetime >= Duration::from_secs(10)).then_some(lifetime)
}

/// The current tokens. The generation tells a caller's rejected token from a newer one.
#[derive(Debug)]
pub(super) struct CurrentTokens {
    pub(super) generation: u64,
    pub(super) tokens: Tokens,
    since: Instant,
    /// Whether the upstream has accepted it.
    accepted: AtomicBool,
}

impl CurrentTokens {
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
pub(super) struct Credentials(Mutex<State>);

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
    /// What the secrets look like in an answer, with these generations of tokens.
    needles: LatestNeedles,
    /// Renewals since the upstream last accepted a token, or refusals of a fixed one.
    unaccepted: u32,
}

/// The upstream rejected the credentials themselves, or all tokens that it issued for them.
struct Refused {
    error: Error,
    until: Instant,
    pause: Duration,
    /// Whether a request tries if the pause can end.
    trial: bool,
    /// Whether tokens were rejected, not the credentials: a successful login does not end the
    /// pause.
    tokens: bool,
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
                    if let Some(error) = state.pause(Instant::now()) {
                        return usable.ok_or(error);
                    }
                    let old = state.current.as_ref().map(|current| current.tokens.clone());
                    let renewal = renew(old);
                    let this = Arc::clone(self);
                    let keep = usable.is_some();
                    let flight =
                        async move { this.finish_renewal(renewal.await, keep) }.boxed().shared();
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
            state.refuse(Error::new(Reason::UpstreamAuthFailed, what), true);
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
        state.refused.take_if(|refused| refused.tokens);
        true
    }

    fn finish_renewal(&self, result: Result<Tokens>, keep: bool) -> Result<Arc<CurrentTokens>> {
        let mut state = self.lock();
        state.flight = None;
        match result {
            Ok(tokens) => {
                state.generation += 1;
                state.unaccepted = state.unaccepted.saturating_add(1);
                let current = Arc::new(CurrentTokens {
                    generation: state.generation,
                    tokens,
                    since: Instant::now(),
                    accepted: AtomicBool::new(false),
                });
                state.retire(|_| true);
                state.current = Some(current.clone());
                state.refused.take_if(|refused| !refused.tokens);
                Ok(current)
            }
            Err(error) => {
                state.retire(|_| !keep);
                if error.facts().pauses_logins {
                    state.refuse(error.clone(), false);
                }
                Err(error)
            }
        }
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
            let what = "the upstream rejected the gateway's credentials; check this backend's \
                        configuration";
            state.refuse(Error::new(Reason::UpstreamAuthFailed, what), !may_lock);
        }
        pauses
    }

    /// The upstream accepted fixed credentials. True if that ends a pause.
    pub(super) fn accept_fixed(&self) -> bool {
        let mut state = self.lock();
        state.unaccepted = 0;
        state.refused.take().is_some()
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
        let mut state = self.lock();
        let recent = state.current.iter().chain(&state.retired);
        let mut tokens: Vec<Arc<CurrentTokens>> = sent.iter().chain(recent).cloned().collect();
        tokens.sort_unstable_by_key(|tokens| tokens.generation);
        tokens.dedup_by_key(|tokens| tokens.generation);
        let generations: Vec<u64> = tokens.iter().map(|tokens| tokens.generation).collect();
        let secrets = || configured().into_iter().chain(tokens.iter().flat_map(secrets_of));
        state.needles.of(generations, secrets)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
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

    /// Starts a pause, longer than the previous one of the same kind.
    fn refuse(&mut self, error: Error, tokens: bool) {
        let (first, longest) =
            if tokens { (FIRST_TOKEN_PAUSE, MAX_TOKEN_PAUSE) } else { (FIRST_PAUSE, MAX_PAUSE) };
        let before = self.refused.as_ref().filter(|refused| refused.tokens == tokens);
        let pause = before.map_or(first, |refused| refused.pause * 2).min(longest);
        let until = Instant::now() + pause;
        self.refused = Some(Refused { error, until, pause, trial: false, tokens });
    }

    fn pause(&self, now: Instant) -> Option<Error> {
        let refused = self.refused.as_ref().filter(|refused| now < refused.until)?;
        let left = Duration::from_secs((refused.until - now).as_secs().max(1));
        let message = format!(
            "{}; not retried for {} to avoid locking the account",
            refused.error.message(),
            humantime::format_duration(left)
        );
        let again = Error::new(refused.error.reason(), message);
        let again = match refused.error.retry() {
            Retry::No => again,
            Retry::After(_) => again.with_retry(Retry::After(Some(left))),
        };
        Some(match refused.error.upstream() {
            Some(facts) => again.with_upstream(facts.clone()),
            None => again,
        })
    }
}

#[cfg(test)]
mod tests;
