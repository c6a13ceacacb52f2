//! What can be configured of the connections of the gRPC port.

use std::{ops::RangeInclusive, time::Duration};

use crate::settings::{
    Kind as _,
    bounds::{CONCURRENCY, hours, minutes, seconds},
    count, duration, settings,
};

/// Slow networks need seconds for the first bytes, and no client needs minutes.
const FIRST_REQUEST: RangeInclusive<Duration> = Duration::from_millis(100)..=minutes(5);
const IDLE: RangeInclusive<Duration> = Duration::from_millis(100)..=hours(24);
const UNREAD: RangeInclusive<Duration> = Duration::from_millis(100)..=hours(1);

settings! {
    /// How long connections to the gRPC port may do nothing, and how many one peer may have.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ConnectionSettings {
        /// Connections of one peer, which is a network as `[callers]` has it, and no more than its
        /// share of `max_connections`. One more takes the place of one without calls, or is refused
        /// if calls run on each.
        max_connections_per_peer: usize = 1024, count(CONCURRENCY);
        /// Time from the beginning of a connection to the end of its first request's headers.
        first_request_timeout: Duration = seconds(10), duration(FIRST_REQUEST);
        /// Time without a call after which a connection is asked to end, up to a quarter later.
        max_connection_idle: Option<Duration> = Some(minutes(5)), duration(IDLE).or_off();
        /// Longest time for which a client may take nothing of what is sent to it. Then its
        /// connection is closed.
        write_timeout: Duration = seconds(30), duration(UNREAD);
    }
}
