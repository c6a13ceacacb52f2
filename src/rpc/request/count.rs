//! Counts what an encoded request repeats, without building any of it.
//!
//! It reads each byte once. What is not Protobuf it leaves to the decoder, which refuses it at the
//! same place, and has built no more than was counted before.

use super::{
    bounds::{BOUNDS, MAX_UNKNOWN},
    schema::{COUNTS, Field, Message, Schema, Shape, goes_on},
};
use crate::error::violation::{Violation, Violations};

/// How deep messages are followed; the decoder takes a hundred levels.
const MAX_DEPTH: usize = 128;
/// So many broken bounds are reported.
const MAX_REPORTED: usize = 8;

/// Wire types of Protobuf.
const VARINT: u64 = 0;
const EIGHT: u64 = 1;
const LENGTH: u64 = 2;
const GROUP: u64 = 3;
const END_OF_GROUP: u64 = 4;
const FOUR: u64 = 5;

/// Nothing more is counted.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is not a message of this kind, or goes too deep.
    Malformed,
    /// Enough is wrong already.
    Enough,
}

type Counts = [u32; COUNTS];

/// Every bound that the request breaks, up to a few, and whether it could be read to its end.
pub(super) fn violations(schema: &Schema, root: usize, bytes: &[u8]) -> (Vec<Violation>, bool) {
    let mut counting = Counting {
        schema,
        whole: [0; COUNTS],
        unknown: 0,
        found: 0,
        broken: Violations::default(),
    };
    let Some(message) = schema.message(root) else { return (Vec::new(), false) };
    let place = Place { above: None, field: None, index: None };
    let read = counting.message(message, bytes, &mut [0; COUNTS], &place, 0);
    (counting.broken.into_vec(), !matches!(read, Err(Stop::Malformed)))
}

struct Counting<'s> {
    schema: &'s Schema,
    /// What is counted in the whole request.
    whole: Counts,
    unknown: u32,
    found: usize,
    broken: Violations,
}

/// Where something is in the request.
struct Place<'a> {
    above: Option<&'a Place<'a>>,
    field: Option<&'a Field>,
    index: Option<u32>,
}

impl Place<'_> {
    fn path(&self) -> String {
        let above = self.above.map(Place::path).unwrap_or_default();
        let Some(field) = self.field.filter(|field| !field.inner) else { return above };
        let dot = if above.is_empty() { "" } else { "." };
        let index = self.index.map(|index| format!("[{index}]")).unwrap_or_default();
        format!("{above}{dot}{}{index}", field.name)
    }
}

