//! How a backend's tokens are renewed: by the refresh token where there is one, else by a login.

use std::sync::{Arc, atomic::AtomicU32};

use tokio::time::Instant;

use super::{
    Notice, Reply, Request, Tokens, Upstream, breaker::Verdict, credentials::CurrentTokens,
};
use crate::error::{Effect, Error, Reason, Result};

impl Upstream {
    /// The tokens in force; renewed when they are of the refused generation.
    pub(super) async fn tokens(
        self: &Arc<Self>,
        refused: Option<u64>,
        counter: &Arc<AtomicU32>,
    ) -> Result<Arc<CurrentTokens>> {
        let (this, counter) = (Arc::clone(self), Arc::clone(counter));
        let renew = |old| async move { this.renew(old, &counter).await };
        let current = self.credentials.get(refused, renew).await;
        if current.is_err() {
            // It may have been refused for good, which closes the backend for a while.
            self.publish();
        }
        current
    }

    /// Renews with the refresh token where there is one, then logs in, each at most once.
    async fn renew(self: &Arc<Self>, old: Option<Tokens>, counter: &AtomicU32) -> Result<Tokens> {
        let refresh = old.and_then(|tokens| tokens.refresh).and_then(|r| self.auth.refresh(&r));
        if let Some((request, headers)) = refresh {
            let reply = self.ask(&request, &headers, counter).await;
            let renewed = reply.and_then(|reply| self.auth.tokens(&reply));
            self.observer
                .login(&self.backend, if renewed.is_ok() { "refreshed" } else { "refresh_failed" });
            if renewed.is_ok() {
                return renewed;
            }
        }
        let Some(request) = self.auth.login() else {
            return Err(Error::new(Reason::GatewayInternal, "this backend has no way to log in"));
        };
        let reply = self.ask(&request, &[], counter).await;
        let result = reply
            .and_then(|reply| self.auth.tokens(&reply))
            // A login that failed wrote no profile, whatever the way in which it failed.
            .map_err(|error| self.without_secrets(error.with_effect(Effect::None)));
        self.observer
            .login(&self.backend, if result.is_ok() { "logged_in" } else { "login_failed" });
        if let Err(error) = &result {
            tracing::warn!(
                target: "upstream", backend = %self.backend, error = %error,
                detail = error.internal(), "login failed"
            );
        }
        result
    }

    /// One exchange of a renewal. That it fails counts against the upstream, once for all who wait for
    /// it. That it succeeds says nothing of what is behind the login, so it does not close the circuit.
    async fn ask(
        self: &Arc<Self>,
        request: &Request,
        headers: &[(http::HeaderName, http::HeaderValue)],
        counter: &AtomicU32,
    ) -> Result<Reply> {
        // The transport's own limit bounds the exchange. The callers' deadlines do not: a renewal that
        // takes too long is the upstream's doing.
        let deadline = Instant::now() + 4 * self.request_timeout;
        let ticket = self.breaker.pass();
        let result = self.exchange(request, headers, deadline, counter).await;
        if Self::verdict(&result) == Some(Verdict::Bad) {
            self.judge(&ticket, &result);
        }
        result.map_err(|failure| failure.error)
    }

    /// The upstream refused a token although it was new.
    pub(super) fn token_refused(self: &Arc<Self>, current: &CurrentTokens) {
        if self.credentials.reject(current.generation) {
            self.publish();
        }
    }

    /// The upstream took a token.
    pub(super) fn token_accepted(self: &Arc<Self>, current: &CurrentTokens) {
        if self.credentials.accept(current) {
            self.publish();
        }
    }

    /// Tells of what happened around the requests of this backend.
    pub(super) fn notice(&self, notice: Notice) {
        self.observer.notice(notice);
    }
}
