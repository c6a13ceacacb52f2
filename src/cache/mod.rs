//! Keeps what was read from one backend for a while.
//!
//! A [`Cache`] belongs to one account of one backend as this process is configured. Backend,
//! credentials and mapping are the same for all entries, so the resource alone is the key, and no
//! key can reach another account's values.
//!
//! `control` is what callers may ask, `generations` how writes outdate values, `entry` how values
//! expire, `followers` what writes of other replicas mean, `flights` and `readers` how loads are
//! shared, `store` what is kept, and `read` how a read uses them all.
//!
//! It knows no dialect and no gRPC. Callers must be authorized first: every reader gets an answer
//! here.

mod acknowledged;
mod background;
mod control;
mod entry;
mod flights;
mod followers;
mod generations;
mod load;
mod metrics;
mod read;
mod readers;
mod served;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

pub use acknowledged::{Acknowledged, Contradicts};
pub use background::BackgroundTasks;
pub use control::Control;
pub use flights::MAX_LOAD;
pub use followers::{AccountName, Followers, made};
pub use generations::Target;
pub use load::Load;
pub use metrics::{BackendCacheMetrics, CacheMetrics};
pub use readers::{Readers, Wait};
pub use served::{Outcome, Served};
pub use settings::CacheSettings;
pub use value::{Id, List, Resource, Unreadable, Value};

use self::{entry::Freshness, metrics::Measured as _, store::Store};
use crate::{
    caller::CallerId,
    error::{Effect, Result},
    resources::Share,
};

/// The cache of one account. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Store>);

impl Cache {
    /// An empty cache. `lists_are_complete`: a list shows everything about a profile. `loads` is
    /// the memory for what is read, until it is kept or answered.
    #[must_use]
    pub fn new(
        settings: CacheSettings,
        lists_are_complete: bool,
        metrics: BackendCacheMetrics,
        background: BackgroundTasks,
        loads: Share,
    ) -> Self {
        Self::of(Store::new(settings, lists_are_complete, metrics, background, loads))
    }

    /// An empty cache of the same account with other settings. Writes that were begun with this
    /// one outdate what that one reads.
    #[must_use]
    pub fn successor(&self, settings: CacheSettings) -> Self {
        Self::of(self.0.successor(settings))
    }

    fn of(store: Store) -> Self {
        let store = Arc::new(store);
        let measured: Weak<Store> = Arc::downgrade(&store);
        store.metrics.measure(measured);
        Self(store)
    }

    /// Reads from the cache if possible, or else with `load`, which gets its own deadline, and whom
    /// to tell if it has to wait. `by`: who reads, and until when it waits. Fails with the error of
    /// `load`; the only error that is remembered is `PROFILE_NOT_FOUND`.
    pub async fn read<F>(
        &self,
        resource: &Resource,
        control: Control,
        by: (CallerId, Instant),
        load: impl Load<F>,
    ) -> (Result<Value>, Served)
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        read::read(&self.0, resource, control, by, load).await
    }

    /// The memory for what is read.
    #[must_use]
    pub fn loads(&self) -> &Share {
        &self.0.loads
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

    /// Marks the start of a write, before it is sent. The returned guard must be ended when the
    /// write is over, before its caller gets the outcome.
    pub fn write(&self, target: Target) -> Write {
        self.0.generations.begin(&target);
        Write { cache: self.clone(), target, unknown: true, forgotten: false }
    }

    /// Notes that a profile is there, which reads may not show yet, whatever becomes of the write
    /// that has made it.
    pub fn appeared(&self, id: &str, settle_time: Duration) {
        if !self.0.acknowledged.remember_present(id.into(), settle_time) {
            // It could not be noted, so nothing that creations change is kept for a while.
            self.write(Target::New).end(true);
        }
    }

    /// The profiles that this process knows to be there, and that lists may not show yet.
    #[must_use]
    pub fn present(&self) -> HashSet<Id> {
        self.0.acknowledged.present()
    }

    /// Whether a write deleted this profile, and lists may still show it.
    #[must_use]
    pub fn is_deleted(&self, id: &str) -> bool {
        self.0.acknowledged.is_deleted(id)
    }

    /// Drops one profile and the list that contains it. Returns how many valid entries were
    /// dropped.
    pub fn purge_profile(&self, id: &str) -> u64 {
        let mut dropped = 0;
        let resources = [Resource::Profile(id.into()), Resource::Profiles, Resource::Brief];
        // Count all before outdating any: outdating a profile outdates the list too.
        for resource in &resources {
            let entry = self.0.remove(resource);
            dropped += u64::from(entry.is_some_and(|entry| self.0.counts(resource, &entry)));
        }
        for resource in &resources {
            self.0.generations.outdate(resource);
        }
        dropped
    }

    /// How many requests it takes, at most, to read again what the purge of a profile drops. The
    /// list counts whether it is kept or not: one that is being read is not kept then.
    #[must_use]
    pub fn profile_requests(&self) -> u64 {
        1 + self.0.list_requests() as u64
    }

    /// The same for all that is kept.
    #[must_use]
    pub fn all_requests(&self) -> u64 {
        self.0.size().0 + self.0.list_requests() as u64
    }

    /// Drops everything. Returns how many valid entries were dropped.
    pub fn purge(&self) -> u64 {
        u64::try_from(self.0.clear()).unwrap_or(u64::MAX)
    }

    /// The number of entries in the store and their size in bytes.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        self.0.size()
    }
}

/// A write in progress. Everything it may change is outdated while it runs and when it ends.
#[must_use]
pub struct Write {
    cache: Cache,
    target: Target,
    unknown: bool,
    /// What it made could not be noted, so nothing that it touched is kept for a while.
    forgotten: bool,
}

impl Write {
    /// Notes what the write made of a profile: until the upstream's reads have to show it, nothing
    /// that contradicts it is kept.
    pub fn acknowledged(&mut self, id: &str, write: Acknowledged, settle_time: Duration) {
        let writes = &self.cache.0.acknowledged;
        if self.target == Target::Every {
            writes.forget_contents();
        }
        // In this order: what is heard meanwhile of another replica may be earlier.
        let expected = writes.expects_to_hear(&id.into());
        self.forgotten |= !writes.remember(id.into(), write, settle_time) || !expected;
    }

    /// Notes that a profile that the write had made is gone again. The log does not tell of it.
    pub fn undone(&mut self, id: &str, settle_time: Duration) {
        let writes = &self.cache.0.acknowledged;
        self.forgotten |= !writes.remember(id.into(), Acknowledged::Deleted, settle_time);
    }

    /// Ends the write. `unknown`: it may still take effect.
    pub fn end(mut self, unknown: bool) {
        self.unknown = unknown || self.forgotten;
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        let Store { generations, clock, .. } = &*self.cache.0;
        // A write dropped without `end`, as by a panic, has an unknown outcome.
        let until = self.unknown.then(|| clock.now() + entry::millis(Effect::SETTLES_WITHIN));
        generations.end(&self.target, until);
    }
}
