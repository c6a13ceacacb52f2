//! How a read is answered: from the store, by a shared load, or with an older value if the load
//! fails.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    control::Control,
    entry::{Entry, Freshness},
    flights::{Asker, Flight, Joined, Leader, MAX_LOAD},
    generations::{Shape, Snapshot},
    load::Load,
    readers::{Loaded, Waited},
    served::{Outcome, Served},
    store::Store,
    value::{Resource, Value},
};
use crate::{
    caller::urgently,
    error::{Blame, DEADLINE_PASSED, Error, Reason, Result},
    resources::{is_long_list, off_thread_if},
};

/// How long reads are paused after a failure that an older value hides.
const HOLD_OFF: Duration = Duration::from_secs(1);

/// Reads from the cache if possible, or else with `load`, which gets its own deadline, and whom to
/// tell if it has to wait. Fails with the error of `load`; the only error that is remembered is
/// `PROFILE_NOT_FOUND`.
pub(super) async fn read<F>(
    store: &Arc<Store>,
    resource: &Resource,
    control: Control,
    by: Asker,
    load: impl Load<F>,
) -> (Result<Value>, Served)
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    let (result, served) = answer(store, resource, control, by, load).await;
    let negative = matches!(result, Ok(Value::Absent(_)));
    let kept = matches!(served.outcome, Outcome::Hit | Outcome::Stale);
    store.metrics.read(served.outcome, negative && kept);
    let result = match result {
        Ok(Value::Absent(error)) => Err((*error).clone()),
        other => other,
    };
    (result, served)
}

async fn answer<F>(
    store: &Arc<Store>,
    resource: &Resource,
    control: Control,
    by: Asker,
    load: impl Load<F>,
) -> (Result<Value>, Served)
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    if !control.no_cache && store.settings.enabled {
        match store.find(resource, control) {
            Some((entry, Freshness::Fresh)) => return store.serve(&entry, Outcome::Hit),
            Some((entry, Freshness::Revalidate)) => {
                if !control.only_if_cached {
                    refresh(store, resource, by, load);
                }
                return store.serve(&entry, Outcome::Stale);
            }
            Some((entry, Freshness::IfError)) if !control.only_if_cached => {
                return load_or_fall_back(store, resource, by, load, entry).await;
            }
            _ => {}
        }
    }
    if control.only_if_cached {
        let message = "not cached, and only-if-cached forbids fetching it";
        return failed(Error::new(Reason::CacheMiss, message), Outcome::Miss);
    }
    if control.no_cache || !store.settings.enabled {
        if resource.is_list() && !control.alone {
            return next_load(store, resource, by, load, Outcome::Bypass).await;
        }
        return bypass(store, resource, by, load).await;
    }
    if !store.generations.may_serve() {
        // A write of another replica may have ended since the load that is running began.
        return next_load(store, resource, by, load, Outcome::Miss).await;
    }
    // A load that began earlier could return a value older than `max-age`.
    let since = control.max_age.and_then(|age| Instant::now().checked_sub(age));
    share_load(store, resource, since, by, load).await
}

/// Joins the load in progress, or starts one.
async fn share_load<F>(
    store: &Arc<Store>,
    resource: &Resource,
    since: Option<Instant>,
    by: Asker,
    load: impl Load<F>,
) -> (Result<Value>, Served)
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    let ended = |flight: &Flight, waited, outcome| match waited {
        Waited::Loaded(Ok(value)) => {
            (Ok(value), Served { outcome, age: Some(flight.began.elapsed()) })
        }
        Waited::Loaded(Err(error)) => failed(error, outcome),
        Waited::TooLong | Waited::ForShare => {
            if flight.readers().have_begun() {
                store.flights.hold_off(resource, HOLD_OFF);
            }
            failed(deadline_passed(), outcome)
        }
    };
    loop {
        // Under load, most reads end here.
        if !store.flights.has(resource)
            && let Err(error) = load.admits()
        {
            return failed(error, Outcome::Miss);
        }
        let snapshot = store.generations.snapshot(resource);
        match store.flights.join(resource, snapshot, since, by) {
            Ok(Joined::Follower(flight, _reader)) => match flight.outcome(by).await {
                Waited::ForShare => {}
                waited => return ended(&flight, waited, Outcome::Coalesced),
            },
            Ok(Joined::Leader(flight, _reader, leader)) => {
                launch(store, resource, &flight, leader, load);
                return ended(&flight, flight.outcome(by).await, Outcome::Miss);
            }
            Err(error) => return failed(error, Outcome::Miss),
        }
    }
}

/// Joins the next load that begins from now on, or starts it when the one that is running has
/// ended: however many ask, there is one at a time.
async fn next_load<F>(
    store: &Arc<Store>,
    resource: &Resource,
    by: Asker,
    load: impl Load<F>,
    outcome: Outcome,
) -> (Result<Value>, Served)
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    let asked = Instant::now();
    while let Some(running) = store.flights.before(resource, asked, by.0) {
        if !running.is_over(by).await {
            return failed(deadline_passed(), outcome);
        }
    }
    let (result, served) = share_load(store, resource, Some(asked), by, load).await;
    (result, Served { outcome, ..served })
}

