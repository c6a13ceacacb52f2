//! What can be configured of callers: the `[callers]` section.

use std::ops::RangeInclusive;

use super::rate::Rate;
use crate::settings::{
    Kind,
    bounds::{CONCURRENCY, GIB, KIB},
    bytes, count, plain_text, quoted, settings,
};

const PERCENT: RangeInclusive<u32> = 1..=100;
/// A line takes at least ten microseconds of the rate.
const LINES: RangeInclusive<u32> = 1..=100_000;
/// Remembered writes of one caller.
const REQUEST_IDS: RangeInclusive<usize> = 1..=10_000_000;
/// Less would not hold one small call.
const BYTES: RangeInclusive<usize> = 64 * KIB..=64 * GIB;
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

settings! {
    /// What one caller that proves who it is may hold and do, in place of its share.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct QuotaSettings {
        /// Calls at once, streams among them, and writes under way.
        calls: Option<usize> = None, count(CONCURRENCY).optional();
        /// How often it may call, such as `200/s`, `50/m` or `10/h`; what comes in a second may
        /// come at once.
        rate: Option<Rate> = None, rate().optional();
        /// How many requests to upstreams its calls may cost, in the same way. They are charged
        /// once they are sent; more than there are left are owed, and until then its calls that
        /// need an upstream are refused.
        upstream_rate: Option<Rate> = None, rate().optional();
        /// Open streams of changes.
        streams: Option<usize> = None, count(CONCURRENCY).optional();
        /// Writes that are under way or remembered for their repeats.
        request_ids: Option<usize> = None, count(REQUEST_IDS).optional();
        /// Bytes of its requests in memory, as many of its responses, and as many of what is sorted
        /// for it.
        bytes: Option<usize> = None, bytes(BYTES).optional();
    }
}

fn rate() -> impl Kind<Value = Rate> {
    const FORM: &str = "1 to 100000 with `/s`, `/m` or `/h`";
    let read = |text: &String| match Rate::read(text) {
        Some(_) => Ok(()),
        None => Err(format!("must be a rate such as `200/s`: {FORM}, got {}", quoted(text))),
    };
    // What is not a rate was refused before.
    let to = |text: String| Rate::read(&text).unwrap_or_default();
    plain_text(16).checked(FORM, read).mapped(to, Rate::to_string)
}
