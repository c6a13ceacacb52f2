//! What is counted around the requests to upstreams: retries, queues, circuits, rates.
//!
//! The requests themselves are counted in [`super::metrics`]. Labels are names from the configuration or
//! of an enum.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The states of a circuit, by the number that stands for each in `upstream_circuit_state`.
const CIRCUITS: [&str; 3] = ["closed", "half_open", "open"];

type Rate = Gauge<f64, AtomicU64>;

/// The metrics of all backends.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    retries: Family<OperationLabels, Counter>,
    budget_spent: Family<BackendLabels, Counter>,
    shed: Family<ShedLabels, Counter>,
    queued: Family<BackendLabels, Gauge>,
    in_flight: Family<BackendLabels, Gauge>,
    throttled: Family<BackendLabels, Counter>,
    rate: Family<BackendLabels, Rate>,
    circuit: Family<BackendLabels, Gauge>,
    transitions: Family<CircuitLabels, Counter>,
}

/// Those of one backend, looked up once.
#[derive(Debug)]
pub struct BackendMetrics {
    name: String,
    retries: Family<OperationLabels, Counter>,
    budget_spent: Counter,
    shed: Family<ShedLabels, Counter>,
    queued: Gauge,
    in_flight: Gauge,
    throttled: Counter,
    rate: Family<BackendLabels, Rate>,
    circuit: Gauge,
    transitions: Family<CircuitLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    backend: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    backend: String,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShedLabels {
    backend: String,
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CircuitLabels {
    backend: String,
    to: &'static str,
}

impl UpstreamMetrics {
    /// The metrics of one backend, by its configured name.
    #[must_use]
    pub fn backend(&self, name: &str) -> BackendMetrics {
        let labels = BackendLabels { backend: name.to_owned() };
        BackendMetrics {
            name: name.to_owned(),
            retries: self.retries.clone(),
            budget_spent: self.budget_spent.get_or_create_owned(&labels),
            shed: self.shed.clone(),
            queued: self.queued.get_or_create_owned(&labels),
            in_flight: self.in_flight.get_or_create_owned(&labels),
            throttled: self.throttled.get_or_create_owned(&labels),
            rate: self.rate.clone(),
            circuit: self.circuit.get_or_create_owned(&labels),
            transitions: self.transitions.clone(),
        }
    }

    // The library appends `_total` to counters.
    pub(super) fn register(&self, to: &mut Registry) {
        to.register(
            "upstream_retries",
            "Requests to upstreams that were sent again",
            self.retries.clone(),
        );
        to.register(
            "upstream_retries_over_budget",
            "Requests to upstreams that were not sent again because the retry budget was spent",
            self.budget_spent.clone(),
        );
        to.register(
            "upstream_shed",
            "Requests to upstreams that were turned away unsent by queue or rate limit",
            self.shed.clone(),
        );
        to.register(
            "upstream_queued",
            "Requests to upstreams that wait for one under way to end",
            self.queued.clone(),
        );
        to.register(
            "upstream_in_flight",
            "Requests to upstreams under way",
            self.in_flight.clone(),
        );
        to.register("upstream_throttled", "Answers 429 of upstreams", self.throttled.clone());
        to.register(
            "upstream_rate_limit",
            "Requests per second that may be sent, lowered after a 429; only where there is a limit",
            self.rate.clone(),
        );
        to.register(
            "upstream_circuit_state",
            "0 closed, 1 half open, 2 open; refused credentials open it too",
            self.circuit.clone(),
        );
        to.register(
            "upstream_circuit_transitions",
            "Changes of a circuit's state",
            self.transitions.clone(),
        );
    }
}

impl BackendMetrics {
    /// A request was sent again.
    pub fn retried(&self, operation: &'static str) {
        let labels = OperationLabels { backend: self.name.clone(), operation };
        self.retries.get_or_create(&labels).inc();
    }

    /// A request was not sent again because the retry budget was spent.
    pub fn budget_spent(&self) {
        self.budget_spent.inc();
    }

    /// A request was turned away unsent.
    pub fn shed(&self, why: &'static str) {
        self.shed.get_or_create(&ShedLabels { backend: self.name.clone(), why }).inc();
    }

    /// So many more wait.
    pub fn queued(&self, more: i64) {
        self.queued.inc_by(more);
    }

    /// So many more are under way.
    pub fn in_flight(&self, more: i64) {
        self.in_flight.inc_by(more);
    }

    /// The upstream answered 429.
    pub fn throttled(&self) {
        self.throttled.inc();
    }

    /// Requests per second that may be sent from now on.
    pub fn rate(&self, per_second: f64) {
        let labels = BackendLabels { backend: self.name.clone() };
        self.rate.get_or_create(&labels).set(per_second);
    }

    /// The circuit is now `closed`, `half_open` or `open`.
    pub fn circuit(&self, to: &'static str) {
        let number = CIRCUITS.iter().zip(0_i64..).find(|(name, _)| **name == to);
        let before = self.circuit.set(number.map_or(-1, |(_, number)| number));
        if number.is_some_and(|(_, number)| number != before) {
            self.transitions.get_or_create(&CircuitLabels { backend: self.name.clone(), to }).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn every_name_is_there() {
        let (metrics, mut registry) = (UpstreamMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        let backend = metrics.backend("sft");
        backend.retried("get");
        backend.budget_spent();
        backend.shed("queue_full");
        backend.queued(3);
        backend.queued(-1);
        backend.in_flight(1);
        backend.throttled();
        backend.rate(12.5);
        for state in ["closed", "open", "half_open", "half_open"] {
            backend.circuit(state);
        }
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for line in [
            r#"upstream_retries_total{backend="sft",operation="get"} 1"#,
            r#"upstream_retries_over_budget_total{backend="sft"} 1"#,
            r#"upstream_shed_total{backend="sft",why="queue_full"} 1"#,
            r#"upstream_queued{backend="sft"} 2"#,
            r#"upstream_in_flight{backend="sft"} 1"#,
            r#"upstream_throttled_total{backend="sft"} 1"#,
            r#"upstream_rate_limit{backend="sft"} 12.5"#,
            r#"upstream_circuit_state{backend="sft"} 1"#,
            r#"upstream_circuit_transitions_total{backend="sft",to="open"} 1"#,
            r#"upstream_circuit_transitions_total{backend="sft",to="half_open"} 1"#,
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
        assert!(!shown.contains(r#"to="closed""#), "it was closed from the beginning");
    }
}
