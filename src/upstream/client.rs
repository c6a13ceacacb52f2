//! A backend's upstream as the rest of the program sees it: [`Upstream`] lives as long as the process,
//! a [`Session`] as long as one call.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    Auth, Intent, Observer, Port, Reply, Request, Tokens,
    credentials::{Credentials, Held},
    transport::{Transport, deadline_passed},
};
use crate::error::{Blame, Error, Reason, Result};

/// How a backend is called.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured name of the backend, for metrics.
    pub backend: String,
    /// What stands before the dialect's paths, without a slash at the end.
    pub base_url: String,
    /// Until a connection is there.
    pub connect_timeout: Duration,
    /// From the start of a request to the end of its answer.
    pub request_timeout: Duration,
    /// Largest body that is read, after decompression.
    pub max_response_bytes: usize,
    /// Requests under way at once; more wait until their deadline.
    pub max_concurrent_calls: usize,
    /// What the vendor allows, if it says so; requests above it wait until their deadline.
    pub rate_limit: Option<RateLimit>,
}

/// What a vendor allows: a steady rate, and how much at once.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Requests per second.
    pub per_second: NonZeroU32,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}

/// One upstream account. Shared by all calls.
pub struct Upstream {
    backend: String,
    transport: Transport,
    auth: Arc<dyn Auth>,
    credentials: Arc<Credentials>,
    permits: Semaphore,
    pace: Option<DefaultDirectRateLimiter>,
    observer: Arc<dyn Observer>,
    health: Mutex<Observed>,
    request_timeout: Duration,
}

/// What the gateway's own calls have found.
#[derive(Debug, Clone, Default)]
struct Observed {
    reach: Reach,
    last_error: Option<(Error, Instant)>,
}

/// Whether the upstream answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Not tried yet.
    #[default]
    Untried,
    /// The last request got an answer.
    Answers,
    /// The last request got none.
    Silent,
}

/// How an upstream is, as the gateway's own calls have found it.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether it answers.
    pub reach: Reach,
    /// Logins are paused because the credentials were refused; `Some(false)` when the pause is over
    /// and the next call tries again.
    pub login_paused: Option<bool>,
    /// The last failure that was the upstream's or the gateway's, and how long ago it was.
    pub last_error: Option<(Error, Duration)>,
}

