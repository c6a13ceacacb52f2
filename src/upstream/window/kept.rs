//! The counts of windows as the store keeps them.

use std::time::Duration;

use tokio::time::Instant;

use super::{COUNTS, PARTS, Unkept, Window, Windows};
use crate::{
    store::Clock,
    upstream::{
        kept::{KeptWindow, milliseconds},
        limits::{RateLimit, WindowLimit},
    },
};

impl Windows {
    /// Whether a request was sent since the counts were kept last.
    pub(in super::super) fn has_unkept(&self) -> bool {
        self.unkept.sent > 0
    }

    /// The counts for the next process. While `running`, more requests may be sent before they are
    /// kept again; if the process dies then, the next one counts as many as there may have been.
    pub(in super::super) fn keep(
        &mut self,
        running: bool,
        rate: Option<RateLimit>,
        clock: Clock,
        now: Instant,
    ) -> Vec<KeptWindow> {
        let more = |limit| if running { unseen(limit, rate) } else { 0 };
        let mut kept = Vec::new();
        let mut least = u32::MAX;
        for window in self.requests.iter_mut().flatten() {
            least = least.min(more(window.limit));
            kept.push(window.keep(more(window.limit), clock, now));
        }
        // Each login is kept by itself.
        kept.extend(self.logins.as_mut().map(|logins| logins.keep(0, clock, now)));
        self.unkept = Unkept { sent: 0, due: (least / 2).max(1) };
        kept
    }

    /// Goes on with the counts of an earlier process.
    pub(in super::super) fn go_on(&mut self, kept: &[KeptWindow], clock: Clock, now: Instant) {
        for window in self.requests.iter_mut().chain([&mut self.logins]).flatten() {
            let length = milliseconds(window.limit.length);
            let name = window.name.name();
            // The counts of another length say little of this one.
            let own = kept.iter().find(|kept| kept.name == name && kept.length == length);
            if let Some(kept) = own {
                window.go_on(kept, clock, now);
            }
        }
    }
}

/// How many requests may be sent before the counts are kept again: a hundredth of a window, but no
/// more than leave within a second.
pub(super) fn unseen(limit: WindowLimit, rate: Option<RateLimit>) -> u32 {
    let most = rate.map_or(u32::MAX, |rate| rate.per_second.get().saturating_add(rate.burst.get()));
    (limit.requests / 100).max(1).min(most)
}

impl Window {
    fn keep(&mut self, more: u32, clock: Clock, now: Instant) -> KeptWindow {
        self.advance(now);
        let mut counts: Vec<u32> = self.parts().rev().map(|part| self.at(part)).collect();
        let used = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        counts.truncate(used);
        // How far the latest part has come.
        let into = self.passed(now).saturating_sub(self.part.saturating_mul(self.current));
        let into = i64::try_from(Duration::from_nanos(into).as_millis()).unwrap_or(i64::MAX);
        KeptWindow {
            name: self.name.name().to_owned(),
            length: milliseconds(self.limit.length),
            since: clock.to_kept(clock.at(now).saturating_sub(into)),
            counts,
            more,
        }
    }

    /// What was kept counts for as long as if the process had gone on. A clock that was set back
    /// makes that longer, and none makes it more than the window allows.
    fn go_on(&mut self, kept: &KeptWindow, clock: Clock, now: Instant) {
        let since = clock.since(clock.from_kept(kept.since));
        let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let (parts, into) = (since / self.part, since % self.part);
        self.began = now;
        self.current = PARTS;
        self.before = self.part.saturating_mul(PARTS).saturating_add(into);
        (self.counts, self.used) = ([0; COUNTS], 0);
        let unseen = std::iter::once((0, kept.more));
        let counts = (parts..).zip(kept.counts.iter().copied());
        for (age, count) in unseen.chain(counts) {
            let Some(part) = PARTS.checked_sub(age) else { break };
            let count = count.min(self.limit.requests.saturating_sub(self.used));
            *self.slot(part) += count;
            self.used += count;
        }
    }
}
