//! Renews a backend's tokens: with the refresh token if there is one, or else with a login.

use std::sync::{Arc, atomic::AtomicU32};

use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::{
    authentication::{Auth, Tokens},
    breaker::Verdict,
    client::Upstream,
    credentials::CurrentTokens,
    message::{Reply, Request},
    metrics::LoginOutcome,
    status,
};
use crate::error::{Effect, Error, Reason, Result};

/// The current tokens, renewed if they are of the refused generation.
pub(super) async fn tokens(
    upstream: &Arc<Upstream>,
    refused: Option<u64>,
    counter: &Arc<AtomicU32>,
) -> Result<Arc<CurrentTokens>> {
    let current = loop {
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
        upstream.publish(None);
        upstream.credentials.kept().await;
    }
}

/// Records that the upstream accepted a token.
pub(super) fn token_accepted(upstream: &Arc<Upstream>, current: &CurrentTokens) {
    if upstream.credentials.accept(current) {
        upstream.publish(None);
    }
}

/// Refuses a request while rejected fixed credentials pause.
pub(super) fn admit_fixed(upstream: &Upstream) -> Result<()> {
    upstream.credentials.admit_fixed(Instant::now())
}

/// Records whether the upstream accepted fixed credentials.
pub(super) async fn judge_fixed(upstream: &Arc<Upstream>, auth: &dyn Auth, reply: &Reply) {
    let credentials = &upstream.credentials;
    let changed = if auth.is_refused(reply) {
        credentials.reject_fixed(auth.may_lock())
    } else {
        // What is in front of the upstream may answer before it looks at the credentials.
        let answers = reply.status != StatusCode::TOO_MANY_REQUESTS
            && !reply.status.is_server_error()
            && !status::gave_up(reply.status);
        answers && credentials.accept_fixed()
    };
    if changed {
        upstream.publish(None);
        credentials.kept().await;
    }
}

/// Renews with the refresh token if there is one, then logs in; each at most once.
async fn renew(
    upstream: &Arc<Upstream>,
    old: Option<Tokens>,
    counter: &AtomicU32,
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
    counter: &AtomicU32,
) -> Result<Reply> {
    let taken = upstream.pace.take_login(Instant::now());
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
