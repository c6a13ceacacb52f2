//! Finds the `:authority` in a client's header blocks (RFC 7541), and gives it another value where
//! it is not one of a URI.
//!
//! Replaced is the literal. A decoder may keep it under a number by which the client names it from
//! then on. So the new value is as long as the old: the numbers and the sizes in the decoder's
//! table remain what the client takes them for. The exception is an empty value that the decoder is
//! to keep. It gets one character, because no authority of a URI is empty, and takes one byte more
//! in the table than the client counts.
//!
//! A name may be such a number too. So this follows which entries the decoder's table has: of each,
//! whether it is an authority, and its size.
//!
//! Each call of a connection comes here, so a block costs little whatever is in it. Texts are
//! skipped; names are compared as they are coded; and what is decoded is only the value of an
//! authority and the length of a text that enters the table.

use std::{collections::VecDeque, ops::Range};

use http::uri::Authority;

use super::huffman;

const AUTHORITY: &[u8] = b":authority";
/// The same in Huffman's code.
const AUTHORITY_IN_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
/// Its position in the static table, which has it without a value.
const AUTHORITY_INDEX: usize = 1;
/// Values that take more bytes are not looked at.
const MAX_VALUE: usize = 512;
/// Any letter that is valid in an authority.
const PLACEHOLDER: u8 = b'x';

/// How long the names of the static table are.
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];
/// The size of the decoder's table. A client may choose less.
const TABLE_BYTES: usize = 4096;
/// What each entry takes beside its texts (4.1).
const ENTRY_BYTES: usize = 32;

/// The part of a block to replace, and its replacement.
pub(super) type Replacement = (Range<usize>, Vec<u8>);

/// The header blocks of one connection, in their order.
pub(super) struct Blocks(Table);

impl Blocks {
    pub(super) fn new() -> Self {
        Self(Table { entries: VecDeque::new(), size: 0, max: TABLE_BYTES })
    }

    /// What to replace in the next block so that its authority can be read; nothing if it can.
    /// `None` if the block itself cannot be read, after which a connection cannot go on.
    pub(super) fn read(&mut self, block: &[u8]) -> Option<Vec<Replacement>> {
        let mut reader = Reader { block, at: 0 };
        let mut replacements = Vec::new();
        while reader.at < block.len() {
            let start = reader.at;
            let first = reader.byte()?;
            match first {
                0x80.. => {
                    let index = reader.integer(first, 7)?;
                    self.0.name(index)?;
                    if index == AUTHORITY_INDEX {
                        replacements.push((start..reader.at, Vec::new()));
                    }
                }
                0x20..0x40 => self.0.resize(reader.integer(first, 5)?)?,
                _ => replacements.extend(self.literal(&mut reader, first)?),
            }
        }
        Some(replacements)
    }

    /// Reads a field whose value is there (6.2).
    fn literal(&mut self, reader: &mut Reader<'_>, first: u8) -> Option<Option<Replacement>> {
        let start = reader.at - 1;
        let is_kept = first >= 0x40;
        let name = match reader.integer(first, if is_kept { 6 } else { 4 })? {
            0 => {
                let text = reader.text()?;
                // Only an entry's size is of interest.
                let length = if is_kept { text.length()? } else { 0 };
                Name { is_authority: text.is_authority(), length }
            }
            index => self.0.name(index)?,
        };
        let value_start = reader.at;
        let value = reader.text()?;
        if is_kept {
            self.0.insert(name, value.length()?);
        }
        if !name.is_authority {
            return Some(None);
        }
        Some(match foreign(&value) {
            Some(0) if !is_kept => Some((start..reader.at, Vec::new())),
            Some(length) => Some((value_start..reader.at, placeholder(length.max(1)))),
            None => None,
        })
    }
}

/// The length of an authority that no URI can have. With a control character, a call is malformed.
fn foreign(value: &Text<'_>) -> Option<usize> {
    let value = value.decoded()?;
    let is_text = !value.iter().any(u8::is_ascii_control);
    let is_foreign = is_text && Authority::try_from(value.as_slice()).is_err();
    is_foreign.then_some(value.len())
}

/// A value of this length as a literal without Huffman's code.
fn placeholder(length: usize) -> Vec<u8> {
    let mut literal = Vec::with_capacity(length + 3);
    // An integer with a prefix of seven bits.
    match u8::try_from(length) {
        Ok(length @ ..0x7f) => literal.push(length),
        _ => {
            literal.push(0x7f);
            let mut rest = length - 0x7f;
            while rest >= 0x80 {
                literal.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            literal.push(rest as u8);
        }
    }
    literal.resize(literal.len() + length, PLACEHOLDER);
    literal
}

/// The entries of the decoder's table that the client counts on, the newest first.
struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
}

struct Entry {
    name: Name,
    size: usize,
}

#[derive(Clone, Copy)]
struct Name {
    is_authority: bool,
    length: usize,
}

impl Table {
    /// The name of the field of this index.
    fn name(&self, index: usize) -> Option<Name> {
        let position = index.checked_sub(1)?;
        match STATIC_NAMES.get(position) {
            Some(length) => {
                let is_authority = index == AUTHORITY_INDEX;
                Some(Name { is_authority, length: usize::from(*length) })
            }
            None => self.entries.get(position - STATIC_NAMES.len()).map(|entry| entry.name),
        }
    }

    fn insert(&mut self, name: Name, value_length: usize) {
        let size = name.length + value_length + ENTRY_BYTES;
        self.shrink(self.max.saturating_sub(size));
        // What is too large empties the table (4.4).
        if size <= self.max {
            self.size += size;
            self.entries.push_front(Entry { name, size });
        }
    }

    fn resize(&mut self, max: usize) -> Option<()> {
        if max > TABLE_BYTES {
            return None;
        }
        self.max = max;
        self.shrink(max);
        Some(())
    }

    /// Leaves entries of at most this size.
    fn shrink(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}

/// Reads a block; everything is nothing at its end.
struct Reader<'b> {
    block: &'b [u8],
    at: usize,
}

/// A string literal.
struct Text<'b> {
    bytes: &'b [u8],
    is_huffman: bool,
}

impl<'b> Reader<'b> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.block.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// An integer (5.1) that begins in the last bits of `first`.
    fn integer(&mut self, first: u8, bits: u32) -> Option<usize> {
        let mask = (1_usize << bits) - 1;
        let mut number = usize::from(first) & mask;
        if number < mask {
            return Some(number);
        }
        // Four bytes are enough for anything that fits into a block.
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<Text<'b>> {
        let first = self.byte()?;
        let length = self.integer(first, 7)?;
        let bytes = self.block.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(Text { bytes, is_huffman: first >= 0x80 })
    }
}

impl Text<'_> {
    /// A text has one code only.
    fn is_authority(&self) -> bool {
        self.bytes == if self.is_huffman { AUTHORITY_IN_HUFFMAN } else { AUTHORITY }
    }

    /// How many bytes it takes in the table.
    fn length(&self) -> Option<usize> {
        match self.is_huffman {
            true => huffman::decoded_length(self.bytes),
            false => Some(self.bytes.len()),
        }
    }

    fn decoded(&self) -> Option<Vec<u8>> {
        match (self.bytes.len() <= MAX_VALUE, self.is_huffman) {
            (false, _) => None,
            (true, true) => huffman::decoded(self.bytes),
            (true, false) => Some(self.bytes.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests;
