//! An entry as the store keeps it. Fields may be added, but never change their meaning: a release
//! reads what an earlier one has kept.

use std::io;

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::key::RequestKey;
use crate::store::{self, Change, Entry, Table};

/// A write that was sent, or is about to be. One that has sent nothing is not kept, nor one that
/// failed and wrote nothing: a repeat may write. Of those without a `request_id`, only those are
/// kept that are under way or whose outcome is unknown.
#[derive(Clone, PartialEq, Message)]
pub struct KeptRequest {
    /// The gateway's method.
    #[prost(string, tag = "1")]
    pub method: String,
    /// The profile, or the backend of a creation.
    #[prost(string, tag = "2")]
    pub resource: String,
    /// SHA-256 of the method and the whole request.
    #[prost(bytes = "bytes", tag = "3")]
    pub fingerprint: Bytes,
    /// The gateway's id of the call that has sent it last.
    #[prost(string, tag = "4")]
    pub call_id: String,
    /// How often it was sent.
    #[prost(uint32, tag = "5")]
    pub sent: u32,
    /// How far it is.
    #[prost(enumeration = "KeptState", tag = "6")]
    pub state: i32,
    /// When it was last about to be sent. Times are milliseconds since 1970.
    #[prost(uint64, tag = "7")]
    pub sent_at: u64,
    /// After this time, the call that sends it sends no more.
    #[prost(uint64, tag = "8")]
    pub until: u64,
    /// When the last attempt that sent it ended; 0 while it runs.
    #[prost(uint64, tag = "9")]
    pub ended_at: u64,
    /// What it was about to do: all that is needed to find out whether it did.
    #[prost(bytes = "bytes", tag = "10")]
    pub intent: Bytes,
    /// The profile that it has answered with, of one that is done; empty for a deletion.
    #[prost(bytes = "bytes", tag = "11")]
    pub result: Bytes,
    /// The caller, as it is shown.
    #[prost(string, tag = "12")]
    pub caller: String,
    /// The `request_id`, or the gateway's own id of a write without one.
    #[prost(bytes = "vec", tag = "13")]
    pub request_id: Vec<u8>,
    /// Whether it has no `request_id`.
    #[prost(bool, tag = "14")]
    pub unnamed: bool,
    /// Whether its process died before its caller was told that the outcome is unknown.
    #[prost(bool, tag = "15")]
    pub interrupted: bool,
    /// How often the gateway has looked for its outcome by itself.
    #[prost(uint32, tag = "16")]
    pub looks: u32,
    /// When it did last; 0 if it has not.
    #[prost(uint64, tag = "17")]
    pub looked_at: u64,
    /// The reason why that did not show the outcome.
    #[prost(string, tag = "18")]
    pub unsettled_reason: String,
    /// The same in words.
    #[prost(string, tag = "19")]
    pub unsettled_message: String,
    /// When it was first about to be sent; 0 if an earlier release has kept it.
    #[prost(uint64, tag = "20")]
    pub first_sent_at: u64,
    /// The profiles that may be what it has made, as that look has seen.
    #[prost(string, repeated, tag = "21")]
    pub candidates: Vec<String>,
}

/// How far a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum KeptState {
    /// It may have been sent, and has not ended.
    Sent = 1,
    /// It has ended, and its outcome is not known.
    Unknown = 2,
    /// It has succeeded.
    Done = 3,
    /// An operator has said that it took effect; its result is not known.
    Closed = 4,
}

/// Keeps a write as it is now. Its key is a number that grows, so that those of one time are
/// neighbors on the disk.
pub(super) fn keep(number: u64, request: &KeptRequest) -> Change {
    Change::put(Table::Requests, number.to_be_bytes().to_vec(), request.encode_to_vec())
}

/// Forgets a write.
pub(super) fn forget(number: u64) -> Change {
    Change::remove(Table::Requests, number.to_be_bytes().to_vec())
}

/// Reads what was kept: its number, what it is found by, and the rest.
///
/// # Errors
///
/// When this release cannot read it.
pub fn read((key, value): &Entry) -> io::Result<(u64, RequestKey, KeptRequest)> {
    parts(key, value).ok_or_else(|| store::unreadable(Table::Requests))
}

fn parts(key: &[u8], value: &[u8]) -> Option<(u64, RequestKey, KeptRequest)> {
    let number = key.try_into().map(u64::from_be_bytes).ok()?;
    let request = KeptRequest::decode(value).ok()?;
    // A state of a later release is not one of these.
    KeptState::try_from(request.state).ok()?;
    <[u8; 32]>::try_from(request.fingerprint.as_ref()).ok()?;
    let caller = request.caller.parse().ok()?;
    let id = Uuid::from_slice(&request.request_id).ok()?;
    let is_named = !request.unnamed;
    Some((number, RequestKey { caller, id, is_named }, request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_release_may_have_kept_is_not_taken_for_something_else() {
        let request = KeptRequest {
            caller: "127.0.0.1".to_owned(),
            request_id: vec![1; 16],
            fingerprint: Bytes::from_static(&[2; 32]),
            state: KeptState::Done.into(),
            ..KeptRequest::default()
        };
        let read = |request: &KeptRequest| {
            let Change { key, value, .. } = keep(7, request);
            read(&(key, value.unwrap_or_default()))
        };
        assert_eq!(read(&request).unwrap().0, 7);
        for other in [
            KeptRequest { state: 5, ..request.clone() },
            KeptRequest { fingerprint: Bytes::from_static(&[2; 31]), ..request.clone() },
            KeptRequest { request_id: vec![1; 15], ..request },
        ] {
            let error = read(&other).unwrap_err().to_string();
            assert_eq!(error, "an entry of its table `requests` cannot be read");
        }
    }
}
