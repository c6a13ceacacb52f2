//! How requests and results are written in the store that replicas share.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::gateway::idempotency::RequestIdentity;

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

/// The name of a request on all replicas. Callers do not share ids, and no caller can make a name
/// up that is another one's.
pub(super) fn name(identity: &RequestIdentity) -> Arc<str> {
    let mut hash = Sha256::new();
    // The id has a fixed length.
    hash.update(identity.key.id.as_bytes());
    hash.update(identity.key.caller.to_string());
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
    use crate::{caller::CallerId, gateway::idempotency::RequestKey};

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
    fn callers_do_not_share_names() {
        let of = |last, id| {
            let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
            let caller = CallerId::Network { address, bits: 32 };
            let key = RequestKey { caller, id: Uuid::from_u128(id), is_named: true };
            name(&RequestIdentity { key, fingerprint: [0; 32], method: "" })
        };
        assert_eq!(of(1, 7), of(1, 7));
        assert_eq!(of(1, 7).len(), 64);
        assert_ne!(of(1, 7), of(2, 7));
        assert_ne!(of(1, 7), of(1, 8));
    }
}
