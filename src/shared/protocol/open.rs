//! The writes of all replicas that are under way.
//!
//! While one is, and as long after its declared end as it may still take effect, nothing is kept of
//! what it may change. It is remembered over all that the server may forget.

use std::collections::BTreeMap;

use super::{LeftOpen, Target, Time, WriteId};

/// The writes under way, as far as the log has told.
#[derive(Debug, Default)]
pub(super) struct OpenWrites {
    writes: BTreeMap<WriteId, OpenWrite>,
}

#[derive(Debug)]
struct OpenWrite {
    target: Target,
    /// After this, it has no effect any more, even if its end was never told.
    until: Time,
}

impl OpenWrites {
    /// Adds one, unless it is there already.
    pub(super) fn open(&mut self, write: WriteId, target: &Target, until: Time) -> bool {
        if let Some(known) = self.writes.get_mut(&write) {
            known.until = known.until.max(until);
            return false;
        }
        self.writes.insert(write, OpenWrite { target: target.clone(), until });
        true
    }

    /// Removes one, if it was there.
    pub(super) fn close(&mut self, write: WriteId) -> bool {
        self.writes.remove(&write).is_some()
    }

    /// Removes those that are over without having been closed.
    pub(super) fn take_over(&mut self, now: Time) -> Vec<(WriteId, Target)> {
        let over = self.writes.extract_if(.., |_, write| write.until <= now);
        over.map(|(id, write)| (id, write.target)).collect()
    }

    /// Removes those that the server does not know any more.
    pub(super) fn take_others(&mut self, known: &[LeftOpen]) -> Vec<(WriteId, Target)> {
        let is_known = |id: &WriteId| known.iter().any(|left| left.write == *id);
        let others = self.writes.extract_if(.., |id, _| !is_known(id));
        others.map(|(id, write)| (id, write.target)).collect()
    }
}
