//! What reads of one backend have found, kept for a while.
//!
//! A [`Cache`] belongs to one account of one backend, as it stands in the configuration of this process:
//! backend, credentials and mapping are the same for all that is in it, so the key within it is the
//! resource alone, and no key can reach another account's values.
//!
//! `control` is what callers may ask, `generations` how a write outdates what was read before it,
//! `entry` how time does, `flights` how many readers of one thing share one load, `read` the way of a
//! read through all of them. moka keeps the entries and bounds them; its own loading is not used,
//! because it stores a value that was read before an invalidation after it, and forgets a load whose
//! caller has left.
//!
//! Knows no dialect and no gRPC. Authorization has to come before: whoever reads here gets an answer.

mod control;
mod entry;
mod flights;
mod generations;
mod read;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use compact_str::CompactString;
use foldhash::quality::RandomState;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use control::Control;
use entry::{Clock, Entry, Freshness};
use flights::Flights;
pub use flights::MAX_LOAD;
use generations::Generations;
pub use generations::Target;

use crate::{
    error::Error,
    pb::{Encoded, Profile, Service},
};

/// How long after a write of unknown outcome nothing that it may change is kept. SFT, the slowest to
/// tell, gives up after 30 s and may finish later.
const UNSETTLED: Duration = Duration::from_secs(60);

/// What one entry costs beside its value: measured, see `benches/`.
const OVERHEAD: usize = 420;

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Without it every read asks the upstream.
    pub enabled: bool,
    /// How long a profile or a list counts after it was read. Each entry gets up to a tenth less, so
    /// that what was read together does not run out together.
    pub ttl: Duration,
    /// The same for a backend's services, which its operator hardly ever changes.
    pub services_ttl: Duration,
    /// How long it is known that a profile does not exist.
    pub negative_ttl: Duration,
    /// How long after its time a value is still served while it is read anew.
    pub stale_while_revalidate: Duration,
    /// How long after its time a value is served where the upstream fails.
    pub stale_if_error: Duration,
    /// Bytes of all entries, with what the store itself needs.
    pub max_bytes: usize,
    /// Whether what a list shows of a profile is all of it.
    pub lists_are_complete: bool,
}

/// What can be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    /// One profile, by its upstream id.
    Profile(Id),
    /// All profiles.
    Profiles,
    /// The services that a profile can hold.
    Services,
}

/// What has been read. Clones share.
#[derive(Debug, Clone)]
pub enum Value {
    /// The profile.
    Profile(Encoded<Profile>),
    /// There is no such profile, in the upstream's words.
    Absent(Arc<Error>),
    /// All profiles, with their ids, in their order.
    Profiles(Arc<List>),
    /// The services.
    Services(Arc<Vec<Service>>),
}

/// Profiles with their ids.
pub type List = Vec<(Id, Encoded<Profile>)>;

/// An upstream id; ids are short, so that it needs no memory of its own.
pub type Id = CompactString;

impl Value {
    /// Bytes that it takes.
    fn size(&self) -> usize {
        match self {
            Self::Profile(profile) => profile.bytes().len(),
            Self::Absent(error) => 512 + error.message().len(),
            // With the id, and what the allocation brings with it.
            Self::Profiles(list) => {
                list.iter().map(|(_, profile)| profile.bytes().len() + 64).sum()
            }
            Self::Services(services) => {
                services.iter().map(|service| 256 + prost::Message::encoded_len(service)).sum()
            }
        }
    }
}

/// How a read was answered; `x-profile-cache` in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// From the cache.
    Hit,
    /// By a load that somebody else had begun.
    Coalesced,
    /// By a load.
    Miss,
    /// By a load of its own, because the caller or the configuration wanted it so.
    Bypass,
    /// From the cache, by a value that has run out of time.
    Stale,
}

/// How a read was answered, and how old the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Where the answer came from.
    pub outcome: Outcome,
    /// Since the upstream was asked. An error has none, apart from that there is no such profile.
    pub age: Option<Duration>,
}

