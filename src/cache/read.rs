//! The way of a read: the store, what time allows, a load that many share, and what is left when it
//! fails.

use std::{future::Future, sync::Arc, time::Duration};

use moka::ops::compute::Op;
use tokio::{
    task::coop::consume_budget,
    time::{Instant, timeout_at},
};

use super::{
    Cache, Control, Inner, List, Outcome, Resource, Served, Value,
    entry::{Entry, Freshness, millis},
    flights::{Flight, Joined, Leader, Loaded, MAX_LOAD},
    generations::{Proof, Shape, Snapshot},
};
use crate::error::{Error, Reason, Result};

/// How long an upstream that failed is left alone where an older value stands in for it.
const HOLD_OFF: Duration = Duration::from_secs(1);

impl Cache {
    /// Reads: from the cache if it may, else by `load`, which is given its own deadline. It fails with
    /// what `load` failed with; of these only `PROFILE_NOT_FOUND` is remembered.
    pub async fn read<F>(
        &self,
        resource: &Resource,
        control: Control,
        deadline: Instant,
        load: impl FnOnce(Instant) -> F,
    ) -> (Result<Value>, Served)
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        let (result, served) = self.answer(resource, control, deadline, load).await;
        let negative = matches!(result, Ok(Value::Absent(_)));
        let kept = matches!(served.outcome, Outcome::Hit | Outcome::Stale);
        self.0.observer.read(served.outcome, negative && kept);
        let result = match result {
            Ok(Value::Absent(error)) => Err((*error).clone()),
            other => other,
        };
        (result, served)
    }

    /// Whether a read would be answered without waiting for the upstream.
    pub fn has(&self, resource: &Resource, control: Control) -> bool {
        let inner = &*self.0;
        if control.no_cache || !inner.settings.enabled {
            return false;
        }
        let found = inner.find(resource, control);
        matches!(found, Some((_, Freshness::Fresh | Freshness::Revalidate)))
    }

    async fn answer<F>(
        &self,
        resource: &Resource,
        control: Control,
        deadline: Instant,
        load: impl FnOnce(Instant) -> F,
    ) -> (Result<Value>, Served)
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        let inner = &*self.0;
        if !control.no_cache && inner.settings.enabled {
            match inner.find(resource, control) {
                Some((entry, Freshness::Fresh)) => return inner.serve(&entry, Outcome::Hit),
                Some((entry, Freshness::Revalidate)) => {
                    if !control.only_if_cached {
                        self.refresh(resource, load);
                    }
                    return inner.serve(&entry, Outcome::Stale);
                }
                Some((entry, Freshness::IfError)) if !control.only_if_cached => {
                    return self.load_or_fall_back(resource, deadline, load, entry).await;
                }
                _ => {}
            }
        }
        if control.only_if_cached {
            let message = "the value is not in the cache, and only-if-cached forbids to ask for it";
            return failed(Error::new(Reason::CacheMiss, message), Outcome::Miss);
        }
        if control.no_cache || !inner.settings.enabled {
            return self.bypass(resource, deadline, load).await;
        }
        // A load that began before the oldest value that will do could bring an older one.
        let since = control.max_age.and_then(|age| Instant::now().checked_sub(age));
        self.load(resource, since, deadline, load).await
    }

    /// Shares a load; of the callers that find none, one begins it.
    async fn load<F>(
        &self,
        resource: &Resource,
        since: Option<Instant>,
        deadline: Instant,
        load: impl FnOnce(Instant) -> F,
    ) -> (Result<Value>, Served)
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        let snapshot = self.0.generations.snapshot(resource);
        let (flight, outcome) = match self.0.flights.join(resource, snapshot, since) {
            Ok(Joined::Follower(flight)) => (flight, Outcome::Coalesced),
            Ok(Joined::Leader(flight, leader)) => {
                self.launch(resource, &flight, leader, load);
                (flight, Outcome::Miss)
            }
            Err(error) => return failed(error, Outcome::Miss),
        };
        let began = flight.began;
        match flight.outcome(deadline).await {
            Some(Ok(value)) => (Ok(value), Served { outcome, age: Some(began.elapsed()) }),
            Some(Err(error)) => failed(error, outcome),
            None => failed(deadline_passed(), outcome),
        }
    }

    /// A load with an older value to stand in for it: when it fails, or takes longer than the caller.
    async fn load_or_fall_back<F>(
        &self,
        resource: &Resource,
        deadline: Instant,
        load: impl FnOnce(Instant) -> F,
        entry: Entry,
    ) -> (Result<Value>, Served)
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        let inner = &*self.0;
        if inner.flights.is_held_off(resource) {
            return inner.serve(&entry, Outcome::Stale);
        }
        let (result, served) = self.load(resource, None, deadline, load).await;
        match &result {
            // A write, a purge or the bound may have come while the upstream failed.
            Err(error) if stands_in_for(error) && inner.counts(resource, &entry) => {
                inner.flights.hold_off(resource, HOLD_OFF);
                inner.serve(&entry, Outcome::Stale)
            }
            _ => (result, served),
        }
    }

    /// Reads anew, for those who come later.
    fn refresh<F>(&self, resource: &Resource, load: impl FnOnce(Instant) -> F)
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        let inner = &*self.0;
        if inner.flights.is_held_off(resource) {
            return;
        }
        let snapshot = inner.generations.snapshot(resource);
        if let Ok(Joined::Leader(flight, leader)) = inner.flights.join(resource, snapshot, None) {
            self.launch(resource, &flight, leader, load);
        }
    }

    fn launch<F>(
        &self,
        resource: &Resource,
        flight: &Flight,
        leader: Leader,
        load: impl FnOnce(Instant) -> F,
    ) where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        let (cache, resource) = (self.clone(), resource.clone());
        let (snapshot, began) = (flight.snapshot, flight.began);
        let loading = load(began + MAX_LOAD);
        let flight = async move {
            let loaded = timeout_at(began + MAX_LOAD, loading).await;
            let loaded = loaded.unwrap_or_else(|_| Err(gave_up()));
            let loaded = cache.fill(&resource, snapshot, began, loaded).await;
            if loaded.is_err() {
                cache.0.flights.hold_off(&resource, HOLD_OFF);
            }
            leader.complete(loaded);
        };
        let closing = self.0.background.closing.clone();
        // On the heap first: it is large, and each layer around it would copy it.
        self.0.background.tasks.spawn(closing.run_until_cancelled_owned(Box::pin(flight)));
    }

    /// A load for one caller alone, which ends with it.
    async fn bypass<F>(
        &self,
        resource: &Resource,
        deadline: Instant,
        load: impl FnOnce(Instant) -> F,
    ) -> (Result<Value>, Served)
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        let (snapshot, began) = (self.0.generations.snapshot(resource), Instant::now());
        let loaded = load(deadline).await;
        match self.fill(resource, snapshot, began, loaded).await {
            Ok(value) => {
                let served = Served { outcome: Outcome::Bypass, age: Some(began.elapsed()) };
                (Ok(value), served)
            }
            Err(error) => failed(error, Outcome::Bypass),
        }
    }

    /// Keeps what was loaded, if nothing came between.
    async fn fill(
        &self,
        resource: &Resource,
        snapshot: Snapshot,
        began: Instant,
        loaded: Result<Value>,
    ) -> Loaded {
        let inner = &*self.0;
        inner.observer.load(began.elapsed(), loaded.is_ok());
        let (value, shape) = match loaded {
            Ok(value) => (value, Shape::Whole),
            Err(error)
                if error.reason() == Reason::ProfileNotFound
                    && matches!(resource, Resource::Profile(_)) =>
            {
                (Value::Absent(Arc::new(error)), Shape::Absence)
            }
            Err(error) => {
                if !stands_in_for(&error) {
                    inner.forget(resource, began);
                }
                return Err(error);
            }
        };
        if !inner.settings.enabled {
            return Ok(value);
        }
        let now = inner.clock.now();
        match inner.generations.proof(resource, snapshot, shape, now) {
            Some(proof) => {
                if let Value::Profiles(list) = &value
                    && inner.settings.lists_are_complete
                {
                    inner.keep_each(list, snapshot, began).await;
                }
                inner.keep(resource.clone(), value.clone(), proof, began);
            }
            None => inner.observer.rejected_fill(),
        }
        Ok(value)
    }
}

