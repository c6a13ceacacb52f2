//! While the store does not answer, memory answers until the leases end, and not after that.

use std::collections::BTreeMap;

use super::{History, Lie, Read, Suspicion, Trouble, effects::Life};

/// The longest lease after the store has gone silent, in milliseconds.
const LEASE: u64 = 2_000;
/// How much later a server that was stopped may have stopped.
const STOPPED_WITHIN: u64 = 100;

/// Reads that were answered from memory while the store was silent, and since when it was.
pub(super) fn while_away(history: &History) -> impl Iterator<Item = (&Read, u64)> {
    history.troubles.0.iter().flat_map(|trouble| {
        let Trouble::Silent { from, to } = *trouble else { return Vec::new() };
        let within = |read: &&Read| read.start.ms >= from && read.end.ms <= to;
        let remembered = history.reads.iter().filter(|read| read.is_remembered);
        remembered.filter(within).map(|read| (read, from)).collect()
    })
}

pub(super) fn judge(history: &History, lives: &BTreeMap<String, Life>) -> Vec<Suspicion> {
    let late =
        while_away(history).filter(|(read, from)| read.start.ms > from + LEASE + STOPPED_WITHIN);
    let judged = late.map(|(read, from)| {
        let about = format!("the store was silent since {from}: {read:?}");
        let profile = lives.get(&read.id).map_or(0, |life| life.profile);
        let (from, to) = (read.start.ms, read.end.ms);
        Suspicion { lie: Lie::ReadWithoutLease, about, profile, from, to }
    });
    judged.collect()
}