impl Upstream {
    /// Sets up the client; contacts nothing.
    pub fn new(
        settings: &Settings,
        auth: Arc<dyn Auth>,
        observer: Arc<dyn Observer>,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            backend: settings.backend.clone(),
            transport: Transport::new(settings)?,
            auth,
            credentials: Arc::default(),
            permits: Semaphore::new(settings.max_concurrent_calls),
            pace: settings.rate_limit.map(|limit| {
                let quota = Quota::per_second(limit.per_second).allow_burst(limit.burst);
                RateLimiter::direct(quota)
            }),
            observer,
            health: Mutex::default(),
            request_timeout: settings.request_timeout,
        }))
    }

    /// A session for one call. `counter` is raised for each request that is sent.
    #[must_use]
    pub fn session(self: &Arc<Self>, deadline: Instant, counter: Arc<AtomicU32>) -> Session {
        Session { upstream: Arc::clone(self), deadline, counter }
    }

    /// How the upstream is.
    #[must_use]
    pub fn health(&self) -> Health {
        let observed = self.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Health {
            reach: observed.reach,
            login_paused: self.credentials.paused(),
            last_error: observed.last_error.map(|(error, at)| (error, at.elapsed())),
        }
    }

    /// Notes a failure that callers of this backend should know of.
    pub fn note_failure(&self, error: &Error) {
        if error.blame() != Blame::Caller && error.reason() != Reason::Overloaded {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            health.last_error = Some((error.clone(), Instant::now()));
        }
    }

    /// The error without any of this account's secrets.
    #[must_use]
    pub fn without_secrets(&self, error: Error) -> Error {
        let configured: Vec<&SecretString> = self.auth.secrets();
        error.without_secrets(|text| self.credentials.scrub(text, &configured))
    }

    /// One exchange, measured.
    async fn exchange(
        &self,
        request: &Request,
        credentials: &[(HeaderName, HeaderValue)],
        deadline: Instant,
        counter: &AtomicU32,
    ) -> Result<Reply> {
        counter.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let result = self.transport.send(request, credentials, deadline).await;
        let outcome = match &result {
            Ok(reply) => match reply.status.as_u16() / 100 {
                2 => "2xx",
                3 => "3xx",
                4 => "4xx",
                5 => "5xx",
                _ => "other",
            },
            Err(error) => match error.reason() {
                Reason::UpstreamContractViolation => "unreadable",
                Reason::DeadlineExceeded | Reason::WriteOutcomeUnknown => "deadline",
                _ => "unreachable",
            },
        };
        self.observer.request(&self.backend, request.operation, outcome, started.elapsed());
        let reach = match outcome {
            // The caller had no more time; that says nothing of the upstream.
            "deadline" => None,
            "unreachable" => Some(Reach::Silent),
            _ => Some(Reach::Answers),
        };
        if let Some(reach) = reach {
            self.health.lock().unwrap_or_else(PoisonError::into_inner).reach = reach;
        }
        result
    }

    /// The tokens in force; renewed when they are of the refused generation.
    async fn tokens(
        self: &Arc<Self>,
        refused: Option<u64>,
        counter: &Arc<AtomicU32>,
    ) -> Result<Arc<Held>> {
        let (this, counter) = (Arc::clone(self), Arc::clone(counter));
        self.credentials.get(refused, |old| async move { this.renew(old, &counter).await }).await
    }

    /// Renews with the refresh token where there is one, then logs in, each at most once.
    async fn renew(&self, old: Option<Tokens>, counter: &AtomicU32) -> Result<Tokens> {
        // The transport's own limit bounds each exchange. The callers' deadlines do not: a renewal
        // that takes too long is the upstream's doing.
        let deadline = Instant::now() + 4 * self.request_timeout;
        let refresh = old.and_then(|tokens| tokens.refresh).and_then(|r| self.auth.refresh(&r));
        if let Some((request, headers)) = refresh {
            let reply = self.exchange(&request, &headers, deadline, counter).await;
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
        let reply = self.exchange(&request, &[], deadline, counter).await;
        let result = reply
            .and_then(|reply| self.auth.tokens(&reply))
            // A login that failed wrote no profile, whatever the way in which it failed.
            .map_err(|error| self.without_secrets(error.with_effect(crate::error::Effect::None)));
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
}

/// Calls one upstream on behalf of one call.
pub struct Session {
    upstream: Arc<Upstream>,
    deadline: Instant,
    counter: Arc<AtomicU32>,
}

impl Session {
    /// The same session with an earlier deadline.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self {
            upstream: Arc::clone(&self.upstream),
            deadline: deadline.min(self.deadline),
            counter: Arc::clone(&self.counter),
        }
    }

    async fn send_with_credentials(&self, request: &Request) -> Result<Reply> {
        let upstream = &self.upstream;
        if let Some(token) = upstream.auth.fixed() {
            let headers = upstream.auth.headers(token)?;
            return upstream.exchange(request, &headers, self.deadline, &self.counter).await;
        }
        let mut refused = None;
        loop {
            // Waiting for a login is not a write under way: nothing has left yet.
            let held =
                tokio::time::timeout_at(self.deadline, upstream.tokens(refused, &self.counter))
                    .await
                    .map_err(|_| deadline_passed(Intent::Read))??;
            let headers = upstream.auth.headers(&held.tokens.access)?;
            let reply = upstream.exchange(request, &headers, self.deadline, &self.counter).await?;
            // A refused request was not carried out, so a write may go again too, once.
            if !upstream.auth.is_refused(&reply) {
                return Ok(reply);
            }
            if refused.is_some() {
                upstream.credentials.forget(held.generation);
                return Ok(reply);
            }
            refused = Some(held.generation);
        }
    }
}

#[async_trait]
impl Port for Session {
    async fn send(&self, request: Request) -> Result<Reply> {
        if self.deadline <= Instant::now() {
            // A timer would let the request leave before it fires.
            return Err(deadline_passed(Intent::Read));
        }
        let admitted = async {
            let permit = self.upstream.permits.acquire().await;
            if let Some(pace) = &self.upstream.pace {
                pace.until_ready().await;
            }
            permit
        };
        let _permit = match tokio::time::timeout_at(self.deadline, admitted).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => {
                return Err(Error::new(
                    Reason::Overloaded,
                    "too many calls to this backend are under way; this one was not sent",
                ));
            }
        };
        self.send_with_credentials(&request).await
    }
}
