//! The store: which entries are valid, which are kept and which are dropped.
//!
//! moka keeps the entries and bounds their size. Its own loading is not used: it would store a
//! value read before an invalidation, and drop a load whose caller has left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::quality::RandomState;
use moka::ops::compute::{CompResult, Op};
use tokio::{task::coop::consume_budget, time::Instant};

use super::{
    acknowledged::AcknowledgedWrites,
    background::BackgroundTasks,
    control::Control,
    entry::{Clock, Entry, Freshness, millis},
    flights::Flights,
    generations::{Generations, Proof, Snapshot},
    metrics::{BackendCacheMetrics, Measured},
    served::{Outcome, Served},
    settings::CacheSettings,
    value::{List, Resource, Value},
};
use crate::{caller::Held, error::Result, resources::Share};

/// The part of the cache's bytes that absences have for themselves: who asks for ids that do not
/// exist pushes out no profile.
const ABSENCES: usize = 20;

/// Overhead of one entry beside its value, measured in `benches/`.
const OVERHEAD: usize = 420;

/// The largest profile that is kept, in bytes. Others have a few hundred.
const MAX_PROFILE: usize = 1024 * 1024;

/// The entries of one account, and everything that decides about them.
pub(super) struct Store {
    pub(super) settings: CacheSettings,
    /// Whether a list shows everything about a profile.
    pub(super) lists_are_complete: bool,
    pub(super) entries: Entries,
    /// Those that say that a profile does not exist. A profile is in one of the two at a time:
    /// whatever changes one of them does so within a change of `entries`, which runs one at a time
    /// for each key.
    pub(super) absences: Entries,
    pub(super) generations: Arc<Generations>,
    pub(super) acknowledged: Arc<AcknowledgedWrites>,
    pub(super) flights: Flights,
    pub(super) clock: Clock,
    pub(super) metrics: BackendCacheMetrics,
    pub(super) background: BackgroundTasks,
    /// The memory for what loads read.
    pub(super) loads: Share,
    /// The size of the latest list.
    pub(super) list_bytes: AtomicUsize,
    /// How many profiles it had.
    list_length: AtomicUsize,
    /// Random numbers from 0 to 1, for the jitter.
    pub(super) random: fn() -> f64,
}

type Entries = moka::sync::Cache<Resource, Entry, RandomState>;

impl Store {
    pub(super) fn new(
        settings: CacheSettings,
        lists_are_complete: bool,
        metrics: BackendCacheMetrics,
        background: BackgroundTasks,
        loads: Share,
    ) -> Self {
        let longest = settings.ttl.max(settings.services_ttl).max(settings.negative_ttl)
            + settings.stale_while_revalidate.max(settings.stale_if_error);
        let for_absences = settings.max_bytes / ABSENCES;
        Self {
            lists_are_complete,
            entries: region(settings.max_bytes - for_absences, longest),
            absences: region(for_absences, settings.negative_ttl),
            settings,
            generations: Arc::new(Generations::new()),
            acknowledged: Arc::default(),
            flights: Flights::default(),
            clock: Clock::start(),
            metrics,
            background,
            loads,
            list_bytes: AtomicUsize::new(0),
            list_length: AtomicUsize::new(0),
            random: rand::random,
        }
    }

    /// An empty store with other settings, for which the same writes count: one that was begun
    /// before outdates what is read for this one too.
    pub(super) fn successor(&self, settings: CacheSettings) -> Self {
        let (metrics, background) = (self.metrics.clone(), self.background.clone());
        let lists = self.lists_are_complete;
        Self {
            generations: Arc::clone(&self.generations),
            acknowledged: Arc::clone(&self.acknowledged),
            clock: self.clock,
            ..Self::new(settings, lists, metrics, background, self.loads.clone())
        }
    }

    /// A valid entry that the caller accepts.
    pub(super) fn find(&self, resource: &Resource, control: Control) -> Option<(Entry, Freshness)> {
        if !self.generations.may_serve() {
            return None;
        }
        let entry = self.entries.get(resource).or_else(|| self.absences.get(resource))?;
        let now = self.clock.now();
        if !self.generations.holds(resource, entry.proof) {
            return None;
        }
        let freshness = entry.freshness(now, &self.settings);
        match control.max_age {
            Some(max) if freshness != Freshness::Fresh || entry.age(now) > max => None,
            _ => Some((entry, freshness)),
        }
    }

    pub(super) fn serve(&self, entry: &Entry, outcome: Outcome) -> (Result<Value>, Served) {
        let age = Some(entry.age(self.clock.now()));
        (Ok(entry.value.clone()), Served { outcome, age })
    }

    /// Keeps the profiles of a list.
    pub(super) async fn keep_each(&self, list: &List, snapshot: Snapshot, began: Instant) {
        for (id, profile) in list.iter() {
            let resource = Resource::Profile(id.clone());
            let now = self.clock.now();
            if let Some(proof) = self.generations.proof_from_list(&resource, snapshot, now) {
                self.keep(resource, Value::Profile(profile.clone()), proof, began);
            }
            // A long list must not block this thread.
            consume_budget().await;
        }
    }

    /// Drops a value older than the upstream's refusal to return it.
    pub(super) fn forget(&self, resource: &Resource, began: Instant) {
        let began = self.clock.at(began);
        self.entries.entry_by_ref(resource).and_compute_with(|there| {
            let is_older = |there: &Entry| there.asked_at <= began;
            if self.absences.get(resource).as_ref().is_some_and(is_older) {
                self.absences.invalidate(resource);
            }
            match there.as_ref().map(moka::Entry::value) {
                Some(there) if is_older(there) => Op::Remove,
                _ => Op::Nop,
            }
        });
    }

