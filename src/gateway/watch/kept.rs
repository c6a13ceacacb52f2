//! The history of a watched backend as the store keeps it. Fields may be added, but never change
//! their meaning.
//!
//! An entry is a profile of the last list, a change, or the head, which says what of them counts.
//! A key is the backend's name, a zero, the kind, and what tells entries of a kind apart.

use std::{collections::BTreeMap, io, sync::Arc};

use bytes::Bytes;
use prost::Message;

use super::history::{ProfileEvent, Profiles};
use crate::{
    model::fields,
    pb::{ChangeKind, Encoded, Profile},
    store::{self, Change, Entry, Table},
};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Head = 1,
    Profile = 2,
    Change = 3,
}

/// What of the other entries counts. It changes together with them.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeptHead {
    /// What tells another account from this one.
    #[prost(uint32, tag = "1")]
    pub(super) account: u32,
    /// The number of the latest change.
    #[prost(uint64, tag = "2")]
    pub(super) last: u64,
    /// How many changes there are.
    #[prost(uint64, tag = "3")]
    pub(super) changes: u64,
    /// How many profiles there are.
    #[prost(uint64, tag = "4")]
    pub(super) profiles: u64,
    /// The processes that have numbered changes, the earliest first.
    #[prost(message, repeated, tag = "5")]
    pub(super) runs: Vec<KeptRun>,
}

/// A process that has numbered changes.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct KeptRun {
    /// A random number.
    #[prost(uint64, tag = "1")]
    pub(super) run: u64,
    /// The latest change that was kept while it ran.
    #[prost(uint64, tag = "2")]
    pub(super) end: u64,
}

/// A change; its key ends with its number.
#[derive(Clone, PartialEq, Message)]
struct KeptChange {
    #[prost(string, tag = "1")]
    position: String,
    #[prost(int32, tag = "2")]
    kind: i32,
    #[prost(bytes = "bytes", tag = "3")]
    profile: Bytes,
    #[prost(string, repeated, tag = "4")]
    fields: Vec<String>,
}

/// All entries of a backend, read.
#[derive(Default)]
pub(super) struct KeptHistory {
    pub(super) head: Option<KeptHead>,
    pub(super) profiles: Profiles,
    /// By their numbers.
    pub(super) changes: Vec<(u64, Arc<ProfileEvent>)>,
}

fn key(backend: &str, kind: Kind, rest: &[u8]) -> Vec<u8> {
    [backend.as_bytes(), &[0, kind as u8], rest].concat()
}

/// The parts of a key.
fn parts(key: &[u8]) -> Option<(&str, Kind, &[u8])> {
    let zero = key.iter().position(|byte| *byte == 0)?;
    let (backend, rest) = key.split_at_checked(zero)?;
    let (kind, rest) = rest.get(1..)?.split_first()?;
    let kinds = [Kind::Head, Kind::Profile, Kind::Change];
    let kind = kinds.into_iter().find(|known| *known as u8 == *kind)?;
    Some((std::str::from_utf8(backend).ok()?, kind, rest))
}

/// The backend of an entry, and what it is.
///
/// # Errors
///
/// When this release cannot read it.
pub(super) fn belongs((key, _): &Entry) -> io::Result<(&str, Kind)> {
    parts(key).map(|(backend, kind, _)| (backend, kind)).ok_or_else(unreadable)
}

pub(super) fn head(backend: &str, head: &KeptHead) -> Change {
    Change::put(Table::History, key(backend, Kind::Head, &[]), head.encode_to_vec())
}

pub(super) fn no_head(backend: &str) -> Change {
    Change::remove(Table::History, key(backend, Kind::Head, &[]))
}

/// A profile of the last list, or that it is no longer there.
pub(super) fn profile(backend: &str, position: &str, profile: Option<&Encoded<Profile>>) -> Change {
    let key = key(backend, Kind::Profile, position.as_bytes()).into();
    let value = profile.map(|profile| Bytes::copy_from_slice(profile.bytes()));
    Change { table: Table::History, key, value }
}

pub(super) fn change(backend: &str, number: u64, change: &ProfileEvent) -> Change {
    let value = KeptChange {
        position: change.position.clone(),
        kind: change.kind.into(),
        profile: Bytes::copy_from_slice(change.profile.bytes()),
        fields: change.fields.iter().map(|path| (*path).to_owned()).collect(),
    };
    let key = key(backend, Kind::Change, &number.to_be_bytes());
    Change::put(Table::History, key, value.encode_to_vec())
}

pub(super) fn no_change(backend: &str, number: u64) -> Change {
    Change::remove(Table::History, key(backend, Kind::Change, &number.to_be_bytes()))
}

/// Reads the entries of one backend.
///
/// # Errors
///
/// When this release cannot read them.
pub(super) fn read(entries: &[Entry]) -> io::Result<KeptHistory> {
    let mut kept = KeptHistory::default();
    for (key, value) in entries {
        let (_, kind, rest) = parts(key).ok_or_else(unreadable)?;
        match kind {
            Kind::Head => {
                kept.head = Some(KeptHead::decode(value.as_ref()).map_err(|_| unreadable())?);
            }
            Kind::Profile => {
                let position = std::str::from_utf8(rest).map_err(|_| unreadable())?;
                kept.profiles.insert(position.to_owned(), Encoded::from_bytes(value.as_ref()));
            }
            Kind::Change => {
                let number = rest.try_into().map(u64::from_be_bytes).map_err(|_| unreadable())?;
                kept.changes.push((number, Arc::new(read_change(value)?)));
            }
        }
    }
    kept.changes.sort_unstable_by_key(|(number, _)| *number);
    Ok(kept)
}

fn read_change(value: &Bytes) -> io::Result<ProfileEvent> {
    let kept = KeptChange::decode(value.as_ref()).map_err(|_| unreadable())?;
    Ok(ProfileEvent {
        kind: ChangeKind::try_from(kept.kind).map_err(|_| unreadable())?,
        position: kept.position,
        profile: Encoded::from_bytes(kept.profile.as_ref()),
        // One that this release does not have cannot be told.
        fields: kept.fields.iter().filter_map(|path| fields::known(path)).collect(),
    })
}

/// How many profiles and changes there are of each backend, for people and their programs.
///
/// # Errors
///
/// When this release cannot read them.
pub fn count(entries: &[Entry]) -> io::Result<BTreeMap<String, [u64; 2]>> {
    let mut counts: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for entry in entries {
        let (backend, kind) = belongs(entry)?;
        let [profiles, changes] = counts.entry(backend.to_owned()).or_default();
        match kind {
            Kind::Head => {}
            Kind::Profile => *profiles += 1,
            Kind::Change => *changes += 1,
        }
    }
    Ok(counts)
}

/// Whether this release can read all of these.
#[must_use]
pub fn can_read(entries: &[Entry]) -> bool {
    read(entries).is_ok()
}

fn unreadable() -> io::Error {
    store::unreadable(Table::History)
}
