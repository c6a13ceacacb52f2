//! The places of one resource: a bound in all, and a bound for each caller.
//!
//! Two counters and no lock: one of the caller, one of all. Waits for nothing; who gets no place is
//! refused.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use prometheus_client::metrics::counter::Counter;

use super::{
    identity::{Caller, CallerId},
    metrics::{Bound, CallerMetrics},
    quota::{Full, Quota},
    resource::Resource,
};

/// The places of one resource.
#[derive(Debug)]
pub struct Pool {
    resource: Resource,
    held: AtomicUsize,
    bound: usize,
    over_share: Counter,
    over_bound: Counter,
}

/// Places that a caller holds, until this is dropped.
#[derive(Debug)]
pub struct Held {
    pool: Arc<Pool>,
    caller: Arc<Caller>,
    weight: AtomicUsize,
}

impl Pool {
    /// `bound` places, of which each caller may hold its share.
    pub(super) fn new(resource: Resource, bound: usize, metrics: &CallerMetrics) -> Arc<Self> {
        Arc::new(Self {
            resource,
            held: AtomicUsize::new(0),
            bound,
            over_share: metrics.refusals(resource, Bound::Caller),
            over_bound: metrics.refusals(resource, Bound::All),
        })
    }

    /// So many places for a caller.
    ///
    /// # Errors
    ///
    /// When they are not free; that is counted.
    pub fn acquire(self: &Arc<Self>, caller: &Arc<Caller>, weight: usize) -> Result<Held, Full> {
        self.add(caller, weight, weight)?;
        let weight = AtomicUsize::new(weight);
        Ok(Held { pool: Arc::clone(self), caller: Arc::clone(caller), weight })
    }

    /// So many places that are used in any case.
    #[must_use]
    pub fn acquire_anyway(self: &Arc<Self>, caller: &Arc<Caller>, weight: usize) -> Held {
        self.held.fetch_add(weight, Ordering::Relaxed);
        caller.of(self.resource).fetch_add(weight, Ordering::Relaxed);
        let weight = AtomicUsize::new(weight);
        Held { pool: Arc::clone(self), caller: Arc::clone(caller), weight }
    }

    /// Adds so many, of which there are `asked` then.
    fn add(&self, caller: &Caller, weight: usize, asked: usize) -> Result<(), Full> {
        let own = caller.of(self.resource);
        if !add(own, weight, self.share_of(caller)) {
            return Err(self.beyond_share(caller, asked));
        }
        if !add(&self.held, weight, self.bound) {
            own.fetch_sub(weight, Ordering::Relaxed);
            return Err(self.refuse_of(self.bound, asked));
        }
        Ok(())
    }

    fn remove(&self, caller: &Caller, weight: usize) {
        self.held.fetch_sub(weight, Ordering::Relaxed);
        caller.of(self.resource).fetch_sub(weight, Ordering::Relaxed);
    }

    /// Whether a caller would get one more place.
    ///
    /// # Errors
    ///
    /// When it would not; that is counted.
    pub fn has_room_for(&self, caller: &Caller) -> Result<(), Full> {
        if caller.holds(self.resource) >= self.share_of(caller) {
            return Err(self.beyond_share(caller, 1));
        }
        if self.held() >= self.bound {
            return Err(self.refuse());
        }
        Ok(())
    }

    /// Counts a refusal of what all callers together leave no room for.
    #[must_use]
    pub fn refuse(&self) -> Full {
        self.refuse_of(self.bound, 1)
    }

    fn refuse_of(&self, limit: usize, asked: usize) -> Full {
        self.over_bound.inc();
        Full::OfAll(Quota { resource: self.resource, limit, asked, is_own: false })
    }

    /// That all of it is taken.
    #[must_use]
    pub fn full(&self) -> Full {
        let (resource, limit) = (self.resource, self.bound);
        Full::OfAll(Quota { resource, limit, asked: 1, is_own: false })
    }

    /// The most that a caller can hold, however little others hold.
    #[must_use]
    pub fn most_of(&self, caller: &Caller) -> usize {
        match caller.id() {
            CallerId::Backend => self.bound / 2,
            _ => self.share_of(caller).min(self.bound),
        }
    }

    /// How many places there are.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// How many places are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn beyond_share(&self, caller: &Caller, asked: usize) -> Full {
        let limit = self.most_of(caller);
        if caller.id() == CallerId::Backend {
            // No caller has too much.
            return self.refuse_of(limit, asked);
        }
        self.over_share.inc();
        let is_own = caller.named().is_some_and(|named| named.refuses(self.resource));
        Full::OfCaller(Quota { resource: self.resource, limit, asked, is_own })
    }

    fn share_of(&self, caller: &Caller) -> usize {
        if caller.id() == CallerId::Backend {
            // As much as it leaves, so that something is left however many backends are greedy.
            let others = self.held().saturating_sub(caller.holds(self.resource));
            return self.bound.saturating_sub(others) / 2;
        }
        if let Some(quota) = caller.named().and_then(|named| named.of(self.resource)) {
            return quota;
        }
        // Who may hold everything is told that all of it is taken.
        caller.share_of(self.bound).unwrap_or(usize::MAX)
    }
}

/// Adds to a counter if it stays within the bound.
fn add(counter: &AtomicUsize, weight: usize, bound: usize) -> bool {
    // Not added and taken back: meanwhile another one would be refused for what is not held.
    let within = |held: usize| held.checked_add(weight).filter(|held| *held <= bound);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
}

impl Held {
    /// How many they are.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }

    /// The most that there can be, however little others hold.
    #[must_use]
    pub fn most(&self) -> usize {
        self.pool.most_of(&self.caller)
    }

