//! From raw to checked: `[backends.NAME.cache]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::types::Cache;
use crate::settings::Section;

/// A day: what has not been asked for that long is not worth keeping.
const TIME: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);
/// Less than 64 KiB holds hardly a profile; more than 64 GiB is a mistake in the unit.
const BYTES: RangeInclusive<usize> = 64 * 1024..=64 * 1024 * 1024 * 1024;

pub(super) fn cache(mut section: Section<'_>) -> Cache {
    let s = &mut section;
    let default = Cache::default();
    let cache = Cache {
        enabled: s.flag("enabled", default.enabled),
        ttl: s.duration("ttl", default.ttl, TIME),
        services_ttl: s.duration("services_ttl", default.services_ttl, TIME),
        negative_ttl: s.duration("negative_ttl", default.negative_ttl, TIME),
        stale_while_revalidate: s.duration(
            "stale_while_revalidate",
            default.stale_while_revalidate,
            TIME,
        ),
        stale_if_error: s.duration("stale_if_error", default.stale_if_error, TIME),
        max_bytes: s.bytes("max_bytes", default.max_bytes, BYTES),
    };
    section.finish();
    cache
}
