//! How requests and results are written in the store that replicas share.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest, Sha256};

use crate::gateway::idempotency::{KeptRequest, RequestKey, record};

/// What begins a result, so that later releases can say more.
const DONE: u8 = 1;
const CLOSED: u8 = 2;

/// How a write of any replica has ended that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effective {
    /// With this result.
    Done(Bytes),
    /// As an operator has said; its result is not known.
    Closed,
}

impl Effective {
    pub(super) fn written(&self) -> Arc<[u8]> {
        match self {
            Self::Done(result) => [&[DONE], result.as_ref()].concat().into(),
            Self::Closed => [CLOSED].into(),
        }
    }

    /// What a later release has written may be anything that took effect.
    pub(super) fn read(written: &[u8]) -> Self {
        match written.split_first() {
            Some((&DONE, result)) => Self::Done(Bytes::copy_from_slice(result)),
            _ => Self::Closed,
        }
    }
}

/// Ends an intent that says whose it is.
const DESCRIBED: [u8; 4] = *b"pgw1";
/// The field that intents leave for this, so that an earlier release skips it, and its type.
const FIELD: u8 = 15 << 3 | 2;

/// An intent as all replicas have it: with all else that is needed to look after the write when
/// its replica has ended.
pub(super) fn described(intent: &[u8], number: u64, about: &KeptRequest) -> Arc<[u8]> {
    let about = about.encode_to_vec();
    let length = about.len() + 16;
    let mut all = intent.to_vec();
    all.push(FIELD);
    prost::encode_length_delimiter(length, &mut all).unwrap_or_default();
    all.extend_from_slice(&number.to_be_bytes());
    all.extend_from_slice(&about);
    let added = u32::try_from(all.len() - intent.len() + 8).unwrap_or_default();
    all.extend_from_slice(&added.to_be_bytes());
    all.extend_from_slice(&DESCRIBED);
    all.into()
}

/// The intent itself, and what else is said; nothing in that of an earlier release.
pub(super) fn undescribed(all: &[u8]) -> (Bytes, Option<(u64, RequestKey, KeptRequest)>) {
    let parts = || {
        let (rest, end) = all.split_last_chunk::<4>()?;
        let (rest, added) = rest.split_last_chunk::<4>().filter(|_| *end == DESCRIBED)?;
        let added = usize::try_from(u32::from_be_bytes(*added)).ok()?.checked_sub(8)?;
        let (intent, added) = rest.split_at_checked(rest.len().checked_sub(added)?)?;
        let added = added.get(1 + delimiter(added.get(1..)?)?..)?;
        let (number, about) = added.split_first_chunk::<8>()?;
        Some((intent, Bytes::copy_from_slice(number), Bytes::copy_from_slice(about)))
    };
    match parts() {
        Some((intent, number, about)) => {
            (Bytes::copy_from_slice(intent), record::read(&(number, about)).ok())
        }
        None => (Bytes::copy_from_slice(all), None),
    }
}

/// How many bytes a length takes.
fn delimiter(mut bytes: &[u8]) -> Option<usize> {
    let length = prost::decode_length_delimiter(&mut bytes).ok()?;
    Some(prost::length_delimiter_len(length))
}

/// The name of a request on all replicas. Callers do not share ids, and no caller can make a name
/// up that is another one's, or that of a write without an id.
pub(in crate::gateway::idempotency) fn name(key: &RequestKey) -> Arc<str> {
    let mut hash = Sha256::new();
    // The id has a fixed length.
    hash.update(key.id.as_bytes());
    hash.update([u8::from(key.is_named)]);
    hash.update(key.caller.to_string());
    hex(&hash.finalize())
}

/// What tells a request from another one of the same id.
pub(super) fn fingerprint(fingerprint: &[u8; 32]) -> Arc<str> {
    hex(fingerprint)
}

fn hex(bytes: &[u8]) -> Arc<str> {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use uuid::Uuid;

    use super::*;
    use crate::{
        caller::CallerId,
        gateway::write::intent::{IntentKind, WriteIntent},
    };

    #[test]
    fn results_are_read_as_they_were_written() {
        for result in [&b""[..], b"x", b"\x02"] {
            let done = Effective::Done(Bytes::copy_from_slice(result));
            assert_eq!(Effective::read(&done.written()), done);
        }
        assert_eq!(Effective::read(&Effective::Closed.written()), Effective::Closed);
        assert_eq!(Effective::read(&[9, 9]), Effective::Closed, "it took effect in any case");
    }

    #[test]
    fn an_intent_is_read_as_it_was_written_by_this_release_and_by_earlier_ones() {
        let about = KeptRequest {
            caller: "127.0.0.1".to_owned(),
            request_id: vec![1; 16],
            fingerprint: Bytes::from_static(&[2; 32]),
            resource: "x".repeat(300),
            state: 1,
            ..KeptRequest::default()
        };
        for intent in [&b""[..], b"pgw1", &[0xff; 400]] {
            let all = described(intent, 7, &about);
            let (read, Some((number, key, kept))) = undescribed(&all) else { panic!("{all:?}") };
            assert_eq!((&*read, number, kept), (intent, 7, about.clone()));
            assert_eq!(key.id, Uuid::from_bytes([1; 16]));
            for end in 0..all.len() {
                assert_eq!(undescribed(&all[..end]), (Bytes::copy_from_slice(&all[..end]), None));
            }
        }
        let intent = WriteIntent::new(IntentKind::Delete(()));
        let all = described(&intent.encode_to_vec(), 7, &about);
        assert_eq!(WriteIntent::decode(&*all).unwrap(), intent, "an earlier release reads it");
    }

    #[test]
    fn callers_do_not_share_names() {
        let of = |last, id| {
            let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
            let caller = CallerId::Network { address, bits: 32 };
            let key = RequestKey { caller, id: Uuid::from_u128(id), is_named: true };
            name(&key)
        };
        assert_eq!(of(1, 7), of(1, 7));
        assert_eq!(of(1, 7).len(), 64);
        assert_ne!(of(1, 7), of(2, 7));
        assert_ne!(of(1, 7), of(1, 8));
    }
}
