//! What is counted of the shared store.

use std::{sync::atomic::AtomicU64, time::Duration};

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

label_values! {
    /// Why a replica forgets all that it has in memory, and joins the others again.
    pub enum Resync {
        /// It was connected, for the first time or again.
        Connected = "connected",
        /// A part of the log is missing.
        Gap = "gap",
        /// The others have waited for it too long, and go on without it.
        Evicted = "evicted",
        /// The server has lost what it knew, or another one took its place.
        Epoch = "epoch",
    }
}

labels! {
    struct ResyncLabels { why: Resync }
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
    lease_valid: Gauge,
    members: Gauge,
    log_lag: Gauge<f64, AtomicU64>,
    ack_wait: Histogram,
    strict_cut: Counter,
    resyncs: Family<ResyncLabels, Counter>,
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
            lease_valid: Gauge::default(),
            members: Gauge::default(),
            log_lag: Gauge::default(),
            ack_wait: Histogram::new(SECONDS),
            strict_cut: Counter::default(),
            resyncs: Family::default(),
        };
        metrics.register_connections(to);
        metrics.register_replicas(to);
        metrics
    }

    fn register_connections(&self, to: &mut Registry) {
        to.register(
            "shared_store_connected",
            "1 while this replica is connected to the shared store, otherwise 0",
            &self.connected,
        );
        to.register(
            "shared_store_connections",
            "How often this replica has connected to the shared store",
            &self.connections,
        );
        to.register(
            "shared_store_connection_faults",
            "Connections to the shared store that have ended, or that were not made, by what the \
             fault is",
            &self.faults,
        );
        to.register(
            "shared_store_command_duration_seconds",
            "Time until the shared store answered a command, or until that took too long",
            &self.durations,
        );
        to.register(
            "shared_store_command_failures",
            "Commands that the shared store did not carry out, by what the fault is",
            &self.failures,
        );
        start_all(&self.faults);
        start_all(&self.failures);
        start_all(&self.durations);
    }

    fn register_replicas(&self, to: &mut Registry) {
        to.register(
            "shared_store_lease_valid",
            "1 while this replica may answer from its memory, otherwise 0",
            &self.lease_valid,
        );
        to.register(
            "shared_store_members",
            "How many replicas share the store, as this one has last heard; one that was killed \
             counts for ten seconds, or until a write has waited for it",
            &self.members,
        );
        to.register(
            "shared_store_log_lag_seconds",
            "How old the latest entry of the log was when this replica read it: a write, of \
             whichever replica, that begins or ends",
            &self.log_lag,
        );
        to.register(
            "shared_store_ack_wait_seconds",
            "How long writes waited until no replica could show the old value any more",
            &self.ack_wait,
        );
        to.register(
            "shared_store_strict_cut",
            "Writes that were answered before that, because the time of the call was over",
            &self.strict_cut,
        );
        to.register(
            "shared_store_resyncs",
            "How often this replica has forgotten its memory and joined the others again",
            &self.resyncs,
        );
        start_all(&self.resyncs);
    }

    /// This replica may answer from its memory, or may not any more.
    pub fn lease_valid(&self, valid: bool) {
        self.lease_valid.set(valid.into());
    }

    /// There are so many replicas.
    pub fn members(&self, members: u64) {
        self.members.set(i64::try_from(members).unwrap_or(i64::MAX));
    }

    /// An entry of the log was this old when this replica read it.
    pub fn log_lag(&self, lag: Duration) {
        self.log_lag.set(lag.as_secs_f64());
    }

    /// A write has waited for the other replicas. `cut`: not until all knew of it.
    pub fn ack_wait(&self, waited: Duration, cut: bool) {
        self.ack_wait.observe(waited.as_secs_f64());
        self.strict_cut.inc_by(cut.into());
    }

    /// This replica joins the others again.
    pub fn resync(&self, why: Resync) {
        self.resyncs.get_or_create(&ResyncLabels { why }).inc();
    }

    /// There are connections, or not any more.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_is_there_from_the_start_and_counts() {
        let mut registry = Registry::new("0.0.0");
        let metrics = SharedMetrics::register(&mut registry);
        let has = |line: &str| {
            let line = format!("profile_gateway_shared_store_{line}");
            assert!(registry.encode().lines().any(|found| found == line), "{line}");
        };
        has("resyncs_total{why=\"gap\"} 0");
        has("connection_faults_total{fault=\"evicts\"} 0");
        metrics.lease_valid(true);
        metrics.members(3);
        metrics.log_lag(Duration::from_millis(500));
        metrics.ack_wait(Duration::from_secs(1), false);
        metrics.ack_wait(Duration::from_secs(2), true);
        metrics.resync(Resync::Gap);
        has("lease_valid 1");
        has("members 3");
        has("log_lag_seconds 0.5");
        has("ack_wait_seconds_sum 3.0");
        has("strict_cut_total 1");
        has("resyncs_total{why=\"gap\"} 1");
    }
}
