//! All levers of the process. They are set and ended here, and end by themselves.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    backend::{BackendLevers, ProcessLevers},
    lever::{Asked, InForce, Lever, Operator},
    metrics::LeverMetrics,
    report::{Happened, Report},
    slot::Slot,
};
use crate::telemetry::{AuditLog, logs};

/// All levers; a handle.
#[derive(Clone)]
pub struct Levers(Arc<Shared>);

struct Shared {
    /// Those of each backend that was ever configured in this process.
    backends: RwLock<BTreeMap<Arc<str>, Arc<BackendLevers>>>,
    process: Arc<ProcessLevers>,
    report: Report,
    metrics: LeverMetrics,
    /// One change at a time, so that what is reported of them has their order.
    turn: Mutex<()>,
    /// The next end may be another one.
    changed: Notify,
}

/// The outcome of setting a lever.
#[derive(Debug)]
pub struct Set {
    /// What is in force now.
    pub set: Arc<InForce>,
    /// What was in force before, and is no more.
    pub replaced: Option<Arc<InForce>>,
}

impl Levers {
    /// None is set. `audit` gets a line of each that is set or ends.
    #[must_use]
    pub fn new(audit: AuditLog, metrics: LeverMetrics) -> Self {
        Self(Arc::new(Shared {
            backends: RwLock::default(),
            process: Arc::default(),
            report: Report::new(audit),
            metrics,
            turn: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Those of the backend of this name: the same ones whenever it is asked.
    #[must_use]
    pub fn of_backend(&self, name: &str) -> Arc<BackendLevers> {
        if let Some(levers) = self.0.backends.read().get(name) {
            return Arc::clone(levers);
        }
        let mut backends = self.0.backends.write();
        let name: Arc<str> = name.into();
        let new = || Arc::new(BackendLevers::new(Arc::clone(&name), Arc::clone(&self.0.process)));
        Arc::clone(backends.entry(Arc::clone(&name)).or_insert_with(new))
    }

    /// Sets a lever, of this backend or of the process. It replaces one that is in force, and
    /// forcing a circuit open one that forces it closed.
    ///
    /// # Errors
    ///
    /// When the filter of the log cannot be used: why.
    pub fn set(
        &self,
        lever: Lever,
        backend: Option<&BackendLevers>,
        operator: &Operator,
        asked: Asked,
    ) -> Result<Set, String> {
        let _turn = self.0.turn.lock();
        self.expire();
        if let (Lever::LogLevel, Some(filter)) = (lever, &asked.filter) {
            logs::check_replacement(filter)?;
        }
        let named = backend.map(|backend| Arc::clone(backend.backend()));
        let set = Arc::new(InForce::new(lever, named, operator, asked));
        let slot = self.slot(lever, backend);
        let replaced = slot.get();
        // The log may be about to say less.
        self.0.report.lever(Happened::Set(operator), &set, replaced.as_deref());
        if let (Lever::LogLevel, Some(filter)) = (lever, &set.filter) {
            logs::replace(filter)?;
        }
        slot.put(Arc::clone(&set));
        self.has_changed(lever, backend);
        Ok(Set { set, replaced })
    }

    /// Ends a lever before its time. Returns it, if it was in force.
    pub fn end(
        &self,
        lever: Lever,
        backend: Option<&BackendLevers>,
        operator: &Operator,
    ) -> Option<Arc<InForce>> {
        let _turn = self.0.turn.lock();
        self.expire();
        let ended = self.slot(lever, backend).take_if(|set| set.lever == lever)?;
        self.has_ended(Happened::Ended(operator), &ended, backend);
        Some(ended)
    }

    /// Reports that an operator has ended the pause of a backend.
    pub fn ended_pause(&self, backend: &str, operator: &Operator) {
        self.0.report.ended_pause(backend, operator);
    }

    /// All that are in force: those of the process, then those of backends by name.
    #[must_use]
    pub fn in_force(&self) -> Vec<Arc<InForce>> {
        let backends = self.backends();
        let own = backends.iter().flat_map(|backend| backend.slots());
        self.0.process.slots().into_iter().chain(own).filter_map(Slot::get).collect()
    }

    /// Brings the metric up to date.
    pub fn measure(&self) {
        let measure = |lever, backend: Option<&BackendLevers>| {
            let set = self.slot(lever, backend).get();
            let active = set.is_some_and(|set| set.lever == lever);
            self.0.metrics.measured(lever, backend.map(BackendLevers::backend), active);
        };
        Lever::OF_THE_PROCESS.into_iter().for_each(|lever| measure(lever, None));
        for backend in self.backends() {
            Lever::OF_BACKENDS.into_iter().for_each(|lever| measure(lever, Some(&backend)));
        }
    }

    /// Reports each lever that ends by itself, when it does, until the process ends.
    pub async fn run(self) {
        loop {
            let changed = self.0.changed.notified();
            match self.next_end() {
                Some(next) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(next) => {}
                },
                None => changed.await,
            }
            let _turn = self.0.turn.lock();
            self.expire();
        }
    }

    fn next_end(&self) -> Option<Instant> {
        let backends = self.backends();
        let own = backends.iter().flat_map(|backend| backend.slots());
        self.0.process.slots().into_iter().chain(own).filter_map(Slot::ends).min()
    }

    /// Takes out what has ended by itself. Needs the turn.
    fn expire(&self) {
        let now = Instant::now();
        let over = |set: &InForce| set.is_over(now);
        for slot in self.0.process.slots() {
            if let Some(ended) = slot.take_if(over) {
                self.has_ended(Happened::Expired, &ended, None);
            }
        }
        for backend in self.backends() {
            for slot in backend.slots() {
                if let Some(ended) = slot.take_if(over) {
                    self.has_ended(Happened::Expired, &ended, Some(&backend));
                }
            }
        }
    }

    fn has_ended(&self, how: Happened<'_>, ended: &InForce, backend: Option<&BackendLevers>) {
        if ended.lever == Lever::LogLevel {
            logs::restore();
        }
        // The log may have said less until now.
        self.0.report.lever(how, ended, None);
        self.has_changed(ended.lever, backend);
    }

    fn has_changed(&self, lever: Lever, backend: Option<&BackendLevers>) {
        if let Some(backend) = backend {
            backend.changed(lever);
        }
        self.0.changed.notify_one();
    }

    fn slot<'l>(&'l self, lever: Lever, backend: Option<&'l BackendLevers>) -> &'l Slot {
        match backend {
            Some(backend) => backend.slot(lever),
            None => self.0.process.slot(lever),
        }
    }

    fn backends(&self) -> Vec<Arc<BackendLevers>> {
        self.0.backends.read().values().cloned().collect()
    }
}

impl std::fmt::Debug for Levers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.in_force()).finish()
    }
}
