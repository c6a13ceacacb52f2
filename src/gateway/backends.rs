//! The backends that are configured now. A reload replaces all of them at once; a call that has one
//! keeps it to its end.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::{ArcSwap, Guard};

use super::backend::Backend;

/// Backends by their names.
pub type ByName = BTreeMap<String, Arc<Backend>>;

/// Those that are configured now.
pub(crate) struct Backends(ArcSwap<ByName>);

impl Backends {
    pub(crate) fn new(backends: impl IntoIterator<Item = Backend>) -> Self {
        let named = |backend: Backend| (backend.name().id().to_owned(), Arc::new(backend));
        Self(ArcSwap::from_pointee(backends.into_iter().map(named).collect()))
    }

    /// All of them, for a moment: what is looked up has to be cloned. Takes no lock.
    pub(crate) fn now(&self) -> Guard<Arc<ByName>> {
        self.0.load()
    }

    /// The same for longer.
    pub(crate) fn snapshot(&self) -> Arc<ByName> {
        self.0.load_full()
    }

    /// The backend of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Backend>> {
        self.now().get(name).cloned()
    }

    /// Puts others in their place.
    pub(crate) fn replace(&self, backends: ByName) {
        self.0.store(Arc::new(backends));
    }
}
