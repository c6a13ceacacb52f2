//! A backend's upstream as the rest of the program sees it. An [`Upstream`] lives as long as the
//! process.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::time::Instant;

use super::{
    authentication::Auth,
    breaker::{Breaker, Circuit, Ticket, Verdict},
    budget::Budget,
    bulkhead::Bulkhead,
    cause::{Cause, Failure},
    class::Class,
    credentials::{Credentials, CurrentTokens},
    debug_log,
    keeper::Keeper,
    limits::Limits,
    message::{Reply, Request},
    metrics::{BackendUpstreamMetrics, RequestOutcome, Shed},
    needles::Needles,
    pace::{Pace, Refusal},
    refusal::Refusals,
    settings::UpstreamSettings,
    sharing::Sharing,
    sign_in::SignIn,
    status,
    transport::Transport,
    window::Usage,
};
use crate::{
    caller::{Caller, Spending},
    error::{Blame, Error, Reason, Result, metadata::CIRCUIT, whole_seconds},
    levers::BackendLevers,
    resources::Share,
};

/// One upstream account. Shared by all calls.
pub struct Upstream {
    pub(super) backend: String,
    pub(super) transport: ArcSwap<Transport>,
    pub(super) sign_in: ArcSwap<SignIn>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) bulkhead: Bulkhead,
    pub(super) pace: Pace,
    pub(super) breaker: Breaker,
    pub(super) budget: Budget,
    pub(super) max_attempts: u32,
    pub(super) metrics: BackendUpstreamMetrics,
    /// Keeps its state, if that outlives the process.
    pub(super) keeper: OnceLock<Arc<Keeper>>,
    /// What it shares with those of other replicas, if there may be any.
    pub(super) sharing: OnceLock<Arc<Sharing>>,
    /// What operators force its circuit by.
    pub(super) levers: OnceLock<Arc<BackendLevers>>,
    /// Called with whether calls are let through, whenever that may have changed.
    tell_serving: Box<dyn Fn(bool) + Send + Sync>,
    health: Mutex<Observed>,
    /// The circuit as last reported, and until when it is open.
    shown: Mutex<(Circuit, Option<Instant>)>,
    pub(super) request_timeout: Duration,
    refusals: Refusals,
    /// Another one has taken its place: what it finds out is told to no one.
    pub(super) retired: AtomicBool,
}

/// What the gateway's own calls have shown.
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
    /// The last request got no answer.
    Silent,
}

/// The health of an upstream, as the gateway's own calls have shown it.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether it answers.
    pub reach: Reach,
    /// Whether calls are let through: not while the upstream keeps failing, and not while logins
    /// are paused because the credentials were rejected. Half open if the next call tries again.
    pub circuit: Circuit,
    /// The last failure caused by the upstream or the gateway, and how long ago it was.
    pub last_error: Option<(Error, Duration)>,
}

impl Upstream {
    /// Sets up the client without contacting the upstream. `backend` is the configured name, and
    /// `vendor_limits` what the vendor documents. `tell_serving` is called when calls
    /// are no longer let through, and when they are again. The memory of answers is taken from
    /// `decoding`.
    pub fn new(
        backend: &str,
        settings: &UpstreamSettings,
        vendor_limits: Limits,
        auth: Arc<dyn Auth>,
        metrics: BackendUpstreamMetrics,
        decoding: Share,
        tell_serving: impl Fn(bool) + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        let now = Instant::now();
        let limits = settings.limits(vendor_limits);
        let pace = Pace::new(&limits, settings.max_pause, rand::random, now);
        if let Some(rate) = pace.rate(now) {
            metrics.rate(rate);
        }
        let bulkhead = Bulkhead::new(
            settings.max_concurrent_calls,
            settings.max_queued_calls,
            limits,
            metrics.clone(),
        );
        Ok(Arc::new(Self {
            backend: backend.to_owned(),
            transport: ArcSwap::from_pointee(Transport::new(settings, decoding)?),
            sign_in: ArcSwap::from_pointee(SignIn::new(auth)),
            credentials: Arc::default(),
            bulkhead,
            pace,
            breaker: Breaker::new(settings.circuit, rand::random, now),
            budget: Budget::new(now),
            max_attempts: settings.max_attempts,
            metrics,
            keeper: OnceLock::new(),
            sharing: OnceLock::new(),
            levers: OnceLock::new(),
            tell_serving: Box::new(tell_serving),
            health: Mutex::default(),
            shown: Mutex::new((Circuit::Closed, None)),
            request_timeout: settings.request_timeout,
            refusals: Refusals::default(),
            retired: AtomicBool::new(false),
        }))
    }

