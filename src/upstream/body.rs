//! The body of an answer as it arrives, with the memory that it takes.

use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;

use crate::{
    caller::Held,
    error::Result,
    resources::{Share, held},
};

/// Memory is taken in steps of so many bytes.
const STEP: usize = 16 * 1024;
/// What is made of an object has about so many bytes before its texts, as of a profile.
const OBJECT: usize = 800;

/// The part of a body that has arrived.
pub(super) struct Arriving {
    bytes: BytesMut,
    taken: Held,
}

impl Arriving {
    /// Nothing yet.
    pub(super) fn new(share: &Share) -> Result<Self> {
        Ok(Self { bytes: BytesMut::new(), taken: share.take(STEP)? })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the next bytes.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<()> {
        let needed = self.bytes.len() + chunk.len();
        if needed > self.taken.weight() {
            self.taken.resize(needed.next_multiple_of(STEP))?;
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// All of it, and its memory.
    pub(super) fn whole(self, length: Option<usize>) -> (Bytes, Held) {
        let Self { mut bytes, taken } = self;
        bytes.truncate(length.unwrap_or(usize::MAX));
        (bytes.freeze(), taken)
    }
}

/// A body that can be read now, with memory for what is made of it until it has been read: the
/// objects, and their texts.
pub(super) fn readable(body: Bytes, taken: Held) -> Result<Bytes> {
    let objects = memchr_iter(b'{', &body).count();
    taken.resize((2 * body.len()).saturating_add(objects * OBJECT))?;
    Ok(held(body, taken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Resource;

    #[test]
    fn a_body_takes_its_memory_until_it_has_been_read() {
        let share = Share::boundless(Resource::DecodingBytes);
        let mut body = Arriving::new(&share).unwrap();
        body.push(&[b'['; STEP]).unwrap();
        assert_eq!(share.used(), STEP);
        body.push(b"{}").unwrap();
        assert_eq!((body.len(), share.used()), (STEP + 2, 2 * STEP));
        let (bytes, taken) = body.whole(Some(STEP + 1));
        let bytes = readable(bytes, taken).unwrap();
        assert_eq!((bytes.len(), share.used()), (STEP + 1, 2 * (STEP + 1) + OBJECT));
        drop(bytes);
        assert_eq!(share.used(), 0);
    }
}
