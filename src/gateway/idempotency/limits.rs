//! How much is kept, in all and for each caller.

use std::time::Duration;

use super::settings::RequestIdSettings;
use crate::caller::percent_of;

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

    /// What one caller may have.
    pub(super) fn of_one(&self) -> Usage {
        let share = |all| percent_of(all, self.share_percent);
        Usage { entries: share(self.entries).max(1), bytes: share(self.bytes) }
    }

    pub(super) fn of_all(&self) -> Usage {
        Usage { entries: self.entries, bytes: self.bytes }
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
}
