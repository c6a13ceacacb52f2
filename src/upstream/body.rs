//! The body of an answer as it arrives, with the memory that it takes.

use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;

use crate::{
    caller::Held,
    error::Error,
    resources::{Share, held},
};

/// Memory is taken in steps of so many bytes.
const STEP: usize = 16 * 1024;
/// What is made of an object has about so many bytes before its texts, as of a profile.
const OBJECT: usize = 800;

/// Why there is no memory for a body.
pub(super) enum NoMemory {
    /// Others have it now.
    Now(Error),
    /// It takes so many bytes, and a backend never has more than so many.
    Ever { needed: usize, most: usize },
}

/// The least memory that a body of so many bytes takes until it has been read.
#[must_use]
pub fn least_memory(bytes: usize) -> usize {
    bytes.saturating_mul(2)
}

/// The part of a body that has arrived.
pub(super) struct Arriving {
    bytes: BytesMut,
    taken: Held,
}

impl Arriving {
    /// Nothing yet.
    pub(super) fn new(share: &Share) -> Result<Self, NoMemory> {
        let taken = share.take(STEP).map_err(NoMemory::Now)?;
        Ok(Self { bytes: BytesMut::new(), taken })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the next bytes.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), NoMemory> {
        let needed = self.bytes.len() + chunk.len();
        if needed > self.taken.weight() {
            grow(&self.taken, needed.next_multiple_of(STEP))?;
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
pub(super) fn readable(body: Bytes, taken: Held) -> Result<Bytes, NoMemory> {
    let objects = memchr_iter(b'{', &body).count();
    grow(&taken, least_memory(body.len()).saturating_add(objects * OBJECT))?;
    Ok(held(body, taken))
}

fn grow(taken: &Held, needed: usize) -> Result<(), NoMemory> {
    let most = taken.most();
    taken.resize(needed).map_err(|full| match needed > most {
        true => NoMemory::Ever { needed, most },
        false => NoMemory::Now(full.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Resource;

    #[test]
    fn a_body_takes_its_memory_until_it_has_been_read() {
        let share = Share::boundless(Resource::DecodingBytes);
        let mut body = Arriving::new(&share).ok().unwrap();
        body.push(&[b'['; STEP]).ok().unwrap();
        assert_eq!(share.used(), STEP);
        body.push(b"{}").ok().unwrap();
        assert_eq!((body.len(), share.used()), (STEP + 2, 2 * STEP));
        let (bytes, taken) = body.whole(Some(STEP + 1));
        let bytes = readable(bytes, taken).ok().unwrap();
        assert_eq!((bytes.len(), share.used()), (STEP + 1, 2 * (STEP + 1) + OBJECT));
        drop(bytes);
        assert_eq!(share.used(), 0);
    }
}
