//! What is not promised: that a write happens once, and alone, if the store loses the record of it
//! and the replica that wrote it cannot put it back in time; and anything of what happens while the
//! store has two primaries.

use super::Call;

/// How long a store that has lost everything waits for replicas to restore what they have written,
/// and how long a replica may take to notice that it can, in milliseconds.
const GRACE: u64 = 4_000;
/// How long a write may be under way in the store after its call.
const LEASE: u64 = 16_000;

/// How long a replica goes on after the primary that it had, in milliseconds: that long is a lease.
const LEFT: u64 = 2_100;

/// Something that was done to the replicas or to their store, in milliseconds of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replicas) enum Trouble {
    /// A replica was killed.
    Killed { replica: usize, ms: u64 },
    /// A replica was stopped or cut off.
    Away { replica: usize, from: u64, to: u64 },
    /// The store has lost what it had at some time in between.
    Lost { from: u64, to: u64 },
    /// The store had two primaries, each with replicas of its own.
    Split { from: u64, to: u64 },
    /// An account was asked for more than it gives, and nothing else was done.
    Strained { from: u64, to: u64 },
    /// The gateway had a wrong password for a while, and nothing else was done.
    Rotated { from: u64, to: u64 },
    /// The store has answered nothing.
    Silent { from: u64, to: u64 },
}

/// All troubles.
#[derive(Clone, Debug, Default)]
pub(in crate::replicas) struct Troubles(pub Vec<Trouble>);

impl Troubles {
    /// Whether a write of this profile, under way in this time, may have been lost with its writer.
    pub(super) fn excuse(&self, calls: &[Call], profile: u64, (from, to): (u64, u64)) -> bool {
        let lost: Vec<(u64, u64)> = self
            .0
            .iter()
            .filter_map(|trouble| match trouble {
                Trouble::Lost { from, to } => Some((*from, *to)),
                _ => None,
            })
            .collect();
        if lost.is_empty() {
            return false;
        }
        let of_it = calls.iter().filter(|call| {
            call.profile == profile && call.start.ms <= to && call.end.ms + LEASE >= from
        });
        of_it.into_iter().any(|call| {
            // What was lost, it had before.
            let mut lost = lost.iter().filter(|(_, to)| *to + GRACE >= call.start.ms);
            lost.any(|(_, to)| self.is_out(call, *to + GRACE))
        })
    }

    /// Whether there were two primaries in this time, or leases of both.
    pub(super) fn has_two_primaries(&self, (from, to): (u64, u64)) -> bool {
        self.0.iter().any(|trouble| match *trouble {
            Trouble::Split { from: began, to: ended } => to >= began && from <= ended + LEFT,
            _ => false,
        })
    }

    /// Whether the replica that a call was made to cannot have restored it by then.
    fn is_out(&self, call: &Call, until: u64) -> bool {
        self.0.iter().any(|trouble| match *trouble {
            Trouble::Killed { replica, ms } => {
                replica == call.replica && (call.start.ms..=until).contains(&ms)
            }
            Trouble::Away { replica, from, to } => {
                replica == call.replica && from <= until && to >= call.start.ms
            }
            _ => false,
        })
    }
}
