//! The settings for writing to a backend.

use std::{ops::RangeInclusive, time::Duration};

use crate::settings::{bounds::seconds, duration, flag, settings};

/// Zero believes the first read. After a minute, an acknowledged write that does not show is no
/// longer a matter of time.
const TIME: RangeInclusive<Duration> = Duration::ZERO..=seconds(60);

settings! {
    /// How writes to a backend are confirmed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct WriteSettings {
        /// How long the reads of the upstream may lag behind a write that it acknowledged. A write
        /// that does not show after this time fails with `WRITE_NOT_APPLIED`. A write that the
        /// upstream says has failed, not in a documented way, is looked for as long.
        settle_time: Duration = seconds(5), duration(TIME);
        /// Whether a deletion succeeds only when a read shows that the profile is gone; one that
        /// does not show after `settle_time` fails with `WRITE_NOT_APPLIED`. Without it, the
        /// vendor's documented answer is believed, because a read costs a request.
        confirm_deletions: bool = false, flag();
    }
}
