//! Renews a backend's tokens: with the refresh token if there is one, or else with a login.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::{
    authentication::{Auth, Tokens},
    breaker::Verdict,
    client::Upstream,
    credentials::{CurrentTokens, TRIAL, rejected, why},
    message::{Reply, Request},
    metrics::LoginOutcome,
    status,
    turns::{self, OwnTurn, Turn},
};
use crate::{
    caller::Spending,
    error::{Effect, Error, Reason, Result},
    shared::commands::{LoginEnd, RefusedKind},
};

/// The current tokens, renewed if they are of the refused generation.
pub(super) async fn tokens(
    upstream: &Arc<Upstream>,
    refused: Option<u64>,
    counter: &Arc<Spending>,
) -> Result<Arc<CurrentTokens>> {
    let others = upstream.sharing.get();
    let current = loop {
        upstream.credentials.ask_others(others.is_some_and(|others| others.replicas.is_up()));
        let round = upstream.credentials.round();
        let (this, counter) = (Arc::clone(upstream), Arc::clone(counter));
        let renew = |old| async move { renew(&this, old, &counter).await };
        let current = upstream.credentials.get(refused, renew).await;
        // The secrets were replaced meanwhile: that those before were refused says nothing.
        if current.is_ok() || upstream.credentials.round() == round {
            break current;
        }
    };
    if current.is_err() {
        // Rejected credentials close the backend for a while.
        upstream.publish(None);
    }
    current
}

/// Records that the upstream rejected a new token.
pub(super) async fn token_refused(upstream: &Arc<Upstream>, current: &CurrentTokens) {
    if upstream.credentials.reject(current.generation) {
        turns::share_pause(upstream, true).await;
        upstream.publish(None);
        upstream.credentials.kept().await;
    }
}

/// Records that the upstream accepted a token.
pub(super) async fn token_accepted(upstream: &Arc<Upstream>, current: &CurrentTokens) {
    let was_refused = upstream.credentials.was_refused();
    if upstream.credentials.accept(current) {
        if was_refused {
            turns::share_end(upstream, Some(RefusedKind::Tokens)).await;
        }
        upstream.publish(None);
    }
}

/// Refuses a request while rejected fixed credentials pause. After the pause, it may be the one
/// that tries.
pub(super) async fn admit_fixed(
    upstream: &Arc<Upstream>,
    auth: &dyn Auth,
) -> Result<Option<OwnTurn>> {
    let credentials = &upstream.credentials;
    if let Some(sharing) = upstream.sharing.get() {
        // Those that may lock an account are not sent while nothing says that they may.
        let is_up = sharing.replicas.is_up();
        let knows = is_up && (!auth.may_lock() || sharing.learns(credentials).await);
        if knows && !sharing.was_refused() && !credentials.was_refused() {
            return Ok(None);
        }
        if knows && let Some(turn) = turns::trial(upstream, sharing, TRIAL).await {
            if turn.is_err() {
                upstream.publish(None);
            }
            return turn.map(Some);
        }
        if auth.may_lock() {
            turns::alone(upstream)?;
        }
    }
    credentials.admit_fixed(Instant::now())?;
    Ok(None)
}

/// Records whether the upstream accepted fixed credentials. `turn`: it was the one try.
pub(super) async fn judge_fixed(
    upstream: &Arc<Upstream>,
    auth: &dyn Auth,
    reply: &Reply,
    turn: Option<OwnTurn>,
) {
    let (credentials, tokens) = (&upstream.credentials, !auth.may_lock());
    // What is in front of the upstream may answer before it looks at the credentials.
    let answers = reply.status != StatusCode::TOO_MANY_REQUESTS
        && !reply.status.is_server_error()
        && !status::gave_up(reply.status);
    let changed = if auth.is_refused(reply) {
        let pauses = credentials.reject_fixed(auth.may_lock());
        let was_trial = turn.is_some();
        match turn {
            Some(turn) => {
                let end = LoginEnd::Refused(why(&rejected(), tokens));
                turn.end_of_fixed(upstream, end, tokens).await;
            }
            None if pauses => turns::share_pause(upstream, tokens).await,
            None => {}
        }
        pauses || was_trial
    } else if answers {
        let ended = credentials.accept_fixed();
        if ended || turn.is_some() {
            turns::share_end(upstream, None).await;
        }
        if let Some(turn) = turn {
            turn.end_of_fixed(upstream, LoginEnd::Accepted, tokens).await;
        }
        ended
    } else {
        if let Some(turn) = turn {
            turn.end_of_fixed(upstream, LoginEnd::Other, tokens).await;
        }
        false
    };
    if changed {
        upstream.publish(None);
        credentials.kept().await;
    }
}

