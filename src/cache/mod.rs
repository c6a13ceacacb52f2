//! What reads of one backend have found, kept for a while.
//!
//! A [`Cache`] belongs to one account of one backend, as the configuration of this process has it:
//! backend, credentials and mapping are the same for all that is in it, so the key within it is the
//! resource alone, and no key can reach another account's values.
//!
//! `control` is what callers may ask, `generations` how a write outdates what was read before it,
//! `entry` how time does, `flights` how many readers of one thing share one load, `store` what is
//! kept, and `read` the way of a read through all of them.
//!
//! Knows no dialect and no gRPC. Authorization has to come before: every reader gets an answer
//! here.

mod background;
mod control;
mod entry;
mod flights;
mod generations;
mod metrics;
mod read;
mod served;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod value;

use std::{
    future::Future,
    sync::{Arc, Weak},
};

use tokio::time::Instant;

pub use background::BackgroundTasks;
pub use control::Control;
pub use flights::MAX_LOAD;
pub use generations::Target;
pub use metrics::{BackendCacheMetrics, CacheMetrics};
pub use served::{Outcome, Served};
pub use settings::CacheSettings;
pub use value::{Id, List, Resource, Value};

use self::{entry::Freshness, metrics::Measured as _, store::Store};
use crate::error::{Effect, Result};

/// The cache of one account. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Store>);

impl Cache {
    /// An empty cache. `lists_are_complete`: what a list shows of a profile is all of it.
    #[must_use]
    pub fn new(
        settings: CacheSettings,
        lists_are_complete: bool,
        metrics: BackendCacheMetrics,
        background: BackgroundTasks,
    ) -> Self {
        let store = Arc::new(Store::new(settings, lists_are_complete, metrics, background));
        let measured: Weak<Store> = Arc::downgrade(&store);
        store.metrics.measure(measured);
        Self(store)
    }

    /// Reads: from the cache if it may, else by `load`, which is given its own deadline. It fails
    /// with what `load` failed with; of these only `PROFILE_NOT_FOUND` is remembered.
    pub async fn read<F>(
        &self,
        resource: &Resource,
        control: Control,
        deadline: Instant,
        load: impl FnOnce(Instant) -> F,
    ) -> (Result<Value>, Served)
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        read::read(&self.0, resource, control, deadline, load).await
    }

    /// Whether a read would be answered without waiting for the upstream.
    pub fn has(&self, resource: &Resource, control: Control) -> bool {
        let store = &*self.0;
        if control.no_cache || !store.settings.enabled {
            return false;
        }
        let found = store.find(resource, control);
        matches!(found, Some((_, Freshness::Fresh | Freshness::Revalidate)))
    }

    /// Says that a write is about to be sent. It has to be ended when the write is over, and before
    /// its caller is told.
    pub fn write(&self, target: Target) -> Write {
        self.0.generations.begin(&target);
        Write { cache: self.clone(), target, unknown: true }
    }

    /// Drops one profile and the list that it is in. Gives how many entries counted until now.
    pub fn purge_profile(&self, id: &str) -> u64 {
        let mut dropped = 0;
        let resources = [Resource::Profile(id.into()), Resource::Profiles];
        // All are counted before any is outdated: what outdates a profile outdates the list.
        for resource in &resources {
            let entry = self.0.entries.remove(resource);
            dropped += u64::from(entry.is_some_and(|entry| self.0.counts(resource, &entry)));
        }
        for resource in &resources {
            self.0.generations.outdate(resource);
        }
        dropped
    }

    /// Drops everything. Gives how many entries counted until now.
    pub fn purge(&self) -> u64 {
        self.0.entries.run_pending_tasks();
        let counted =
            self.0.entries.iter().filter(|(key, entry)| self.0.counts(key, entry)).count();
        self.0.generations.outdate_all();
        self.0.entries.invalidate_all();
        self.0.entries.run_pending_tasks();
        u64::try_from(counted).unwrap_or(u64::MAX)
    }

    /// Entries in the store, and their bytes.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        self.0.size()
    }
}

/// A write under way. While it is, and by it, what it may change is outdated.
#[must_use]
pub struct Write {
    cache: Cache,
    target: Target,
    unknown: bool,
}

impl Write {
    /// The write is over. `unknown`: it may yet take effect.
    pub fn end(mut self, unknown: bool) {
        self.unknown = unknown;
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        let Store { generations, clock, .. } = &*self.cache.0;
        // Dropped without a word, as by a panic, nothing is known.
        let until = self.unknown.then(|| clock.now() + entry::millis(Effect::SETTLES_WITHIN));
        generations.end(&self.target, until);
    }
}
