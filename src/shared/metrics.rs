//! What is counted of the shared store.

use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use super::connection::Fault;
use crate::telemetry::{Registry, buckets::SECONDS, label_values, labels, start_all};

label_values! {
    /// What a connection is for.
    pub(super) enum Use {
        /// Commands that do not block.
        Commands = "commands",
        /// Reading the log.
        Log = "log",
        /// What is waited for until replicas of the server have it.
        Durable = "durable",
    }
}

labels! {
    struct UseLabels { connection: Use }
}

labels! {
    struct FaultLabels { fault: Fault }
}

/// The metrics of the shared store. Clones share them.
#[derive(Debug, Clone)]
pub struct SharedMetrics {
    connected: Gauge,
    connections: Counter,
    faults: Family<FaultLabels, Counter>,
    durations: Family<UseLabels, Histogram>,
    failures: Family<FaultLabels, Counter>,
}

/// The metrics of one connection.
#[derive(Debug, Clone)]
pub(super) struct LinkMetrics {
    pub(super) duration: Histogram,
    failures: Family<FaultLabels, Counter>,
}

impl SharedMetrics {
    /// All at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self {
            connected: Gauge::default(),
            connections: Counter::default(),
            faults: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            failures: Family::default(),
        };
        to.register(
            "shared_store_connected",
            "1 while this replica is connected to the shared store, otherwise 0",
            &metrics.connected,
        );
        to.register(
            "shared_store_connections",
            "How often this replica has connected to the shared store",
            &metrics.connections,
        );
        to.register(
            "shared_store_connection_faults",
            "Connections to the shared store that have ended, or that were not made, by what the \
             fault is",
            &metrics.faults,
        );
        to.register(
            "shared_store_command_duration_seconds",
            "Time until the shared store answered a command, or until that took too long",
            &metrics.durations,
        );
        to.register(
            "shared_store_command_failures",
            "Commands that the shared store did not carry out, by what the fault is",
            &metrics.failures,
        );
        start_all(&metrics.faults);
        start_all(&metrics.failures);
        start_all(&metrics.durations);
        metrics
    }

    /// There are connections, or there are none any more.
    pub(super) fn connected(&self, connected: bool) {
        self.connected.set(connected.into());
        if connected {
            self.connections.inc();
        }
    }

    /// Connections have ended, or were not made.
    pub(super) fn fault(&self, fault: Fault) {
        self.faults.get_or_create(&FaultLabels { fault }).inc();
    }

    pub(super) fn of(&self, used: Use) -> LinkMetrics {
        let duration = self.durations.get_or_create(&UseLabels { connection: used }).clone();
        LinkMetrics { duration, failures: self.failures.clone() }
    }
}

impl LinkMetrics {
    /// A command was not carried out.
    pub(super) fn failed(&self, fault: Fault) {
        self.failures.get_or_create(&FaultLabels { fault }).inc();
    }
}
