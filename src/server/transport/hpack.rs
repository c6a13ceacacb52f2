//! Finds the `:authority` in a header block (RFC 7541), as far as that goes without a decoder's
//! state, and gives it another value where it is not one of a URI.
//!
//! Replaced is the literal, which a client sends once. A decoder keeps it under the number by which
//! the client names it from then on. So the new value is as long as the old: the number and the
//! sizes in the decoder's table remain what the client takes them for.

use std::ops::Range;

use http::uri::Authority;

const AUTHORITY: &[u8] = b":authority";
/// Its position in the static table, which has it without a value.
const AUTHORITY_INDEX: usize = 1;
/// Longer values are not looked at.
const MAX_VALUE: usize = 4096;
/// Any letter that is valid in an authority.
const PLACEHOLDER: u8 = b'x';

/// Huffman codes and their lengths in bits, from the space on (RFC 7541, appendix B). No authority
/// has other characters.
const FIRST_CHAR: u8 = b' ';
const CODES: [u32; 95] = [
    0x14, 0x3f8, 0x3f9, 0xffa, 0x1ff9, 0x15, 0xf8, 0x7fa, 0x3fa, 0x3fb, 0xf9, 0x7fb, 0xfa, 0x16,
    0x17, 0x18, 0x0, 0x1, 0x2, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x5c, 0xfb, 0x7ffc, 0x20,
    0xffb, 0x3fc, 0x1ffa, 0x21, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67,
    0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x72, 0xfc, 0x73, 0xfd, 0x1ffb,
    0x7fff0, 0x1ffc, 0x3ffc, 0x22, 0x7ffd, 0x3, 0x23, 0x4, 0x24, 0x5, 0x25, 0x26, 0x27, 0x6, 0x74,
    0x75, 0x28, 0x29, 0x2a, 0x7, 0x2b, 0x76, 0x2c, 0x8, 0x9, 0x2d, 0x77, 0x78, 0x79, 0x7a, 0x7b,
    0x7ffe, 0x7fc, 0x3ffd, 0x1ffd,
];
const LENGTHS: [u8; 95] = [
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15,
    6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8,
    13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7,
    7, 7, 15, 11, 14, 13,
];

/// The part of the block to replace, and its replacement.
pub(super) type Replacement = (Range<usize>, Vec<u8>);

