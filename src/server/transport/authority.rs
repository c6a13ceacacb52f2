//! Serves clients whose `:authority` is not that of a URI.
//!
//! gRPC clients send what they were told to dial: the path of a Unix socket, a list of addresses, a
//! name of xDS. gRPC's own servers take any. h2 resets each such call with PROTOCOL_ERROR before
//! any of our code sees it, and has no option for that. Nothing here reads the authority, so
//! another one takes its place on the way in (`hpack`).
//!
//! A proxy sends the calls of many clients over one connection, so all calls are looked at. Nothing
//! else is: of every other frame, only the head is read, and its bytes stay where the socket put
//! them. Copied is what has to wait for its rest, which is a part of a head or of a header block,
//! and what was read together with a block that is changed.

use std::borrow::Cow;

use bytes::{Buf, BufMut, BytesMut};

use super::hpack::{Blocks, Replacement};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, type, flags and stream of a frame.
const HEAD: usize = 9;
/// The largest frame that h2 takes from a client.
const MAX_FRAME: usize = 16 * 1024;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// The bytes of a client on their way to h2.
pub(super) struct Authorities {
    stage: Stage,
    blocks: Blocks,
    /// In how many frames a block may come.
    max_frames: usize,
    /// How many bytes of a frame pass as they are.
    passing: usize,
    /// What waits for its rest.
    input: BytesMut,
    /// How many bytes it waits for at least.
    missing: usize,
    /// What h2 may read before anything else.
    output: BytesMut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preface,
    Frames,
    /// Everything passes: it is HTTP/1, or h2 will end the connection.
    Over,
}

/// What to do with the next bytes.
enum Next {
    /// So many pass as they are.
    Pass(usize),
    /// At least so many more have to come first.
    Wait(usize),
    /// Other bytes take the place of so many.
    Replace(usize, Vec<u8>),
}

impl Authorities {
    /// Looks at the blocks of calls with headers of so many bytes, and at larger ones that h2 still
    /// reads, only to refuse their calls.
    pub(super) fn new(headers: usize) -> Self {
        // As h2 counts: those that such headers fill, a quarter more, the first and the last.
        let full = (headers / MAX_FRAME).max(1);
        let max_frames = (full + full / 4).max(5) + 2;
        Self {
            stage: Stage::Preface,
            blocks: Blocks::new(),
            max_frames,
            passing: 0,
            input: BytesMut::new(),
            missing: 0,
            output: BytesMut::new(),
        }
    }

    /// How many bytes have to be pushed before others may be taken; 0 for none.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// Takes the next bytes of the client, and says how many of them, from the front, h2 may read
    /// where they are. It is to read `output` after them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.passing == 0 {
                match self.next(rest) {
                    Next::Pass(length) => self.passing = length,
                    _ => {
                        self.push(rest);
                        break;
                    }
                }
            }
            let passed = self.passing.min(rest.len());
            self.passing -= passed;
            at += passed;
        }
        at
    }

    /// Takes the next bytes of the client, all of which go by way of `output`.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        #[cfg(test)]
        tests::COPIED.set(tests::COPIED.get() + bytes.len());
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        self.missing = 0;
        while !input.is_empty() && self.missing == 0 {
            if self.passing == 0 {
                match self.next(&input) {
                    Next::Pass(length) => self.passing = length,
                    Next::Wait(missing) => self.missing = missing,
                    Next::Replace(length, with) => {
                        input.advance(length);
                        self.output.extend_from_slice(&with);
                    }
                }
            }
            let passed = input.split_to(self.passing.min(input.len()));
            self.passing -= passed.len();
            self.output.extend_from_slice(&passed);
        }
        if !input.is_empty() {
            self.input = input;
        }
    }

    /// Holds nothing back any more.
    pub(super) fn finish(&mut self) {
        (self.stage, self.missing) = (Stage::Over, 0);
        self.output.extend_from_slice(&std::mem::take(&mut self.input));
    }

    /// Gives what h2 may read, as much as there is room for.
    pub(super) fn read(&mut self, buffer: &mut impl BufMut) {
        let length = self.output.len().min(buffer.remaining_mut());
        buffer.put(self.output.split_to(length));
        if self.output.is_empty() {
            // A connection that rests keeps no memory.
            self.output = BytesMut::new();
        }
    }

    /// Whether what comes next need not pass here.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over && self.output.is_empty()
    }

    fn next(&mut self, bytes: &[u8]) -> Next {
        match self.stage {
            Stage::Preface => self.preface(bytes),
            Stage::Frames => self.frame(bytes),
            Stage::Over => Next::Pass(bytes.len()),
        }
    }

    fn preface(&mut self, bytes: &[u8]) -> Next {
        let known = bytes.len().min(PREFACE.len());
        if bytes.get(..known) != PREFACE.get(..known) {
            // HTTP/1.
            return self.over(bytes);
        }
        if known < PREFACE.len() {
            return Next::Wait(PREFACE.len() - known);
        }
        self.stage = Stage::Frames;
        Next::Pass(known)
    }

    fn frame(&mut self, bytes: &[u8]) -> Next {
        let Some(head) = Head::read(bytes) else {
            return Next::Wait(HEAD - bytes.len());
        };
        if head.kind != HEADERS {
            return Next::Pass(head.frame());
        }
        let block = match self.block(head, bytes) {
            Ok(block) => block,
            Err(Unfinished::Wait(missing)) => return Next::Wait(missing),
            Err(Unfinished::Unreadable) => return self.over(bytes),
        };
        match self.blocks.read(&block.fields) {
            Some(none) if none.is_empty() => Next::Pass(block.length),
            Some(replacements) => Next::Replace(block.length, block.with(&replacements)),
            None => self.over(bytes),
        }
    }

    fn over(&mut self, bytes: &[u8]) -> Next {
        self.stage = Stage::Over;
        Next::Pass(bytes.len())
    }

    /// The block that begins with this frame, once all of it is there.
    fn block<'b>(&self, first: Head, bytes: &'b [u8]) -> Result<Block<'b>, Unfinished> {
        let payload = first.payload(bytes)?;
        let (priority, fields) = fields(payload, first.flags).ok_or(Unfinished::Unreadable)?;
        let mut block = Block { first, priority, fields: fields.into(), length: first.frame() };
        let (mut last, mut frames) = (first, 1);
        while last.flags & END_HEADERS == 0 {
            let rest = bytes.get(block.length..).unwrap_or_default();
            last = Head::read(rest).ok_or_else(|| Unfinished::Wait(HEAD - rest.len()))?;
            frames += 1;
            if (last.kind, last.stream) != (CONTINUATION, first.stream) || frames > self.max_frames
            {
                return Err(Unfinished::Unreadable);
            }
            block.fields.to_mut().extend_from_slice(last.payload(rest)?);
            block.length += last.frame();
        }
        Ok(block)
    }
}

