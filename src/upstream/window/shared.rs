//! Windows whose counts are those of all replicas.
//!
//! The server has the counts, and a copy of them is here, so that what waits for a window, and what
//! operators see, is decided as without others. While the server is away, each request counts as
//! one of each replica: if all send as much as this one, they stay within the limit together.

use tokio::time::Instant;

use super::{COUNTS, PARTS, Window, Windows};
use crate::{
    shared::commands::{AskedWindow, KnownWindow},
    upstream::metrics::WindowName,
};

impl Windows {
    /// What the server is asked with: of requests, and of logins too, if so.
    pub(in super::super) fn asked(&mut self, of_logins: bool, now: Instant) -> Vec<AskedWindow> {
        self.shared(of_logins).map(|window| window.asked(now)).collect()
    }

    /// The window at this place of those.
    pub(in super::super) fn name_of(&mut self, place: usize) -> Option<WindowName> {
        self.shared(true).nth(place).map(|window| window.name)
    }

    /// Takes over what the server knows. So many requests have been counted here and not there.
    pub(in super::super) fn know(&mut self, known: &[KnownWindow], waiting: u32, now: Instant) {
        for (window, known) in self.shared(true).zip(known) {
            window.know(known, waiting, now);
        }
    }

    /// The server is away, and there are so many replicas; or it is back.
    pub(in super::super) fn alone(&mut self, replicas: Option<u32>) {
        self.shared(true).for_each(|window| window.sharing.replicas = replicas);
    }

    fn shared(&mut self, of_logins: bool) -> impl Iterator<Item = &mut Window> {
        let logins = self.logins.as_mut().filter(|_| of_logins);
        self.requests.iter_mut().flatten().chain(logins)
    }
}

impl Window {
    fn asked(&mut self, now: Instant) -> AskedWindow {
        self.advance(now);
        self.sharing.told = self.sharing.alone;
        AskedWindow {
            name: self.name.name(),
            limit: self.limit.requests,
            length: self.limit.length,
            began: self.sharing.began.clone(),
            least: self.used,
            alone: self.sharing.told,
        }
    }

    fn know(&mut self, known: &KnownWindow, waiting: u32, now: Instant) {
        let into = u64::try_from(known.into.as_nanos()).unwrap_or(u64::MAX);
        self.began = now;
        self.current = PARTS;
        self.before = self.part.saturating_mul(PARTS).saturating_add(into.min(self.part - 1));
        (self.counts, self.used) = ([0; COUNTS], 0);
        for (age, count) in known.counts.iter().copied().chain([(0, waiting)]) {
            let Some(part) = PARTS.checked_sub(age) else { continue };
            let slot = self.slot(part);
            *slot = slot.saturating_add(count);
        }
        self.used = self.counts.iter().copied().fold(0, u32::saturating_add);
        self.sharing.began.clone_from(&known.began);
        self.sharing.alone = self.sharing.alone.saturating_sub(self.sharing.told);
        self.sharing.told = 0;
    }
}
