//! From raw to checked: the keys of a backend's circuit breaker.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::{CONCURRENCY, TIMEOUT};
use super::types::Circuit;
use crate::settings::{self, Node, Read, Section, quoted};

const PERCENT: RangeInclusive<usize> = 1..=100;
/// Shorter than a second it would hold no calls to speak of.
const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// The thresholds in force, or none where the breaker is off.
pub(super) fn read(s: &mut Section<'_>) -> Option<Circuit> {
    let default = Circuit::default();
    let on = s.read("circuit_breaker", on_or_off).unwrap_or(true);
    let origin = s.origin_of(&["circuit_max_open", "circuit_open"]);
    let before = s.mistakes();
    let circuit = Circuit {
        failures: s.count("circuit_failures", default.failures, CONCURRENCY),
        failure_percent: s.count("circuit_failure_percent", default.failure_percent, PERCENT),
        min_calls: s.count("circuit_min_calls", default.min_calls, CONCURRENCY),
        window: s.duration("circuit_window", default.window, WINDOW),
        open: s.duration("circuit_open", default.open, TIMEOUT),
        max_open: s.duration("circuit_max_open", default.max_open, TIMEOUT),
    };
    if s.mistakes() == before && circuit.max_open < circuit.open {
        let show = |duration| humantime::format_duration(duration);
        let message = format!(
            "{} ({}) must not be below {} ({})",
            s.name("circuit_max_open"),
            show(circuit.max_open),
            s.name("circuit_open"),
            show(circuit.open)
        );
        s.fault_at(&origin, message);
    }
    on.then_some(circuit)
}

fn on_or_off(node: &Node) -> Read<bool> {
    match settings::text(node, 64)? {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("must be `on` or `off`, got {}", quoted(other))),
    }
}
