//! Puts a changed configuration in force while the process runs.
//!
//! The whole of it is read and checked first, and everything that could fail is set up. Only then
//! is it put in force; a configuration that cannot be used changes nothing. One reload runs at a
//! time, apart from the threads that serve calls.
//!
//! - `plan`: what a new configuration changes, set up
//! - `report`: what is logged, counted and shown of reloads

mod plan;
mod report;

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{sync::Notify, task::spawn_blocking, time::sleep};

use self::{
    plan::Plan,
    report::{Report, Trigger},
};
pub(super) use self::{plan::Serving, report::ReloadMetrics};
use crate::{
    config::{Config, Inputs},
    gateway::Gateway,
    levers::Levers,
    shared::Conditions,
    telemetry::AuditLog,
};

/// The least time between two reloads, however often they are asked for.
const LEAST: Duration = Duration::from_millis(250);

/// Asks for a reload; a handle. What is asked for while one is running is one more.
#[derive(Debug, Clone, Default)]
pub struct ReloadRequests(Arc<Notify>);

impl ReloadRequests {
    /// Asks for a reload.
    pub fn ask(&self) {
        self.0.notify_one();
    }
}

/// Reloads the configuration.
pub(super) struct Reloads {
    serving: Serving,
    report: Report,
    configs: Mutex<Configs>,
}

/// The configurations of a process.
#[derive(Clone)]
struct Configs {
    /// What the process was started with: what cannot change is still as it was there.
    at_start: Config,
    /// What was read last, and could be used.
    read: Config,
    /// What is in force: with what was fitted to the machine.
    in_force: Config,
}

impl Reloads {
    /// `read` is the configuration as it was read, and `in_force` as it was fitted.
    pub(super) fn new(
        serving: Serving,
        (read, in_force): (Config, Config),
        metrics: ReloadMetrics,
        audit: AuditLog,
    ) -> Self {
        let at_start = read.clone();
        let configs = Mutex::new(Configs { at_start, read, in_force });
        Self { serving, report: Report::new(metrics, audit), configs }
    }

    /// The use cases.
    pub(super) fn gateway(&self) -> Arc<Gateway> {
        Arc::clone(&self.serving.gateway)
    }

    /// How this replica does among those that share a store, if it does.
    pub(super) fn conditions(&self) -> Option<Conditions> {
        self.serving.maker.replicas.as_ref().map(|replicas| replicas.conditions.clone())
    }

    /// What operators set for a time.
    pub(super) fn levers(&self) -> Levers {
        self.serving.maker.levers.clone()
    }

    /// The configuration in force, without secrets.
    pub(super) fn shown(&self) -> Value {
        self.configs.lock().in_force.redacted()
    }

    /// How the latest reload has ended.
    pub(super) fn latest(&self) -> Value {
        self.report.shown()
    }

    /// Looks for changes from time to time, and when it is asked to. Without `inputs` there is
    /// nothing to read again but the keys of issuers.
    pub(super) async fn run(self: Arc<Self>, inputs: Option<Inputs>, requests: ReloadRequests) {
        loop {
            let trigger = self.trigger(&requests).await;
            if self.serving.is_draining() {
                if trigger == Trigger::Signal {
                    tracing::info!(
                        target: "config",
                        "the process is ending: the configuration is not read again"
                    );
                }
                continue;
            }
            let (this, inputs) = (Arc::clone(&self), inputs.clone());
            // It waits for the disk. What panics has changed nothing, or the rest is tried again.
            let _ = spawn_blocking(move || this.reload(inputs.as_ref(), trigger)).await;
            sleep(LEAST).await;
        }
    }

    async fn trigger(&self, requests: &ReloadRequests) -> Trigger {
        let interval = self.configs.lock().read.reload.interval;
        let due = match interval {
            Some(interval) => sleep(interval).left_future(),
            None => pending().right_future(),
        };
        tokio::select! {
            () = requests.0.notified() => Trigger::Signal,
            () = due => Trigger::File,
        }
    }

    fn reload(&self, inputs: Option<&Inputs>, trigger: Trigger) {
        let in_force = self.configs.lock().in_force.clone();
        let read = inputs.map(|inputs| inputs.read_again(&in_force)).transpose();
        let read = match read {
            Ok(read) => read,
            Err(error) => return self.report.refused(trigger, &error.to_string()),
        };
        if let Some(new) = read {
            self.take(new, trigger);
        }
        self.serving.read_keys_again();
    }

    /// Puts a configuration in force, if it can be used.
    fn take(&self, mut new: Config, trigger: Trigger) {
        // Not for as long as it takes: what is in force may be asked for meanwhile.
        let mut configs = self.configs.lock().clone();
        self.serving.keep_sandbox(&configs.read, &mut new);
        let mut for_restart = plan::for_restart(&configs.at_start.changes(&new));
        for_restart.extend(self.serving.keep_tls(&configs.read, &mut new));
        for_restart.extend(plan::keep_shared(&configs.read, &mut new));
        let changes = configs.read.changes(&new);
        let mut in_force = configs.in_force.clone();
        plan::adopt(&mut in_force, &new);
        let plan = Plan::make(&self.serving, &changes, &configs.in_force, &mut in_force);
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => return self.report.refused(trigger, &error.to_string()),
        };
        plan.put_in_force(&self.serving, &configs.in_force, &in_force);
        Report::warned(&configs.read.warnings, &new.warnings);
        (configs.in_force, configs.read) = (in_force, new);
        *self.configs.lock() = configs;
        let changed: Vec<String> = changes.names().filter(|key| plan::is_live(key)).collect();
        self.report.taken(trigger, &changed, for_restart);
    }
}
