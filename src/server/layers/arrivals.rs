//! The calls whose messages have not arrived.
//!
//! Each holds a place, of which a caller has its share. Where all are taken, a newcomer takes the
//! place of the one that has waited longest: a message that is on its way is here in a moment, so
//! what has waited longest has stalled.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::caller::{Caller, CallerId, Full, Held, Pool};

/// The places for calls that wait for their message.
#[derive(Clone)]
pub(super) struct Arrivals(Arc<Shared>);

struct Shared {
    places: Arc<Pool>,
    waiting: Mutex<Waiting>,
}

/// A call that waits for its message, until this is dropped.
pub(super) struct Arrival {
    arrivals: Arrivals,
    caller: CallerId,
    turn: u64,
    lost: oneshot::Receiver<Full>,
}

/// Those that wait, by turn.
#[derive(Default)]
struct Waiting {
    next: u64,
    all: BTreeMap<u64, Place>,
    of_caller: HashMap<CallerId, BTreeSet<u64>>,
}

struct Place {
    caller: CallerId,
    lost: oneshot::Sender<Full>,
    _held: Held,
}

impl Arrivals {
    pub(super) fn new(places: Arc<Pool>) -> Self {
        Self(Arc::new(Shared { places, waiting: Mutex::default() }))
    }

    /// A place for a call of this caller, or that of another call.
    pub(super) fn enter(&self, caller: &Arc<Caller>) -> Result<Arrival, Full> {
        let Shared { places, waiting } = &*self.0;
        let mut waiting = waiting.lock();
        let held = match places.acquire(caller, 1) {
            Ok(held) => held,
            Err(full) => {
                waiting.end_oldest(caller.id(), full);
                places.acquire(caller, 1)?
            }
        };
        let (lost, is_lost) = oneshot::channel();
        let turn = waiting.add(Place { caller: caller.id(), lost, _held: held });
        Ok(Arrival { arrivals: self.clone(), caller: caller.id(), turn, lost: is_lost })
    }
}

impl Arrival {
    /// Waits until another call has taken the place, and says what was full.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Full> {
        // The other end is there until the place is taken.
        let full = || self.arrivals.0.places.full();
        Pin::new(&mut self.lost).poll(cx).map(|lost| lost.unwrap_or_else(|_| full()))
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.0.waiting.lock().remove(self.caller, self.turn);
    }
}

impl Waiting {
    fn add(&mut self, place: Place) -> u64 {
        self.next += 1;
        self.of_caller.entry(place.caller).or_default().insert(self.next);
        self.all.insert(self.next, place);
        self.next
    }

    fn remove(&mut self, caller: CallerId, turn: u64) -> Option<Place> {
        let place = self.all.remove(&turn)?;
        if let Some(turns) = self.of_caller.get_mut(&caller) {
            turns.remove(&turn);
            if turns.is_empty() {
                self.of_caller.remove(&caller);
            }
        }
        Some(place)
    }

    /// Takes the place of the call that has waited longest, of this caller if it holds its share.
    fn end_oldest(&mut self, caller: CallerId, full: Full) {
        let oldest = match full {
            Full::OfCaller(_) => self.of_caller.get(&caller).and_then(BTreeSet::first).copied(),
            Full::OfAll(_) => self.all.keys().next().copied(),
        };
        let Some(turn) = oldest else { return };
        let caller = self.all.get(&turn).map_or(caller, |place| place.caller);
        if let Some(Place { lost, _held, .. }) = self.remove(caller, turn) {
            // It may have gone itself.
            let _ = lost.send(full);
        }
    }
}
