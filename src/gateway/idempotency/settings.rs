//! What can be configured of request ids: the `[request_ids]` section.

use std::{ops::RangeInclusive, time::Duration};

use crate::settings::{
    bounds::{GIB, MIB, hours, minutes},
    bytes, count, duration, settings,
};

/// The longest that an ended write may be remembered: a repeat comes within minutes or after an
/// outage, and never after a week.
pub const LONGEST_KEPT: Duration = hours(168);
const KEPT: RangeInclusive<Duration> = minutes(1)..=LONGEST_KEPT;
const ENTRIES: RangeInclusive<usize> = 1..=10_000_000;
const SIZE: RangeInclusive<usize> = MIB..=64 * GIB;

settings! {
    /// How long repeats of writes are recognized, and how many.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RequestIdSettings {
        /// How long a write with a `request_id` is remembered after its end. None is forgotten
        /// before.
        kept_for: Duration = hours(24), duration(KEPT);
        /// Most writes that are under way, in doubt, or remembered by their `request_id`. Beyond,
        /// new ones are refused; one caller may have `share_percent` of `[callers]`.
        max_entries: usize = 100_000, count(ENTRIES);
        /// Most bytes that they take.
        max_bytes: usize = 64 * MIB, bytes(SIZE);
    }
}
