//! The codec of the generated servers: it refuses what is too wide before it decodes.

use std::{marker::PhantomData, sync::LazyLock};

use bytes::Buf as _;
use prost::{DecodeError, Message, Name};
use prost_reflect::DescriptorPool;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstEncoder};

use super::{count, schema::Schema};
use crate::{
    error::{Error, metadata},
    pb::DESCRIPTOR_SET,
    rpc::status,
};

/// The requests of the contract. Empty only if the descriptors that are compiled in were broken.
static SCHEMA: LazyLock<Option<Schema>> =
    LazyLock::new(|| Some(Schema::of(&DescriptorPool::decode(DESCRIPTOR_SET).ok()?)));

/// What the schema of requests is, for tests.
#[cfg(test)]
pub(super) fn schema() -> &'static Schema {
    SCHEMA.as_ref().expect("descriptors")
}

/// Encodes messages, and decodes requests whose repeated fields are within their bounds.
#[derive(Debug)]
pub struct Checked<T, U>(PhantomData<fn() -> (T, U)>);

impl<T, U> Default for Checked<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Checked<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CheckedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder(PhantomData)
    }
}

/// Decodes requests whose repeated fields are within their bounds.
#[derive(Debug)]
pub struct CheckedDecoder<U>(PhantomData<fn() -> U>);

impl<U: Message + Name + Default> Decoder for CheckedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let malformed = |error: DecodeError| status::malformed(&error);
        if buf.chunk().len() == buf.remaining() {
            check::<U>(buf.chunk())?;
            return U::decode(buf).map(Some).map_err(malformed);
        }
        let bytes = buf.copy_to_bytes(buf.remaining());
        check::<U>(&bytes)?;
        U::decode(bytes).map(Some).map_err(malformed)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

fn check<U: Name>(bytes: &[u8]) -> Result<(), Status> {
    let Some(schema) = &*SCHEMA else { return Ok(()) };
    let Some(root) = schema.root(U::NAME) else { return Ok(()) };
    let (violations, _) = count::violations(schema, root, bytes);
    if violations.is_empty() {
        return Ok(());
    }
    // Each method's request is called so.
    let operation = U::NAME.strip_suffix("Request").unwrap_or(U::NAME);
    let error = Error::invalid(violations).with_metadata(metadata::OPERATION, operation);
    Err(status::status(&error))
}
