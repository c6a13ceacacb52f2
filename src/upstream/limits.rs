//! What a vendor allows, as its dialect declares it and as the configuration may change it.

use std::num::NonZeroU32;

/// A vendor's limit: a steady rate, and a burst.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Requests per second.
    pub per_second: NonZeroU32,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}
