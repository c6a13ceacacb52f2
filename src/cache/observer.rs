//! What a cache tells of its reads.

use std::time::Duration;

use super::served::Outcome;

/// Told what happens; the metrics listen.
pub trait Observer: Send + Sync + 'static {
    /// A read was answered. `negative`: that there is nothing, from the cache.
    fn read(&self, outcome: Outcome, negative: bool);
    /// A load is over.
    fn load(&self, took: Duration, succeeded: bool);
    /// A value was not kept, because a write or a purge came between.
    fn rejected_fill(&self);
}