    /// The credential headers of each request. Secret ones are marked sensitive. They need not hold
    /// the current secret, because this does not log in.
    pub fn credential_headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>> {
        let unknown = SecretString::from("unknown");
        let sign_in = self.sign_in.load();
        let auth = &sign_in.auth;
        auth.headers(auth.fixed().unwrap_or(&unknown))
    }

    /// The health of the upstream.
    #[must_use]
    pub fn health(&self) -> Health {
        let observed = self.health.lock().clone();
        Health {
            reach: observed.reach,
            circuit: self.circuit().0,
            last_error: observed.last_error.map(|(error, at)| (error, at.elapsed())),
        }
    }

    /// Brings the metrics of the pause and of the vendor's windows up to date.
    pub fn measure(&self) {
        let now = Instant::now();
        self.metrics.pause(self.pace.pause_left(now));
        for Usage { window, used, remaining, exhausted_in } in self.pace.usage(now) {
            self.metrics.window(window, [used, remaining], exhausted_in);
        }
    }

    /// The requests per second that a class can go on with, if a window of the vendor's limits
    /// them.
    #[must_use]
    pub fn sustainable(&self, class: Class) -> Option<f64> {
        self.pace.sustainable(class)
    }

    /// How long it takes until the vendor's windows have room for so many requests of a class.
    #[must_use]
    pub fn room_in(&self, class: Class, requests: u32) -> Duration {
        self.pace.room_in(class, requests, Instant::now())
    }

    /// Refuses a request of this caller that would get neither a slot nor a place in the queue,
    /// before anything is made for it.
    pub fn has_room(&self, class: Class, caller: &Caller) -> Result<()> {
        self.bulkhead.has_room((class, caller)).map_err(|refusal| self.refused(refusal))
    }

    /// Records a failure that callers of this backend should know about.
    pub fn note_failure(&self, error: &Error) {
        // A refusal by an open circuit would hide the failure that opened it.
        let refused = error.metadatum(CIRCUIT).is_some();
        let facts = error.facts();
        if facts.blame != Blame::Caller && !facts.is_of_the_process && !refused {
            let mut health = self.health.lock();
            health.last_error = Some((error.clone(), Instant::now()));
        }
    }

    /// Counts a refusal, and returns its error.
    pub(super) fn refused(&self, refusal: Refusal) -> Error {
        self.metrics.shed(match refusal {
            Refusal::Paused(_) => Shed::Pause,
            Refusal::Window(..) => Shed::Window,
            Refusal::Shed(shed, _) => shed,
        });
        let error = self.refusals.error(refusal, self.bulkhead.bounds());
        debug_log::refusal(&self.backend, &error);
        error
    }

    /// The text without the secrets of this account, among them the tokens that were `sent`; `None`
    /// if it contains none.
    pub(super) fn redact(&self, text: &str, sent: &[Arc<CurrentTokens>]) -> Option<String> {
        self.needles(sent).redacted(text)
    }

    /// What these secrets look like.
    pub(super) fn needles(&self, sent: &[Arc<CurrentTokens>]) -> Arc<Needles> {
        let (sign_in, transport) = (self.sign_in.load(), self.transport.load());
        let configured = || sign_in.secrets().into_iter().chain(transport.secrets()).collect();
        self.credentials.needles(configured, sent)
    }

