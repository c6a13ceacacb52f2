//! Creations and claims as the store keeps them. Fields may be added, but never change their
//! meaning.

use std::io;

use prost::Message;

use super::creation::{Creation, Digested};
use crate::store::{Change, Clock, Entry, Table, unreadable};

/// A creation; its key is its number.
#[derive(Clone, PartialEq, Message)]
struct KeptCreation {
    /// Times are milliseconds since 1970.
    #[prost(uint64, tag = "1")]
    began: u64,
    #[prost(bytes = "vec", tag = "2")]
    asked: Vec<u8>,
    /// 0 if it was running.
    #[prost(uint64, tag = "3")]
    ended: u64,
    /// Always: earlier releases look for nothing else.
    #[prost(bool, tag = "4")]
    is_repeatable: bool,
    #[prost(bool, tag = "5")]
    has_claimed: bool,
}

/// A claim; its key is the digest of the profile's name.
#[derive(Clone, PartialEq, Message)]
struct KeptClaim {
    /// The number of the creation.
    #[prost(uint64, tag = "1")]
    by: u64,
    /// Its own number.
    #[prost(uint64, tag = "2")]
    at: u64,
}

/// Keeps a creation that is about to be sent, or was.
pub(super) fn creation(number: u64, creation: &Creation, clock: Clock) -> Change {
    let value = KeptCreation {
        began: clock.to_kept(creation.began),
        asked: creation.asked.map(Vec::from).unwrap_or_default(),
        ended: creation.ended.map_or(0, |ended| clock.to_kept(ended)),
        is_repeatable: true,
        has_claimed: creation.has_claimed,
    };
    Change::put(Table::Creations, number.to_be_bytes().to_vec(), value.encode_to_vec())
}

pub(super) fn no_creation(number: u64) -> Change {
    Change::remove(Table::Creations, number.to_be_bytes().to_vec())
}

pub(super) fn claim(profile: &Digested, (by, at): (u64, u64)) -> Change {
    let value = KeptClaim { by, at };
    Change::put(Table::Claims, profile.to_vec(), value.encode_to_vec())
}

pub(super) fn no_claim(profile: &Digested) -> Change {
    Change::remove(Table::Claims, profile.to_vec())
}

/// A creation that was kept. One that was running when its process died has ended since.
pub(super) fn read_creation((key, value): &Entry, clock: Clock) -> io::Result<(u64, Creation)> {
    let unreadable = || unreadable(Table::Creations);
    let number = key.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| unreadable())?;
    let kept = KeptCreation::decode(value.as_ref()).map_err(|_| unreadable())?;
    let ended = if kept.ended == 0 { clock.now() } else { clock.from_kept(kept.ended) };
    let creation = Creation {
        began: clock.from_kept(kept.began),
        asked: kept.asked.try_into().ok(),
        ended: Some(ended),
        has_claimed: kept.has_claimed,
    };
    Ok((number, creation))
}

pub(super) fn read_claim((key, value): &Entry) -> io::Result<(Digested, (u64, u64))> {
    let profile = key.as_ref().try_into().map_err(|_| unreadable(Table::Claims))?;
    let kept = KeptClaim::decode(value.as_ref()).map_err(|_| unreadable(Table::Claims))?;
    Ok((profile, (kept.by, kept.at)))
}
