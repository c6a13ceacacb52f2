//! Loads in progress, and who waits for them.
//!
//! A load runs in a task of its own: it continues when its caller leaves or reaches a deadline, so
//! no second load starts. It is abandoned after [`MAX_LOAD`], so that one that hangs cannot block a
//! key forever; the next reader then starts a new one. If it has to wait before it goes on, each
//! reader that cannot wait that long is told at once. If it waits for its caller's own share, or is
//! refused for it, the readers of other callers go on with another one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::quality::RandomState;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{
    generations::Snapshot,
    readers::{Loaded, Reader, Readers, Waited},
    value::Resource,
};
use crate::{
    caller::CallerId,
    error::{Error, Reason, Result},
};

/// How long a load may take. An endpoint list of 10 000 profiles takes 100 s at the vendor's limit
/// of 100 requests per second.
pub const MAX_LOAD: Duration = Duration::from_secs(300);

/// Maximum number of concurrent loads of one backend, including those whose callers have left.
const MAX_FLIGHTS: usize = 4096;

/// Who reads, and until when it waits.
pub(super) type Asker = (CallerId, Instant);

/// The loads of one backend. Clones share.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    flights: HashMap<Resource, Flight, RandomState>,
    /// How many have been started, to tell them apart.
    count: u64,
    /// Resources that are not read again before a time, because an older value is served instead.
    held_off: HashMap<Resource, Instant, RandomState>,
    /// When those were looked for last that are over.
    swept: Option<Instant>,
}

/// A load that others may wait for.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) snapshot: Snapshot,
    pub(super) began: Instant,
    number: u64,
    /// Whose load it is.
    caller: CallerId,
    readers: Readers,
}

/// What a reader gets: another reader's load, or the task of running one.
pub(super) enum Joined {
    /// A load that is already running.
    Follower(Flight, Reader),
    /// A load that the caller has to run.
    Leader(Flight, Reader, Leader),
}

/// Runs a load. If it is dropped early, the waiting readers get an error.
pub(super) struct Leader {
    is_over: bool,
    flights: Flights,
    resource: Resource,
    number: u64,
    readers: Readers,
}

impl Flights {
    /// Joins a load that began in the same generation and not before `since`, or starts one for
    /// this caller. The reader can wait for it until `deadline`.
    pub(super) fn join(
        &self,
        resource: &Resource,
        snapshot: Snapshot,
        since: Option<Instant>,
        (caller, deadline): Asker,
    ) -> Result<Joined> {
        let now = Instant::now();
        let mut state = self.lock();
        let current = state.flights.get(resource).filter(|flight| {
            flight.snapshot == snapshot
                && since.is_none_or(|since| flight.began >= since)
                && now.saturating_duration_since(flight.began) < MAX_LOAD
        });
        if let Some(flight) = current
            && let Some(reader) = flight.readers.join(deadline, caller == flight.caller)
        {
            return Ok(Joined::Follower(flight.clone(), reader));
        }
        if state.flights.len() >= MAX_FLIGHTS {
            return Err(Error::new(
                Reason::Overloaded,
                "too many reads of this backend are in progress; nothing was sent",
            ));
        }
        state.count += 1;
        let readers = Readers::new();
        let reader = readers.enter(deadline);
        let (number, readers_of) = (state.count, readers.clone());
        let flight = Flight { snapshot, began: now, number, caller, readers: readers_of };
        let leader = Leader {
            is_over: false,
            flights: self.clone(),
            resource: resource.clone(),
            number: state.count,
            readers,
        };
        state.flights.insert(resource.clone(), flight.clone());
        Ok(Joined::Leader(flight, reader, leader))
    }

    /// Whether there is a load of this resource.
    pub(super) fn has(&self, resource: &Resource) -> bool {
        self.lock().flights.contains_key(resource)
    }

    /// The load of this resource that is running and began before a time, unless it waits for a
    /// share of another caller's.
    pub(super) fn before(
        &self,
        resource: &Resource,
        time: Instant,
        caller: CallerId,
    ) -> Option<Flight> {
        let state = self.lock();
        let running = state.flights.get(resource).filter(|flight| {
            flight.began < time
                && flight.began.elapsed() < MAX_LOAD
                && !flight.readers.is_for_share(caller == flight.caller)
        });
        running.cloned()
    }

    /// Whether reads of this resource are paused.
    pub(super) fn is_held_off(&self, resource: &Resource) -> bool {
        self.lock().held_off.get(resource).is_some_and(|until| Instant::now() < *until)
    }

    /// Pauses reads of this resource, because the upstream failed or is being asked.
    pub(super) fn hold_off(&self, resource: &Resource, pause: Duration) {
        let now = Instant::now();
        let State { held_off, swept, .. } = &mut *self.lock();
        // Once in a pause is enough: it goes over all of them, while others wait for the lock.
        if held_off.len() >= MAX_FLIGHTS && swept.is_none_or(|swept| swept + pause <= now) {
            *swept = Some(now);
            held_off.retain(|_, until| now < *until);
        }
        if held_off.len() < MAX_FLIGHTS {
            held_off.insert(resource.clone(), now + pause);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl Flight {
    /// Those who wait for it.
    pub(super) fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// Waits for the load to end, however it ends, or to be held up by a share of another caller's;
    /// false if the deadline comes first.
    pub(super) async fn is_over(&self, (caller, deadline): Asker) -> bool {
        self.readers.is_over(caller == self.caller, deadline).await
    }

    /// Waits for the load to end, or until it is clear that it goes on only after the deadline. A
    /// refusal that concerns its caller alone is no answer to another reader.
    pub(super) async fn outcome(&self, (caller, deadline): Asker) -> Waited {
        let own = caller == self.caller;
        match self.readers.wait(own, deadline).await {
            Waited::Loaded(Err(error)) if !own && is_of_one_caller(&error) => Waited::ForShare,
            waited => waited,
        }
    }
}

/// Whether a failure says nothing to other callers.
fn is_of_one_caller(error: &Error) -> bool {
    error.reason() == Reason::CallerQuotaExceeded
}

/// The task ended without a result: it panicked, or the process is shutting down.
fn lost() -> Error {
    Error::new(Reason::GatewayInternal, "internal gateway error: a read of the upstream was lost")
}

impl Leader {
    /// Tells the waiting readers. The value must already be in the store, where later readers look.
    pub(super) fn complete(mut self, loaded: Loaded) {
        self.end(loaded);
    }

    fn end(&mut self, loaded: Loaded) {
        // First: one whom its end does not help would find it again.
        self.leave();
        self.readers.complete(loaded);
        self.is_over = true;
    }

    fn leave(&self) {
        let mut state = self.flights.lock();
        // A later load may have replaced it.
        if state.flights.get(&self.resource).is_some_and(|flight| flight.number == self.number) {
            state.flights.remove(&self.resource);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Err(lost()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_that_are_read_again_are_looked_for_once_in_a_pause() {
        const PAUSE: Duration = Duration::from_secs(1);
        let flights = Flights::default();
        let holds_off = |id: &str| {
            let resource = Resource::Profile(id.into());
            flights.hold_off(&resource, PAUSE);
            flights.is_held_off(&resource)
        };
        assert!((0..MAX_FLIGHTS).all(|n| holds_off(&n.to_string())));
        advance(PAUSE / 2).await;
        assert!(!holds_off("there is no room"));
        advance(PAUSE / 2).await;
        assert!(!holds_off("all are over, and none is looked for"));
        advance(PAUSE / 2).await;
        assert!(holds_off("now they are"));
        assert_eq!(flights.lock().held_off.len(), 1);
    }
}
