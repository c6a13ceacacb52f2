//! The pause of logins after the upstream rejected the credentials, or the tokens that it issued.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    error::{Error, Reason, Retry, UpstreamFacts, facts},
    shared::commands::{KnownLogins, LoginPause, PauseSpans, RefusedKind, WhyPaused},
    store::Clock,
    upstream::kept::{KeptPause, left, milliseconds},
};

/// First pause after the upstream rejected the credentials; it doubles up to [`MAX_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Longest pause between logins with rejected credentials.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// First pause after the upstream rejected the tokens that its logins gave. It is shorter, because
/// a successful login locks no account. It doubles up to [`MAX_TOKEN_PAUSE`].
pub(super) const FIRST_TOKEN_PAUSE: Duration = Duration::from_secs(30);
/// Longest pause between logins whose tokens are rejected.
const MAX_TOKEN_PAUSE: Duration = Duration::from_secs(10 * 60);

/// The upstream rejected the credentials themselves, or all tokens that it issued for them.
#[derive(Clone)]
pub(super) struct Refused {
    pub(super) error: Error,
    pub(super) until: Instant,
    pub(super) pause: Duration,
    /// Whether a request tries if the pause can end.
    pub(super) trial: bool,
    /// Whether tokens were rejected, not the credentials: a successful login does not end the
    /// pause.
    pub(super) tokens: bool,
    /// What knows of it where replicas share the account.
    pub(super) shared_in: Option<String>,
}

impl Refused {
    /// A pause, longer than the previous one of the same kind.
    pub(super) fn after(before: Option<&Self>, error: Error, tokens: bool) -> Self {
        let (first, longest) = bounds(tokens);
        let before = before.filter(|refused| refused.tokens == tokens);
        let pause = before.map_or(first, |refused| refused.pause * 2).min(longest);
        let until = Instant::now() + pause;
        Self { error, until, pause, trial: false, tokens, shared_in: None }
    }

    /// What a request gets while it lasts.
    pub(super) fn again(&self, now: Instant) -> Error {
        let left = Duration::from_secs((self.until - now).as_secs().max(1));
        let message = format!(
            "{}; not retried for {} to avoid locking the account",
            self.error.message(),
            humantime::format_duration(left)
        );
        let again = Error::new(self.error.reason(), message);
        let again = match self.error.retry() {
            Retry::No => again,
            Retry::After(_) => again.with_retry(Retry::After(Some(left))),
        };
        match self.error.upstream() {
            Some(facts) => again.with_upstream(facts.clone()),
            None => again,
        }
    }

    /// The same for the next process.
    pub(super) fn keep(&self, clock: Clock) -> KeptPause {
        let left = self.until.saturating_duration_since(Instant::now());
        KeptPause {
            credentials: 0,
            at: clock.to_kept(clock.now()),
            left: milliseconds(left),
            pause: milliseconds(self.pause),
            tokens: self.tokens,
            reason: self.error.reason().into(),
        }
    }

    /// One of an earlier process. One that is over makes the next one longer.
    pub(super) fn kept(kept: &KeptPause, clock: Clock, now: Instant) -> Option<Self> {
        let reason = Reason::try_from(kept.reason).ok().filter(|r| facts::facts(*r).pauses_logins);
        let (first, longest) = bounds(kept.tokens);
        let what = match kept.tokens {
            true => "the upstream accepted logins but rejected the tokens that it issued",
            false => "the upstream rejected the gateway's credentials",
        };
        let error = Error::new(reason?, format!("{what}, before the gateway was started again"));
        Some(Self {
            error,
            until: now + left(clock, kept.at, kept.left).min(longest),
            pause: Duration::from_millis(kept.pause).clamp(first, longest),
            trial: false,
            tokens: kept.tokens,
            shared_in: None,
        })
    }

    /// The pause of all replicas.
    pub(super) fn shared(known: &KnownLogins, now: Instant) -> Option<Self> {
        let LoginPause { left, span, why } = known.pause.as_ref()?;
        let tokens = why.kind == RefusedKind::Tokens;
        let (first, longest) = bounds(tokens);
        let reason = Reason::try_from(why.reason).ok().filter(|r| facts::facts(*r).pauses_logins);
        Some(Self {
            error: heard(reason.unwrap_or(Reason::UpstreamAuthFailed), &why.told),
            until: now + (*left).min(longest),
            pause: (*span).clamp(first, longest),
            trial: false,
            tokens,
            shared_in: Some(known.began.clone()),
        })
    }

    /// The same for the other replicas.
    pub(super) fn share(&self, now: Instant) -> KnownLogins {
        let pause = LoginPause {
            left: self.until.saturating_duration_since(now),
            span: self.pause,
            why: why(&self.error, self.tokens),
        };
        KnownLogins { began: self.shared_in.clone().unwrap_or_default(), pause: Some(pause) }
    }
}

/// Why logins pause, for other replicas.
pub(in super::super) fn why(error: &Error, tokens: bool) -> WhyPaused {
    WhyPaused {
        kind: if tokens { RefusedKind::Tokens } else { RefusedKind::Credentials },
        reason: error.reason().into(),
        told: tell(error),
    }
}

/// What other replicas have to know of an error to tell the same: no secret is in any.
fn tell(error: &Error) -> String {
    let facts = error.upstream();
    let text =
        |of: fn(&UpstreamFacts) -> &Option<String>| facts.and_then(|facts| of(facts).clone());
    let told = json!({
        "message": error.message(),
        "status": facts.and_then(|facts| facts.status),
        "code": text(|facts| &facts.code),
        "said": text(|facts| &facts.message),
        "request_id": text(|facts| &facts.request_id),
    });
    told.to_string()
}

fn heard(reason: Reason, told: &str) -> Error {
    let told: Value = serde_json::from_str(told).unwrap_or_default();
    let text = |key: &str| told.get(key).and_then(Value::as_str).map(str::to_owned);
    let message = text("message");
    let message =
        message.unwrap_or_else(|| "the upstream rejected the gateway's credentials".into());
    let status = told.get("status").and_then(Value::as_u64);
    let facts = UpstreamFacts {
        status: status.and_then(|status| status.try_into().ok()),
        code: text("code"),
        message: text("said"),
        request_id: text("request_id"),
    };
    let error = Error::new(reason, message);
    if facts == UpstreamFacts::default() { error } else { error.with_upstream(facts) }
}

/// The error of fixed credentials that the upstream rejects.
pub(in super::super) fn rejected() -> Error {
    let what =
        "the upstream rejected the gateway's credentials; check this backend's configuration";
    Error::new(Reason::UpstreamAuthFailed, what)
}

/// How long logins pause after refusals of a kind.
pub(in super::super) fn spans(tokens: bool) -> PauseSpans {
    let (first, longest) = bounds(tokens);
    PauseSpans { first, longest }
}

/// The first and the longest pause of a kind.
fn bounds(tokens: bool) -> (Duration, Duration) {
    match tokens {
        true => (FIRST_TOKEN_PAUSE, MAX_TOKEN_PAUSE),
        false => (FIRST_PAUSE, MAX_PAUSE),
    }
}
