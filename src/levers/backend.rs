//! The levers of one backend, and whom they concern.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;

use super::{
    lever::{InForce, Lever},
    slot::Slot,
};

/// Told that a circuit is forced, or no longer. False if there is no one left to be told.
type Listener = Box<dyn Fn() -> bool + Send + Sync>;

/// The levers of the process.
#[derive(Debug, Default)]
pub(super) struct ProcessLevers {
    pub(super) writes: Slot,
    pub(super) log_level: Slot,
}

impl ProcessLevers {
    pub(super) fn slot(&self, lever: Lever) -> &Slot {
        match lever {
            Lever::LogLevel => &self.log_level,
            Lever::WritesFrozen | Lever::ReadOnly | Lever::CircuitOpen | Lever::CircuitClosed => {
                &self.writes
            }
        }
    }

    pub(super) fn slots(&self) -> [&Slot; 2] {
        [&self.writes, &self.log_level]
    }
}

/// The levers of a backend of one name, whatever serves it.
pub struct BackendLevers {
    backend: Arc<str>,
    read_only: Slot,
    /// Forced open or closed: not both.
    circuit: Slot,
    process: Arc<ProcessLevers>,
    listeners: Mutex<Vec<Listener>>,
}

impl BackendLevers {
    pub(super) fn new(backend: Arc<str>, process: Arc<ProcessLevers>) -> Self {
        let (read_only, circuit) = (Slot::default(), Slot::default());
        Self { backend, read_only, circuit, process, listeners: Mutex::default() }
    }

    /// Those of a backend whose levers no one can set.
    #[must_use]
    pub fn none(backend: &str) -> Arc<Self> {
        Arc::new(Self::new(backend.into(), Arc::default()))
    }

    pub(super) fn backend(&self) -> &Arc<str> {
        &self.backend
    }

    /// What writes to this backend are refused for. Of two levers, the one that ends last.
    #[must_use]
    pub fn writes_disabled(&self) -> Option<Arc<InForce>> {
        let both = [self.read_only.get(), self.process.writes.get()];
        both.into_iter().flatten().max_by_key(|lever| lever.ends)
    }

    /// What the circuit of this backend is forced by.
    #[must_use]
    pub fn circuit(&self) -> Option<Arc<InForce>> {
        self.circuit.get()
    }

    /// All that are in force for this backend.
    #[must_use]
    pub fn in_force(&self) -> Vec<Arc<InForce>> {
        let all = [self.read_only.get(), self.circuit.get(), self.process.writes.get()];
        all.into_iter().flatten().collect()
    }

    /// Calls this whenever the circuit is forced, or no longer, until it returns false.
    pub fn on_circuit(&self, listener: impl Fn() -> bool + Send + Sync + 'static) {
        self.listeners.lock().push(Box::new(listener));
    }

    /// Tells those who want to know that a lever was set or has ended.
    pub(super) fn changed(&self, lever: Lever) {
        if matches!(lever, Lever::CircuitOpen | Lever::CircuitClosed) {
            self.listeners.lock().retain(|listener| listener());
        }
    }

    pub(super) fn slot(&self, lever: Lever) -> &Slot {
        match lever {
            Lever::ReadOnly => &self.read_only,
            Lever::CircuitOpen | Lever::CircuitClosed => &self.circuit,
            Lever::WritesFrozen | Lever::LogLevel => self.process.slot(lever),
        }
    }

    /// Its own.
    pub(super) fn slots(&self) -> [&Slot; 2] {
        [&self.read_only, &self.circuit]
    }
}

impl fmt::Debug for BackendLevers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendLevers").field("backend", &self.backend).finish_non_exhaustive()
    }
}
