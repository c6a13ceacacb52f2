//! The contract's messages and descriptors.
//!
//! Helpers for these types live in `model`, the generated servers in `rpc`. By hand here is only
//! [`Encoded`], which the servers answer with (see `build.rs`).

use std::{fmt, marker::PhantomData, sync::Arc};

use bytes::{Buf, BufMut};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, skip_field},
};

pub use profile_gateway_contract::*;

/// Responses that hold profiles as bytes that are encoded already; on the wire they are the
/// contract's.
#[allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated code")]
pub mod encoded {
    include!(concat!(env!("OUT_DIR"), "/encoded/profilegateway.v1.rs"));
}

/// A profile as its bytes, as a cache keeps it.
pub type EncodedProfile = Encoded<Profile>;

/// A message as its bytes. It is encoded once and answered often; a clone shares the bytes.
pub struct Encoded<T> {
    bytes: Arc<[u8]>,
    message: PhantomData<fn() -> T>,
}

impl<T: Message + Default> Encoded<T> {
    /// Encodes a message.
    #[must_use]
    pub fn of(message: &T) -> Self {
        Self::from_bytes(message.encode_to_vec())
    }

    /// The message.
    ///
    /// # Errors
    ///
    /// When the bytes are not a message, which only a bug in this program can cause.
    pub fn message(&self) -> Result<T, DecodeError> {
        T::decode(&*self.bytes)
    }
}

impl<T> Encoded<T> {
    /// Bytes that are such a message, made from parts.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { bytes: bytes.into(), message: PhantomData }
    }

    /// The bytes, which others keep too.
    #[must_use]
    pub fn shared_bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T> Clone for Encoded<T> {
    fn clone(&self) -> Self {
        Self::from_bytes(Arc::clone(&self.bytes))
    }
}

impl<T> Default for Encoded<T> {
    fn default() -> Self {
        Self::from_bytes([])
    }
}

impl<T> PartialEq for Encoded<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> fmt::Debug for Encoded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.bytes.len())
    }
}

impl<T> Message for Encoded<T> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.bytes);
    }

    fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn decode(mut buf: impl Buf) -> Result<Self, DecodeError> {
        let mut bytes = vec![0; buf.remaining()];
        buf.copy_to_slice(&mut bytes);
        Ok(Self::from_bytes(bytes))
    }

    // Never called: `decode` takes the bytes as a whole.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buf, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_responses_are_the_contract_s_on_the_wire() {
        let profile = Profile { display_name: "a".into(), ..Profile::default() };
        let bytes = || vec![Encoded::of(&profile), Encoded::default()];
        let profiles = || vec![profile.clone(), Profile::default()];
        let batch = encoded::BatchGetProfilesResponse { profiles: bytes() };
        let expected = BatchGetProfilesResponse { profiles: profiles() };
        assert_eq!(batch.encode_to_vec(), expected.encode_to_vec());

        let list = encoded::ListProfilesResponse { profiles: bytes(), ..Default::default() };
        let expected = ListProfilesResponse { profiles: profiles(), ..Default::default() };
        assert_eq!(list.encode_to_vec(), expected.encode_to_vec());

        let change = encoded::ProfileChange {
            kind: ChangeKind::Changed.into(),
            profile: Some(Encoded::of(&profile)),
            ..Default::default()
        };
        let watch = encoded::WatchProfilesResponse {
            changes: vec![change],
            snapshot_complete: true,
            bookmark: None,
        };
        let change = ProfileChange {
            kind: ChangeKind::Changed.into(),
            profile: Some(profile.clone()),
            ..Default::default()
        };
        let expected = WatchProfilesResponse {
            changes: vec![change],
            snapshot_complete: true,
            bookmark: None,
        };
        assert_eq!(watch.encode_to_vec(), expected.encode_to_vec());
    }
}
