//! Turns on the processors, for the work of calls that takes long.
//!
//! If all of it were done at once, all would be done late: with more than there is time for, too
//! late. So only as much is done at once as there are processors, one after the other, callers in
//! turns; and the latest of a caller first, once the first would be late. What would be done after
//! its deadline is refused before it begins, and what its caller has left never begins.
//!
//! Work is counted in nanoseconds, which are known before.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::{
    caller::{Caller, Callers, Held, Pool, Rank, Resource, Turn, Turns},
    error::Result,
};

/// What takes less, in nanoseconds, needs no turn.
pub(super) const LONG: u64 = 1_000_000;
/// How much of the work for each processor is under way or waits. What comes after so much is
/// answered sooner by another replica.
const WAITING: Duration = Duration::from_secs(4);
/// When the first of a caller has waited for so long, more comes than can be done, and the latest
/// of it, for which there is time, comes first.
const STANDING: Duration = Duration::from_millis(100);
/// After so much work, other callers come first.
const FOR_OTHERS: u64 = 5_000_000;
/// After so much work, so do the others of the same caller.
const FOR_OWN: u64 = 50_000_000;
/// The weight of the latest work in the mean.
const WEIGHT: f64 = 0.1;
/// Longer than any deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The processors of this machine; a handle.
#[derive(Debug, Clone)]
pub struct Processors(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    turns: Turns,
    /// In microseconds.
    places: Arc<Pool>,
    /// How long recent work took, in nanoseconds for each that was counted.
    pace: Mutex<Option<f64>>,
}

/// Work that has its turn, or waits to go on.
#[derive(Debug)]
pub(super) struct Processing {
    turn: Option<Turn>,
    processors: Processors,
    caller: Arc<Caller>,
    _held: Held,
    /// When it began, or went on.
    since: Instant,
    took: Duration,
    counted: u64,
    /// The work since other callers came, and since others of its caller did.
    for_others: u64,
    for_own: u64,
}

impl Default for Processors {
    fn default() -> Self {
        Self::new(&Callers::default())
    }
}

impl Processors {
    /// The processors of this machine, for these callers.
    #[must_use]
    pub fn new(callers: &Callers) -> Self {
        Self::of(available_parallelism().map_or(1, usize::from), callers)
    }

    /// So many.
    pub(crate) fn of(number: usize, callers: &Callers) -> Self {
        let each = usize::try_from(WAITING.as_micros()).unwrap_or(usize::MAX);
        let places = callers.pool(Resource::Work, number.saturating_mul(each));
        let turns = Turns::of(number).overtaken_after(STANDING);
        Self(Arc::new(Shared { turns, places, pace: Mutex::default() }))
    }

    /// Waits until so many nanoseconds of work may begin for a caller, as long as they may be done
    /// before the deadline.
    ///
    /// # Errors
    ///
    /// `CALLER_QUOTA_EXCEEDED` when the caller has its share of the work that is under way or
    /// waits, and `OVERLOADED` when all callers together have as much as there may be, or when this
    /// would be done too late.
    pub(super) async fn turn(
        &self,
        caller: &Arc<Caller>,
        deadline: Instant,
        nanoseconds: usize,
    ) -> Result<Processing> {
        let held = self.take_place(caller, nanoseconds)?;
        let Shared { turns, places, .. } = &*self.0;
        let turn = match turns.try_take() {
            Some(turn) => turn,
            None => {
                let turn = timeout_at(deadline, turns.wait(caller.id())).await;
                // Each is given.
                let turn = turn.ok().and_then(std::result::Result::ok);
                let in_time = turn.filter(|_| self.is_in_time(nanoseconds, deadline));
                in_time.ok_or_else(|| places.refuse())?
            }
        };
        Ok(Processing::of(self.clone(), Arc::clone(caller), held, turn))
    }

    fn take_place(&self, caller: &Arc<Caller>, nanoseconds: usize) -> Result<Held> {
        let places = &self.0.places;
        // The longest may begin too, when nothing else of its caller is there.
        let weight = (nanoseconds / 1000).min(places.most_of(caller));
        Ok(places.acquire(caller, weight)?)
    }

    /// Whether so much work may be done before the deadline, if it takes as long as recent work.
    fn is_in_time(&self, nanoseconds: usize, deadline: Instant) -> bool {
        let Some(pace) = *self.0.pace.lock() else { return true };
        let counted = Duration::from_nanos(nanoseconds as u64).as_secs_f64();
        let takes = Duration::try_from_secs_f64(counted * pace).unwrap_or(LONGEST).min(LONGEST);
        Instant::now() + takes <= deadline
    }

    /// Learns how long work took.
    fn learn(&self, counted: u64, took: Duration) {
        if counted < LONG {
            return;
        }
        let each = took.as_secs_f64() / Duration::from_nanos(counted).as_secs_f64();
        let mut pace = self.0.pace.lock();
        *pace = Some(pace.map_or(each, |mean| mean + WEIGHT * (each - mean)));
    }
}

impl Processing {
    fn of(processors: Processors, caller: Arc<Caller>, held: Held, turn: Turn) -> Self {
        Self {
            turn: Some(turn),
            processors,
            caller,
            _held: held,
            since: Instant::now(),
            took: Duration::ZERO,
            counted: 0,
            for_others: 0,
            for_own: 0,
        }
    }

    /// Counts so much work, and tells whether others come now.
    pub(super) fn is_over_after(&mut self, nanoseconds: u64) -> bool {
        self.count(nanoseconds);
        if self.for_others < FOR_OTHERS {
            return false;
        }
        let (own, others) = self.processors.0.turns.who_waits(self.caller.id());
        others || (own && self.for_own >= FOR_OWN)
    }

    pub(super) fn count(&mut self, nanoseconds: u64) {
        for counted in [&mut self.counted, &mut self.for_others, &mut self.for_own] {
            *counted = counted.saturating_add(nanoseconds);
        }
    }

    /// Lets others have the turn, and goes on when the next one comes.
    pub(super) async fn pass_on(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        self.took += self.since.elapsed();
        let rank = if self.for_own < FOR_OWN { Rank::First } else { Rank::Last };
        self.for_others = 0;
        if rank == Rank::Last {
            self.for_own = 0;
        }
        let turns = &self.processors.0.turns;
        // Each is given.
        self.turn = turns.wait_again(self.caller.id(), rank, turn).await.ok();
        self.since = Instant::now();
    }
}

impl Drop for Processing {
    fn drop(&mut self) {
        if self.turn.is_some() {
            self.took += self.since.elapsed();
            self.processors.learn(self.counted, self.took);
        }
    }
}

#[cfg(test)]
mod tests;
