//! What one replica keeps of each profile.

use super::PROFILES;
use crate::shared::protocol::{Memory, Target, Time, WriteId};

#[derive(Debug, Default, Clone)]
struct Slot {
    generation: u64,
    open: u32,
    kept: Option<(u64, u64)>,
}

/// A load of a profile that is under way.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) profile: usize,
    /// The generation when it began, if no write was under way.
    generation: Option<u64>,
    /// What the upstream has answered.
    pub(crate) found: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Kept {
    slots: [Slot; PROFILES],
    unsettled_until: Time,
    pub(crate) loads: Vec<Load>,
    /// Takes the rule out that all is outdated when a replica has joined.
    pub(crate) ignores_all: bool,
}

pub(crate) fn target(profile: usize) -> Target {
    format!("p{profile}").into()
}

impl Kept {
    pub(crate) fn find(&self, profile: usize) -> Option<u64> {
        let slot = &self.slots[profile];
        slot.kept.filter(|(_, generation)| *generation == slot.generation).map(|(value, _)| value)
    }

    pub(crate) fn begin(&mut self, profile: usize) {
        let slot = &self.slots[profile];
        let generation = (slot.open == 0).then_some(slot.generation);
        self.loads.push(Load { profile, generation, found: None });
    }

    pub(crate) fn end(&mut self, load: usize, now: Time) {
        let load = self.loads.swap_remove(load);
        let slot = &mut self.slots[load.profile];
        if load.generation == Some(slot.generation) && now >= self.unsettled_until {
            slot.kept = load.found.map(|value| (value, slot.generation));
        }
    }

    /// A write of this replica has ended, but may still take effect.
    pub(crate) fn hold_until(&mut self, until: Time) {
        self.unsettled_until = self.unsettled_until.max(until);
    }

    fn slot(&mut self, target: &Target) -> &mut Slot {
        let profile = usize::from(&**target == "p1");
        &mut self.slots[profile]
    }
}

impl Memory for Kept {
    fn opened(&mut self, _: WriteId, target: &Target) {
        let slot = self.slot(target);
        (slot.generation, slot.open) = (slot.generation + 1, slot.open + 1);
    }

    fn closed(&mut self, _: WriteId, target: &Target, _is_unsettled: bool) {
        let slot = self.slot(target);
        (slot.generation, slot.open) = (slot.generation + 1, slot.open - 1);
    }

    fn outdate(&mut self, target: Option<&Target>) {
        match target {
            Some(target) => self.slot(target).generation += 1,
            None if self.ignores_all => {}
            None => self.slots.iter_mut().for_each(|slot| slot.generation += 1),
        }
    }
}
