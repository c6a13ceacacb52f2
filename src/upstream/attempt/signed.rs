//! A request with the credentials of its backend: fixed ones, or the token of a login.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use tokio::time::{Instant, timeout_at};

use super::Session;
use crate::upstream::{
    authentication::Auth,
    breaker::Ticket,
    cause::{Cause, Failure},
    login,
    message::{Request, Safety},
    permit,
    retry::{Outcome, was_sent},
    transport::deadline_passed,
};

impl Session {
    async fn exchange(
        &self,
        request: &Request,
        headers: &[(HeaderName, HeaderValue)],
        ticket: &Ticket<'_>,
    ) -> Outcome {
        let upstream = &self.upstream;
        let permits = match request.safety {
            Safety::Write => self.permits.clone(),
            Safety::Read => Vec::new(),
        };
        permits.iter().try_for_each(|permit| permit.check()).map_err(Failure::local)?;
        let exchange = upstream.exchange(request, headers, self.deadline, &self.counter);
        let result = permit::asking(permits, exchange).await;
        if request.safety == Safety::Write && was_sent(&result) {
            self.permits.iter().for_each(|permit| permit.sent());
        }
        upstream.judge(ticket, &result);
        result
    }

    /// Sends the request with the credentials of the backend. Secrets and tokens that were replaced
    /// meanwhile are no reason for it to fail.
    pub(super) async fn send_with_credentials(
        &self,
        request: &Request,
        ticket: &Ticket<'_>,
    ) -> Outcome {
        let upstream = &self.upstream;
        let mut sign_in = upstream.sign_in.load_full();
        while let Some(token) = sign_in.auth.fixed() {
            let admitted = login::admit_fixed(upstream, &*sign_in.auth);
            let turn = timeout_at(self.deadline, admitted).await;
            let turn = turn.map_err(|_| Failure::local(deadline_passed(Safety::Read)))?;
            let turn = turn.map_err(|error| Failure::new(Cause::Login, error))?;
            let headers = sign_in.fixed.headers(|| sign_in.auth.headers(token));
            let headers = headers.map_err(Failure::local)?;
            let reply = self.exchange(request, headers, ticket).await?;
            let now = upstream.sign_in.load_full();
            if Arc::ptr_eq(&now, &sign_in) || !sign_in.auth.is_refused(&reply) {
                login::judge_fixed(upstream, &*sign_in.auth, &reply, turn).await;
                return Ok(reply);
            }
            // The secret was replaced meanwhile, so this request was refused for the one before.
            sign_in = now;
            self.permit_again().await?;
        }
        self.send_with_token(request, ticket, &*sign_in.auth).await
    }

    async fn send_with_token(
        &self,
        request: &Request,
        ticket: &Ticket<'_>,
        auth: &dyn Auth,
    ) -> Outcome {
        let upstream = &self.upstream;
        let mut refused = None;
        loop {
            // A deadline that passes during a login has no effect on a write: nothing was sent yet.
            let current =
                timeout_at(self.deadline, login::tokens(upstream, refused, &self.counter))
                    .await
                    .map_err(|_| Failure::local(deadline_passed(Safety::Read)))?
                    .map_err(|error| Failure::new(Cause::Login, error))?;
            let headers = current.headers(auth).map_err(Failure::local)?;
            self.note_sent(&current);
            if refused.is_some() {
                self.permit_again().await?;
            }
            let mut reply = self.exchange(request, headers, ticket).await?;
            // Asked once: for some dialects the answer is in the body.
            let mut is_refused = auth.is_refused(&reply);
            // A request that was refused for its token was not carried out, so even a write may be
            // sent again. A new token may not count yet where the upstream has several servers.
            if is_refused && let Some(counts) = current.counts_from(Instant::now()) {
                if self.deadline <= counts {
                    return Ok(reply);
                }
                tokio::time::sleep_until(counts).await;
                self.permit_again().await?;
                reply = self.exchange(request, headers, ticket).await?;
                is_refused = auth.is_refused(&reply);
            }
            if !is_refused {
                login::token_accepted(upstream, &current).await;
                return Ok(reply);
            }
            if refused.is_some() {
                login::token_refused(upstream, &current).await;
                return Ok(reply);
            }
            refused = Some(current.generation);
        }
    }
}
