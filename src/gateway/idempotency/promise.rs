//! What a `request_id` promises with each store: the one source of what GetBackend says of it and
//! of the table in `docs/operations.md`.

use std::{fmt::Write as _, time::Duration};

use super::limits::{Limits, shown};
use crate::store::Outlives;

/// What may come between a write and its repeat.
struct Event {
    /// The repeat comes so.
    comes: &'static str,
    /// What the memory of the write has to outlive for that; `None` where no store is enough.
    takes: Option<Outlives>,
}

const EVENTS: [Event; 6] = [
    Event { comes: "to the same process", takes: Some(Outlives::Nothing) },
    Event { comes: "after a restart", takes: Some(Outlives::Restarts) },
    Event { comes: "after a crash of the process", takes: Some(Outlives::Restarts) },
    Event { comes: "after a loss of power", takes: Some(Outlives::Restarts) },
    Event { comes: "after a loss of the machine or its disk", takes: None },
    Event { comes: "to another replica", takes: None },
];

impl Event {
    fn is_outlived_by(&self, outlives: Outlives) -> bool {
        self.takes.is_some_and(|takes| takes == Outlives::Nothing || takes == outlives)
    }
}

/// What callers are told.
pub(super) fn guarantee(limits: &Limits, outlives: Outlives) -> String {
    let place = match outlives {
        Outlives::Nothing => "in the memory of one process",
        Outlives::Restarts => "on the disk of one machine before anything is sent",
    };
    let of = |recognized: bool| {
        let events = EVENTS.iter().filter(|event| event.is_outlived_by(outlives) == recognized);
        events.map(|event| event.comes).collect::<Vec<_>>().join(", ")
    };
    format!(
        "for {}, the same id with the same request of the same caller gives the first call's \
         result without a second upstream write; an unknown outcome is resolved before anything \
         is written again; ids are kept {place}: a repeat is recognized that comes {}, and not \
         one that comes {}",
        shown(limits.kept_for),
        of(true),
        of(false)
    )
}

/// What callers are told where replicas share a store.
pub(super) fn over_replicas(kept_for: Duration) -> String {
    format!(
        "for {}, on every replica, the same id with the same request of the same caller gives the \
         first call's result without a second upstream write; an unknown outcome is resolved \
         before anything is written again; ids are kept in the store that replicas share before \
         anything is sent: a repeat is recognized that comes to the same process, to another \
         replica, after a restart, after a crash of a replica, and not one that comes after the \
         store has lost the id, and the replica that wrote it has ended or wrote it more than 10 \
         minutes before",
        shown(kept_for)
    )
}

/// The table of all of it, as Markdown.
#[doc(hidden)]
#[must_use]
pub fn promises() -> String {
    let mut table = "| a repeat that comes | with a `path` (`kind = \"file\"`) | with `kind = \
                     \"memory\"` | with `kind = \"shared\"` |\n|---|---|---|---|\n"
        .to_owned();
    for event in &EVENTS {
        let cell = |outlives| match event.is_outlived_by(outlives) {
            true => "is recognized",
            false => "is sent again",
        };
        let (file, memory) = (cell(Outlives::Restarts), cell(Outlives::Nothing));
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {} | {file} | {memory} | is recognized |", event.comes);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_are_told_is_what_the_table_says() {
        let table = promises();
        let stores = [(1, Outlives::Restarts), (2, Outlives::Nothing)];
        for (column, outlives) in stores {
            let limits =
                Limits::new(&crate::gateway::idempotency::RequestIdSettings::default(), 50);
            let told = guarantee(&limits, outlives);
            let (recognized, not) = told.split_once(", and not one that comes ").unwrap();
            for row in table.lines().skip(2) {
                let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
                let is_recognized = cells[column] == "is recognized";
                assert_eq!(recognized.contains(cells[0]), is_recognized, "{told}: {row}");
                assert_eq!(not.contains(cells[0]), !is_recognized, "{told}: {row}");
            }
        }
    }
}
