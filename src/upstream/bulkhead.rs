//! Limits how many requests to one backend are in flight and how many wait, so that a backend that
//! hangs uses a bounded share of the process.
//!
//! Requests leave in the order in which they came, each when both the rate and a slot allow it.
//! Only the first in line looks at them: what waits behind it holds no slot, and takes nothing of
//! the rate along when it leaves.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    metrics::{BackendUpstreamMetrics, Shed},
    pace::{Pace, Refusal},
};

/// The weight of the latest request in the mean.
const WEIGHT: f64 = 0.1;

/// Longer than any deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The slots of one backend and the queue for them.
pub(super) struct Bulkhead {
    /// Held by the first in line.
    turn: Semaphore,
    slots: Semaphore,
    queue: Semaphore,
    max_slots: usize,
    max_queued: usize,
    /// Recent mean time that a slot was held, in seconds.
    mean_hold: Mutex<Option<f64>>,
    metrics: BackendUpstreamMetrics,
}

/// A slot, released when dropped.
pub(super) struct Slot<'b> {
    bulkhead: &'b Bulkhead,
    since: Instant,
    _permit: SemaphorePermit<'b>,
}

/// A place in the queue.
struct QueuePlace<'b> {
    bulkhead: &'b Bulkhead,
    _permit: SemaphorePermit<'b>,
}

impl Bulkhead {
    pub(super) fn new(slots: usize, queue: usize, metrics: BackendUpstreamMetrics) -> Self {
        let (max_slots, max_queued) =
            (slots.min(Semaphore::MAX_PERMITS), queue.min(Semaphore::MAX_PERMITS));
        Self {
            turn: Semaphore::new(1),
            slots: Semaphore::new(max_slots),
            queue: Semaphore::new(max_queued),
            max_slots,
            max_queued,
            mean_hold: Mutex::new(None),
            metrics,
        }
    }

    /// Waits until the rate and a slot allow one more request, first come first served. Fails at
    /// once if that would be too late.
    pub(super) async fn enter(&self, pace: &Pace, deadline: Instant) -> Result<Slot<'_>, Refusal> {
        // This does not overtake: a free permit was not assigned to a request that waits.
        let turn = self.turn.try_acquire().ok();
        if turn.is_some()
            && let Ok(permit) = self.slots.try_acquire()
            && pace.take(Instant::now()).is_ok()
        {
            return Ok(self.slot(permit));
        }
        let Ok(permit) = self.queue.try_acquire() else {
            return Err(Refusal::Shed(Shed::Full, self.wait(self.max_queued)));
        };
        self.metrics.queued(1);
        let place = QueuePlace { bulkhead: self, _permit: permit };
        let queued = self.max_queued.saturating_sub(self.queue.available_permits());
        let (now, wait) = (Instant::now(), self.wait(queued));
        if now + wait > deadline {
            return Err(Refusal::Shed(Shed::TooLate, wait));
        }
        let at = pace.when(queued, now);
        if at >= deadline {
            return Err(pace.refusal(at, now));
        }
        let entered = timeout_at(deadline, self.take_turn(turn, pace, deadline)).await;
        drop(place);
        entered.unwrap_or(Err(Refusal::Shed(Shed::Waited, wait)))
    }

    /// Waits to be the first in line, and then until the request may be sent.
    async fn take_turn<'b>(
        &'b self,
        turn: Option<SemaphorePermit<'b>>,
        pace: &Pace,
        deadline: Instant,
    ) -> Result<Slot<'b>, Refusal> {
        let closed = |_| Refusal::Shed(Shed::Waited, Duration::ZERO);
        let _turn = match turn {
            Some(turn) => turn,
            None => self.turn.acquire().await.map_err(closed)?,
        };
        loop {
            let now = Instant::now();
            let at = pace.when(1, now);
            if at >= deadline {
                return Err(pace.refusal(at, now));
            }
            if at > now {
                // The upstream may ask for a pause meanwhile.
                sleep_until(at).await;
                continue;
            }
            let permit = self.slots.acquire().await.map_err(closed)?;
            if pace.take(Instant::now()).is_ok() {
                return Ok(self.slot(permit));
            }
        }
    }

    fn slot<'b>(&'b self, permit: SemaphorePermit<'b>) -> Slot<'b> {
        self.metrics.in_flight(1);
        Slot { bulkhead: self, since: Instant::now(), _permit: permit }
    }

    /// The estimated wait of this many queued calls, based on recent requests.
    fn wait(&self, queued: usize) -> Duration {
        let mean_hold = *self.mean_hold.lock();
        let queued = f64::from(u32::try_from(queued).unwrap_or(u32::MAX));
        let slots = f64::from(u32::try_from(self.max_slots.max(1)).unwrap_or(u32::MAX));
        Duration::try_from_secs_f64(mean_hold.unwrap_or(0.0) * queued / slots)
            .unwrap_or(LONGEST)
            .min(LONGEST)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let took = self.since.elapsed().as_secs_f64();
        let mut mean_hold = self.bulkhead.mean_hold.lock();
        *mean_hold = Some(mean_hold.map_or(took, |mean| mean + WEIGHT * (took - mean)));
        drop(mean_hold);
        self.bulkhead.metrics.in_flight(-1);
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.bulkhead.metrics.queued(-1);
    }
}

#[cfg(test)]
mod tests;
