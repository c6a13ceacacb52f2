//! The gateway's own ids of calls.

use std::{
    cell::Cell,
    fmt,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The gateway's own id of a call: the access log, the audit log with its journal, and the metadata
/// of an error have it. No caller chooses it, and two of them do not tell how many calls there were
/// between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(u64);

/// How many characters an id has.
pub const CALL_ID_LENGTH: usize = 16;

impl CallId {
    /// The id of the next call.
    fn next() -> Self {
        static KEYS: LazyLock<[u64; 2]> = LazyLock::new(rand::random);
        let [before, after] = *KEYS;
        // All of it can be undone, so no two calls of a process have the same; but not without the
        // second key.
        Self(mixed(before.wrapping_add(number())) ^ after)
    }

    /// The id as it is shown, without an allocation.
    #[must_use]
    pub fn shown(self) -> ShownCallId {
        let mut text = [0; CALL_ID_LENGTH];
        let mut rest = self.0;
        for digit in text.iter_mut().rev() {
            let nibble = (rest & 15) as u8;
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            rest >>= 4;
        }
        ShownCallId(text)
    }
}

impl Default for CallId {
    fn default() -> Self {
        Self::next()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown().as_str())
    }
}

/// The number in which each bit depends on all of another number's (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^ (id >> 31)
}

/// A number that no other call has.
fn number() -> u64 {
    /// Each thread takes so many at a time, so that threads do not wait for each other.
    const BLOCK: u64 = 1024;
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static OWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    let own = OWN.try_with(|own| {
        let (mut next, mut end) = own.get();
        if next == end {
            next = NEXT.fetch_add(BLOCK, Ordering::Relaxed);
            end = next + BLOCK;
        }
        own.set((next + 1, end));
        next
    });
    // A thread that is about to end has none of its own.
    own.unwrap_or_else(|_| NEXT.fetch_add(BLOCK, Ordering::Relaxed))
}

/// A call's id as text.
#[derive(Debug, Clone, Copy)]
pub struct ShownCallId([u8; CALL_ID_LENGTH]);

impl ShownCallId {
    /// Sixteen hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // They are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_call_has_an_id_of_its_own() {
        let ids: HashSet<String> = (0..1000).map(|_| CallId::default().to_string()).collect();
        assert_eq!(ids.len(), 1000);
        let is_hex = |digit: char| digit.is_ascii_digit() || ('a'..='f').contains(&digit);
        assert!(ids.iter().all(|id| id.len() == CALL_ID_LENGTH && id.chars().all(is_hex)));
    }

    // Regression: who undid the mixing of two ids had the number of the calls between.
    #[test]
    fn ids_do_not_tell_how_many_calls_there_were() {
        let divided = |product: u64, by: u64| {
            // Newton's method: each step doubles the bits that are right.
            let inverse = (0..6).fold(by, |inverse: u64, _| {
                inverse.wrapping_mul(2_u64.wrapping_sub(by.wrapping_mul(inverse)))
            });
            product.wrapping_mul(inverse)
        };
        let unshifted = |sum: u64, by: u32| sum ^ (sum >> by) ^ (sum >> (2 * by));
        let unmixed = |id: u64| {
            let id = divided(unshifted(id, 31), 0x94d0_49bb_1331_11eb);
            let id = divided(unshifted(id, 27), 0xbf58_476d_1ce4_e5b9);
            divided(unshifted(id, 30), 0x9e37_79b9_7f4a_7c15)
        };
        for number in [0, 1, 7, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(unmixed(mixed(number)), number);
        }
        let [first, second] = [CallId::next(), CallId::next()].map(|id| unmixed(id.0));
        assert!(first.abs_diff(second) > 1 << 20, "{first} {second}");
    }

    #[test]
    fn an_id_is_shown_as_its_number() {
        assert_eq!(CallId(0x0123_4567_89ab_cdef).to_string(), "0123456789abcdef");
        assert_eq!(CallId(7).shown().as_str(), "0000000000000007");
    }
}
