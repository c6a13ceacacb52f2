//! What each caller holds and uses of one backend: slots, places in the queue, and the vendor's
//! windows.
//!
//! A caller alone may hold all but what is kept for the first request of another one. Beside others
//! it has its share of the queue and of the windows. Of the slots it has its share, and what the
//! others leave beyond what is kept: who holds least of those that wait gets the next one.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use foldhash::quality::RandomState;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{
    class::Class,
    limits::{Limits, WindowLimit},
    window::{Left, Windows},
};
use crate::caller::{Caller, CallerId};

/// Most callers of which a backend knows what they use; those beyond share one account.
const MAX_USERS: usize = 1024;
/// How often those are looked for that have sent nothing lately while there are so many.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// For so long after its last request, what a caller has left of its share of the windows is kept.
const KEPT: Duration = Duration::from_secs(5 * 60);
/// A caller alone leaves a quarter to newcomers.
const FOR_NEWCOMERS: usize = 4;

/// What can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Slot,
    QueuePlace,
}

/// What a caller may hold one more of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Free {
    pub(super) slot: bool,
    pub(super) place: bool,
}

/// The accounts of all callers of one backend; a handle.
#[derive(Clone)]
pub(super) struct Shares(Arc<Shared>);

struct Shared {
    slots: usize,
    places: usize,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<CallerId, User, RandomState>,
    /// How many of them hold anything.
    active: usize,
    /// How many slots they hold together.
    slots: usize,
    /// How many requests wait for a slot of their caller's.
    waiting: usize,
    swept: Option<Instant>,
}

/// What one caller holds and uses.
struct User {
    slots: usize,
    places: usize,
    /// Its share of the vendor's windows, with what it has used.
    windows: Windows,
    /// When it sent something last.
    sent: Option<Instant>,
    /// How many slots and places it may hold beside others; without a number, all.
    share: (Option<usize>, Option<usize>),
    /// Those who wait for a slot, in the order in which they came.
    waiting: VecDeque<oneshot::Sender<Part>>,
}

/// Something that a caller holds. Released when dropped.
pub(super) struct Part {
    shares: Shares,
    /// The account, if it has one.
    account: Option<CallerId>,
    what: What,
}

impl Shares {
    /// Of so many slots and places in the queue, and of these windows.
    pub(super) fn new(slots: usize, places: usize, limits: Limits) -> Self {
        Self(Arc::new(Shared { slots, places, limits, state: Mutex::default() }))
    }

    /// One of the caller's slots or places, if one is free. What settles a write waits for no
    /// share.
    pub(super) fn hold(&self, caller: &Caller, class: Class, what: What) -> Option<Part> {
        if is_free(caller, class) {
            return Some(self.part(None, what));
        }
        let mut state = self.0.state.lock();
        let account = self.account(&mut state, caller);
        let held = self.take(&mut state, account, what);
        held.then(|| self.part(Some(account), what))
    }

    /// Whether the caller may hold one more slot, and one more place.
    pub(super) fn free(&self, caller: &Caller, class: Class) -> Free {
        if is_free(caller, class) {
            return Free { slot: true, place: true };
        }
        let mut state = self.0.state.lock();
        let account = self.account(&mut state, caller);
        let Some(user) = state.users.get(&account) else { return Free::default() };
        let others = state.others(user);
        let may_take = |what| user.may_take(what, self.0.bound(what), others);
        Free { slot: may_take(What::Slot), place: may_take(What::QueuePlace) }
    }

    /// Waits for one of the caller's slots. They are given in the order in which they were asked
    /// for.
    pub(super) async fn wait_for_slot(&self, caller: &Caller, class: Class) -> Part {
        let given = match self.slot_or_turn(caller, class) {
            Ok(part) => return part,
            Err(turn) => turn.await,
        };
        // The other end is kept until it is used.
        given.unwrap_or_else(|_| self.part(None, What::Slot))
    }

