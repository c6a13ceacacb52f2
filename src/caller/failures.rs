//! The tokens of one caller that turned out not to be valid.

use std::time::Duration;

use super::bucket::{Bucket, SECOND};

/// How long a caller with a wrong token has no clean record.
const WEARS_OFF: u64 = 60 * SECOND;

/// How many may be wrong at once, and how many each second after that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) burst: u64,
    pub(super) per_second: u64,
}

impl Rate {
    /// Whether one more may be wrong, or how long it takes until then.
    pub(super) fn wait(self, used: &Bucket) -> Result<(), Duration> {
        used.take(0, self.unit() * self.burst - 1).map_err(Duration::from_micros)
    }

    pub(super) fn charge(self, used: &Bucket) {
        // Those that are verified at the same time may be a few more.
        let _ = used.take(self.unit(), 2 * self.unit() * self.burst);
    }

    const fn unit(self) -> u64 {
        SECOND / self.per_second
    }
}

/// What one caller has used.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) used: Bucket,
    wear_off: Bucket,
}

impl Failures {
    /// Notes a wrong token.
    pub(super) fn blemish(&self) {
        self.wear_off.use_for(WEARS_OFF);
    }

    /// Whether no token was wrong for a while. It lasts much longer than the bound of one caller
    /// needs, because otherwise many slow senders would all have a clean record.
    pub(super) fn is_clean(&self) -> bool {
        self.wear_off.is_whole()
    }

    /// Whether a caller without them may do no more. A blemish alone keeps no caller known: the
    /// table would be full of those that have many addresses.
    pub(super) fn is_whole(&self) -> bool {
        self.used.is_whole()
    }
}
