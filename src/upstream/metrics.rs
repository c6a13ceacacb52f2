//! Metrics of requests to upstreams: outcomes, logins, retries, queues, circuits and rates.

mod labels;

use std::{
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use self::labels::SHED;
pub(super) use self::labels::{LoginOutcome, RequestOutcome, Shed, WindowName};
use super::{breaker::Circuit, connection::ConnectionFault};
use crate::telemetry::{BackendLabels, Registry, buckets::SECONDS, labels, start};

type Rate = Gauge<f64, AtomicU64>;

/// The metrics of all backends. Clones share them.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    requests: Family<RequestLabels, Counter>,
    request_duration: Family<BackendLabels, Histogram>,
    connection_faults: Family<FaultLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
    retries: Family<OperationLabels, Counter>,
    over_budget: Family<BackendLabels, Counter>,
    shed: Family<ShedLabels, Counter>,
    queued: Family<BackendLabels, Gauge>,
    in_flight: Family<BackendLabels, Gauge>,
    throttled: Family<BackendLabels, Counter>,
    pause: Family<BackendLabels, Rate>,
    rate: Family<BackendLabels, Rate>,
    windows: [Family<WindowLabels, Gauge>; 2],
    exhausted_in: Family<WindowLabels, Rate>,
    circuit: Family<BackendLabels, Gauge>,
    transitions: Family<CircuitLabels, Counter>,
}

/// The metrics of one backend. Those without further labels are looked up once.
#[derive(Debug, Clone)]
pub struct BackendUpstreamMetrics {
    backend: Arc<str>,
    all: UpstreamMetrics,
    request_duration: Histogram,
    over_budget: Counter,
    queued: Gauge,
    in_flight: Gauge,
    throttled: Counter,
    pause: Rate,
    circuit: Gauge,
    /// In the order of [`Shed`].
    shed: Arc<[OnceLock<Counter>; SHED]>,
}

labels! {
    struct RequestLabels {
        backend: Arc<str>,
        operation: &'static str,
        outcome: RequestOutcome,
    }
}

labels! {
    struct FaultLabels { backend: Arc<str>, fault: ConnectionFault }
}

labels! {
    struct LoginLabels { backend: Arc<str>, outcome: LoginOutcome }
}

labels! {
    struct OperationLabels { backend: Arc<str>, operation: &'static str }
}

labels! {
    struct ShedLabels { backend: Arc<str>, why: Shed }
}

labels! {
    struct WindowLabels { backend: Arc<str>, window: WindowName }
}

labels! {
    struct CircuitLabels { backend: Arc<str>, to: Circuit }
}

impl UpstreamMetrics {
    /// All metrics at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            request_duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            connection_faults: Family::default(),
            logins: Family::default(),
            retries: Family::default(),
            over_budget: Family::default(),
            shed: Family::default(),
            queued: Family::default(),
            in_flight: Family::default(),
            throttled: Family::default(),
            pause: Family::default(),
            rate: Family::default(),
            windows: Default::default(),
            exhausted_in: Family::default(),
            circuit: Family::default(),
            transitions: Family::default(),
        };
        metrics.register_requests(to);
        metrics.register_limits(to);
        metrics.register_windows(to);
        metrics.register_circuit(to);
        metrics
    }

    fn register_requests(&self, to: &mut Registry) {
        to.register(
            "upstream_requests",
            "HTTP requests to upstreams that are over",
            &self.requests,
        );
        to.register(
            "upstream_request_duration_seconds",
            "Time of one HTTP request to an upstream",
            &self.request_duration,
        );
        to.register(
            "upstream_connection_faults",
            "HTTP requests to upstreams that found no connection, by reason",
            &self.connection_faults,
        );
        to.register("upstream_logins", "Logins of the gateway at upstreams", &self.logins);
        to.register(
            "upstream_retries",
            "Requests to upstreams that were sent again",
            &self.retries,
        );
        to.register(
            "upstream_retries_over_budget",
            "Requests to upstreams that were not sent again because the retry budget was spent",
            &self.over_budget,
        );
    }

    fn register_limits(&self, to: &mut Registry) {
        to.register(
            "upstream_shed",
            "Requests to upstreams that were refused unsent by queue, rate limit, or pause",
            &self.shed,
        );
        to.register(
            "upstream_queued",
            "Requests to upstreams that wait for the rate or for one in flight to end",
            &self.queued,
        );
        to.register("upstream_in_flight", "Requests to upstreams in flight", &self.in_flight);
        to.register(
            "upstream_throttled",
            "Responses of upstreams with status 429",
            &self.throttled,
        );
        to.register(
            "upstream_pause_remaining_seconds",
            "Time until the pause after a 429 ends, in which nothing is sent; 0 without a pause",
            &self.pause,
        );
        to.register(
            "upstream_rate_limit",
            "Requests per second that may be sent, lowered after a 429; only where there is \
             a limit",
            &self.rate,
        );
    }

    fn register_windows(&self, to: &mut Registry) {
        let [used, remaining] = &self.windows;
        to.register(
            "upstream_window_used",
            "Requests of this process that count in a window of the vendor's limits",
            used,
        );
        to.register(
            "upstream_window_remaining",
            "Requests that the window still allows",
            remaining,
        );
        to.register(
            "upstream_window_exhausted_in_seconds",
            "Time until the window is used up if requests go on as they do now; absent if it will \
             not be",
            &self.exhausted_in,
        );
    }

    fn register_circuit(&self, to: &mut Registry) {
        to.register(
            "upstream_circuit_state",
            "0 closed, 1 half open, 2 open; refused credentials open it too",
            &self.circuit,
        );
        to.register(
            "upstream_circuit_transitions",
            "Changes of a circuit's state",
            &self.transitions,
        );
    }

    /// The metrics of one backend, by its configured name.
    #[must_use]
    pub fn backend(&self, name: &Arc<str>) -> BackendUpstreamMetrics {
        let labels = BackendLabels { backend: Arc::clone(name) };
        start(&self.connection_faults, name);
        start(&self.logins, name);
        start(&self.shed, name);
        start(&self.transitions, name);
        BackendUpstreamMetrics {
            backend: Arc::clone(name),
            all: self.clone(),
            request_duration: self.request_duration.get_or_create_owned(&labels),
            over_budget: self.over_budget.get_or_create_owned(&labels),
            queued: self.queued.get_or_create_owned(&labels),
            in_flight: self.in_flight.get_or_create_owned(&labels),
            throttled: self.throttled.get_or_create_owned(&labels),
            pause: self.pause.get_or_create_owned(&labels),
            circuit: self.circuit.get_or_create_owned(&labels),
            shed: Arc::default(),
        }
    }
}

