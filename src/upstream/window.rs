//! Counts requests within sliding windows: how many are left of a vendor's limit, when there will
//! be more, and when the limit will be reached.
//!
//! A window is a ring of counts, one for each sixtieth of its length, so it takes the same memory
//! whatever the limit is. A request counts until the whole sixtieth in which it was sent is out of
//! the window: that is never too early, and up to a sixtieth too late. The counts belong to one
//! backend. They begin with the process, unless an earlier one has left some (`kept`), and are
//! those of all replicas if there are others (`shared`).

mod kept;
mod shared;
mod sharing;

use std::time::Duration;

use tokio::time::Instant;

use super::{
    class::Class,
    limits::{Limits, WindowLimit},
    metrics::WindowName,
};

/// The parts of a window.
const PARTS: u64 = 60;
/// The counts of a ring: those of the window, and that of the current part.
const COUNTS: usize = 61;
/// The rate of a forecast is that of a tenth of the window.
const RECENT: u64 = PARTS / 10;

/// Later than any deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The windows of one backend.
#[derive(Debug)]
pub(super) struct Windows {
    requests: [Option<Window>; 2],
    logins: Option<Window>,
    unkept: Unkept,
}

/// Counts the requests since the counts were kept last.
#[derive(Debug, Default)]
struct Unkept {
    sent: u32,
    /// With so many they should be kept again; never if zero.
    due: u32,
}

impl Unkept {
    /// Counts one, and returns whether the counts should be kept.
    fn count(&mut self) -> bool {
        self.sent = self.sent.saturating_add(1);
        self.sent == self.due
    }
}

/// How many requests there are left in each of the windows that there are.
pub(super) type Left = [Option<u32>; 2];

/// One window.
#[derive(Debug)]
struct Window {
    name: WindowName,
    limit: WindowLimit,
    began: Instant,
    /// How long before that its first part began, in nanoseconds: if it goes on where that of an
    /// earlier process ended.
    before: u64,
    /// The length of a part in nanoseconds.
    part: u64,
    /// The number of the current part since the beginning.
    current: u64,
    /// By the part's number, modulo the length.
    counts: [u32; COUNTS],
    /// Their sum.
    used: u32,
    /// What is to be agreed on with other replicas.
    sharing: sharing::Sharing,
}

/// How much of a window is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) window: WindowName,
    pub(super) used: u32,
    pub(super) remaining: u32,
    /// When it will be used up if requests go on as they do now; `None` if it will not.
    pub(super) exhausted_in: Option<Duration>,
}

impl Windows {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let window = |name, limit: Option<WindowLimit>| limit.map(|l| Window::new(name, l, now));
        Self {
            requests: [
                window(WindowName::Requests, limits.requests),
                window(WindowName::MonthlyRequests, limits.monthly_requests),
            ],
            logins: window(WindowName::Logins, limits.logins),
            unkept: Unkept::default(),
        }
    }

    /// When the last of so many requests may be sent, and the window that makes it wait.
    pub(super) fn next(
        &mut self,
        class: Class,
        requests: u32,
        now: Instant,
    ) -> Option<(Instant, WindowName)> {
        let windows = self.requests.iter_mut().flatten();
        windows.filter_map(|window| window.next(class, requests, now)).max_by_key(|(at, _)| *at)
    }

    /// Counts a request that is sent now, and returns whether the counts should be kept.
    pub(super) fn count(&mut self) -> bool {
        self.requests.iter_mut().flatten().for_each(Window::count);
        self.unkept.count()
    }

    /// Counts a request that is sent at this time.
    pub(super) fn count_at(&mut self, now: Instant) {
        self.requests.iter_mut().flatten().for_each(|window| window.advance(now));
        self.count();
    }

    /// Counts a login that is sent now, unless a window is used up: then it says until when.
    pub(super) fn count_login(&mut self, now: Instant) -> Result<(), (Instant, WindowName)> {
        let logins = self.logins.as_mut().and_then(|logins| logins.next(Class::Settling, 1, now));
        if let Some(wait) = logins.or_else(|| self.next(Class::Settling, 1, now)) {
            return Err(wait);
        }
        self.logins.iter_mut().for_each(Window::count);
        self.count();
        Ok(())
    }

    /// The requests per second that a class can go on with.
    pub(super) fn sustainable(&self, class: Class) -> Option<f64> {
        let rates = self
            .requests
            .iter()
            .flatten()
            .map(|window| f64::from(window.allowed(class)) / window.limit.length.as_secs_f64());
        rates.reduce(f64::min)
    }

    /// How many requests each window lets a class send now.
    pub(super) fn left(&mut self, class: Class, now: Instant) -> Left {
        self.requests.each_mut().map(|window| window.as_mut().map(|own| own.room(class, now)))
    }

    /// How many requests a class may send now.
    pub(super) fn room(&mut self, class: Class, now: Instant) -> Option<u32> {
        self.left(class, now).into_iter().flatten().min()
    }

    /// The limit of a window, and how much of it a class may use.
    pub(super) fn part(&self, class: Class, name: WindowName) -> Option<(WindowLimit, u32)> {
        let mut windows = self.requests.iter().flatten();
        let window = windows.find(|window| window.name == name)?;
        Some((window.limit, window.allowed(class)))
    }

    /// How long it takes until a class has room for so many requests, or for as many as it may
    /// ever have.
    pub(super) fn room_in(&mut self, class: Class, requests: u32, now: Instant) -> Duration {
        let windows = self.requests.iter_mut().flatten();
        let waits = windows
            .filter_map(|window| window.next(class, requests.min(window.allowed(class)), now));
        let free = waits.map(|(at, _)| at).max();
        free.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// What is used of each window.
    pub(super) fn usage(&mut self, now: Instant) -> Vec<Usage> {
        let windows = self.requests.iter_mut().chain([&mut self.logins]).flatten();
        windows.map(|window| window.usage(now)).collect()
    }
}