/// Renews when no other replica does.
async fn renew(
    upstream: &Arc<Upstream>,
    old: Option<Tokens>,
    counter: &Spending,
) -> Result<Tokens> {
    let Some(sharing) = upstream.sharing.get() else {
        return renew_now(upstream, old, counter).await;
    };
    match turns::wait(upstream, sharing).await? {
        Turn::Alone => renew_now(upstream, old, counter).await,
        Turn::Own(turn) => {
            let result = renew_now(upstream, old, counter).await;
            turn.end(upstream, &result).await;
            result
        }
    }
}

/// Renews with the refresh token if there is one, then logs in; each at most once.
async fn renew_now(
    upstream: &Arc<Upstream>,
    old: Option<Tokens>,
    counter: &Spending,
) -> Result<Tokens> {
    let Upstream { backend, metrics, .. } = &**upstream;
    let sign_in = upstream.sign_in.load_full();
    let auth = &*sign_in.auth;
    let refresh = old.and_then(|tokens| tokens.refresh).and_then(|r| auth.refresh(&r));
    if let Some((request, headers)) = refresh {
        let reply = exchange(upstream, &request, &headers, counter).await;
        let renewed = reply.and_then(|reply| auth.tokens(&reply));
        metrics.login(match &renewed {
            Ok(_) => LoginOutcome::Refreshed,
            Err(_) => LoginOutcome::RefreshFailed,
        });
        if renewed.is_ok() {
            return renewed;
        }
    }
    let Some(request) = auth.login() else {
        return Err(Error::new(Reason::GatewayInternal, "this backend has no way to log in"));
    };
    let reply = exchange(upstream, &request, &[], counter).await;
    let result = reply
        .and_then(|reply| auth.tokens(&reply))
        // A failed login wrote no profile, however it failed.
        .map_err(|error| {
            let error = error.with_effect(Effect::None);
            error.without_secrets(|text| upstream.redact(text, &[]))
        });
    metrics.login(match &result {
        Ok(_) => LoginOutcome::LoggedIn,
        Err(_) => LoginOutcome::LoginFailed,
    });
    if let Err(error) = &result {
        tracing::warn!(
            target: "upstream", backend = %backend, error = %error,
            detail = error.internal(), "login failed"
        );
    }
    result
}

/// One exchange of a renewal. A failure counts against the upstream once, however many callers wait
/// for it. A success does not close the circuit, because it says nothing about what is behind the
/// login.
async fn exchange(
    upstream: &Arc<Upstream>,
    request: &Request,
    headers: &[(HeaderName, HeaderValue)],
    counter: &Spending,
) -> Result<Reply> {
    let taken = upstream.permit_login().await;
    taken.map_err(|refusal| upstream.refused(refusal))?;
    let keeps = upstream.keep_now();
    // Bounded by the transport's own limit, not by the callers' deadlines: a slow renewal is the
    // upstream's failure.
    let deadline = Instant::now() + 4 * upstream.request_timeout;
    let ticket = upstream.breaker.pass(None);
    let result = upstream.exchange(request, headers, deadline, counter).await;
    if let Some(keeps) = keeps {
        // The store reports what fails.
        let _ = keeps.soon().await;
    }
    if Upstream::verdict(&result) == Some(Verdict::Bad) {
        upstream.judge(&ticket, &result);
    }
    result.map_err(|failure| failure.error)
}