impl BackendUpstreamMetrics {
    /// An HTTP request ended. Each retry counts.
    pub(super) fn request(&self, operation: &'static str, outcome: RequestOutcome, took: Duration) {
        let labels = RequestLabels { backend: self.backend(), operation, outcome };
        self.all.requests.get_or_create(&labels).inc();
        self.request_duration.observe(took.as_secs_f64());
    }

    /// A request found no connection.
    pub(super) fn connection_fault(&self, fault: ConnectionFault) {
        let labels = FaultLabels { backend: self.backend(), fault };
        self.all.connection_faults.get_or_create(&labels).inc();
    }

    /// A login ended.
    pub(super) fn login(&self, outcome: LoginOutcome) {
        self.all.logins.get_or_create(&LoginLabels { backend: self.backend(), outcome }).inc();
    }

    /// A request is retried.
    pub(super) fn retried(&self, operation: &'static str) {
        let labels = OperationLabels { backend: self.backend(), operation };
        self.all.retries.get_or_create(&labels).inc();
    }

    /// A request is not retried because the retry budget is spent.
    pub(super) fn over_budget(&self) {
        self.over_budget.inc();
    }

    /// A request was refused without being sent.
    pub(super) fn shed(&self, why: Shed) {
        let labels = || ShedLabels { backend: self.backend(), why };
        let count = || self.all.shed.get_or_create_owned(&labels());
        match self.shed.get(why as usize) {
            Some(known) => known.get_or_init(count).inc(),
            None => count().inc(),
        };
    }

    /// Changes the number of queued requests.
    pub(super) fn queued(&self, more: i64) {
        self.queued.inc_by(more);
    }

    /// Changes the number of requests in flight.
    pub(super) fn in_flight(&self, more: i64) {
        self.in_flight.inc_by(more);
    }

    /// The upstream answered 429.
    pub(super) fn throttled(&self) {
        self.throttled.inc();
    }

    /// Sets how long the pause still is.
    pub(super) fn pause(&self, left: Duration) {
        self.pause.set(left.as_secs_f64());
    }

    /// Sets the rate limit in requests per second.
    pub(super) fn rate(&self, per_second: f64) {
        let labels = BackendLabels { backend: self.backend() };
        self.all.rate.get_or_create(&labels).set(per_second);
    }

    /// Sets what is used of a window, what remains, and for how long that will last.
    pub(super) fn window(
        &self,
        window: WindowName,
        [used, remaining]: [u32; 2],
        exhausted_in: Option<Duration>,
    ) {
        let labels = WindowLabels { backend: self.backend(), window };
        for (family, value) in self.all.windows.iter().zip([used, remaining]) {
            family.get_or_create(&labels).set(value.into());
        }
        match exhausted_in {
            Some(time) => {
                self.all.exhausted_in.get_or_create(&labels).set(time.as_secs_f64());
            }
            None => {
                self.all.exhausted_in.remove(&labels);
            }
        }
    }

    /// Sets the state of the circuit, combined with that of rejected credentials.
    pub(super) fn circuit(&self, to: Circuit) {
        let number = match to {
            Circuit::Closed => 0,
            Circuit::HalfOpen => 1,
            Circuit::Open => 2,
        };
        if self.circuit.set(number) != number {
            let labels = CircuitLabels { backend: self.backend(), to };
            self.all.transitions.get_or_create(&labels).inc();
        }
    }

    fn backend(&self) -> Arc<str> {
        Arc::clone(&self.backend)
    }

    /// The numbers of queued requests and of requests in flight.
    #[cfg(test)]
    pub(super) fn depth(&self) -> (i64, i64) {
        (self.queued.get(), self.in_flight.get())
    }

    /// Metrics that are not exported.
    #[cfg(test)]
    pub(crate) fn unread() -> Self {
        UpstreamMetrics::register(&mut Registry::new("test")).backend(&"test".into())
    }
}

#[cfg(test)]
mod tests;
