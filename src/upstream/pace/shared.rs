//! The rate, the pause and the windows of all replicas together.
//!
//! What passes the limits of this replica is asked for at the server. What that knows of the others
//! is taken over, so that what has to wait waits here, in its order. While the server is away, this
//! replica has its part of each limit.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{LONGEST_PAUSE, Pace, RESTART, Refusal, State};
use crate::{
    shared::commands::{
        AskedWindow, KnownWindow, Reserve, Reserved, ReservedLogin, SharedRate, Stopped, Throttled,
    },
    upstream::class::Class,
};

/// Nothing is reserved that would wait longer: what comes meanwhile may be more important.
pub(in super::super) const HORIZON: Duration = Duration::from_millis(250);

/// A window that has no room is asked for again after so long at most: what the server knows and
/// what is known here differ by the time that an answer takes.
const ASKED_AGAIN: Duration = Duration::from_millis(100);

/// By so much, what is left of a pause may differ for the time that an answer takes.
const TOLERANCE: Duration = Duration::from_secs(1);

impl State {
    /// The requests per second that this replica may send: at least one.
    pub(super) fn own_rate(&self) -> f64 {
        match self.sharing.is_alone {
            true => (self.rate / self.sharing.members()).max(self.rate.min(1.0)),
            false => self.rate,
        }
    }

    fn pause_until(&mut self, until: Instant) {
        (self.paused, self.tokens, self.counted) = (Some(until), 1.0, until);
    }
}

impl Pace {
    /// What the server is asked for: so many requests of each class.
    pub(in super::super) fn asks(&self, wanted: [u32; Class::COUNT], now: Instant) -> Reserve {
        let mut state = self.lock();
        Reserve {
            rate: self.shared_rate(),
            horizon: HORIZON,
            alone: state.sharing.alone,
            wanted,
            windows: state.windows.asked(false, now),
            ..Reserve::default()
        }
    }

    /// The limit, as the server is told it.
    pub(in super::super) fn shared_rate(&self) -> Option<SharedRate> {
        let limit = self.limit?;
        Some(SharedRate { per_second: limit.per_second.get(), burst: limit.burst.get() })
    }

    /// Takes over what the server has answered. So many requests have passed here since it was
    /// asked. Says until when those wait that it has stopped.
    pub(in super::super) fn know(
        &self,
        asked: &Reserve,
        answer: &Reserved,
        waiting: u32,
        now: Instant,
    ) -> Instant {
        let mut state = self.lock();
        state.count(self.limit, now);
        state.windows.know(&answer.windows, waiting, now);
        state.windows.alone(None);
        let sharing = &mut state.sharing;
        (sharing.is_alone, sharing.members) = (false, answer.members);
        sharing.alone = sharing.alone.saturating_sub(asked.alone);
        let has_ended = sharing.ends.is_some_and(|ends| answer.ends > ends);
        sharing.ends = Some(answer.ends);
        if self.limit.is_some() && answer.rate > 0.0 {
            state.rate = answer.rate;
        }
        let again = match answer.stopped {
            Some((Stopped::Rate, wait)) => {
                let until = now + wait.saturating_sub(HORIZON / 2);
                (state.sharing.held, state.tokens, state.counted) = (Some(until), 1.0, until);
                now
            }
            Some((Stopped::Window(_), wait)) => now + wait.min(ASKED_AGAIN),
            Some((Stopped::Pause, _)) | None => now,
        };
        let changed = self.follow_pause(&mut state, answer, has_ended, now);
        drop(state);
        if changed {
            self.pauses.notify_waiters();
            self.changes.notify_one();
        }
        again
    }

    /// Whether another replica has begun a pause that is longer than the one that is known here, or
    /// an operator has ended it there.
    fn follow_pause(
        &self,
        state: &mut State,
        answer: &Reserved,
        has_ended: bool,
        now: Instant,
    ) -> bool {
        // Others may have another setting. Where they go on to pause, so does this one.
        let longest = self.longest_asked.max(LONGEST_PAUSE);
        let until = now + answer.pause.min(longest);
        let before = state.paused.filter(|until| now < *until);
        if answer.pause.is_zero() {
            let ended = has_ended && state.paused.take_if(|until| now < *until).is_some();
            if ended {
                state.counted = now;
            }
            return ended;
        }
        if before.is_some_and(|before| until <= before) {
            return false;
        }
        if before.is_none() {
            // What was sent before it began says nothing more.
            self.epoch.fetch_add(1, Ordering::Relaxed);
            if self.limit.is_none() {
                state.rate = RESTART / state.sharing.members();
            }
        }
        state.strikes = state.strikes.max(answer.strikes);
        state.pause_until(until);
        true
    }

    /// The pause here, if the server has said less: it has lost it, or was not told of it.
    pub(in super::super) fn untold_pause(&self, told: Duration, now: Instant) -> Option<Throttled> {
        let state = self.lock();
        let pause = state.paused?.saturating_duration_since(now);
        let strikes = state.strikes;
        (pause > told + TOLERANCE).then_some(Throttled { pause, strikes, again: true })
    }

    /// How many replicas there are, as far as is known; one at least.
    pub(in super::super) fn members(&self) -> u32 {
        self.lock().sharing.members.max(1)
    }

    /// The server is away. Whether that is new: then what has passed has to pass once more, with
    /// this replica's part of the limits.
    pub(in super::super) fn alone(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state.sharing.is_alone {
            return false;
        }
        state.count(self.limit, now);
        state.sharing.is_alone = true;
        // The others may have used all that there was at once.
        (state.tokens, state.counted, state.sharing.held) = (0.0, state.counted.max(now), None);
        let replicas = state.sharing.members.max(1);
        state.windows.alone(Some(replicas));
        true
    }

    /// Whether this replica has a part of the limits of its own.
    pub(in super::super) fn is_alone(&self) -> bool {
        self.lock().sharing.is_alone
    }

    /// 429s in a row.
    pub(in super::super) fn strikes(&self) -> u32 {
        self.lock().strikes
    }

    /// The windows that a login needs room in.
    pub(in super::super) fn asks_of_logins(&self, now: Instant) -> Vec<AskedWindow> {
        self.lock().windows.asked(true, now)
    }

    /// Takes over what the server has answered to a login.
    pub(in super::super) fn know_of_login(
        &self,
        ReservedLogin { stopped, windows }: &ReservedLogin,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut state = self.lock();
        state.windows.know(windows as &[KnownWindow], 0, now);
        let stopped = stopped.and_then(|(place, wait)| Some((state.windows.name_of(place)?, wait)));
        stopped.map_or(Ok(()), |(name, wait)| Err(Refusal::Window(name, wait)))
    }
}
