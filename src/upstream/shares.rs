//! What each caller holds and uses of one backend: slots, places in the queue, and the vendor's
//! windows.
//!
//! A caller alone may hold all but what is kept for the first request of another one. As soon as
//! others ask for something too, it gets no more than its share: it waits for its own slots, and a
//! part of the queue and of the windows stays for the others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::Instant,
};

use super::{
    class::Class,
    limits::{Limits, WindowLimit},
    window::Windows,
};
use crate::caller::{Caller, CallerId};

/// Most callers of which a backend knows what they use; those beyond share one account.
const MAX_USERS: usize = 1024;
/// How often those are looked for that use nothing while there are so many.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// A caller alone leaves a quarter to newcomers.
const FOR_NEWCOMERS: usize = 4;

/// What can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Slot,
    QueuePlace,
}

/// The accounts of all callers of one backend.
pub(super) struct Shares {
    slots: usize,
    places: usize,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<CallerId, User>,
    /// How many of them hold anything.
    active: usize,
    swept: Option<Instant>,
}

/// What one caller holds and uses.
struct User {
    slots: usize,
    places: usize,
    /// Its share of the vendor's windows, with what it has used.
    windows: Windows,
    freed: Arc<Notify>,
}

/// Something that a caller holds. Released when dropped.
pub(super) struct Part<'s> {
    shares: &'s Shares,
    /// The account, if it has one.
    account: Option<CallerId>,
    what: What,
}

impl Shares {
    /// Of so many slots and places in the queue, and of these windows.
    pub(super) fn new(slots: usize, places: usize, limits: Limits) -> Self {
        Self { slots, places, limits, state: Mutex::default() }
    }

    /// One of the caller's slots or places, if one is free. What settles a write waits for no
    /// share.
    pub(super) fn hold(&self, caller: &Caller, class: Class, what: What) -> Option<Part<'_>> {
        let bound = match what {
            What::Slot => self.slots,
            What::QueuePlace => self.places,
        };
        let share = caller.share_of(bound);
        if class == Class::Settling || caller.id() == CallerId::Gateway {
            return Some(Part { shares: self, account: None, what });
        }
        let mut state = self.state.lock();
        let account = self.account(&mut state, caller);
        let active = state.active;
        let user = state.users.get_mut(&account)?;
        let was_active = user.is_active();
        let most = match share {
            None => usize::MAX,
            Some(share) if active > usize::from(was_active) => share,
            Some(_) => bound - bound / FOR_NEWCOMERS,
        };
        let held = user.held(what);
        if *held >= most {
            return None;
        }
        *held += 1;
        state.active += usize::from(!was_active);
        Some(Part { shares: self, account: Some(account), what })
    }

    /// Waits for one of the caller's slots.
    pub(super) async fn wait_for_slot(&self, caller: &Caller, class: Class) -> Part<'_> {
        loop {
            let freed = self.freed(caller);
            if let Some(part) = self.hold(caller, class, What::Slot) {
                return part;
            }
            freed.await;
        }
    }

    /// Waits until the caller has released something from now on.
    fn freed(&self, caller: &Caller) -> OwnedNotified {
        let mut state = self.state.lock();
        let account = self.account(&mut state, caller);
        let freed = state.users.get(&account).map(|user| Arc::clone(&user.freed));
        freed.unwrap_or_default().notified_owned()
    }

    /// Counts a request that is sent now.
    pub(super) fn count(&self, caller: &Caller, now: Instant) {
        if !self.has_windows() || caller.id() == CallerId::Gateway {
            return;
        }
        let mut state = self.state.lock();
        let account = self.account(&mut state, caller);
        if let Some(user) = state.users.get_mut(&account) {
            user.windows.count_at(now);
        }
    }

    /// How long it takes until the caller has used less than its share of the vendor's windows; if
    /// it has used more, and others use them too.
    pub(super) fn is_used_up(
        &self,
        caller: &Caller,
        class: Class,
        now: Instant,
    ) -> Option<Duration> {
        if !self.has_windows() || class == Class::Settling || caller.share_of(100).is_none() {
            return None;
        }
        let mut state = self.state.lock();
        let account = self.account(&mut state, caller);
        let (free, _) = state.users.get_mut(&account)?.windows.next(class, 1, now)?;
        let others = state.users.iter_mut().filter(|(id, _)| **id != account);
        let are_used = others.map(|(_, user)| &mut user.windows).any(|own| own.is_used(now));
        are_used.then(|| free.saturating_duration_since(now))
    }

    fn has_windows(&self) -> bool {
        self.limits.requests.is_some() || self.limits.monthly_requests.is_some()
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
                requests: self.limits.requests.map(share),
                monthly_requests: self.limits.monthly_requests.map(share),
                ..Limits::NONE
            };
            let windows = Windows::new(&limits, now);
            User { slots: 0, places: 0, windows, freed: Arc::default() }
        });
        id
    }
}

impl State {
    /// Closes the accounts of those who hold and have used nothing.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_EVERY) {
            self.swept = Some(now);
            self.users.retain(|_, user| user.is_active() || user.windows.is_used(now));
        }
    }
}

impl User {
    fn is_active(&self) -> bool {
        self.slots + self.places > 0
    }

    fn held(&mut self, what: What) -> &mut usize {
        match what {
            What::Slot => &mut self.slots,
            What::QueuePlace => &mut self.places,
        }
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let Some(account) = self.account else { return };
        let mut state = self.shares.state.lock();
        let Some(user) = state.users.get_mut(&account) else { return };
        let held = user.held(self.what);
        *held = held.saturating_sub(1);
        user.freed.notify_waiters();
        let is_active = user.is_active();
        state.active -= usize::from(!is_active);
    }
}

#[cfg(test)]
mod tests;
