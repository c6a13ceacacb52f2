//! Which fields are replaced, and the table that a client counts on.

use super::*;
use crate::server::transport::huffman::tests::STEPS;

/// `:method: POST`, a field, and `:path: /`.
fn block(field: &str) -> Vec<u8> {
    hex::decode(format!("83{}84", field.replace(' ', ""))).unwrap()
}

/// What is replaced in the block when it is the first one.
fn replacement(block: &[u8]) -> Option<Replacement> {
    let mut replacements = Blocks::new().read(block)?;
    assert!(replacements.len() <= 1);
    replacements.pop()
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
        ("00 88 b83b5339ec327d7f 88 6134d6c21741c9d7", 11),
        // `%2Ftmp%2Fs.sock`, `a:1,b:2`, `extension/x`, `/é`.
        ("41 8b 5458534d6a8b0a1741c9d7", 15),
        ("41 86 1dc0fd47705f", 7),
        ("41 88 2f9496a418f531e7", 11),
        ("41 03 2fc3a9", 3),
        ("41 00", 1),
    ] {
        let block = block(field);
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

const FOREIGN: &str = "41 88 6134d6c21741c9d7";

#[test]
fn it_is_found_after_any_field() {
    // `:path: /`, `:scheme: http`, `:path: /x`, `:x: y`, an encoding, and `x: y` in both codes.
    for before in
        ["84", "86", "44022f78", "00023a780179", "90", "5f00", "0001780179", "0081f300", "3fe11f"]
    {
        let before = block(before);
        let all = [&before[..], &hex::decode(FOREIGN.replace(' ', "")).unwrap()].concat();
        let expected = before.len() + 1..all.len();
        assert_eq!(replacement(&all).map(|(range, _)| range), Some(expected), "{before:x?}");
    }
}

#[test]
fn everything_else_stays() {
    for field in [
        // `www.example.com`, `a:1`, an index, another size of the table.
        "418cf1e3c2e5f23a6ba0ab90f4ff",
        "4103613a31",
        "82",
        "3fe11f",
        // `/tmp/s.sock` as another header, and as a `:path`.
        "400178886134d6c21741c9d7",
        "44886134d6c21741c9d7",
        // With a line feed and with DEL, which no text has.
        "4184fffffff3",
        "41012f7f",
    ] {
        assert_eq!(replacement(&block(field)), None, "{field}");
    }
    // Longer than is looked at.
    let foreign = |length| [&[0x41, 0x7f, length, 3][..], &[b'/'; 513]].concat();
    let long = foreign(0x82);
    assert_eq!(Blocks::new().read(&long), Some(Vec::new()));
    assert!(replacement(&foreign(0x81)[..4 + 512]).is_some());
}

#[test]
fn what_h2_cannot_read_is_unreadable() {
    for field in [
        // Cut off.
        "4188",
        "40",
        "7f",
        // Integers that are too long, no index, one beyond the table, and too large a table.
        "ffffffffffff",
        "417fffffffffff",
        "80",
        "be",
        "7e00",
        "3fe21f",
        // No code of Huffman's that enters the table.
        "5f84ffffffff",
    ] {
        assert_eq!(Blocks::new().read(&hex::decode(field).unwrap()), None, "{field}");
    }
    assert_eq!(Blocks::new().read(&[]), Some(Vec::new()));
}

/// What is replaced in each of these blocks, which come over one connection.
fn replaced(blocks: &[&str]) -> Vec<Option<usize>> {
    let mut connection = Blocks::new();
    let blocks = blocks.iter().map(|block| hex::decode(block.replace(' ', "")).unwrap());
    blocks.map(|block| connection.read(&block).map(|all| all.len())).collect()
}

#[test]
fn a_name_may_be_one_of_the_table() {
    // `:authority: a` with its name, then the name by its number with `/`, kept and not kept.
    let named = "40 0a 3a617574686f72697479 01 61";
    assert_eq!(replaced(&[named, "0f2f 01 2f", "7e 01 2f"]), [Some(0), Some(1), Some(1)]);
    // After two more entries (`:path: /x` and `x: y`), its number is another.
    let more = "44 02 2f78 40 01 78 01 79";
    let numbers = [named, more, "0f2f 01 2f", "0f30 01 2f", "0f31 01 2f", "0f32 01 2f"];
    assert_eq!(replaced(&numbers), [Some(0), Some(0), Some(0), Some(0), Some(1), None]);
    // The name of the entry that this one displaces.
    assert_eq!(replaced(&[named, "3f0c 7e 01 2f", "0f2f 01 2f"]), [Some(0), Some(1), Some(1)]);
}

#[test]
fn the_table_has_what_the_client_counts_on() {
    // `:authority: a` takes 43 bytes. Into a table of 86 fit two, of 85 one.
    let two = "41 01 61 41 01 62";
    assert_eq!(replaced(&[&format!("3f37 {two}"), "bf"]), [Some(0), Some(0)]);
    assert_eq!(replaced(&[&format!("3f36 {two}"), "bf"]), [Some(0), None]);
    assert_eq!(replaced(&[two, "3f36", "be", "bf"]), [Some(0), Some(0), Some(0), None]);
    // In Huffman's code, `www.example.com` takes 15 bytes: 57, and 57 with `custom-key` once more.
    let huffman = "41 8c f1e3c2e5f23a6ba0ab90f4ff 40 88 25a849e95ba97d7f 01 61";
    assert_eq!(replaced(&[&format!("3f45 {huffman}"), "bf"]), [Some(0), Some(0)]);
    assert_eq!(replaced(&[&format!("3f44 {huffman}"), "bf"]), [Some(0), None]);
    // What is larger than the table empties it.
    assert_eq!(replaced(&["3f0b 41 00 41 01 61", "be"]), [Some(1), None]);
    // It never has more than its bytes allow.
    let mut connection = Blocks::new();
    for _ in 0..1000 {
        assert!(connection.read(&[0x40, 1, b'x', 0]).is_some());
    }
    assert_eq!(connection.0.entries.len(), TABLE_BYTES / 33);
    assert_eq!(connection.0.size, TABLE_BYTES / 33 * 33);
}

#[test]
fn a_replaced_authority_keeps_its_number() {
    // Its value in the decoder's table is another, and nothing has to be replaced any more.
    assert_eq!(replaced(&[FOREIGN, "be", "83be84"]), [Some(1), Some(0), Some(0)]);
    // A second one enters the table as well.
    assert_eq!(
        replaced(&[&format!("41 01 61 {FOREIGN}"), "be", "bf"]),
        [Some(1), Some(0), Some(0)]
    );
}

#[test]
fn texts_are_skipped_where_nothing_depends_on_them() {
    // As of a client of Go: all by their numbers, but a path, a token, and a deadline.
    let mut first = hex::decode("8386").unwrap();
    let fields: [(&[u8], &str); 6] = [
        (&[0x44], "8c 62c8e4a3a0ea9c0f4a9d5cff"),
        (&[0x41], "8c f1e3c2e5f23a6ba0ab90f4ff"),
        (&[0x5f], "8b 1d75d0620d263d4c4d6564"),
        (&[0x7a], "88 a8eb10649cbfa8eb"),
        (&[0x40], "82 497f 86 a8eb10649cbf"),
        (&[0x40], "88 25a849e95ba97d7f 03 313233"),
    ];
    for (name, value) in fields {
        first.extend(name);
        first.extend(hex::decode(value.replace(' ', "")).unwrap());
    }
    let again = hex::decode("8386c3c2c1c0bfbe").unwrap();
    let mut connection = Blocks::new();
    assert_eq!(connection.read(&first), Some(Vec::new()));
    STEPS.set(0);
    assert_eq!(connection.read(&again), Some(Vec::new()));
    assert_eq!(STEPS.get(), 0, "numbers alone");
    // A text that no table keeps is not decoded, however long it is.
    let long = [&[0x0f, 0x03, 0xff, 0x81, 0x7e][..], &[0x1f; 16_256]].concat();
    assert_eq!(connection.read(&[&long[..], &again].concat()), Some(Vec::new()));
    assert_eq!(STEPS.get(), 0, "a text that is not kept");
    // One that is kept is, one step for each character.
    let kept = [&[0x40, 0x81, 0x1f, 0xe4][..], &[0x1f; 100]].concat();
    assert_eq!(connection.read(&kept), Some(Vec::new()));
    assert!((100..=162).contains(&STEPS.get()), "{} steps", STEPS.get());
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
