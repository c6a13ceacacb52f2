//! What is logged, counted and shown of reloads. Keys are named, and values never.

use std::time::SystemTime;

use parking_lot::Mutex;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use serde_json::{Value, json};

use crate::{
    telemetry::{AuditLog, Registry, label_values, labels},
    text,
};

/// The longest list of keys, or of mistakes, in a line of a log.
const MAX_BYTES: usize = 4096;

label_values! {
    /// What a reload was begun by.
    pub(super) enum Trigger {
        /// A signal.
        Signal = "signal",
        /// A look at the files.
        File = "file",
    }
}

label_values! {
    /// How a reload has ended.
    enum Outcome {
        /// What has changed is in force.
        Applied = "applied",
        /// Nothing has changed that could be put in force.
        Unchanged = "unchanged",
        /// The configuration cannot be used.
        Refused = "refused",
    }
}

labels! {
    struct ReloadLabels { trigger: Trigger, outcome: Outcome }
}

/// The metrics of reloads.
#[derive(Debug, Clone, Default)]
pub(in crate::app) struct ReloadMetrics {
    reloads: Family<ReloadLabels, Counter>,
    is_successful: Gauge,
    succeeded_at: Gauge,
    for_restart: Gauge,
}

impl ReloadMetrics {
    pub(in crate::app) fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register(
            "config_reloads",
            "Reloads of the configuration, apart from looks that found nothing new",
            &metrics.reloads,
        );
        to.register(
            "config_last_reload_successful",
            "1 if the configuration that is there can be used, or else 0",
            &metrics.is_successful,
        );
        to.register(
            "config_last_reload_success_timestamp_seconds",
            "When a configuration was last put in force, in seconds since 1970",
            &metrics.succeeded_at,
        );
        to.register(
            "config_keys_for_restart",
            "Keys that have other values now, and need a restart",
            &metrics.for_restart,
        );
        metrics
    }

    fn succeeded(&self, at: SystemTime) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.succeeded_at.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}

/// Tells of reloads.
pub(super) struct Report {
    metrics: ReloadMetrics,
    audit: AuditLog,
    state: Mutex<State>,
}

struct State {
    in_force_since: SystemTime,
    latest: Option<Latest>,
    for_restart: Vec<String>,
}

struct Latest {
    at: SystemTime,
    trigger: Trigger,
    outcome: Outcome,
    changed: Vec<String>,
    /// Why it was refused.
    error: Option<String>,
}

impl Report {
    pub(super) fn new(metrics: ReloadMetrics, audit: AuditLog) -> Self {
        let in_force_since = SystemTime::now();
        metrics.is_successful.set(1);
        metrics.succeeded(in_force_since);
        let state = State { in_force_since, latest: None, for_restart: Vec::new() };
        Self { metrics, audit, state: Mutex::new(state) }
    }

    /// A configuration cannot be used. One that is looked at again and again is told of once.
    pub(super) fn refused(&self, trigger: Trigger, error: &str) {
        let mut state = self.state.lock();
        let is_known =
            state.latest.as_ref().is_some_and(|last| last.error.as_deref() == Some(error));
        if is_known && trigger == Trigger::File {
            return;
        }
        tracing::warn!(
            target: "config",
            trigger = trigger.name(),
            error = text::cut(error, MAX_BYTES).as_ref(),
            "the configuration cannot be used: what is in force stays"
        );
        let latest = Latest {
            error: Some(error.to_owned()),
            ..Latest::new(trigger, Outcome::Refused, Vec::new())
        };
        self.ended(&mut state, latest);
    }

    /// A configuration can be used: what of it could be put in force is.
    pub(super) fn taken(&self, trigger: Trigger, changed: &[String], for_restart: Vec<String>) {
        let mut state = self.state.lock();
        let outcome = if changed.is_empty() { Outcome::Unchanged } else { Outcome::Applied };
        let names = keys(changed);
        match outcome {
            Outcome::Applied => tracing::info!(
                target: "config", trigger = trigger.name(), changed = names.as_str(),
                "the configuration was reloaded"
            ),
            _ if trigger == Trigger::Signal => tracing::info!(
                target: "config", trigger = trigger.name(),
                "the configuration was read again, and has no change that could be put in force"
            ),
            _ if self.metrics.is_successful.get() == 0 => tracing::info!(
                target: "config", trigger = trigger.name(),
                "the configuration can be used again, and is the one in force"
            ),
            _ => {}
        }
        let is_news = state.for_restart != for_restart;
        if !for_restart.is_empty() && (is_news || trigger == Trigger::Signal) {
            tracing::warn!(
                target: "config", keys = keys(&for_restart).as_str(),
                "these keys have other values now, which need a restart"
            );
        }
        self.metrics.for_restart.set(i64::try_from(for_restart.len()).unwrap_or(i64::MAX));
        state.for_restart = for_restart;
        let was_refused = self.metrics.is_successful.get() == 0;
        let is_told = outcome == Outcome::Applied || trigger == Trigger::Signal || was_refused;
        if is_told || is_news {
            self.ended(&mut state, Latest::new(trigger, outcome, changed.to_vec()));
        }
    }

    /// Tells of what is to be noticed in a configuration, and was not in the one before.
    pub(super) fn warned(before: &[String], warnings: &[String]) {
        for warning in warnings.iter().filter(|warning| !before.contains(warning)) {
            tracing::warn!(target: "config", "{warning}");
        }
    }

    fn ended(&self, state: &mut State, latest: Latest) {
        let Latest { at, trigger, outcome, .. } = latest;
        self.metrics.reloads.get_or_create(&ReloadLabels { trigger, outcome }).inc();
        self.metrics.is_successful.set((outcome != Outcome::Refused).into());
        if outcome == Outcome::Applied {
            state.in_force_since = at;
            self.metrics.succeeded(at);
        }
        let record = self.audit.record("reload");
        let error = latest.error.as_deref().map(|error| text::cut(error, MAX_BYTES));
        let for_restart = Some(keys(&state.for_restart)).filter(|keys| !keys.is_empty());
        let record = record
            .text("trigger", trigger.name())
            .text("outcome", outcome.name())
            .text("changed", &keys(&latest.changed))
            .maybe("for_restart", for_restart.as_deref())
            .maybe("error", error.as_deref());
        self.audit.audit(record);
        state.latest = Some(latest);
    }

    /// How the latest reload has ended, and what waits for a restart.
    pub(super) fn shown(&self) -> Value {
        let state = self.state.lock();
        let time = |at| humantime::format_rfc3339_millis(at).to_string();
        let latest = state.latest.as_ref().map(|latest| {
            json!({
                "at": time(latest.at),
                "trigger": latest.trigger.name(),
                "outcome": latest.outcome.name(),
                "changed": latest.changed,
                "errors": latest.error.iter().flat_map(|error| error.lines()).collect::<Vec<_>>(),
            })
        });
        json!({
            "in_force_since": time(state.in_force_since),
            "latest": latest,
            "needs_restart": state.for_restart,
        })
    }
}

impl Latest {
    fn new(trigger: Trigger, outcome: Outcome, changed: Vec<String>) -> Self {
        Self { at: SystemTime::now(), trigger, outcome, changed, error: None }
    }
}

fn keys(keys: &[String]) -> String {
    text::cut(&keys.join(", "), MAX_BYTES).into_owned()
}
