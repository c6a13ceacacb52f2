//! The cache settings of a backend: the `[backends.NAME.cache]` section.

use std::{ops::RangeInclusive, time::Duration};

use crate::settings::{
    bounds::{GIB, KIB, MIB, hours, minutes, seconds},
    bytes, duration, flag, settings,
};

/// A value that was not requested for a day is not worth keeping.
const TIME: RangeInclusive<Duration> = Duration::ZERO..=hours(24);
/// Less than 64 KiB barely holds one profile; more than 64 GiB is a mistake in the unit.
const SIZE: RangeInclusive<usize> = 64 * KIB..=64 * GIB;

settings! {
    /// How long things are kept.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CacheSettings {
        /// Whether reads are cached; if not, every read asks the upstream.
        enabled: bool = true, flag();
        /// How long a profile or a list is fresh. Each entry gets up to a tenth less, so that
        /// entries that were read together do not expire together.
        ttl: Duration = seconds(30), duration(TIME);
        /// How long the list of services is fresh.
        ///
        /// The operator of an upstream hardly ever changes it.
        services_ttl: Duration = minutes(10), duration(TIME);
        /// How long it is remembered that a profile does not exist.
        negative_ttl: Duration = seconds(5), duration(TIME);
        /// How long an expired value is still served while it is read again.
        stale_while_revalidate: Duration = seconds(30), duration(TIME);
        /// How long an expired value is still served if the upstream fails.
        stale_if_error: Duration = minutes(10), duration(TIME);
        /// Size of all entries, with the memory that the cache itself needs for them. A twentieth
        /// of it is for profiles that do not exist, and they have no more.
        max_bytes: usize = 64 * MIB, bytes(SIZE);
    }
}