    /// Memory for a list that will be read, by what the last one took: profiles take more before
    /// they are encoded.
    pub(super) fn reserve(&self, resource: &Resource) -> Result<Option<Held>> {
        const LEAST: usize = 256 * 1024;
        if !resource.is_list() {
            return Ok(None);
        }
        let last = self.list_bytes.load(Ordering::Relaxed);
        // Never much of it: a list that was read once has to be read again, beside those of others.
        let bytes = LEAST.saturating_add(last.saturating_mul(3)).min(self.loads.limit() / 4);
        self.loads.take(bytes).map(Some)
    }

    /// The list with what was reserved for it, as much as it takes.
    pub(super) fn settled(&self, mut value: Value, reserved: Option<Held>) -> Result<Value> {
        if let (Some(list), Some(reserved)) = (value.list_mut(), reserved) {
            let bytes = list.size();
            self.list_bytes.store(bytes, Ordering::Relaxed);
            self.list_length.store(list.len(), Ordering::Relaxed);
            reserved.resize(bytes)?;
            list.hold(reserved);
        }
        Ok(value)
    }

    pub(super) fn keep(&self, resource: Resource, value: Value, proof: Proof, began: Instant) {
        if matches!(&value, Value::Profile(profile) if profile.bytes().len() > MAX_PROFILE) {
            self.metrics.too_large();
            return;
        }
        let ttl = match &value {
            Value::Absent(_) => self.settings.negative_ttl,
            Value::Services(_) => self.settings.services_ttl,
            Value::Profile(_) | Value::Profiles(_) | Value::Fields(..) | Value::Partial(..) => {
                self.settings.ttl
            }
        };
        let jittered = ttl - ttl.mul_f64(0.1 * (self.random)().clamp(0.0, 1.0));
        let fresh_until = self.clock.now() + millis(jittered);
        let asked_at = self.clock.at(began);
        let entry = Entry { value, proof, asked_at, fresh_until };
        let newer = |other: &Entry| {
            other.asked_at > asked_at && self.generations.holds(&resource, other.proof)
        };
        self.entries.entry_by_ref(&resource).and_compute_with(|there| {
            // Of two loads, keep the one that began later.
            if there.as_ref().is_some_and(|there| newer(there.value()))
                || self.absences.get(&resource).as_ref().is_some_and(newer)
            {
                return Op::Nop;
            }
            if matches!(entry.value, Value::Absent(_)) {
                self.absences.insert(resource.clone(), entry);
                return if there.is_some() { Op::Remove } else { Op::Nop };
            }
            self.absences.invalidate(&resource);
            if let Value::Profiles(list) | Value::Fields(list, _) = &entry.value {
                list.is_cached();
            }
            Op::Put(entry)
        });
    }

    /// Drops what is kept of a resource, and returns it.
    pub(super) fn remove(&self, resource: &Resource) -> Option<Entry> {
        let mut absence = None;
        let removed = self.entries.entry_by_ref(resource).and_compute_with(|there| {
            absence = self.absences.remove(resource);
            if there.is_some() { Op::Remove } else { Op::Nop }
        });
        match removed {
            CompResult::Removed(entry) => Some(entry.into_value()),
            _ => absence,
        }
    }

    /// Drops everything, and returns how many entries still counted.
    pub(super) fn clear(&self) -> usize {
        let regions = [&self.entries, &self.absences];
        let counting = |entries: &Entries| {
            entries.run_pending_tasks();
            entries.iter().filter(|(key, entry)| self.counts(key, entry)).count()
        };
        let counted = regions.map(counting).iter().sum();
        self.generations.outdate_all();
        for entries in regions {
            entries.invalidate_all();
            entries.run_pending_tasks();
        }
        counted
    }

    /// How many requests a list takes, at most, by the latest one.
    pub(super) fn list_requests(&self) -> usize {
        // What a list does not show is read profile by profile.
        if self.lists_are_complete { 1 } else { 1 + self.list_length.load(Ordering::Relaxed) }
    }

    /// Whether an entry is still valid.
    pub(super) fn counts(&self, resource: &Resource, entry: &Entry) -> bool {
        self.generations.holds(resource, entry.proof)
            && entry.freshness(self.clock.now(), &self.settings) != Freshness::Over
    }
}

impl Measured for Store {
    /// Entries, and their bytes.
    fn size(&self) -> (u64, u64) {
        let regions = [&self.entries, &self.absences].map(|entries| {
            // moka counts when it is used, and it may not be used for long.
            entries.run_pending_tasks();
            (entries.entry_count(), entries.weighted_size())
        });
        let [(entries, bytes), (absences, their_bytes)] = regions;
        (entries + absences, bytes + their_bytes)
    }
}

fn region(bytes: usize, longest: Duration) -> Entries {
    moka::sync::Cache::builder()
        .max_capacity(u64::try_from(bytes).unwrap_or(u64::MAX))
        .weigher(|_, entry: &Entry| weight(entry))
        // This only frees memory; an entry's own times decide whether it is valid. An entry that
        // has been idle for this long has expired. A time to live would cost 64 more bytes in each
        // entry.
        .time_to_idle(longest)
        // Randomly seeded, so that no caller can choose ids that collide.
        .build_with_hasher(RandomState::default())
}

fn weight(entry: &Entry) -> u32 {
    u32::try_from(OVERHEAD + entry.value.size()).unwrap_or(u32::MAX)
}