impl Inner {
    /// An entry that still counts, and that the caller would take.
    fn find(&self, resource: &Resource, control: Control) -> Option<(Entry, Freshness)> {
        let entry = self.store.get(resource)?;
        let now = self.clock.now();
        if !self.generations.holds(resource, entry.proof) {
            return None;
        }
        let freshness = entry.freshness(now, &self.settings);
        match control.max_age {
            Some(max) if freshness != Freshness::Fresh || entry.age(now) > max => None,
            _ => Some((entry, freshness)),
        }
    }

    fn serve(&self, entry: &Entry, outcome: Outcome) -> (Result<Value>, Served) {
        let age = Some(entry.age(self.clock.now()));
        (Ok(entry.value.clone()), Served { outcome, age })
    }

    /// Keeps the profiles of a list.
    async fn keep_each(&self, list: &List, snapshot: Snapshot, began: Instant) {
        for (id, profile) in list {
            let resource = Resource::Profile(id.clone());
            let now = self.clock.now();
            if let Some(proof) = self.generations.proof_from_list(&resource, snapshot, now) {
                self.keep(resource, Value::Profile(profile.clone()), proof, began);
            }
            // Thousands of them must not keep this thread to themselves.
            consume_budget().await;
        }
    }

    /// Drops what was read before the upstream refused to say it again.
    fn forget(&self, resource: &Resource, began: Instant) {
        let began = self.clock.at(began);
        self.store.entry_by_ref(resource).and_compute_with(|there| {
            let older = there.is_some_and(|there| there.value().asked_at <= began);
            if older { Op::Remove } else { Op::Nop }
        });
    }

