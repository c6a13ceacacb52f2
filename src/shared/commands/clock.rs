//! The clock of the scripts, in a file of its own so that tests can set the time.

/// The function that gives the time, in milliseconds.
pub(in crate::shared) const CLOCK: &str = include_str!("../scripts/clock.lua");
