//! What can be configured of callers: the `[callers]` section.

use std::ops::RangeInclusive;

use crate::settings::{Kind as _, count, settings};

const PERCENT: RangeInclusive<u32> = 1..=100;
/// A line takes at least ten microseconds of the rate.
const LINES: RangeInclusive<u32> = 1..=100_000;
const IPV4: RangeInclusive<u32> = 0..=32;
const IPV6: RangeInclusive<u32> = 0..=128;

settings! {
    /// Who is one caller, and how much one may hold.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CallerSettings {
        /// Peers whose IPv4 addresses agree in so many bits are one caller.
        ipv4_prefix_bits: u32 = 32, count(IPV4);
        /// The same for IPv6, where a host may have all addresses of its network.
        ipv6_prefix_bits: u32 = 64, count(IPV6);
        /// How much of what all callers may hold one of them may, in percent, but at least one
        /// place. Behind a proxy that all calls come through, `100`.
        share_percent: u32 = 50, count(PERCENT);
        /// Lines of the log about the calls of one caller, per second, and of the audit log about
        /// those of its writes that sent nothing; more are left out and counted.
        log_lines_per_second: Option<u32> = Some(1000), count(LINES).or_off();
    }
}
