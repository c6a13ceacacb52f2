//! How much is kept, in all and for each caller.

use std::time::Duration;

use super::settings::RequestIdSettings;
use crate::{
    caller::{SHARE, percent_of},
    error::{Error, Kind, Reason, Retry},
};

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long an ended write is remembered.
    pub kept_for: Duration,
    /// The number of ids.
    pub entries: usize,
    /// The bytes of all entries, including the store's own overhead. The result of an admitted
    /// write is always kept, even if it is larger than the intent was.
    pub bytes: usize,
    /// How much of both one caller may have, in percent, but at least one entry.
    pub share_percent: u32,
}

impl Limits {
    /// The limits of the settings, of which each caller has this share.
    #[must_use]
    pub fn new(settings: &RequestIdSettings, share_percent: u32) -> Self {
        let RequestIdSettings { kept_for, max_entries: entries, max_bytes: bytes } = *settings;
        Self { kept_for, entries, bytes, share_percent }
    }

    /// What one caller may have; `quota` is how many entries the configuration gives it, in place
    /// of its share.
    pub(super) fn of_one(&self, quota: Option<usize>) -> Usage {
        let share = |all| percent_of(all, self.share_percent);
        let entries = quota.unwrap_or_else(|| share(self.entries).max(1));
        Usage { entries, bytes: share(self.bytes) }
    }

    pub(super) fn of_all(&self) -> Usage {
        Usage { entries: self.entries, bytes: self.bytes }
    }

    /// The error for a caller that has its share, or its quota.
    pub(super) fn share_is_used(&self, used: Usage, more: Usage, quota: Option<usize>) -> Error {
        let (kept_for, of_one) = (shown(self.kept_for), self.of_one(quota));
        if quota.is_some() && used.entries + more.entries > of_one.entries {
            let message = format!(
                "this caller has its quota (`request_ids` in its `[auth.callers.NAME.quota]`) of \
                 the writes that are running, or are remembered for {kept_for}: {} of them; \
                 nothing was sent",
                of_one.entries
            );
            return Error::new(Reason::CallerQuotaExceeded, message);
        }
        let message = format!(
            "this caller has its share (`{SHARE}`) of the writes that are running, or are \
             remembered for {kept_for}: {}; nothing was sent",
            used.bound(more, of_one),
        );
        more.refused(of_one, Error::new(Reason::CallerQuotaExceeded, message))
    }

    /// The error for a caller when there is no room for anyone.
    pub(super) fn all_is_used(&self, used: Usage, more: Usage) -> Error {
        let (kept_for, of_all) = (shown(self.kept_for), self.of_all());
        let message = format!(
            "too many writes are running, or are remembered for {kept_for}: {}; nothing was sent",
            used.bound(more, of_all),
        );
        more.refused(of_all, Error::new(Reason::Overloaded, message))
    }
}

/// What entries take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Usage {
    pub(super) fn has_room(self, more: Self, limit: Self) -> bool {
        self.entries + more.entries <= limit.entries && self.bytes + more.bytes <= limit.bytes
    }

    /// The error for so much, which is not to be tried again if it never fits.
    fn refused(self, limit: Self, error: Error) -> Error {
        match Self::default().has_room(self, limit) {
            true => error,
            false => error.with_kind(Kind::ResourceExhausted).with_retry(Retry::No),
        }
    }

    /// The bound that leaves no room, and its setting.
    fn bound(self, more: Self, limit: Self) -> String {
        if self.entries + more.entries > limit.entries {
            return format!("{} of them (`request_ids.max_entries`)", limit.entries);
        }
        format!("{} bytes (`request_ids.max_bytes`, `memory.request_ids_percent`)", limit.bytes)
    }
}

/// A time as people read it.
pub(super) fn shown(time: Duration) -> String {
    match (time.as_secs() / 3600, time.as_secs() % 3600) {
        (hours @ 2.., 0) => format!("{hours} hours"),
        _ => humantime::format_duration(time).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_which_bound_it_was_and_what_never_fits_is_not_to_be_repeated() {
        let kept_for = Duration::from_secs(60);
        let limits = Limits { kept_for, entries: 10, bytes: 1000, share_percent: 50 };
        let usage = |entries, bytes| Usage { entries, bytes };
        for (used, more, expected, fits) in [
            (usage(5, 0), usage(1, 1), "5 of them (`request_ids.max_entries`)", true),
            (usage(1, 400), usage(1, 101), "500 bytes (`request_ids.max_bytes`", true),
            (usage(0, 0), usage(1, 501), "500 bytes (`request_ids.max_bytes`", false),
        ] {
            let error = limits.share_is_used(used, more, None);
            assert!(error.message().contains("(`callers.share_percent`)"), "{error}");
            assert!(error.message().contains(expected), "{error}");
            assert_eq!(error.reason(), Reason::CallerQuotaExceeded);
            assert_eq!(error.retry() != Retry::No, fits, "{error}");
        }
        let error = limits.all_is_used(usage(10, 0), usage(1, 1));
        assert!(error.message().contains("10 of them (`request_ids.max_entries`)"), "{error}");
        assert_eq!((error.reason(), error.kind()), (Reason::Overloaded, Kind::Unavailable));
        let error = limits.all_is_used(usage(0, 0), usage(1, 1001));
        assert_eq!((error.retry(), error.kind()), (Retry::No, Kind::ResourceExhausted));
    }
}