    fn slot_or_turn(&self, caller: &Caller, class: Class) -> Result<Part, oneshot::Receiver<Part>> {
        if is_free(caller, class) {
            return Ok(self.part(None, What::Slot));
        }
        let mut state = self.0.state.lock();
        let account = self.account(&mut state, caller);
        if self.take(&mut state, account, What::Slot) {
            return Ok(self.part(Some(account), What::Slot));
        }
        let (sender, receiver) = oneshot::channel();
        let State { users, waiting, .. } = &mut *state;
        if let Some(user) = users.get_mut(&account) {
            // Those who have left are forgotten before there is more room for them.
            if user.waiting.len() == user.waiting.capacity() {
                let before = user.waiting.len();
                user.waiting.retain(|waiter| !waiter.is_closed());
                *waiting -= before - user.waiting.len();
            }
            user.waiting.push_back(sender);
            *waiting += 1;
        }
        Err(receiver)
    }

    /// Lets an account hold one more, if it may. No one waits meanwhile: what is free is given.
    fn take(&self, state: &mut State, account: CallerId, what: What) -> bool {
        let Some(others) = state.users.get(&account).map(|user| state.others(user)) else {
            return false;
        };
        let Some(user) = state.users.get_mut(&account) else { return false };
        let was_active = user.is_active();
        let taken = user.may_take(what, self.0.bound(what), others);
        *user.held(what) += usize::from(taken);
        state.active += usize::from(taken && !was_active);
        state.slots += usize::from(taken && what == What::Slot);
        taken
    }

    fn part(&self, account: Option<CallerId>, what: What) -> Part {
        Part { shares: self.clone(), account, what }
    }

    /// Gives the slots that are free to those who wait for them.
    fn give(&self, state: &mut State) -> Vec<(oneshot::Sender<Part>, Part)> {
        let mut given = Vec::new();
        while state.waiting > 0
            && let Some(account) = state.next()
            && state.may_give(account, self.0.slots)
        {
            let Some(user) = state.users.get_mut(&account) else { break };
            let Some(first) = user.waiting.pop_front() else { break };
            state.waiting -= 1;
            if !first.is_closed() && self.take(state, account, What::Slot) {
                given.push((first, self.part(Some(account), What::Slot)));
            }
        }
        given
    }

    /// Takes something back, and says to whom it gives what.
    fn release(&self, account: CallerId, what: What) -> Vec<(oneshot::Sender<Part>, Part)> {
        let mut state = self.0.state.lock();
        let Some(user) = state.users.get_mut(&account) else { return Vec::new() };
        let held = user.held(what);
        *held = held.saturating_sub(1);
        let was_last = !user.is_active();
        state.active -= usize::from(was_last);
        state.slots -= usize::from(what == What::Slot);
        self.give(&mut state)
    }

    /// Counts a request that is sent now.
    pub(super) fn count(&self, caller: &Caller, now: Instant) {
        if !self.has_windows() || caller.id() == CallerId::Gateway {
            return;
        }
        let mut state = self.0.state.lock();
        let account = self.account(&mut state, caller);
        if let Some(user) = state.users.get_mut(&account) {
            user.windows.count_at(now);
            user.sent = Some(now);
        }
    }

    /// How long it takes until the caller may send something again, if it has used its share of the
    /// vendor's windows, and others have as much `left` of theirs as the windows have themselves.
    /// Only those count who have sent something lately.
    pub(super) fn is_used_up(
        &self,
        caller: &Caller,
        class: Class,
        now: Instant,
        left: impl FnOnce() -> Left,
    ) -> Option<Duration> {
        if !self.has_windows() || class == Class::Settling || caller.share_of(100).is_none() {
            return None;
        }
        let mut state = self.0.state.lock();
        let account = self.account(&mut state, caller);
        let windows = &mut state.users.get_mut(&account)?.windows;
        let (free, _) = windows.next(class, 1, now)?;
        let (own, mut left) = (windows.left(class, now), left());
        let mut kept_until = now;
        for (_, other) in state.users.iter_mut().filter(|(id, _)| **id != account) {
            let Some(until) = other.kept_until(now) else { continue };
            kept_until = kept_until.max(until);
            for (left, others) in left.iter_mut().zip(other.windows.left(class, now)) {
                *left = left.zip(others).map(|(left, others)| left.saturating_sub(others));
            }
            if own.iter().zip(&left).any(|both| both == (&Some(0), &Some(0))) {
                return Some(free.min(kept_until).saturating_duration_since(now));
            }
        }
        None
    }

