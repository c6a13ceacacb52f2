//! Frames in pieces of any size, and what of them is copied.

use std::cell::Cell;

use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::*;

thread_local! {
    /// How many bytes were copied.
    pub(super) static COPIED: Cell<usize> = const { Cell::new(0) };
}

const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const MAX_HEADERS: usize = 128 * 1024;
/// What h2 reads of a block with such headers.
const MAX_FRAMES: usize = 12;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&size[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

fn start() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, &[])].concat()
}

/// Fields with this authority.
fn block(authority: &[u8]) -> Vec<u8> {
    let length = u8::try_from(authority.len()).unwrap();
    [&[0x83, 0x41, length], authority, &[0x84]].concat()
}

/// A call with this authority.
fn call(flags: u8, authority: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    if flags & PADDED != 0 {
        payload.push(3);
    }
    if flags & PRIORITY != 0 {
        payload.extend([0, 0, 0, 0, 9]);
    }
    payload.extend(block(authority));
    if flags & PADDED != 0 {
        payload.extend([0; 3]);
    }
    let data = frame(DATA, 1, b"PRI and so on");
    [frame(HEADERS, flags | END_HEADERS, &payload), data].concat()
}

/// What h2 reads of these bytes, which arrive in pieces, and whether the rest passes by.
fn read(bytes: &[u8], piece: usize) -> (Vec<u8>, bool) {
    let mut authorities = Authorities::new(MAX_HEADERS);
    let mut all = Vec::new();
    for mut piece in bytes.chunks(piece) {
        while !piece.is_empty() {
            let read = match authorities.missing() {
                0 => {
                    let taken = authorities.take(piece);
                    all.extend_from_slice(&piece[..taken]);
                    piece.len()
                }
                missing => {
                    let read = missing.min(piece.len());
                    authorities.push(&piece[..read]);
                    read
                }
            };
            piece = &piece[read..];
            drain(&mut authorities, &mut all);
        }
    }
    let over = authorities.is_over();
    authorities.finish();
    drain(&mut authorities, &mut all);
    (all, over)
}

fn drain(authorities: &mut Authorities, all: &mut Vec<u8>) {
    loop {
        let mut bytes = [0; 50];
        let mut buffer = ReadBuf::new(&mut bytes);
        authorities.read(&mut buffer);
        if buffer.filled().is_empty() {
            return;
        }
        all.extend_from_slice(buffer.filled());
    }
}

#[test]
fn foreign_authorities_are_replaced_in_all_calls_of_a_connection() {
    for flags in [0, PADDED, PRIORITY, PADDED | PRIORITY] {
        let calls = [&b"ok"[..], b"/a", b"ok", b"a:1,b:2", b"ok"];
        let calls = calls.map(|authority| call(flags, authority)).concat();
        let bytes = [start(), calls].concat();
        // A frame that is changed loses its padding.
        let changed = |authority| call(flags & PRIORITY, authority);
        let expected = [
            start(),
            call(flags, b"ok"),
            changed(b"xx"),
            call(flags, b"ok"),
            changed(b"xxxxxxx"),
            call(flags, b"ok"),
        ]
        .concat();
        for piece in 1..bytes.len() {
            assert_eq!(read(&bytes, piece), (expected.clone(), false), "{flags} {piece}");
        }
    }
}

#[test]
fn a_block_may_come_in_several_frames() {
    let long = [&[0x10, 1, b'x', 0x7f, 0x81, 0x7f][..], &[b'y'; 16_384]].concat();
    for (foreign, own) in [(&b"/a"[..], &b"xx"[..]), (b"ok", b"ok")] {
        let fields = [block(foreign), long.clone()].concat();
        let expected = [block(own), long.clone()].concat();
        for split in [0, 1, 2, 3, 4, 5, 6, 100] {
            let (first, rest) = fields.split_at(split);
            let (second, third) = rest.split_at(1000);
            let frames = [
                frame(HEADERS, 1, first),
                frame(CONTINUATION, 0, second),
                frame(CONTINUATION, 0, &[]),
                frame(CONTINUATION, END_HEADERS, third),
                frame(DATA, 1, b"end"),
            ];
            let bytes = [start(), frames.concat()].concat();
            let changed = [
                start(),
                frame(HEADERS, 1, &expected[..MAX_FRAME]),
                frame(CONTINUATION, END_HEADERS, &expected[MAX_FRAME..]),
                frame(DATA, 1, b"end"),
            ];
            let expected = if foreign == own { bytes.clone() } else { changed.concat() };
            for piece in [1, 7, 1000, bytes.len()] {
                assert_eq!(read(&bytes, piece), (expected.clone(), false), "{split} {piece}");
            }
        }
    }
}

