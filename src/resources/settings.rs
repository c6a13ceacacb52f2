//! What can be configured of the budget: the `[memory]` section.

use std::ops::RangeInclusive;

use serde_json::Value as Json;

use super::{machine, part::Part};
use crate::settings::{
    Env, Kind, Node, Read, Section, Value,
    bounds::{GIB, MIB},
    bytes, count, settings,
};

/// Less would not hold one answer of an upstream; more than a tebibyte is a mistake in the unit.
const SIZE: RangeInclusive<usize> = 64 * MIB..=1024 * GIB;
/// A part of nothing would refuse everything.
const PERCENT: RangeInclusive<usize> = 1..=90;

/// The part of the memory that the budget has if it is not set, in percent. The rest is for code,
/// connections, and what the allocator holds back.
const OF_MEMORY: usize = 60;

settings! {
    /// How many bytes the process may hold, and for what. `auto` is 60 % of the memory of the
    /// container or the machine.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MemorySettings {
        /// Bytes for all parts together. `auto` is 60 % of what the control group or the machine
        /// has.
        budget_bytes: Option<usize> = None, Auto;
        /// Percent of it for requests, from their first byte to the end of their calls.
        requests_percent: usize = 10, count(PERCENT);
        /// Percent of it for responses, until the connection has taken them.
        answers_percent: usize = 15, count(PERCENT);
        /// Percent of it for answers of upstreams while they are read.
        decoding_percent: usize = 20, count(PERCENT);
        /// Percent of it for what reads of upstreams have found, until it is cached or answered.
        loads_percent: usize = 15, count(PERCENT);
        /// Percent of it for the caches of all backends. If their `max_bytes` are more together,
        /// each gets less, and a line in the log says so.
        cache_percent: usize = 20, count(PERCENT);
        /// Percent of it for writes that are kept under their request ids.
        request_ids_percent: usize = 5, count(PERCENT);
        /// Percent of it for changes and last lists of watched backends.
        watch_history_percent: usize = 5, count(PERCENT);
    }
    check parts_fit_together;
}

impl MemorySettings {
    /// The bytes in force.
    pub(super) fn bytes(&self) -> usize {
        self.budget_bytes.unwrap_or_else(|| {
            let memory = usize::try_from(machine::memory()).unwrap_or(usize::MAX);
            (memory / 100 * OF_MEMORY).clamp(*SIZE.start(), *SIZE.end())
        })
    }

    pub(super) fn percent(&self, part: Part) -> usize {
        match part {
            Part::Requests => self.requests_percent,
            Part::Answers => self.answers_percent,
            Part::Decoding => self.decoding_percent,
            Part::Loads => self.loads_percent,
            Part::Cache => self.cache_percent,
            Part::RequestIds => self.request_ids_percent,
            Part::WatchHistory => self.watch_history_percent,
        }
    }
}

fn parts_fit_together(settings: &MemorySettings, section: &mut Section<'_>) {
    let sum: usize = Part::ALL.into_iter().map(|part| settings.percent(part)).sum();
    if sum > 100 {
        let message = format!("the parts of the memory have {sum} percent together, at most 100");
        let keys = [
            "requests_percent",
            "answers_percent",
            "decoding_percent",
            "loads_percent",
            "cache_percent",
            "request_ids_percent",
            "watch_history_percent",
        ];
        section.conflict(keys, message);
    }
}

/// A number of bytes, or the word `auto`.
struct Auto;

impl Kind for Auto {
    type Value = Option<usize>;

    fn read(&self, node: &Node, env: &Env) -> Read<Self::Value> {
        match &node.value {
            Value::Text(text) if text == "auto" => Ok(None),
            _ => {
                let read = bytes(SIZE).read(node, env).map(Some);
                read.map_err(|why| format!("{why} (`auto` is a part of what there is)"))
            }
        }
    }

    fn show(&self, value: &Self::Value) -> Json {
        value.map_or_else(|| "auto".into(), |value| bytes(SIZE).show(&value))
    }

    fn form(&self) -> &'static str {
        "size"
    }

    fn bounds(&self) -> String {
        format!("{}, or `auto`", bytes(SIZE).bounds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_parts_leave_something_over() {
        let settings = MemorySettings::default();
        let sum: usize = Part::ALL.into_iter().map(|part| settings.percent(part)).sum();
        assert!(sum <= 100, "{sum}");
        assert!(SIZE.contains(&settings.bytes()));
    }
}