/// Loads, and falls back to an older value if that fails or takes too long for the caller.
async fn load_or_fall_back<F>(
    store: &Arc<Store>,
    resource: &Resource,
    by: Asker,
    load: impl Load<F>,
    entry: Entry,
) -> (Result<Value>, Served)
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    if store.flights.is_held_off(resource) {
        return store.serve(&entry, Outcome::Stale);
    }
    let (result, served) = share_load(store, resource, None, by, load).await;
    match &result {
        // A write, a purge or the age limit may have invalidated it in the meantime.
        Err(error) if error.facts().allows_stale && store.counts(resource, &entry) => {
            store.serve(&entry, Outcome::Stale)
        }
        _ => (result, served),
    }
}

/// Reads again in the background, for later readers. It waits no longer than its reader could.
fn refresh<F>(store: &Arc<Store>, resource: &Resource, by: Asker, load: impl Load<F>)
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    if store.flights.is_held_off(resource) || load.admits().is_err() {
        return;
    }
    let snapshot = store.generations.snapshot(resource);
    if let Ok(Joined::Leader(flight, reader, leader)) =
        store.flights.join(resource, snapshot, None, by)
    {
        reader.keep();
        launch(store, resource, &flight, leader, load);
    }
}

fn launch<F>(
    store: &Arc<Store>,
    resource: &Resource,
    flight: &Flight,
    leader: Leader,
    load: impl Load<F>,
) where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    let reserved = match store.reserve(resource) {
        Ok(reserved) => reserved,
        Err(error) => return leader.complete(Err(error)),
    };
    let (snapshot, began) = (flight.snapshot, flight.began);
    let loading = load.begin(began + MAX_LOAD, Some(flight.readers()));
    let (filled, resource) = (Arc::clone(store), resource.clone());
    let readers = flight.readers();
    let flight = async move {
        let loaded = tokio::select! {
            biased;
            loaded = timeout_at(began + MAX_LOAD, loading) => loaded,
            // Nothing was read.
            () = readers.abandoned() => return,
        };
        let loaded = loaded.unwrap_or_else(|_| Err(gave_up()));
        let loaded = loaded.and_then(|value| filled.settled(value, reserved));
        let loaded = fill(&filled, &resource, snapshot, began, loaded).await;
        // What was not sent costs the upstream nothing, and may concern its caller only.
        let costs = |error: &Error| readers.have_begun() && error.blame() != Blame::Caller;
        if loaded.as_ref().is_err_and(costs) {
            filled.flights.hold_off(&resource, HOLD_OFF);
        }
        leader.complete(loaded);
    };
    // Boxed first: it is large, and each wrapper would copy it.
    store.background.spawn(Box::pin(flight));
}

/// A load for one caller alone, which ends with it.
async fn bypass<F>(
    store: &Arc<Store>,
    resource: &Resource,
    by: Asker,
    load: impl Load<F>,
) -> (Result<Value>, Served)
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    let reserved = match load.admits().and_then(|()| store.reserve(resource)) {
        Ok(reserved) => reserved,
        Err(error) => return failed(error, Outcome::Bypass),
    };
    let (snapshot, began) = (store.generations.snapshot(resource), Instant::now());
    // As a load that is shared, which is a task of its own: others wait for what it uses.
    let loaded = urgently(load.begin(by.1, None)).await;
    let loaded = loaded.and_then(|value| store.settled(value, reserved));
    match fill(store, resource, snapshot, began, loaded).await {
        Ok(value) => {
            let served = Served { outcome: Outcome::Bypass, age: Some(began.elapsed()) };
            (Ok(value), served)
        }
        Err(error) => failed(error, Outcome::Bypass),
    }
}

/// Keeps what was loaded, if nothing came between.
async fn fill(
    store: &Arc<Store>,
    resource: &Resource,
    snapshot: Snapshot,
    began: Instant,
    loaded: Result<Value>,
) -> Loaded {
    store.metrics.load(began.elapsed(), loaded.is_ok());
    let (value, shape) = match loaded {
        Ok(value) => (value, Shape::Whole),
        Err(error)
            if error.reason() == Reason::ProfileNotFound
                && matches!(resource, Resource::Profile(_)) =>
        {
            (Value::Absent(Arc::new(error)), Shape::Absence)
        }
        Err(error) => {
            if !error.facts().allows_stale {
                store.forget(resource, began);
            }
            return Err(error);
        }
    };
    let profiles = value.profiles();
    let review = || {
        for id in store.acknowledged.undeleted(resource, &value, began) {
            store.metrics.undeleted(&id);
        }
        store.acknowledged.review(resource, value)
    };
    // It goes over all profiles of a list.
    let (value, keep) = off_thread_if(is_long_list(profiles), review);
    if !store.settings.enabled || matches!(value, Value::Partial(..)) {
        return Ok(value);
    }
    if !keep {
        store.metrics.rejected_fill();
        return Ok(value);
    }
    let now = store.clock.now();
    match store.generations.proof(resource, snapshot, shape, now) {
        Some(proof) => {
            if let Value::Profiles(list) = &value
                && store.lists_are_complete
                && *resource == Resource::Profiles
            {
                store.keep_each(list, snapshot, began).await;
            }
            store.keep(resource.clone(), value.clone(), proof, began);
        }
        None => store.metrics.rejected_fill(),
    }
    Ok(value)
}

fn failed(error: Error, outcome: Outcome) -> (Result<Value>, Served) {
    (Err(error), Served { outcome, age: None })
}

fn deadline_passed() -> Error {
    Error::new(Reason::DeadlineExceeded, DEADLINE_PASSED)
}

fn gave_up() -> Error {
    let message = format!("reading from the upstream took longer than {} s", MAX_LOAD.as_secs());
    Error::new(Reason::UpstreamUnavailable, message)
}
