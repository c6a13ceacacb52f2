//! The pieces of a request that have arrived and were not read yet.
//!
//! A caller decides how many there are: a message may come byte by byte, with any number of pieces
//! of nothing in between. So they take no more memory than their bytes.

use std::{collections::VecDeque, mem};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tonic::Status;

/// Data, trailers, or why it broke off.
pub(super) type Piece = Result<Frame<Bytes>, Status>;

/// Pieces that are kept as they come. Those after them are joined.
const MANY: usize = 8;

/// What has arrived and was not read yet. Nothing is added once something was taken.
#[derive(Default)]
pub(super) struct Kept {
    /// Most requests come in one piece, which needs no queue.
    first: Option<Piece>,
    rest: VecDeque<Piece>,
    joined: BytesMut,
    /// What follows the joined data.
    last: Option<Piece>,
    /// Nothing comes after it.
    pub(super) ended: bool,
}

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.joined.is_empty() && self.last.is_none()
    }

    pub(super) fn add(&mut self, piece: Piece) {
        match piece.as_ref().ok().and_then(Frame::data_ref) {
            Some(data) if data.is_empty() => {}
            Some(data) if self.rest.len() >= MANY => self.joined.extend_from_slice(data),
            None if !self.joined.is_empty() => self.last = Some(piece),
            _ if self.first.is_none() => self.first = Some(piece),
            _ => self.rest.push_back(piece),
        }
    }

    pub(super) fn take(&mut self) -> Option<Piece> {
        if let Some(piece) = mem::replace(&mut self.first, self.rest.pop_front()) {
            return Some(piece);
        }
        if !self.joined.is_empty() {
            return Some(Ok(Frame::data(mem::take(&mut self.joined).freeze())));
        }
        self.last.take()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn many_pieces_take_the_memory_of_their_bytes() {
        for count in [0, 1, 2, MANY, MANY + 1, MANY + 2, 100_000] {
            let mut kept = Kept::default();
            for n in 0..count {
                kept.add(Ok(Frame::data(Bytes::new())));
                kept.add(Ok(Frame::data(Bytes::from(vec![n as u8]))));
            }
            kept.add(Ok(Frame::trailers(HeaderMap::new())));
            // What ends the request follows what is not joined.
            assert!(kept.rest.len() <= MANY + 1, "{count}");
            let (mut data, mut pieces) = (Vec::new(), 0);
            while let Some(piece) = kept.take() {
                pieces += 1;
                match piece.unwrap().into_data() {
                    Ok(bytes) => data.extend(bytes),
                    Err(other) => assert!(other.is_trailers() && kept.is_empty(), "{count}"),
                }
            }
            assert!(pieces <= MANY + 3, "{count}: {pieces}");
            assert_eq!(data, (0..count).map(|n| n as u8).collect::<Vec<_>>());
        }
    }
}