/// What to replace in the block so that its authority can be read; nothing if it can.
pub(super) fn replacement(block: &[u8]) -> Option<Replacement> {
    let mut reader = Reader { block, at: 0 };
    loop {
        let start = reader.at;
        let first = reader.byte()?;
        let (index, indexing) = match first {
            0x80.. => {
                if reader.integer(first, 7)? == AUTHORITY_INDEX {
                    return Some((start..reader.at, Vec::new()));
                }
                continue;
            }
            0x40.. => (reader.integer(first, 6)?, true),
            // Another size of the table.
            0x20.. => {
                reader.integer(first, 5)?;
                continue;
            }
            _ => (reader.integer(first, 4)?, false),
        };
        let is_authority = match index {
            0 => reader.text()?.decoded().is_some_and(|name| name == AUTHORITY),
            index => index == AUTHORITY_INDEX,
        };
        let value_start = reader.at;
        let value = reader.text()?;
        if is_authority {
            let value = value.decoded()?;
            return match value.len() {
                _ if Authority::try_from(value.as_slice()).is_ok() => None,
                0 if !indexing => Some((start..reader.at, Vec::new())),
                length => Some((value_start..reader.at, placeholder(length.max(1)))),
            };
        }
    }
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
        // Three bytes are enough for anything that fits into a frame.
        for shift in [0, 7, 14] {
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
    /// The characters, if they are all printable ASCII.
    fn decoded(&self) -> Option<Vec<u8>> {
        if self.bytes.len() > MAX_VALUE {
            return None;
        }
        if !self.is_huffman {
            return Some(self.bytes.to_vec());
        }
        let mut text = Vec::with_capacity(self.bytes.len() * 2);
        let (mut code, mut length) = (0, 0);
        for byte in self.bytes {
            for bit in (0..8).rev() {
                (code, length) = (code << 1 | u32::from(byte >> bit & 1), length + 1);
                if let Some(char) = character(code, length) {
                    text.push(char);
                    (code, length) = (0, 0);
                } else if length > 19 {
                    return None;
                }
            }
        }
        // The rest of the last byte is ones (5.2).
        (length < 8 && code + 1 == 1 << length).then_some(text)
    }
}

fn character(code: u32, length: u8) -> Option<u8> {
    let known = CODES.iter().zip(&LENGTHS).position(|(c, l)| (*c, *l) == (code, length))?;
    Some(FIRST_CHAR + u8::try_from(known).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn huffman(hex: &str) -> Text<'static> {
        Text { bytes: hex::decode(hex).unwrap().leak(), is_huffman: true }
    }

    #[test]
    fn huffman_s_code_is_that_of_the_rfc() {
        // RFC 7541, C.4 and C.6.
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
            ("", ""),
        ] {
            assert_eq!(huffman(coded).decoded().unwrap(), text.as_bytes(), "{coded}");
        }
        // Padding that is too long, and one of zeros.
        for wrong in ["f1e3c2e5f23a6ba0ab90f4ffff", "a8eb10649cb0"] {
            assert_eq!(huffman(wrong).decoded(), None, "{wrong}");
        }
    }

    /// `:method: POST`, a field, and `:path: /`.
    fn block(field: &str) -> Vec<u8> {
        hex::decode(format!("83{field}84")).unwrap()
    }

    #[test]
    fn only_an_authority_that_is_none_of_a_uri_is_replaced_by_one_of_its_length() {
        // The value is the last part of the field.
        for (field, length) in [
            // `/tmp/s.sock`, in all ways to say it.
            ("41 88 6134d6c21741c9d7", 11),
            ("01 88 6134d6c21741c9d7", 11),
            ("11 0b 2f746d702f732e736f636b", 11),
            ("40 0a 3a617574686f72697479 0b 2f746d702f732e736f636b", 11),
            // `%2Ftmp%2Fs.sock`, `a:1,b:2`, `extension/x`.
            ("41 8b 5458534d6a8b0a1741c9d7", 15),
            ("41 86 1dc0fd47705f", 7),
            ("41 88 2f9496a418f531e7", 11),
            ("41 00", 1),
        ] {
            let block = block(&field.replace(' ', ""));
            let (range, value) = replacement(&block).unwrap();
            assert_eq!(range.end, block.len() - 1, "{field}");
            let value_bytes = field.split(' ').rev().take(2).collect::<String>().len() / 2;
            let value_bytes = if field == "41 00" { 1 } else { value_bytes };
            assert_eq!(range.len(), value_bytes, "{field}");
            assert_eq!(value, [&[length][..], &vec![b'x'; length.into()]].concat(), "{field}");
        }
        // An empty one is left out where the decoder keeps nothing of it.
        assert_eq!(replacement(&block("81")), Some((1..2, Vec::new())));
        assert_eq!(replacement(&block("0100")), Some((1..3, Vec::new())));
    }

    #[test]
    fn everything_else_stays() {
        for field in [
            // `www.example.com`, `a:1`, an index of the dynamic table, another size of the table.
            "418cf1e3c2e5f23a6ba0ab90f4ff",
            "4103613a31",
            "be",
            "3fe11f",
            // `/tmp/s.sock` as another header, and as a `:path`.
            "400178886134d6c21741c9d7",
            "44886134d6c21741c9d7",
            // Cut off, and integers that are too long.
            "418861",
            "ffffffffffff",
            "417fffffffffff",
        ] {
            assert_eq!(replacement(&block(field)), None, "{field}");
        }
        assert_eq!(replacement(&[]), None);
    }

    #[test]
    fn a_long_value_has_a_length_of_several_bytes() {
        for length in [1, 126, 127, 128, 254, 255, 256, 300, MAX_VALUE] {
            let literal = placeholder(length);
            let mut reader = Reader { block: &literal, at: 0 };
            let text = reader.text().unwrap().decoded().unwrap();
            assert_eq!((text.len(), reader.at), (length, literal.len()));
        }
    }
}