impl Counting<'_> {
    /// `counts`: of the element that the message is a part of.
    fn message(
        &mut self,
        message: &Message,
        mut bytes: &[u8],
        counts: &mut Counts,
        place: &Place<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Malformed);
        }
        while !bytes.is_empty() {
            let (number, wire) = key(&mut bytes)?;
            match message.field(number) {
                None => self.unknown(number, wire, &mut bytes)?,
                Some(field) => self.field(field, wire, &mut bytes, counts, place, depth)?,
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &Field,
        wire: u64,
        bytes: &mut &[u8],
        counts: &mut Counts,
        place: &Place<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        let value = match (field.shape, wire) {
            (Shape::Message(_) | Shape::Text, LENGTH) => delimited(bytes)?,
            (Shape::Varint, VARINT) => {
                varint(bytes)?;
                &[]
            }
            (Shape::Four, FOUR) => taken(bytes, 4)?,
            (Shape::Eight, EIGHT) => taken(bytes, 8)?,
            (shape, LENGTH) if field.repeated => {
                let packed = packed(shape, delimited(bytes)?);
                return self.add(field, packed, counts, place).map(|_| ());
            }
            _ => return Err(Stop::Malformed),
        };
        let index = self.add(field, 1, counts, place)?;
        let Shape::Message(inner) = field.shape else { return Ok(()) };
        let Some(inner) = self.schema.message(inner) else { return Ok(()) };
        let index = index.filter(|_| field.repeated).map(|count| count - 1);
        let place = Place { above: Some(place), field: Some(field), index };
        match field.repeated {
            true => self.message(inner, value, &mut [0; COUNTS], &place, depth + 1),
            // Parts of one message may come one after the other: they are counted together.
            false => self.message(inner, value, counts, &place, depth + 1),
        }
    }

    /// Counts so many more, and tells how many there are now.
    fn add(
        &mut self,
        field: &Field,
        more: u32,
        counts: &mut Counts,
        place: &Place<'_>,
    ) -> Result<Option<u32>, Stop> {
        let mut now = None;
        for &index in &field.bounds {
            let counts = if goes_on(index) { &mut self.whole } else { &mut *counts };
            let (Some(count), Some(bound)) = (counts.get_mut(index), BOUNDS.get(index)) else {
                continue;
            };
            let before = *count;
            *count = before.saturating_add(more);
            now = now.or(Some(*count));
            if before <= bound.most && *count > bound.most {
                let place = Place { above: Some(place), field: Some(field), index: None };
                self.broken.add(place.path(), bound.exceeded());
                self.report()?;
            }
        }
        Ok(now)
    }

    /// Passes over a field that the contract does not have.
    fn unknown(&mut self, number: u32, wire: u64, bytes: &mut &[u8]) -> Result<(), Stop> {
        let mut groups = vec![];
        let (mut number, mut wire) = (number, wire);
        loop {
            self.unknown += 1;
            if self.unknown > MAX_UNKNOWN {
                let message = format!("has more than {MAX_UNKNOWN} fields that are not known here");
                self.broken.add("*", message);
                return Err(Stop::Enough);
            }
            match wire {
                VARINT => drop(varint(bytes)?),
                EIGHT => drop(taken(bytes, 8)?),
                LENGTH => drop(delimited(bytes)?),
                FOUR => drop(taken(bytes, 4)?),
                GROUP if groups.len() < MAX_DEPTH => groups.push(number),
                END_OF_GROUP if groups.pop() == Some(number) => {}
                _ => return Err(Stop::Malformed),
            }
            if groups.is_empty() {
                return Ok(());
            }
            (number, wire) = key(bytes)?;
        }
    }

    fn report(&mut self) -> Result<(), Stop> {
        self.found += 1;
        if self.found < MAX_REPORTED { Ok(()) } else { Err(Stop::Enough) }
    }
}

/// The number and the wire type of the next field.
fn key(bytes: &mut &[u8]) -> Result<(u32, u64), Stop> {
    let key = varint(bytes)?;
    match u32::try_from(key) {
        Ok(key) if key >> 3 != 0 => Ok((key >> 3, u64::from(key & 7))),
        _ => Err(Stop::Malformed),
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Stop> {
    if let [byte @ 0..=0x7f, rest @ ..] = bytes {
        *bytes = rest;
        return Ok(u64::from(*byte));
    }
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let [byte, rest @ ..] = bytes else { return Err(Stop::Malformed) };
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if *byte < 0x80 {
            // The tenth byte has room for one bit.
            return if shift == 63 && *byte > 1 { Err(Stop::Malformed) } else { Ok(value) };
        }
    }
    Err(Stop::Malformed)
}

fn delimited<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], Stop> {
    let length = varint(bytes)?;
    taken(bytes, usize::try_from(length).map_err(|_| Stop::Malformed)?)
}

fn taken<'b>(bytes: &mut &'b [u8], length: usize) -> Result<&'b [u8], Stop> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Stop::Malformed)?;
    *bytes = rest;
    Ok(taken)
}

/// How many numbers are packed in these bytes.
fn packed(shape: Shape, bytes: &[u8]) -> u32 {
    let count = match shape {
        Shape::Four => bytes.len() / 4,
        Shape::Eight => bytes.len() / 8,
        // Each ends with a byte whose first bit is not set.
        _ => bytes.iter().filter(|byte| **byte < 0x80).count(),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}
