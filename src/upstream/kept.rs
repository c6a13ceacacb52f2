//! What the store keeps of an upstream. Fields may be added, but never change their meaning.
//!
//! Times are milliseconds since 1970. What is to come is kept as what was left of it at a time, so
//! that a clock that was set back makes it no longer than it was.

use std::{io, time::Duration};

use prost::Message;
use serde_json::{Map, Value, json};

use crate::store::{Clock, Entry, Table, unreadable};

/// A pause of logins; its key is the backend.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct KeptPause {
    /// What tells other credentials from those that were rejected.
    #[prost(uint32, tag = "1")]
    pub(super) credentials: u32,
    #[prost(uint64, tag = "2")]
    pub(super) at: u64,
    /// What was left of it then, in milliseconds.
    #[prost(uint64, tag = "3")]
    pub(super) left: u64,
    /// All of it, in milliseconds.
    #[prost(uint64, tag = "4")]
    pub(super) pause: u64,
    /// Whether tokens were rejected, not the credentials.
    #[prost(bool, tag = "5")]
    pub(super) tokens: bool,
    /// An `ErrorReason`.
    #[prost(int32, tag = "6")]
    pub(super) reason: i32,
}

/// How much is used of what an upstream allows; its key is the backend.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeptUpstream {
    /// What tells another account from this one.
    #[prost(uint32, tag = "1")]
    pub(super) account: u32,
    #[prost(uint64, tag = "2")]
    pub(super) at: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) windows: Vec<KeptWindow>,
    /// What was left of the pause after a 429, in milliseconds.
    #[prost(uint64, tag = "4")]
    pub(super) pause: u64,
    /// 429s in a row.
    #[prost(uint32, tag = "5")]
    pub(super) strikes: u32,
    /// The lowered rate; absent if there was no limit.
    #[prost(double, optional, tag = "6")]
    pub(super) rate: Option<f64>,
    /// How many times the circuit had opened since it was last closed; 0 if it was closed.
    #[prost(uint32, tag = "7")]
    pub(super) openings: u32,
}

/// The requests within a window.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct KeptWindow {
    /// The value of its label.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Its length in milliseconds.
    #[prost(uint64, tag = "2")]
    pub(super) length: u64,
    /// When its latest sixtieth began.
    #[prost(uint64, tag = "3")]
    pub(super) since: u64,
    /// The requests of each sixtieth, the latest first.
    #[prost(uint32, repeated, tag = "4")]
    pub(super) counts: Vec<u32>,
    /// How many more may have been sent before this was kept again.
    #[prost(uint32, tag = "5")]
    pub(super) more: u32,
}

/// Reads an entry: its backend, and the rest.
pub(super) fn read<M: Message + Default>((key, value): &Entry) -> io::Result<(String, M)> {
    let unreadable = || unreadable(Table::Upstreams);
    let backend = String::from_utf8(key.to_vec()).map_err(|_| unreadable())?;
    Ok((backend, M::decode(value.as_ref()).map_err(|_| unreadable())?))
}

/// Whether this release can read all of these.
#[must_use]
pub fn can_read(pauses: &[Entry], upstreams: &[Entry]) -> bool {
    pauses.iter().all(|entry| read::<KeptPause>(entry).is_ok())
        && upstreams.iter().all(|entry| read::<KeptUpstream>(entry).is_ok())
}

/// What is kept of how much is used of an upstream, for people and their programs: its backend, and
/// the rest.
///
/// # Errors
///
/// When this release cannot read it.
pub fn describe(entry: &Entry) -> io::Result<(String, Value)> {
    let (backend, kept): (_, KeptUpstream) = read(entry)?;
    let used = kept.windows.iter().map(|window| {
        let used = window.counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        (window.name.clone(), (used + u64::from(window.more)).into())
    });
    let clock = Clock::default();
    let shown = json!({
        "used": used.collect::<Map<String, Value>>(),
        "pause_seconds": left(clock, kept.at, kept.pause).as_secs(),
        "circuit_openings": kept.openings,
    });
    Ok((backend, shown))
}

/// What is left of so many milliseconds that were left at a time.
pub(super) fn left(clock: Clock, at: u64, left: u64) -> Duration {
    Duration::from_millis(left).saturating_sub(clock.since(clock.from_kept(at)))
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