/// Told what happens; the metrics listen.
pub trait Observer: Send + Sync + 'static {
    /// A read was answered. `negative`: that there is nothing, from the cache.
    fn read(&self, outcome: Outcome, negative: bool);
    /// A load is over.
    fn load(&self, took: Duration, succeeded: bool);
    /// A value was not kept, because a write or a purge came between.
    fn rejected_fill(&self);
}

/// The cache of one account. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: moka::sync::Cache<Resource, Entry, RandomState>,
    generations: Generations,
    flights: Flights,
    clock: Clock,
    observer: Arc<dyn Observer>,
    background: BackgroundTasks,
    /// Numbers from 0 to 1, for the jitter.
    random: fn() -> f64,
}

impl Outcome {
    /// Its name in the metadata `x-profile-cache`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Coalesced => "coalesced",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Stale => "stale",
        }
    }
}

/// Where loads and polls run. They end when `closing` is cancelled: by then no caller waits for them.
#[derive(Debug, Clone, Default)]
pub struct BackgroundTasks {
    /// All that run.
    pub tasks: TaskTracker,
    /// Ends them.
    pub closing: CancellationToken,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(
        settings: Settings,
        observer: Arc<dyn Observer>,
        background: BackgroundTasks,
    ) -> Self {
        let longest = settings.ttl.max(settings.services_ttl).max(settings.negative_ttl)
            + settings.stale_while_revalidate.max(settings.stale_if_error);
        let store = moka::sync::Cache::builder()
            .max_capacity(u64::try_from(settings.max_bytes).unwrap_or(u64::MAX))
            .weigher(|_, entry: &Entry| weight(entry))
            // Only frees memory: whether an entry counts is told by its own times. What nobody has asked
            // for that long is over; a bound from its writing would cost 64 bytes more in each entry.
            .time_to_idle(longest)
            // Seeded by chance, so that nobody can choose ids that meet in it.
            .build_with_hasher(RandomState::default());
        Self(Arc::new(Inner {
            settings,
            store,
            generations: Generations::new(),
            flights: Flights::default(),
            clock: Clock::start(),
            observer,
            background,
            random: rand::random,
        }))
    }

    /// Says that a write is about to be sent. It has to be ended when the write is over, and before its
    /// caller is told.
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
            let entry = self.0.store.remove(resource);
            dropped += u64::from(entry.is_some_and(|entry| self.0.counts(resource, &entry)));
        }
        for resource in &resources {
            self.0.generations.outdate(resource);
        }
        dropped
    }

    /// Drops everything. Gives how many entries counted until now.
    pub fn purge(&self) -> u64 {
        self.0.store.run_pending_tasks();
        let counted = self.0.store.iter().filter(|(key, entry)| self.0.counts(key, entry)).count();
        self.0.generations.outdate_all();
        self.0.store.invalidate_all();
        self.0.store.run_pending_tasks();
        u64::try_from(counted).unwrap_or(u64::MAX)
    }

    /// Entries in the store, and their bytes.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        // The store counts when it is used; nobody may use it for long.
        self.0.store.run_pending_tasks();
        (self.0.store.entry_count(), self.0.store.weighted_size())
    }
}

impl Inner {
    fn counts(&self, resource: &Resource, entry: &Entry) -> bool {
        self.generations.holds(resource, entry.proof)
            && entry.freshness(self.clock.now(), &self.settings) != Freshness::Over
    }
}

fn weight(entry: &Entry) -> u32 {
    u32::try_from(OVERHEAD + entry.value.size()).unwrap_or(u32::MAX)
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
        let Inner { generations, clock, .. } = &*self.cache.0;
        // Dropped without a word, as by a panic, nothing is known.
        let until = self.unknown.then(|| clock.now() + entry::millis(UNSETTLED));
        generations.end(&self.target, until);
    }
}
