//! How long things are kept.

use std::time::Duration;

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Without it every read asks the upstream.
    pub enabled: bool,
    /// How long a profile or a list counts after it was read. Each entry gets up to a tenth less, so
    /// that what was read together does not run out together.
    pub ttl: Duration,
    /// The same for a backend's services, which its operator hardly ever changes.
    pub services_ttl: Duration,
    /// How long it is known that a profile does not exist.
    pub negative_ttl: Duration,
    /// How long after its time a value is still served while it is read anew.
    pub stale_while_revalidate: Duration,
    /// How long after its time a value is served where the upstream fails.
    pub stale_if_error: Duration,
    /// Bytes of all entries, with what the store itself needs.
    pub max_bytes: usize,
    /// Whether what a list shows of a profile is all of it.
    pub lists_are_complete: bool,
}