    /// Makes and measures one exchange.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        credentials: &[(HeaderName, HeaderValue)],
        deadline: Instant,
        counter: &Spending,
    ) -> Result<Reply, Failure> {
        counter.began();
        let (started, epoch) = (Instant::now(), self.pace.epoch());
        let transport = self.transport.load_full();
        let mut result = transport.send(request, credentials, deadline).await;
        let (outcome, took) = (outcome(&result), started.elapsed());
        counter.took(took);
        if let Some(outcome) = outcome {
            self.metrics.request(request.operation, outcome, took);
        }
        debug_log::exchange(&self.backend, request, &result, took);
        if let Err(Failure { fault: Some(fault), .. }) = &result {
            self.metrics.connection_fault(*fault);
        }
        match outcome {
            // The caller ran out of time, or nothing was sent: that says nothing of the upstream.
            None | Some(RequestOutcome::Deadline) => {}
            Some(RequestOutcome::Unreachable) => self.health.lock().reach = Reach::Silent,
            Some(_) => self.health.lock().reach = Reach::Answers,
        }
        self.keep_pace(&mut result, epoch).await;
        result
    }

    /// What an exchange says about the upstream, if anything. A 429 says that it works but wants
    /// fewer requests.
    pub(super) fn verdict(result: &Result<Reply, Failure>) -> Option<Verdict> {
        match result {
            Ok(reply) if reply.status == StatusCode::TOO_MANY_REQUESTS => None,
            Ok(reply) if reply.status.is_server_error() || status::gave_up(reply.status) => {
                Some(Verdict::Bad)
            }
            Ok(_) => Some(Verdict::Good),
            Err(failure) => failure.cause.verdict(),
        }
    }

    /// Counts an exchange in the circuit breaker.
    pub(super) fn judge(self: &Arc<Self>, ticket: &Ticket<'_>, result: &Result<Reply, Failure>) {
        let Some(verdict) = Self::verdict(result) else { return };
        if self.breaker.record(ticket, verdict, result.is_ok(), Instant::now()) {
            let why = match result {
                Ok(reply) => format!("the upstream answered HTTP {}", reply.status.as_u16()),
                Err(failure) => failure.error.message().to_owned(),
            };
            self.publish(Some(&why));
        }
    }

    /// The worse of the state of requests and the state of rejected credentials.
    fn circuit(&self) -> (Circuit, Option<Instant>) {
        let now = Instant::now();
        let requests = self.requests_circuit(now);
        let login = match self.credentials.paused_until() {
            None => (Circuit::Closed, None),
            Some(until) if now < until => (Circuit::Open, Some(until)),
            Some(_) => (Circuit::HalfOpen, None),
        };
        requests.max(login)
    }

    fn log_circuit(&self, circuit: Circuit, until: Option<Instant>, why: Option<&str>) {
        let (backend, state) = (self.backend.as_str(), circuit.name());
        match circuit {
            Circuit::Open => {
                let wait = until.map(|until| whole_seconds(until - Instant::now()));
                let next = wait.map(|wait| humantime::format_duration(wait).to_string());
                let why = why.map(str::to_owned).or_else(|| self.credentials.paused_for());
                // The texts of upstreams may repeat secrets.
                let why = why.map(|why| self.redact(&why, &[]).unwrap_or(why));
                tracing::warn!(
                    target: "upstream", backend, circuit = state, cause = why,
                    next_attempt_in = next, "the circuit is open: nothing is sent"
                );
            }
            Circuit::HalfOpen => tracing::warn!(
                target: "upstream", backend, circuit = state,
                "the circuit is half open: the next request tries"
            ),
            Circuit::Closed => {
                tracing::warn!(
                    target: "upstream", backend, circuit = state, "the circuit is closed"
                );
            }
        }
    }

    /// Reports the circuit if it has changed since the last report; `why` is what changed it.
    pub(super) fn publish(self: &Arc<Self>, why: Option<&str>) {
        if self.retired.load(Ordering::Relaxed) {
            return;
        }
        // Held while reporting, so that the last report is the latest state.
        let mut shown = self.shown.lock();
        let (circuit, until) = self.circuit();
        let (before, before_until) = std::mem::replace(&mut *shown, (circuit, until));
        if circuit != before {
            self.pace.tell();
            self.log_circuit(circuit, until, why);
            self.metrics.circuit(circuit);
            // Half open counts as serving: clients that stay away could not make the trial call.
            (self.tell_serving)(circuit != Circuit::Open);
        }
        if let Some(until) = until.filter(|_| until != before_until) {
            // Nothing else reports that the open time has passed, because without calls nothing
            // tries. The task holds no reference, and ends with the open time or the process.
            let this = Arc::downgrade(self);
            tokio::spawn(async move {
                tokio::time::sleep_until(until).await;
                if let Some(this) = this.upgrade() {
                    this.publish(None);
                }
            });
        }
    }
}

/// How an exchange ended; `None` if the gateway itself did not send it.
fn outcome(result: &Result<Reply, Failure>) -> Option<RequestOutcome> {
    Some(match result {
        Ok(reply) => match reply.status.as_u16() / 100 {
            2 => RequestOutcome::Success,
            3 => RequestOutcome::Redirect,
            4 => RequestOutcome::ClientError,
            5 => RequestOutcome::ServerError,
            _ => RequestOutcome::OtherStatus,
        },
        Err(failure) => match (failure.cause, failure.error.reason()) {
            (Cause::Local, _) => return None,
            (_, Reason::UpstreamContractViolation) => RequestOutcome::Unreadable,
            (Cause::Deadline, _) => RequestOutcome::Deadline,
            _ => RequestOutcome::Unreachable,
        },
    })
}
