//! `[reload]`: how often changes are looked for while the process runs.

use std::{ops::RangeInclusive, time::Duration};

use crate::settings::{
    Kind as _,
    bounds::{hours, seconds},
    duration, settings,
};

/// Each look reads all files that the configuration names.
const INTERVAL: RangeInclusive<Duration> = seconds(1)..=hours(24);

settings! {
    /// How often changed files are looked for.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ReloadSettings {
        /// Time between two looks at the configuration and all files that it names. What has
        /// changed is put in force, as SIGHUP does at once.
        interval: Option<Duration> = Some(seconds(10)), duration(INTERVAL).or_off();
    }
}
