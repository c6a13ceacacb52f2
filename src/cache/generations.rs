//! Tracks which writes have happened since a value was read.
//!
//! A write raises the generation of everything it may change, once before it is sent and once when
//! it ends. A load notes the generations when it begins. Its value may be kept only if no write ran
//! in between, and is valid only as long as the generations stay the same. So a write removes
//! nothing from the store: outdated values simply no longer match.
//!
//! Generations live in a fixed number of slots, chosen by a hash of the key. Two keys that share a
//! slot outdate each other, which costs a read but is never wrong. The time is passed in.

use std::{
    hash::BuildHasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use foldhash::quality::RandomState;

use super::value::{Id, Resource};
use crate::shared::membership::Lease;

/// Slots of one backend: 64 KiB. With 100 000 profiles, a write outdates 24 others.
const SLOTS: usize = 4096;

/// The bits of a state that count the writes in progress; the rest is the generation.
const UNDER_WAY: u64 = 0xffff;
const GENERATION: u64 = UNDER_WAY + 1;

/// A generation and the number of writes in progress, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State(u64);

impl State {
    /// Matches any state. No real state has this value, because there are never that many writes.
    const ANY: Self = Self(u64::MAX);

    fn is_quiet(self) -> bool {
        self.0 & UNDER_WAY == 0
    }
}

#[derive(Default)]
struct Slot {
    state: AtomicU64,
    /// Nothing is kept before this time, in the cache's clock: a write has ended, but may still
    /// take effect.
    unsettled_until: AtomicU64,
}

impl Slot {
    fn state(&self) -> State {
        State(self.state.load(SeqCst))
    }

    fn begin(&self) {
        self.state.fetch_add(GENERATION + 1, SeqCst);
    }

    fn end(&self) {
        self.state.fetch_add(GENERATION - 1, SeqCst);
    }

    fn raise(&self) {
        self.state.fetch_add(GENERATION, SeqCst);
    }

    fn hold_until(&self, time: u64) {
        self.unsettled_until.fetch_max(time, SeqCst);
    }

    /// Whether a value that was loaded in this state may be kept now.
    fn keeps(&self, snapshot: State, now: u64) -> bool {
        snapshot.is_quiet() && self.state() == snapshot && self.unsettled_until.load(SeqCst) <= now
    }
}

/// The generations at the start of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    key: State,
    /// Creations for a profile, all changes for a list.
    common: State,
}

/// How long a kept value is valid: until one of these states changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    key: State,
    /// [`State::ANY`] where it does not matter.
    common: State,
}

/// The kind of value that was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The resource itself. Only a concurrent creation can still change a profile that was found,
    /// if it was half created.
    Whole,
    /// The profile does not exist. Any creation may change that.
    Absence,
}

/// What a write may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One profile, by its upstream id.
    Profile(Id),
    /// A profile that is being created; its id is not known until the end, if at all.
    New,
    /// Any profile, because the upstream applies the write to others too.
    Every,
}

/// The generations of one backend.
pub(super) struct Generations {
    slots: Box<[Slot]>,
    /// Raised by every write: lists depend on it.
    changes: Slot,
    /// Raised by creations: absences depend on it.
    creations: Slot,
    /// A slot for resources that no write changes.
    nothing: Slot,
    hasher: RandomState,
    /// Until when the writes of other replicas are known here, if there are any.
    lease: OnceLock<Arc<Lease>>,
}

impl Generations {
    pub(super) fn new() -> Self {
        Self::with_slots(SLOTS)
    }