    /// Takes more, or gives some back, so that there are so many.
    ///
    /// # Errors
    ///
    /// When they are not free; that is counted, and it stays as it is.
    pub fn resize(&self, weight: usize) -> Result<(), Full> {
        let before = self.weight.swap(weight, Ordering::Relaxed);
        let resized = match weight.checked_sub(before) {
            Some(more) => self.pool.add(&self.caller, more, weight),
            None => {
                self.pool.remove(&self.caller, before - weight);
                Ok(())
            }
        };
        if resized.is_err() {
            self.weight.store(before, Ordering::Relaxed);
        }
        resized
    }

    /// Gives all of them back: from now on, something else counts what they were held for.
    pub fn release(&self) {
        let weight = self.weight.swap(0, Ordering::Relaxed);
        self.pool.remove(&self.caller, weight);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::allowance::Allowance;

    fn pool(bound: usize) -> Arc<Pool> {
        Pool::new(Resource::Calls, bound, &CallerMetrics::default())
    }

    fn of_caller(limit: usize, asked: usize) -> Full {
        Full::OfCaller(Quota { resource: Resource::Calls, limit, asked, is_own: false })
    }

    fn of_all(limit: usize, asked: usize) -> Full {
        Full::OfAll(Quota { resource: Resource::Calls, limit, asked, is_own: false })
    }

    fn caller(address: &str) -> Arc<Caller> {
        let id = CallerId::network(address.parse().unwrap(), 32, 64);
        Caller::new(id, 50, Allowance::default(), None)
    }

    #[test]
    fn one_caller_gets_its_share_and_leaves_the_rest() {
        let (pool, greedy, other) = (pool(10), caller("192.0.2.1"), caller("192.0.2.2"));
        let held: Vec<Held> = (0..5).map(|_| pool.acquire(&greedy, 1).unwrap()).collect();
        assert_eq!(pool.acquire(&greedy, 1).unwrap_err(), of_caller(5, 1));
        assert_eq!(pool.has_room_for(&greedy), Err(of_caller(5, 1)));
        assert_eq!(pool.has_room_for(&other), Ok(()));
        let others: Vec<Held> = (0..5).map(|_| pool.acquire(&other, 1).unwrap()).collect();
        let third = caller("192.0.2.3");
        assert_eq!(pool.acquire(&third, 1).unwrap_err(), of_all(10, 1));
        assert_eq!(pool.has_room_for(&third), Err(of_all(10, 1)));
        assert_eq!(third.holds(Resource::Calls), 0, "a refusal takes nothing along");
        drop(held);
        assert_eq!((pool.held(), greedy.holds(Resource::Calls)), (5, 0));
        pool.acquire(&third, 1).unwrap();
        drop(others);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn what_is_held_grows_and_shrinks_within_the_bounds() {
        let (pool, one, other) = (pool(100), caller("192.0.2.1"), caller("192.0.2.2"));
        let held = pool.acquire(&one, 10).unwrap();
        held.resize(50).unwrap();
        assert_eq!(held.resize(51).unwrap_err(), of_caller(50, 51));
        assert_eq!((held.weight(), one.holds(Resource::Calls), pool.held()), (50, 50, 50));
        let more = pool.acquire_anyway(&other, 60);
        assert_eq!(pool.held(), 110);
        held.resize(1).unwrap();
        assert_eq!(held.resize(50).unwrap_err(), of_all(100, 50));
        more.release();
        drop(more);
        assert_eq!((other.holds(Resource::Calls), pool.held()), (0, 1));
        drop(held);
        assert_eq!((one.holds(Resource::Calls), pool.held()), (0, 0));
    }

    #[test]
    fn places_may_weigh_more_than_one() {
        let (pool, greedy) = (pool(100), caller("192.0.2.1"));
        let most = pool.acquire(&greedy, 40).unwrap();
        assert_eq!(pool.acquire(&greedy, 11).unwrap_err(), of_caller(50, 11));
        assert_eq!(pool.acquire(&greedy, usize::MAX).unwrap_err(), of_caller(50, usize::MAX));
        let rest = pool.acquire(&greedy, 10).unwrap();
        drop((most, rest));
        assert_eq!(greedy.holds(Resource::Calls), 0);
    }

    #[test]
    fn who_may_hold_everything_is_told_that_all_is_taken() {
        let (pool, only) = (pool(1), caller("192.0.2.1"));
        let _held = pool.acquire(&only, 1).unwrap();
        assert_eq!(pool.acquire(&only, 1).unwrap_err(), of_all(1, 1));
        assert_eq!(pool.has_room_for(&only), Err(of_all(1, 1)));
    }

    #[test]
    fn each_backend_leaves_as_much_as_it_holds() {
        let (pool, caller) = (pool(800), caller("192.0.2.1"));
        let backends = [(); 3].map(|()| Caller::backend());
        let fill = |backend: &Arc<Caller>| -> Vec<Held> {
            std::iter::from_fn(|| pool.acquire(backend, 1).ok()).collect()
        };
        let [first, second, third] = backends.each_ref().map(fill);
        assert_eq!((first.len(), second.len(), third.len()), (400, 200, 100));
        assert_eq!(first[0].resize(2).unwrap_err(), of_all(400, 2));
        assert_eq!(pool.has_room_for(&backends[0]), Err(of_all(400, 1)));
        // A caller gets what is left.
        let rest = pool.acquire(&caller, 100).unwrap();
        drop((first, third));
        assert_eq!(fill(&backends[2]).len(), 250);
        drop((second, rest));
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn the_process_itself_has_no_share() {
        let pool = pool(4);
        let held: Vec<Held> = (0..4).map(|_| pool.acquire(Caller::gateway(), 1).unwrap()).collect();
        let full = pool.acquire(Caller::gateway(), 1).unwrap_err();
        assert_eq!((held.len(), full), (4, of_all(4, 1)));
    }
}
