//! How often a caller may do something that costs others.
//!
//! Dropping a value from a cache costs little, but everyone who reads it then asks the
//! upstream. What costs more than is left is allowed once, and owed.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::bucket::{Bucket, SECOND};
use crate::error::{Error, Reason, Retry, whole_seconds};

/// So much at once.
const BURST: u64 = 100;
/// And so much each second.
const PER_SECOND: u64 = 10;
/// Nothing costs more: it takes ten minutes to come back.
const MOST: u64 = BURST + PER_SECOND * 600;
/// How long one unit takes to come back.
const UNIT: u64 = SECOND / PER_SECOND;

/// The allowance of one caller.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    used: Bucket,
    refused: Counter,
}

impl Allowance {
    /// A whole one; what it refuses is counted.
    pub(super) fn new(refused: Counter) -> Self {
        Self { used: Bucket::default(), refused }
    }

    /// Takes so much if anything is left.
    pub(super) fn take(&self, weight: u64) -> Result<(), Error> {
        self.used.take(UNIT * weight.min(MOST), UNIT * BURST - 1).map_err(|wait| {
            self.refused.inc();
            let wait = whole_seconds(Duration::from_micros(wait));
            let message = format!(
                "this caller drops values from the cache too often: its share is {BURST} at once, \
                 and then {PER_SECOND} a second, which no setting changes; nothing was dropped"
            );
            Error::new(Reason::CallerQuotaExceeded, message).with_retry(Retry::After(Some(wait)))
        })
    }

    /// Whether nothing of it is used.
    pub(super) fn is_whole(&self) -> bool {
        self.used.is_whole()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_comes_back_with_time() {
        // The clock of the process may have begun on another one.
        advance(Duration::from_secs(3600)).await;
        let allowance = Allowance::default();
        assert!(allowance.is_whole());
        let taken = |weight: u64| (0..1000).filter(|_| allowance.take(weight).is_ok()).count();
        assert_eq!(taken(20), 5);
        assert!(!allowance.is_whole());
        let refused = allowance.take(20).unwrap_err();
        assert_eq!(refused.reason(), Reason::CallerQuotaExceeded);
        assert_eq!(refused.retry(), Retry::After(Some(Duration::from_secs(1))));
        advance(Duration::from_secs(2)).await;
        assert_eq!((taken(20), taken(1)), (1, 0));
        advance(Duration::from_secs(60)).await;
        assert!(allowance.is_whole());
        assert_eq!(taken(1), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_costs_more_than_there_is_is_owed() {
        advance(Duration::from_secs(3600)).await;
        let allowance = Allowance::default();
        for (weight, owed) in [(700, 60), (u64::MAX, 600)] {
            allowance.take(weight).unwrap();
            advance(Duration::from_secs(owed - 1)).await;
            let refused = allowance.take(1).unwrap_err();
            assert_eq!(refused.retry(), Retry::After(Some(Duration::from_secs(2))));
            advance(Duration::from_secs(2)).await;
            allowance.take(1).unwrap();
            advance(Duration::from_secs(60)).await;
        }
    }
}