impl Window {
    fn new(name: WindowName, limit: WindowLimit, now: Instant) -> Self {
        let part = u64::try_from(limit.length.as_nanos()).unwrap_or(u64::MAX) / PARTS;
        let (began, part, counts) = (now, part.max(1), [0; COUNTS]);
        let sharing = sharing::Sharing::default();
        Self { name, limit, began, before: 0, part, current: 0, counts, used: 0, sharing }
    }

    /// Forgets what is out of the window.
    fn advance(&mut self, now: Instant) {
        let number = self.passed(now) / self.part;
        let new = number.saturating_sub(self.current).min(PARTS + 1);
        for part in (number - new + 1)..=number {
            let count = std::mem::take(self.slot(part));
            self.used -= count;
        }
        self.current = self.current.max(number);
    }

    /// The nanoseconds since its first part began.
    fn passed(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.began).as_nanos();
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(self.before)
    }

    fn slot(&mut self, part: u64) -> &mut u32 {
        let n = usize::try_from(part % (PARTS + 1)).unwrap_or_default();
        let [first, rest @ ..] = &mut self.counts;
        match n.checked_sub(1) {
            None => first,
            Some(n) => rest.get_mut(n).unwrap_or(first),
        }
    }

    fn at(&self, part: u64) -> u32 {
        let n = usize::try_from(part % (PARTS + 1)).unwrap_or_default();
        self.counts.get(n).copied().unwrap_or_default()
    }

    /// The parts that are within the window, the oldest first.
    fn parts(&self) -> std::ops::RangeInclusive<u64> {
        self.current.saturating_sub(PARTS)..=self.current
    }

    /// When the requests of a part no longer count.
    fn end(&self, part: u64) -> Instant {
        let end = self.part.saturating_mul(part + PARTS + 1).saturating_sub(self.before);
        self.began + Duration::from_nanos(end)
    }

    /// How much of the window a class may use.
    fn allowed(&self, class: Class) -> u32 {
        self.limit.requests - class.leaves(self.limit.requests)
    }

    /// How many requests a class may send now.
    fn room(&mut self, class: Class, now: Instant) -> u32 {
        self.advance(now);
        self.sharing.part(self.allowed(class).saturating_sub(self.used))
    }

    fn next(&mut self, class: Class, requests: u32, now: Instant) -> Option<(Instant, WindowName)> {
        self.advance(now);
        let allowed = self.allowed(class).max(1);
        let requests = self.sharing.weigh(requests, allowed);
        // Of more than the class may use at once, each waits for the one so many before it.
        let later = requests.saturating_sub(1) / allowed;
        let first = requests - later * allowed;
        let over = self.used.saturating_add(first).saturating_sub(allowed);
        if over == 0 && later == 0 {
            return None;
        }
        let mut freed = 0;
        let ends = self.parts().find(|part| {
            freed += self.at(*part);
            freed >= over
        });
        let at = match ends {
            _ if over == 0 => now,
            Some(part) => self.end(part),
            None => now + LONGEST,
        };
        let whole = Duration::from_nanos(self.part.saturating_mul(PARTS + 1));
        Some((at + whole.saturating_mul(later).min(LONGEST), self.name))
    }

    /// The caller has asked for the next request before.
    fn count(&mut self) {
        let (current, count) = (self.current, self.sharing.count());
        *self.slot(current) += count;
        self.used += count;
    }

    fn usage(&mut self, now: Instant) -> Usage {
        self.advance(now);
        Usage {
            window: self.name,
            used: self.used,
            remaining: self.limit.requests.saturating_sub(self.used),
            exhausted_in: self.exhausted_in(now),
        }
    }

    fn exhausted_in(&self, now: Instant) -> Option<Duration> {
        let limit = f64::from(self.limit.requests);
        if self.used >= self.limit.requests {
            return Some(Duration::ZERO);
        }
        let first = self.current.saturating_sub(RECENT);
        let span = self.passed(now).saturating_sub(self.part.saturating_mul(first));
        let span = Duration::from_nanos(span.max(self.part));
        let recent: u32 = (first..=self.current).map(|part| self.at(part)).sum();
        let rate = f64::from(recent) / span.as_secs_f64();
        let (mut used, mut at) = (f64::from(self.used), now);
        // Within the window's length, what was used before is freed, and nothing else.
        for part in self.parts() {
            let end = self.end(part);
            let gained = rate * end.saturating_duration_since(at).as_secs_f64();
            if used + gained >= limit {
                let left = Duration::try_from_secs_f64((limit - used) / rate).ok()?;
                return Some(at.saturating_duration_since(now) + left);
            }
            used += gained - f64::from(self.at(part));
            at = end;
        }
        None
    }
}

#[cfg(test)]
mod tests;
