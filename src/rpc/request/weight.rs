//! How much memory a request takes.

/// What a call takes whatever it asks for, in bytes. A response up to this size is a part of it.
pub const PER_CALL: usize = 4 * 1024;
/// So many bytes in memory may come of one on the wire, as of an empty traffic limit.
const GROWTH: usize = 80;
/// What a request that is within its bounds becomes in memory at most, beside its texts.
const MOST_BUILT: usize = 512 * 1024;

/// The bytes that a call with a request of so many bytes may take: its message as it arrives, and
/// what is built of it.
#[must_use]
pub fn weight(bytes: usize) -> usize {
    PER_CALL + bytes + bytes.saturating_mul(GROWTH).min(MOST_BUILT)
}
