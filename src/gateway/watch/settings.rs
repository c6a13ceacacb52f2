//! The settings for watching a backend.

use std::{ops::RangeInclusive, time::Duration};

use crate::settings::{
    bounds::{hours, seconds},
    duration, settings,
};

/// Limits of the interval: each poll lists the whole account.
const INTERVAL: RangeInclusive<Duration> = seconds(1)..=hours(1);

settings! {
    /// How a backend is watched for changes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct WatchSettings {
        /// Time between two polls for changes while a stream watches the backend.
        interval as watch_interval: Duration = seconds(30), duration(INTERVAL);
    }
}