#[test]
fn a_block_that_h2_would_not_read_passes_as_it_is() {
    let call = call(0, b"/a");
    let other_stream = [0, 0, 0, CONTINUATION, END_HEADERS, 0, 0, 0, 3];
    for broken in [
        // Padding without an end, another frame or stream within a block, a frame too long.
        frame(HEADERS, PADDED | END_HEADERS, &[9, 0x83]),
        [frame(HEADERS, 0, &block(b"/a")), frame(DATA, 0, &[])].concat(),
        [frame(HEADERS, 0, &block(b"/a")), other_stream.to_vec()].concat(),
        frame(HEADERS, END_HEADERS, &[0; MAX_FRAME + 1]),
        // No field of this number.
        frame(HEADERS, END_HEADERS, &[0xff, 0xff, 0xff]),
        // A block without an end, in frames with something and with nothing.
        [frame(HEADERS, 0, &[]), frame(CONTINUATION, 0, &[0x83; 9000]).repeat(17)].concat(),
        [frame(HEADERS, 0, &[]), frame(CONTINUATION, 0, &[]).repeat(30)].concat(),
    ] {
        let bytes = [start(), broken, call.clone()].concat();
        for piece in [3, 1000, bytes.len()] {
            assert_eq!(read(&bytes, piece), (bytes.clone(), true), "{piece}");
        }
    }
}

#[test]
fn calls_go_on_after_one_whose_headers_are_too_large() {
    // h2 answers it with 431, and reads the next one.
    let part = |flags| frame(CONTINUATION, flags, &[0x83; MAX_FRAME]);
    let parts = [part(0).repeat(MAX_FRAMES - 2), part(END_HEADERS)].concat();
    let large = [start(), frame(HEADERS, 0, &[0x83; MAX_FRAME]), parts].concat();
    let bytes = [&large[..], &call(0, b"/a")].concat();
    assert!(read(&bytes, 10_000) == ([&large[..], &call(0, b"xx")].concat(), false));
}

#[test]
fn what_a_block_waits_for_is_bounded() {
    let part = frame(CONTINUATION, 0, &[0x83; MAX_FRAME]);
    let mut authorities = Authorities::new(MAX_HEADERS);
    authorities.push(&[start(), frame(HEADERS, 0, &[])].concat());
    for _ in 0..100 {
        authorities.push(&part);
        assert!(authorities.input.len() <= (MAX_FRAMES + 1) * part.len());
    }
    assert!(authorities.input.is_empty());
}

#[test]
fn only_heads_and_blocks_in_parts_are_copied() {
    // 8 MiB in frames of the usual size, and the calls of them.
    let data = frame(DATA, 0, &[7; MAX_FRAME]);
    let calls = [&call(0, b"ok")[..], &data.repeat(64)].concat().repeat(8);
    let bytes = [start(), calls].concat();
    for piece in [4096, 8192, 10_007, 65_536] {
        COPIED.set(0);
        let (all, _) = read(&bytes, piece);
        assert!(all == bytes);
        // In the worst case each piece ends within a head, which goes twice, or within a block.
        let most = bytes.len() / piece * HEAD * 2 + 8 * call(0, b"ok").len();
        assert!(COPIED.get() <= most, "{} of {most} by {piece}", COPIED.get());
    }
    // A change copies what was read together with it, and nothing after that.
    let bytes = [start(), call(0, b"ok"), call(0, b"/a"), data.repeat(64)].concat();
    COPIED.set(0);
    read(&bytes, 4096);
    assert!(COPIED.get() <= 4096 * 2, "{}", COPIED.get());
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
        frames in prop::collection::vec(
            (0..12_u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)),
            0..6,
        ),
        piece in 1..50_usize,
    ) {
        let frames = frames.iter().map(|(kind, flags, payload)| frame(*kind, *flags, payload));
        let bytes = [start(), frames.collect::<Vec<_>>().concat(), frame(DATA, 1, b"end")].concat();
        let (all, _) = read(&bytes, piece);
        let (whole, _) = read(&bytes, bytes.len());
        prop_assert_eq!(&all, &whole);
        prop_assert!(all.ends_with(&frame(DATA, 1, b"end")));
    }
}