    fn keep(&self, resource: Resource, value: Value, proof: Proof, began: Instant) {
        let ttl = match &value {
            Value::Absent(_) => self.settings.negative_ttl,
            Value::Services(_) => self.settings.services_ttl,
            Value::Profile(_) | Value::Profiles(_) => self.settings.ttl,
        };
        let jittered = ttl - ttl.mul_f64(0.1 * (self.random)().clamp(0.0, 1.0));
        let fresh_until = self.clock.now() + millis(jittered);
        let asked_at = self.clock.at(began);
        let entry = Entry { value, proof, asked_at, fresh_until };
        let newer = |other: &Entry| {
            other.asked_at > asked_at && self.generations.holds(&resource, other.proof)
        };
        self.store.entry_by_ref(&resource).and_compute_with(|there| {
            // Of two loads the one that began later knows more, whichever ends last.
            let newer = there.is_some_and(|there| newer(there.value()));
            if newer { Op::Nop } else { Op::Put(entry) }
        });
    }
}

fn failed(error: Error, outcome: Outcome) -> (Result<Value>, Served) {
    (Err(error), Served { outcome, age: None })
}

fn deadline_passed() -> Error {
    let message = "the deadline passed while the upstream was read; the read goes on for those who \
                   ask again";
    Error::new(Reason::DeadlineExceeded, message)
}

fn gave_up() -> Error {
    let message = format!("reading the upstream took longer than {} s", MAX_LOAD.as_secs());
    Error::new(Reason::UpstreamUnavailable, message)
}

/// Whether an older value may stand in for this failure: the upstream is out of order. What it refuses
/// is refused, whatever was there before.
fn stands_in_for(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::UpstreamUnavailable
            | Reason::UpstreamInternal
            | Reason::UpstreamContractViolation
            | Reason::UpstreamThrottled
            | Reason::UpstreamFailure
            | Reason::Overloaded
            | Reason::DeadlineExceeded
            | Reason::GatewayInternal
    )
}
