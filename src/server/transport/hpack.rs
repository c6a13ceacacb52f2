//! Finds the `:authority` in a header block (RFC 7541), as far as that goes without a decoder's
//! state, and gives it another value where it is not one of a URI.
//!
//! Replaced is the literal, which a client sends once. A decoder keeps it under the number by which
//! the client names it from then on. So the new value is as long as the old: the number and the
//! sizes in the decoder's table remain what the client takes them for. The exception is an empty
//! value that the decoder is to keep. It gets one character, because no authority of a URI is
//! empty, and takes one byte more in the table than the client counts.
//!
//! Each call of a connection may come here, so a block costs little whatever is in it: names are
//! compared as they are coded, and at most one value is decoded.

use std::ops::Range;

use http::uri::Authority;

const AUTHORITY: &[u8] = b":authority";
/// The same in Huffman's code.
const AUTHORITY_IN_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
/// Its position in the static table, which has it without a value.
const AUTHORITY_INDEX: usize = 1;
/// The last pseudo-header field of the static table.
const LAST_PSEUDO: usize = 14;
/// The last field of the static table; the dynamic table comes after it.
const LAST_STATIC: usize = 61;
/// The seven bits of a colon in Huffman's code.
const COLON_IN_HUFFMAN: u8 = 0x5c;
/// Values that take more bytes are not looked at.
const MAX_VALUE: usize = 512;
/// Any letter that is valid in an authority.
const PLACEHOLDER: u8 = b'x';

/// Huffman's code for printable characters (RFC 7541, appendix B): for each length in bits, the
/// first code, and the characters that have it and those after it. No authority has others.
const CODES: [(u32, &[u8]); 20] = [
    (0, b""),
    (0, b""),
    (0, b""),
    (0, b""),
    (0, b""),
    (0x0, b"012aceiost"),
    (0x14, b" %-./3456789=A_bdfghlmnpru"),
    (0x5c, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (0xf8, b"&*,;XZ"),
    (0, b""),
    (0x3f8, b"!\"()?"),
    (0x7fa, b"'+|"),
    (0xffa, b"#>"),
    (0x1ff9, b"$@[]~"),
    (0x3ffc, b"^}"),
    (0x7ffc, b"<`{"),
    (0, b""),
    (0, b""),
    (0, b""),
    (0x7fff0, b"\\"),
];

/// The part of the block to replace, and its replacement.
pub(super) type Replacement = (Range<usize>, Vec<u8>);

/// What to replace in the block so that its authority can be read; nothing if it can. Pseudo-header
/// fields come before all others (RFC 9113, 8.3), so the first other one is the end.
pub(super) fn replacement(block: &[u8]) -> Option<Replacement> {
    let mut reader = Reader { block, at: 0 };
    loop {
        let start = reader.at;
        let first = reader.byte()?;
        let (index, indexing) = match first {
            0x80.. => match reader.integer(first, 7)? {
                AUTHORITY_INDEX => return Some((start..reader.at, Vec::new())),
                index if may_be_pseudo(index) => continue,
                _ => return None,
            },
            0x40.. => (reader.integer(first, 6)?, true),
            // Another size of the table.
            0x20.. => {
                reader.integer(first, 5)?;
                continue;
            }
            _ => (reader.integer(first, 4)?, false),
        };
        let is_authority = match index {
            0 => {
                let name = reader.text()?;
                if !name.is_pseudo() {
                    return None;
                }
                name.is_authority()
            }
            AUTHORITY_INDEX => true,
            index if may_be_pseudo(index) => false,
            _ => return None,
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

/// Whether a field of this index can be a pseudo-header field. The dynamic table is unknown.
fn may_be_pseudo(index: usize) -> bool {
    (1..=LAST_PSEUDO).contains(&index) || index > LAST_STATIC
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
    /// Whether this name is that of a pseudo-header field.
    fn is_pseudo(&self) -> bool {
        let first = self.bytes.first();
        first.is_some_and(|byte| match self.is_huffman {
            true => byte >> 1 == COLON_IN_HUFFMAN,
            false => *byte == b':',
        })
    }

    /// A text has one code only.
    fn is_authority(&self) -> bool {
        self.bytes == if self.is_huffman { AUTHORITY_IN_HUFFMAN } else { AUTHORITY }
    }

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
                } else if usize::from(length) >= CODES.len() {
                    return None;
                }
            }
        }
        // The rest of the last byte is ones (5.2).
        (length < 8 && code + 1 == 1 << length).then_some(text)
    }
}

/// The character that has this code of so many bits.
fn character(code: u32, length: u8) -> Option<u8> {
    #[cfg(test)]
    tests::STEPS.set(tests::STEPS.get() + 1);
    let (first, characters) = CODES.get(usize::from(length))?;
    let position = usize::try_from(code.checked_sub(*first)?).ok()?;
    characters.get(position).copied()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How many bits were looked up.
        pub(super) static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    fn huffman(hex: &str) -> Text<'static> {
        Text { bytes: hex::decode(hex).unwrap().leak(), is_huffman: true }
    }

    /// All printable characters in their order.
    const EVERY_CHARACTER: &str = "53f8fe7febff2afc7fafebfbf9ff7f4b2ec002265a6dc75e7ee7dfffc83f\
        effcffd4376f5fc187163c997367d1a756bd9b776fe1c797e73fdffdffff0ffe7ff917ffd1c6490b2cd39ba7\
        5a29a8f5f6b109b7bf8f3ebdfffeff9ffefff7";

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
            ("b83b5339ec327d7f", ":authority"),
            (EVERY_CHARACTER, &(' '..='~').collect::<String>()),
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

    const FOREIGN: &str = "41886134d6c21741c9d7";

    #[test]
    fn it_is_looked_for_among_the_pseudo_header_fields_only() {
        // `:path: /`, `:scheme: http`, indices of the dynamic table, `:path: /x` and `:x: y`.
        for before in ["84", "86", "be", "ff00", "7e00", "44022f78", "00023a780179", "0082b9f900"] {
            let before = block(before);
            let all = [&before[..], &hex::decode(FOREIGN).unwrap()].concat();
            let expected = before.len() + 1..all.len();
            assert_eq!(replacement(&all).map(|(range, _)| range), Some(expected), "{before:x?}");
        }
        // An encoding, `content-type`, `x: y` plain and in Huffman's code, a name without a letter.
        for before in ["90", "5f00", "0f1000", "0001780179", "0081f300", "000000"] {
            assert_eq!(replacement(&block(&format!("{before}{FOREIGN}"))), None, "{before}");
        }
    }

    #[test]
    fn names_are_compared_as_they_are_coded() {
        // Of 4096 bytes, as much as `:authority` takes in either code, and none but the colon.
        let long = format!("00ff811fb8{}00", "1f".repeat(4095));
        let short = ["008ab81f1f1f1f1f1f1f1f1f00", "0088b83b5339ec327d7e00", "0081b900"].concat();
        let block = block(&[&long, &*short.repeat(200), FOREIGN].concat());
        STEPS.set(0);
        assert!(replacement(&block).is_some());
        assert!((1..=64).contains(&STEPS.get()), "{} steps", STEPS.get());
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
        // Longer than is looked at.
        let foreign = |length| [&[0x41, 0x7f, length, 3][..], &[b'/'; 513]].concat();
        assert_eq!(replacement(&foreign(0x82)), None);
        assert!(replacement(&foreign(0x81)).is_some());
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
