//! Loads in progress, and who waits for them.
//!
//! A load runs in a task of its own: it continues when its caller leaves or reaches a deadline, so
//! no second load starts. It is abandoned after [`MAX_LOAD`], so that one that hangs cannot block a
//! key forever; the next reader then starts a new one. If it has to wait before it goes on, each
//! reader that cannot wait that long is told at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::quality::RandomState;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{SetOnce, watch},
    time::{Instant, sleep_until},
};

use super::{
    generations::Snapshot,
    value::{Resource, Value},
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

/// The result of a load.
pub(super) type Loaded = Result<Value>;

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

/// Those who wait for a load. Clones share.
#[derive(Clone)]
pub struct Readers(Arc<Shared>);

struct Shared {
    loaded: SetOnce<Loaded>,
    waiting: watch::Sender<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// The earliest and the latest deadline of a reader.
    deadlines: Option<(Instant, Instant)>,
    wait: Option<Wait>,
    /// How many wait now.
    readers: usize,
    /// It is read for those who come later, whether anyone waits or not.
    kept: bool,
    /// It has sent nothing yet, and waits to.
    queued: Option<Queued>,
    /// It was given up.
    over: bool,
}

/// What a load waits for that has sent nothing yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queued {
    InLine,
    /// Its caller's own share, which others need not wait for.
    ForShare,
}

/// One of those who wait, until this is dropped.
pub(super) struct Reader(Readers);

/// Something that a load waits for.
#[derive(Clone)]
pub struct Wait {
    /// It does not go on before.
    pub until: Instant,
    /// Whether that is a guess, which may turn out too long.
    pub guessed: bool,
    /// The error for a reader that cannot wait that long.
    pub refusal: Arc<dyn Fn() -> Error + Send + Sync>,
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
        (caller, deadline): (CallerId, Instant),
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
            flights: self.clone(),
            resource: resource.clone(),
            number: state.count,
            readers,
        };
        state.flights.insert(resource.clone(), flight.clone());
        Ok(Joined::Leader(flight, reader, leader))
    }

    /// The load of this resource that is running and began before a time.
    pub(super) fn before(&self, resource: &Resource, time: Instant) -> Option<Flight> {
        let state = self.lock();
        let running = state
            .flights
            .get(resource)
            .filter(|flight| flight.began < time && flight.began.elapsed() < MAX_LOAD);
        running.cloned()
    }

    /// Whether reads of this resource are paused.
    pub(super) fn is_held_off(&self, resource: &Resource) -> bool {
        self.lock().held_off.get(resource).is_some_and(|until| Instant::now() < *until)
    }

    /// Pauses reads of this resource, because the upstream failed or is being asked.
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl Flight {
    /// Those who wait for it.
    pub(super) fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// Waits for the load to end, however it ends; false if the deadline comes first.
    pub(super) async fn is_over(&self, deadline: Instant) -> bool {
        let Readers(shared) = &self.readers;
        tokio::select! {
            biased;
            _ = shared.loaded.wait() => true,
            () = sleep_until(deadline) => false,
        }
    }

    /// Waits for the load to end, or until it is clear that it goes on only after the deadline.
    /// `None` if the deadline comes first.
    pub(super) async fn outcome(&self, deadline: Instant) -> Option<Loaded> {
        let Readers(shared) = &self.readers;
        let mut waiting = shared.waiting.subscribe();
        let refused = async {
            let too_long = |waiting: &Waiting| {
                waiting.wait.as_ref().is_some_and(|wait| deadline <= wait.until)
            };
            // Its other end is in the same place as this one.
            let wait = waiting.wait_for(too_long).await.ok()?.wait.clone()?;
            Some(Err((wait.refusal)()))
        };
        tokio::select! {
            biased;
            loaded = shared.loaded.wait() => Some(loaded.clone()),
            refused = refused => refused,
            () = sleep_until(deadline) => None,
        }
    }
}

impl Readers {
    fn new() -> Self {
        let (loaded, waiting) = (SetOnce::new(), watch::Sender::default());
        Self(Arc::new(Shared { loaded, waiting }))
    }

