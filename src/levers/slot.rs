//! The place of one lever, or of several that exclude each other.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::time::Instant;

use super::lever::InForce;

/// At most one lever. From the moment on at which it ends, it is not in force, whether or not it
/// has been taken out.
#[derive(Debug, Default)]
pub(super) struct Slot(RwLock<Option<Arc<InForce>>>);

impl Slot {
    /// The lever that is in force.
    pub(super) fn get(&self) -> Option<Arc<InForce>> {
        let slot = self.0.read();
        // Nothing is set nearly always: no clock is read then.
        let set = slot.as_ref()?;
        (!set.is_over(Instant::now())).then(|| Arc::clone(set))
    }

    /// Puts a lever there. Returns the one before it.
    pub(super) fn put(&self, lever: Arc<InForce>) -> Option<Arc<InForce>> {
        self.0.write().replace(lever)
    }

    /// Takes the lever out if it is as wanted.
    pub(super) fn take_if(&self, wanted: impl FnOnce(&InForce) -> bool) -> Option<Arc<InForce>> {
        self.0.write().take_if(|set| wanted(set))
    }

    /// When the lever that is there ends.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.0.read().as_ref().map(|set| set.ends)
    }
}
