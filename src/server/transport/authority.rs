//! Serves clients whose `:authority` is not that of a URI.
//!
//! gRPC clients send what they were told to dial: the path of a Unix socket, a list of addresses, a
//! name of xDS. gRPC's own servers take any. h2 resets each such call with PROTOCOL_ERROR before
//! any of our code sees it, and has no option for that. Nothing here reads the authority, so
//! another one takes its place on the way in (`hpack`).
//!
//! Only the first call of a connection costs anything: if h2 can read its authority, as is nearly
//! always so, the rest of the connection passes by. If not, all its calls are looked at.

use bytes::{Buf, BytesMut};

use super::hpack;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, type, flags and stream of a frame.
const FRAME_HEAD: usize = 9;
/// The largest frame that h2 takes from a client.
const MAX_FRAME: usize = 16 * 1024;
const HEADERS: u8 = 1;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// The bytes of a client on their way to h2.
pub(super) struct Authorities {
    stage: Stage,
    /// What waits for the rest of a frame of headers; at most one frame.
    input: BytesMut,
    /// What h2 may read.
    output: BytesMut,
    /// How many bytes of a frame pass as they are.
    passing: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preface,
    /// No call yet.
    Untold,
    /// The first call had an authority that h2 cannot read.
    Foreign,
    Over,
}

impl Authorities {
    pub(super) fn new() -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Self { stage: Stage::Preface, input, output, passing: 0 }
    }

    /// Takes the next bytes of the client.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.step().is_some() {}
        if self.stage == Stage::Over {
            self.finish();
        }
    }

    /// Nothing is held back any more.
    pub(super) fn finish(&mut self) {
        self.stage = Stage::Over;
        self.output.extend_from_slice(&self.input);
        self.input.clear();
    }

    /// What h2 may read.
    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Whether what comes next need not pass here.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over && self.output.is_empty()
    }

    /// Passes some bytes on; `None` without enough of them.
    fn step(&mut self) -> Option<()> {
        if self.passing > 0 {
            return self.pass();
        }
        match self.stage {
            Stage::Preface => self.preface(),
            Stage::Untold | Stage::Foreign => self.frame(),
            Stage::Over => None,
        }
    }

    fn pass(&mut self) -> Option<()> {
        let bytes = self.input.split_to(self.passing.min(self.input.len()));
        self.output.extend_from_slice(&bytes);
        self.passing -= bytes.len();
        (!bytes.is_empty()).then_some(())
    }

    fn preface(&mut self) -> Option<()> {
        let known = self.input.len().min(PREFACE.len());
        if self.input.get(..known) != PREFACE.get(..known) {
            // HTTP/1.
            self.stage = Stage::Over;
        } else if known == PREFACE.len() {
            (self.stage, self.passing) = (Stage::Untold, known);
        } else {
            return None;
        }
        Some(())
    }

    fn frame(&mut self) -> Option<()> {
        let [a, b, c, kind, flags, ..] = *self.input.first_chunk::<FRAME_HEAD>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if kind != HEADERS {
            self.passing = FRAME_HEAD + length;
            return Some(());
        }
        if length > MAX_FRAME {
            self.stage = Stage::Over;
            return Some(());
        }
        let payload = self.input.get(FRAME_HEAD..FRAME_HEAD + length)?;
        let Some(changed) = changed(payload, flags) else {
            self.passing = FRAME_HEAD + length;
            if self.stage == Stage::Untold {
                self.stage = Stage::Over;
            }
            return Some(());
        };
        self.stage = Stage::Foreign;
        let head = self.input.split_to(FRAME_HEAD);
        let size = u32::try_from(changed.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.output.extend(size.iter().skip(1).chain(head.iter().skip(3)));
        self.output.extend_from_slice(&changed);
        self.input.advance(length);
        Some(())
    }
}

/// The payload of a frame of headers with another authority, if it needs one. A block may go on in
/// another frame, but pseudo-headers come first.
fn changed(payload: &[u8], flags: u8) -> Option<Vec<u8>> {
    let padded = flags & PADDED != 0;
    let padding = if padded { usize::from(*payload.first()?) } else { 0 };
    let priority = if flags & PRIORITY == 0 { 0 } else { 5 };
    let start = usize::from(padded) + priority;
    let block = payload.get(start..payload.len().checked_sub(padding)?)?;
    let (range, value) = hpack::replacement(block)?;
    let before = payload.get(..start + range.start)?;
    let after = payload.get(start + range.end..)?;
    let changed = [before, &value, after].concat();
    (changed.len() <= MAX_FRAME).then_some(changed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&size[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// A block with this authority.
    fn headers(flags: u8, authority: &[u8]) -> Vec<u8> {
        let length = u8::try_from(authority.len()).unwrap();
        let block = [&[0x83, 0x41, length], authority, &[0x84]].concat();
        let mut payload = Vec::new();
        if flags & PADDED != 0 {
            payload.push(3);
        }
        if flags & PRIORITY != 0 {
            payload.extend([0, 0, 0, 0, 9]);
        }
        payload.extend(block);
        if flags & PADDED != 0 {
            payload.extend([0; 3]);
        }
        frame(HEADERS, flags, &payload)
    }

    /// What h2 reads of these bytes, which arrive in pieces, and whether the rest passes by.
    fn read(bytes: &[u8], piece: usize) -> (Vec<u8>, bool) {
        let mut authorities = Authorities::new();
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            authorities.push(piece);
            all.extend(authorities.output().split());
        }
        let over = authorities.is_over();
        authorities.finish();
        all.extend(authorities.output().split());
        (all, over)
    }

    #[test]
    fn foreign_authorities_are_replaced_in_all_calls_of_their_connection() {
        for flags in [4, 4 | PADDED, 4 | PRIORITY, 4 | PADDED | PRIORITY] {
            let start = [PREFACE, &frame(4, 0, &[])].concat();
            let data = frame(0, 1, b"PRI and so on");
            let call = |authority: &[u8]| [&headers(flags, authority)[..], &data].concat();
            let bytes = [&start[..], &call(b"/a"), &call(b"ok"), &call(b"a:1,b:2")].concat();
            let expected = [&start[..], &call(b"xx"), &call(b"ok"), &call(b"xxxxxxx")].concat();
            for piece in 1..bytes.len() {
                assert_eq!(read(&bytes, piece), (expected.clone(), false), "{flags} {piece}");
            }
            // With a first one that can be read, all pass by.
            let bytes = [&start[..], &call(b"ok"), &call(b"/a")].concat();
            assert_eq!(read(&bytes, 7), (bytes.clone(), true));
        }
    }

    #[test]
    fn http_1_passes_by() {
        let bytes = b"POST / HTTP/1.1\r\n\r\nPRI * HTTP/2.0";
        assert_eq!(read(bytes, 1), (bytes.to_vec(), true));
        // Its first letters may be those of HTTP/2.
        assert_eq!(read(b"PRINT", 1), (b"PRINT".to_vec(), true));
        assert_eq!(read(b"PRI", 1), (b"PRI".to_vec(), false));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_arrives(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            kind in 0..12_u8,
            flags: u8,
            piece in 1..50_usize,
        ) {
            let bytes = [PREFACE, &frame(kind, flags, &payload), &frame(0, 1, b"end")].concat();
            let (all, _) = read(&bytes, piece);
            if kind != HEADERS || changed(&payload, flags).is_none() {
                prop_assert_eq!(all, bytes);
            } else {
                prop_assert!(all.ends_with(&frame(0, 1, b"end")));
            }
        }
    }
}