    /// One more reader, unless the load is given up, or waits for a share that is not the reader's.
    fn join(&self, deadline: Instant, own: bool) -> Option<Reader> {
        let mut joins = false;
        self.0.waiting.send_if_modified(|waiting| {
            joins = !waiting.over && (own || waiting.queued != Some(Queued::ForShare));
            if joins {
                waiting.add(deadline);
            }
            false
        });
        joins.then(|| Reader(self.clone()))
    }

    fn enter(&self, deadline: Instant) -> Reader {
        self.0.waiting.send_if_modified(|waiting| {
            waiting.add(deadline);
            false
        });
        Reader(self.clone())
    }

    /// Notes that the load has sent nothing yet and waits to; for its caller's share, if so.
    pub fn queues(&self, for_share: bool) {
        let queued = if for_share { Queued::ForShare } else { Queued::InLine };
        self.0.waiting.send_if_modified(|waiting| {
            waiting.queued = Some(queued);
            waiting.is_abandoned()
        });
    }

    /// Waits until no one waits for the load while it has sent nothing. From then on, no one joins
    /// it.
    pub(super) async fn abandoned(&self) {
        let mut waiting = self.0.waiting.subscribe();
        loop {
            if waiting.wait_for(Waiting::is_abandoned).await.is_err() {
                // Its other end is in the same place as this one.
                return;
            }
            let mut over = false;
            self.0.waiting.send_if_modified(|waiting| {
                waiting.over = waiting.is_abandoned();
                over = waiting.over;
                false
            });
            if over {
                return;
            }
        }
    }

    /// Tells them that the load waits. Those who cannot wait that long fail at once, each with an
    /// error of its own. Whether the load should wait: if it is not `worth_keeping`, only for one
    /// who can.
    #[must_use]
    pub fn tell(&self, wait: Wait, worth_keeping: bool) -> bool {
        let (mut waits, until) = (worth_keeping, wait.until);
        self.0.waiting.send_if_modified(|waiting| {
            waits |= waiting.deadlines.is_some_and(|(_, latest)| until < latest);
            let grows = waiting.wait.as_ref().is_none_or(|other| other.until < until);
            if waits && grows {
                waiting.wait = Some(wait);
            }
            // Who can wait need not wake up.
            waits && grows && waiting.deadlines.is_some_and(|(earliest, _)| earliest <= until)
        });
        waits
    }

    /// Takes back what was only guessed, because the load goes on.
    pub fn goes_on(&self) {
        self.0.waiting.send_if_modified(|waiting| {
            waiting.queued = None;
            waiting.wait.take_if(|wait| wait.guessed);
            false
        });
    }
}

impl Waiting {
    fn add(&mut self, deadline: Instant) {
        let (earliest, latest) = self.deadlines.unwrap_or((deadline, deadline));
        self.deadlines = Some((earliest.min(deadline), latest.max(deadline)));
        self.readers += 1;
    }

    fn is_abandoned(&self) -> bool {
        self.queued.is_some() && self.readers == 0 && !self.kept
    }
}

impl Reader {
    /// Leaves, and lets the load go on for those who come later.
    pub(super) fn keep(self) {
        self.0.0.waiting.send_if_modified(|waiting| {
            waiting.kept = true;
            false
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.0.waiting.send_if_modified(|waiting| {
            waiting.readers = waiting.readers.saturating_sub(1);
            waiting.is_abandoned()
        });
    }
}

/// The task ended without a result: it panicked, or the process is shutting down.
fn lost() -> Error {
    Error::new(Reason::GatewayInternal, "internal gateway error: a read of the upstream was lost")
}

impl Leader {
    /// Tells the waiting readers. The value must already be in the store, where later readers look.
    pub(super) fn complete(self, loaded: Loaded) {
        let _ = self.readers.0.loaded.set(loaded);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut state = self.flights.lock();
        // A later load may have replaced it.
        if state.flights.get(&self.resource).is_some_and(|flight| flight.number == self.number) {
            state.flights.remove(&self.resource);
        }
        drop(state);
        let Readers(shared) = &self.readers;
        if !shared.loaded.initialized() {
            let _ = shared.loaded.set(Err(lost()));
        }
    }
}