    fn has_windows(&self) -> bool {
        let limits = &self.0.limits;
        limits.requests.is_some() || limits.monthly_requests.is_some()
    }

    /// The account of a caller, opened if it has not been yet.
    fn account(&self, state: &mut State, caller: &Caller) -> CallerId {
        let id = caller.id();
        if state.users.contains_key(&id) {
            return id;
        }
        let now = Instant::now();
        if state.users.len() >= MAX_USERS {
            state.sweep(now);
        }
        let id = if state.users.len() < MAX_USERS { id } else { CallerId::Others };
        state.users.entry(id).or_insert_with(|| {
            let share = |limit: WindowLimit| {
                let all = usize::try_from(limit.requests).unwrap_or(usize::MAX);
                let own = caller.share_of(all).and_then(|own| u32::try_from(own).ok());
                WindowLimit { requests: own.unwrap_or(limit.requests), ..limit }
            };
            let limits = Limits {
                requests: self.0.limits.requests.map(share),
                monthly_requests: self.0.limits.monthly_requests.map(share),
                ..Limits::NONE
            };
            let windows = Windows::new(&limits, now);
            let share = (caller.share_of(self.0.slots), caller.share_of(self.0.places));
            User { slots: 0, places: 0, windows, sent: None, share, waiting: VecDeque::new() }
        });
        id
    }
}

/// What the others hold.
#[derive(Clone, Copy)]
struct Others {
    /// Whether any of them holds anything.
    active: bool,
    slots: usize,
}

impl State {
    /// What those hold that have another account.
    fn others(&self, user: &User) -> Others {
        Others {
            active: self.active > usize::from(user.is_active()),
            slots: self.slots.saturating_sub(user.slots),
        }
    }

    /// Who holds least of those that wait.
    fn next(&self) -> Option<CallerId> {
        let waiting = self.users.iter().filter(|(_, user)| !user.waiting.is_empty());
        waiting.min_by_key(|(_, user)| user.slots).map(|(id, _)| *id)
    }

    fn may_give(&self, account: CallerId, slots: usize) -> bool {
        let user = self.users.get(&account);
        user.is_some_and(|user| user.may_take(What::Slot, slots, self.others(user)))
    }

    /// Closes the accounts of those who hold nothing and have sent nothing lately.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_EVERY) {
            self.swept = Some(now);
            self.users.retain(|_, user| user.is_active() || user.kept_until(now).is_some());
        }
    }
}

impl Shared {
    fn bound(&self, what: What) -> usize {
        match what {
            What::Slot => self.slots,
            What::QueuePlace => self.places,
        }
    }
}

impl User {
    /// Whether it may hold one more of so many beside the others.
    fn may_take(&self, what: What, bound: usize, others: Others) -> bool {
        let all_but_kept = bound - bound / FOR_NEWCOMERS;
        let (held, share) = match what {
            What::Slot => (self.slots, self.share.0),
            What::QueuePlace => (self.places, self.share.1),
        };
        let Some(share) = share else { return true };
        let most = match what {
            What::Slot => share.max(all_but_kept.saturating_sub(others.slots)),
            What::QueuePlace if others.active => share,
            What::QueuePlace => share.max(all_but_kept),
        };
        held < most
    }

    fn is_active(&self) -> bool {
        self.slots + self.places > 0
    }

    /// Until when what it has left of its share is kept for it, if it has sent something lately.
    fn kept_until(&self, now: Instant) -> Option<Instant> {
        self.sent.map(|sent| sent + KEPT).filter(|until| now < *until)
    }

    fn held(&mut self, what: What) -> &mut usize {
        match what {
            What::Slot => &mut self.slots,
            What::QueuePlace => &mut self.places,
        }
    }
}

/// Whether a request needs no share.
fn is_free(caller: &Caller, class: Class) -> bool {
    class == Class::Settling || caller.id() == CallerId::Gateway
}

impl Drop for Part {
    fn drop(&mut self) {
        let Some(account) = self.account.take() else { return };
        for (waiter, part) in self.shares.release(account, self.what) {
            // One who has left gives it back.
            let _ = waiter.send(part);
        }
    }
}

#[cfg(test)]
mod tests;
