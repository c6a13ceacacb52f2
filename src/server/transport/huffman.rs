//! Huffman's code of header fields (RFC 7541, appendix B), as far as a client's blocks have to be
//! understood here: how long a text is, and what it says if that can be an authority.
//!
//! The code is canonical: the codes of one length are consecutive numbers, and the first of the
//! next length follows from them. So how many there are of each length says it all but which
//! character a code stands for.

/// The most bits of a code.
const MAX_BITS: usize = 30;
/// The longest code that a single byte tells apart.
const SHORT_BITS: usize = 8;

/// How many codes there are of each length in bits. The last one of all, which means the end and
/// must not occur, is not counted.
const COUNTS: [u32; MAX_BITS + 1] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 3,
];

/// The characters of the shorter codes in their order. There is no printable one among the others
/// but the backslash.
const CHARACTERS: [&[u8]; 16] = [
    b"",
    b"",
    b"",
    b"",
    b"",
    b"012aceiost",
    b" %-./3456789=A_bdfghlmnpru",
    b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    b"&*,;XZ",
    b"",
    b"!\"()?",
    b"'+|",
    b"#>",
    b"\0$@[]~",
    b"^}",
    b"<`{",
];
/// The number of bits and the position among the codes of so many bits.
const BACKSLASH: (usize, u32) = (19, 0);

/// Represents any byte in a text that is not ASCII.
const NOT_ASCII: u8 = 0x80;

/// The first code of each length.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const FIRST: [u32; MAX_BITS + 1] = {
    let mut first = [0; MAX_BITS + 1];
    let mut bits = 1;
    while bits <= MAX_BITS {
        first[bits] = (first[bits - 1] + COUNTS[bits - 1]) << 1;
        bits += 1;
    }
    first
};

/// The length of the code that begins with a byte; 0 if one byte is not enough.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const SHORT: [u8; 256] = {
    let mut short = [0; 256];
    let mut bits = 1;
    while bits <= SHORT_BITS {
        let spare = SHORT_BITS - bits;
        let mut byte = (FIRST[bits] as usize) << spare;
        let end = ((FIRST[bits] + COUNTS[bits]) as usize) << spare;
        while byte < end {
            short[byte] = bits as u8;
            byte += 1;
        }
        bits += 1;
    }
    short
};

/// How many bytes the text takes when it is decoded; `None` if it cannot be.
pub(super) fn decoded_length(coded: &[u8]) -> Option<usize> {
    let mut length = 0;
    decode(coded, |_, _| length += 1)?;
    Some(length)
}

/// The text, with one byte for all control characters, and one for all beyond ASCII.
pub(super) fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 2);
    decode(coded, |bits, position| text.push(character(bits, position)))?;
    Some(text)
}

fn character(bits: usize, position: u32) -> u8 {
    let characters = CHARACTERS.get(bits).copied().unwrap_or_default();
    match (bits, position) {
        BACKSLASH => b'\\',
        // 1 and the tab; others, beside two beyond ASCII; a line feed, a return, and 22.
        (23 | 24, 0) | (28, ..27) | (30, _) => 0,
        _ => characters.get(position as usize).copied().unwrap_or(NOT_ASCII),
    }
}

/// Names each character by the length of its code and its position among those; `None` if the bytes
/// cannot be decoded.
fn decode(coded: &[u8], mut found: impl FnMut(usize, u32)) -> Option<()> {
    let mut bytes = coded.iter();
    // The next bits, the last ones lowest, and how many there are.
    let (mut ahead, mut held) = (0_u64, 0_u32);
    loop {
        while held <= 32
            && let Some(byte) = bytes.next()
        {
            (ahead, held) = (ahead << 8 | u64::from(*byte), held + 8);
        }
        // The rest of the last byte is ones (5.2), which no code is that is so short.
        if held < 8 && ahead + 1 == 1 << held {
            return Some(());
        }
        #[cfg(test)]
        tests::STEPS.set(tests::STEPS.get() + 1);
        // With ones behind the end.
        let next = match held.checked_sub(32) {
            Some(more) => (ahead >> more) as u32,
            None => ((ahead + 1) << (32 - held)).wrapping_sub(1) as u32,
        };
        let short = SHORT.get((next >> 24) as usize).copied().unwrap_or_default();
        let (bits, position) = match usize::from(short) {
            0 => (SHORT_BITS + 1..=MAX_BITS).find_map(|bits| position(next, bits))?,
            bits => position(next, bits)?,
        };
        held = held.checked_sub(bits as u32)?;
        ahead &= (1 << held) - 1;
        found(bits, position);
    }
}

/// The position of the code of so many bits, if the next bits begin with one.
fn position(next: u32, bits: usize) -> Option<(usize, u32)> {
    let position = (next >> (32 - bits)).checked_sub(*FIRST.get(bits)?)?;
    (position < *COUNTS.get(bits)?).then_some((bits, position))
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How many characters were looked up.
        pub(in super::super) static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    fn said(coded: &str) -> Option<Vec<u8>> {
        let coded = hex::decode(coded).unwrap();
        let said = decoded(&coded);
        assert_eq!(decoded_length(&coded), said.as_ref().map(Vec::len));
        said
    }

    /// All printable characters in their order.
    const EVERY_CHARACTER: &str = "53f8fe7febff2afc7fafebfbf9ff7f4b2ec002265a6dc75e7ee7dfffc83f\
        effcffd4376f5fc187163c997367d1a756bd9b776fe1c797e73fdffdffff0ffe7ff917ffd1c6490b2cd39ba7\
        5a29a8f5f6b109b7bf8f3ebdfffeff9ffefff7";

    #[test]
    fn the_code_is_that_of_the_rfc() {
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
            assert_eq!(said(coded).unwrap(), text.as_bytes(), "{coded}");
        }
    }

    #[test]
    fn it_is_complete() {
        // 256 characters, and the one code that means the end.
        assert_eq!(COUNTS.iter().sum::<u32>(), 256);
        assert_eq!(FIRST[MAX_BITS] + COUNTS[MAX_BITS] + 1, 1 << MAX_BITS);
    }

    #[test]
    fn characters_that_are_not_printable_count() {
        // NUL, 1, the tab, 2, DEL, a line feed and 22: from 13 to 30 bits, and ones.
        for coded in ["ffc7", "ffffb1", "ffffea", "fffffe2f", "ffffffcf", "fffffff3", "fffffffb"] {
            assert_eq!(said(coded), Some(vec![0]), "{coded}");
        }
        // 0x80, 0xc3, 0xdc and 0xf9.
        for coded in ["fffe6f", "fffe3f", "ffffffdf", "ffffffef"] {
            assert_eq!(said(coded), Some(vec![NOT_ASCII]), "{coded}");
        }
    }

    #[test]
    fn broken_codes_are_refused() {
        // Padding that is too long, one of zeros, a code cut off, and the one that means the end.
        for wrong in ["f1e3c2e5f23a6ba0ab90f4ffff", "a8eb10649cb0", "ff", "fffffffc", "ffffffff"] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
    }
}
