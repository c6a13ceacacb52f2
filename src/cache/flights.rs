//! Loads under way, and who waits for them.
//!
//! A load runs in a task of its own: a caller that leaves, or whose deadline comes first, neither ends
//! it nor makes another begin. It is given up after [`MAX_LOAD`], so that one that hangs cannot keep a
//! key for ever; the next reader then begins anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::quality::RandomState;
use tokio::{
    sync::SetOnce,
    time::{Instant, timeout_at},
};

use super::{Resource, Value, generations::Seen};
use crate::error::{Error, Reason, Result};

/// The age at which a load is given up: an endpoint list of 10 000 profiles takes 100 s at the 100
/// requests per second that its vendor allows.
pub const MAX_LOAD: Duration = Duration::from_secs(300);

/// Loads of one backend at once, those included whose callers have left.
const MAX_FLIGHTS: usize = 4096;

/// What a load ended with.
pub(super) type Landed = Result<Value>;

/// The loads of one backend. Clones share.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Board>>);

#[derive(Default)]
struct Board {
    flights: HashMap<Resource, Flight, RandomState>,
    /// How many there were ever; tells them apart.
    count: u64,
    /// What is not read again before then: an older value stands in for it.
    held_off: HashMap<Resource, Instant, RandomState>,
}

/// A load that others may wait for.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) seen: Seen,
    pub(super) began: Instant,
    number: u64,
    landed: Arc<SetOnce<Landed>>,
}

/// What a reader gets: somebody's load, or the duty to run one.
pub(super) enum Boarding {
    /// A load that runs already.
    Joined(Flight),
    /// One that the caller has to run.
    First(Flight, Pilot),
}

/// Runs a load. Dropped before its end, it tells those who wait that nothing comes.
pub(super) struct Pilot {
    flights: Flights,
    resource: Resource,
    number: u64,
    landed: Arc<SetOnce<Landed>>,
}

impl Flights {
    /// Joins a load that began in the same generation and not before `since`, or begins one.
    pub(super) fn board(
        &self,
        resource: &Resource,
        seen: Seen,
        since: Option<Instant>,
    ) -> Result<Boarding> {
        let now = Instant::now();
        let mut board = self.lock();
        let current = board.flights.get(resource).filter(|flight| {
            flight.seen == seen
                && since.is_none_or(|since| flight.began >= since)
                && now.saturating_duration_since(flight.began) < MAX_LOAD
        });
        if let Some(flight) = current {
            return Ok(Boarding::Joined(flight.clone()));
        }
        if board.flights.len() >= MAX_FLIGHTS {
            return Err(Error::new(
                Reason::Overloaded,
                "too many reads of this backend are under way; this one was not sent",
            ));
        }
        board.count += 1;
        let landed = Arc::new(SetOnce::new());
        let flight = Flight { seen, began: now, number: board.count, landed: Arc::clone(&landed) };
        let pilot = Pilot {
            flights: self.clone(),
            resource: resource.clone(),
            number: board.count,
            landed,
        };
        board.flights.insert(resource.clone(), flight.clone());
        Ok(Boarding::First(flight, pilot))
    }

    /// Whether this was asked for in vain so recently that it is not asked for again.
    pub(super) fn is_held_off(&self, resource: &Resource) -> bool {
        self.lock().held_off.get(resource).is_some_and(|until| Instant::now() < *until)
    }

    /// Leaves the upstream alone for a while: it failed, or is being asked.
    pub(super) fn hold_off(&self, resource: &Resource, pause: Duration) {
        let now = Instant::now();
        let held_off = &mut self.lock().held_off;
        if held_off.len() >= MAX_FLIGHTS {
            held_off.retain(|_, until| now < *until);
        }
        if held_off.len() < MAX_FLIGHTS {
            held_off.insert(resource.clone(), now + pause);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Waits for the end of the load; `None` when the deadline comes first.
    pub(super) async fn landed(&self, deadline: Instant) -> Option<Landed> {
        timeout_at(deadline, self.landed.wait()).await.ok().cloned()
    }
}

/// The task is gone without a word: it panicked, or the process is going down.
fn lost() -> Error {
    Error::new(Reason::GatewayInternal, "a read of the upstream ended in a fault of the gateway")
}

impl Pilot {
    /// Tells everybody. The value has to be in the store by now: whoever comes later looks there.
    pub(super) fn land(self, landed: Landed) {
        let _ = self.landed.set(landed);
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let mut board = self.flights.lock();
        // A later load may stand there in the meantime.
        if board.flights.get(&self.resource).is_some_and(|flight| flight.number == self.number) {
            board.flights.remove(&self.resource);
        }
        drop(board);
        if !self.landed.initialized() {
            let _ = self.landed.set(Err(lost()));
        }
    }
}