    pub(super) fn with_slots(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| Slot::default()).collect(),
            changes: Slot::default(),
            creations: Slot::default(),
            nothing: Slot::default(),
            hasher: RandomState::default(),
            lease: OnceLock::new(),
        }
    }

    /// Has what is kept used only under this lease.
    pub(super) fn lease_from(&self, lease: &Arc<Lease>) {
        self.lease.get_or_init(|| Arc::clone(lease));
    }

    /// Whether every write that was acknowledged by now has raised the generations. To be asked
    /// before they are compared.
    pub(super) fn may_serve(&self) -> bool {
        self.lease.get().is_none_or(|lease| lease.may_serve())
    }

    /// The generations that a load starting now has to remember.
    pub(super) fn snapshot(&self, resource: &Resource) -> Snapshot {
        Snapshot { key: self.slot(resource).state(), common: self.common(resource).state() }
    }

    /// Whether a value loaded since `snapshot` may be kept, and for how long it is valid.
    pub(super) fn proof(
        &self,
        resource: &Resource,
        snapshot: Snapshot,
        shape: Shape,
        now: u64,
    ) -> Option<Proof> {
        let (slot, common) = (self.slot(resource), self.common(resource));
        if !slot.keeps(snapshot.key, now) {
            return None;
        }
        let depends = match (resource, shape) {
            (Resource::Profile(_), Shape::Whole) => {
                if common.state() != snapshot.common {
                    return None;
                }
                !snapshot.common.is_quiet()
            }
            _ if !common.keeps(snapshot.common, now) => return None,
            _ => true,
        };
        let common = if depends { snapshot.common } else { State::ANY };
        Some(Proof { key: snapshot.key, common })
    }

    /// The same for a profile from a list whose load began with `list`.
    pub(super) fn proof_from_list(
        &self,
        profile: &Resource,
        list: Snapshot,
        now: u64,
    ) -> Option<Proof> {
        // In this order: every write raises the changes before the profile. If no change shows
        // after the profile's state was read, none had begun when it was read.
        let slot = self.slot(profile);
        let key = slot.state();
        (slot.keeps(key, now) && self.changes.keeps(list.common, now))
            .then_some(Proof { key, common: State::ANY })
    }

    /// Whether a kept value is still valid.
    pub(super) fn holds(&self, resource: &Resource, proof: Proof) -> bool {
        self.slot(resource).state() == proof.key
            && (proof.common == State::ANY || self.common(resource).state() == proof.common)
    }

    /// Marks the start of a write, before it is sent.
    pub(super) fn begin(&self, target: &Target) {
        self.each(target, Slot::begin);
    }

    /// Marks the end of a write, whatever its outcome. Until `unsettled_until` it may still take
    /// effect.
    pub(super) fn end(&self, target: &Target, unsettled_until: Option<u64>) {
        self.each(target, |slot| {
            if let Some(until) = unsettled_until {
                slot.hold_until(until);
            }
            slot.end();
        });
    }

    /// Outdates the kept values of this resource and the loads in progress.
    pub(super) fn outdate(&self, resource: &Resource) {
        self.changes.raise();
        self.slot(resource).raise();
    }

    /// The same for all that a write may change.
    pub(super) fn outdate_target(&self, target: &Target) {
        self.each(target, Slot::raise);
    }

    /// The same for all resources.
    pub(super) fn outdate_all(&self) {
        self.outdate_target(&Target::Every);
    }

    /// The slots that a write touches; the changes first, see [`Self::proof_from_list`].
    fn each(&self, target: &Target, touch: impl Fn(&Slot)) {
        touch(&self.changes);
        match target {
            Target::Profile(id) => touch(self.slot(&Resource::Profile(id.clone()))),
            Target::New => touch(&self.creations),
            Target::Every => {
                touch(&self.creations);
                self.slots.iter().for_each(touch);
            }
        }
    }

    fn slot(&self, resource: &Resource) -> &Slot {
        let slots = self.slots.len() as u64;
        let index = self.hasher.hash_one(resource).checked_rem(slots).unwrap_or(0);
        usize::try_from(index).ok().and_then(|n| self.slots.get(n)).unwrap_or(&self.nothing)
    }

    fn common(&self, resource: &Resource) -> &Slot {
        match resource {
            Resource::Profile(_) => &self.creations,
            Resource::Profiles | Resource::Brief => &self.changes,
            Resource::Services => &self.nothing,
        }
    }
}