/// Why a block cannot be read.
enum Unfinished {
    /// At least so many bytes of it are yet to come.
    Wait(usize),
    /// h2 will end the connection.
    Unreadable,
}

/// What a frame says of itself.
#[derive(Clone, Copy)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD>()?;
        Some(Self { length: u32::from_be_bytes([0, a, b, c]) as usize, kind, flags, stream })
    }

    /// How long the frame is.
    fn frame(self) -> usize {
        HEAD + self.length
    }

    /// What comes after the head, which the bytes begin with.
    fn payload(self, bytes: &[u8]) -> Result<&[u8], Unfinished> {
        if self.length > MAX_FRAME {
            return Err(Unfinished::Unreadable);
        }
        bytes.get(HEAD..self.frame()).ok_or_else(|| Unfinished::Wait(self.frame() - bytes.len()))
    }

    fn write(self, frames: &mut Vec<u8>) {
        let length = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        frames.extend(length.iter().skip(1));
        frames.extend([self.kind, self.flags]);
        frames.extend(self.stream);
    }
}

/// The priority and the fields that a frame of headers holds beside its padding.
fn fields(payload: &[u8], flags: u8) -> Option<(&[u8], &[u8])> {
    let (padding, payload) = match flags & PADDED {
        0 => (0, payload),
        _ => payload.split_first().map(|(padding, rest)| (usize::from(*padding), rest))?,
    };
    let payload = payload.get(..payload.len().checked_sub(padding)?)?;
    payload.split_at_checked(if flags & PRIORITY == 0 { 0 } else { 5 })
}

/// All headers that a client sends at once, in one frame or several.
struct Block<'b> {
    first: Head,
    priority: &'b [u8],
    fields: Cow<'b, [u8]>,
    /// How many bytes its frames take.
    length: usize,
}

impl Block<'_> {
    /// The frames of the block with other parts in place of some, and without padding.
    fn with(&self, replacements: &[Replacement]) -> Vec<u8> {
        let mut payload = self.priority.to_vec();
        let mut at = 0;
        for (range, with) in replacements {
            payload.extend_from_slice(self.fields.get(at..range.start).unwrap_or_default());
            payload.extend_from_slice(with);
            at = range.end;
        }
        payload.extend_from_slice(self.fields.get(at..).unwrap_or_default());

        let mut frames = Vec::with_capacity(payload.len() + HEAD);
        let count = payload.len().div_ceil(MAX_FRAME).max(1);
        for number in 1..=count {
            let part = payload.get((number - 1) * MAX_FRAME..).unwrap_or_default();
            let part = part.get(..MAX_FRAME).unwrap_or(part);
            let (kind, kept) = match number {
                1 => (HEADERS, self.first.flags & !(PADDED | END_HEADERS)),
                _ => (CONTINUATION, 0),
            };
            let flags = if number == count { kept | END_HEADERS } else { kept };
            Head { length: part.len(), kind, flags, ..self.first }.write(&mut frames);
            frames.extend_from_slice(part);
        }
        frames
    }
}

#[cfg(test)]
mod tests;
