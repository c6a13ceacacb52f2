//! Limits how many requests to one backend are in flight and how many wait, so that a backend that
//! hangs uses a bounded share of the process.
//!
//! The requests of a class leave in the order in which they came, each when both the rate and a
//! slot allow it. Only the first in each line looks at them: what waits behind it holds no slot,
//! and takes nothing of the rate along when it leaves.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{AcquireError, Semaphore, SemaphorePermit},
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    class::Class,
    metrics::{BackendUpstreamMetrics, Shed},
    pace::{Pace, Refusal, Turn},
    patience::Patience,
};

/// The weight of the latest request in the mean.
const WEIGHT: f64 = 0.1;

/// Longer than any deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The slots of one backend and the queue for them.
pub(super) struct Bulkhead {
    /// One line for each class.
    lines: [Line; Class::COUNT],
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

/// The requests of a class that wait.
struct Line {
    /// Held by the first of them.
    turn: Semaphore,
    waiting: AtomicUsize,
}

impl Line {
    fn new() -> Self {
        Self { turn: Semaphore::new(1), waiting: AtomicUsize::new(0) }
    }
}

/// A place in the queue.
struct QueuePlace<'b> {
    bulkhead: &'b Bulkhead,
    line: &'b Line,
    _permit: SemaphorePermit<'b>,
}

impl Bulkhead {
    pub(super) fn new(slots: usize, queue: usize, metrics: BackendUpstreamMetrics) -> Self {
        let (max_slots, max_queued) =
            (slots.min(Semaphore::MAX_PERMITS), queue.min(Semaphore::MAX_PERMITS));
        Self {
            lines: std::array::from_fn(|_| Line::new()),
            slots: Semaphore::new(max_slots),
            queue: Semaphore::new(max_queued),
            max_slots,
            max_queued,
            mean_hold: Mutex::new(None),
            metrics,
        }
    }

    /// Waits until the rate and a slot allow one more request. Fails at once if that would be too
    /// late.
    pub(super) async fn enter(
        &self,
        pace: &Pace,
        class: Class,
        patience: &impl Patience,
    ) -> Result<Slot<'_>, Refusal> {
        let line = self.line(class);
        // This does not overtake: a free permit was not assigned to a request that waits.
        let turn = line.turn.try_acquire().ok();
        if turn.is_some()
            && let Ok(permit) = self.slots.try_acquire()
            && pace.take(class, Instant::now()).is_ok()
        {
            return Ok(self.slot(permit));
        }
        let place = self.queue(line)?;
        let queued = self.max_queued.saturating_sub(self.queue.available_permits());
        let (now, wait) = (Instant::now(), self.wait(queued));
        patience.allows(Turn::of_slot(now + wait), now)?;
        patience.allows(pace.when(class, self.ahead(class), now), now)?;
        let entering = self.take_turn(line, turn, (pace, class), patience);
        let entered = timeout_at(patience.deadline(), entering).await;
        drop(place);
        entered.unwrap_or(Err(Refusal::Shed(Shed::Waited, wait)))
    }

    /// Waits to be the first in line, and then until the request may be sent.
    async fn take_turn<'b>(
        &'b self,
        line: &'b Line,
        turn: Option<SemaphorePermit<'b>>,
        (pace, class): (&Pace, Class),
        patience: &impl Patience,
    ) -> Result<Slot<'b>, Refusal> {
        let _turn = match turn {
            Some(turn) => turn,
            None => self.wait_in_line(line, (pace, class), patience).await?,
        };
        loop {
            let now = Instant::now();
            let turn = pace.when(class, 1, now);
            patience.allows(turn, now)?;
            if turn.at > now {
                // Meanwhile, the upstream may ask for a pause, and another class may be faster.
                sleep_until(turn.at).await;
                continue;
            }
            let permit = self.slots.acquire().await.map_err(closed)?;
            if pace.take(class, Instant::now()).is_ok() {
                return Ok(self.slot(permit));
            }
        }
    }

    /// Waits to be the first in line. A pause that begins meanwhile may be longer than it can wait.
    async fn wait_in_line<'b>(
        &self,
        line: &'b Line,
        (pace, class): (&Pace, Class),
        patience: &impl Patience,
    ) -> Result<SemaphorePermit<'b>, Refusal> {
        let mut first = pin!(line.turn.acquire());
        loop {
            let pause = pace.next_pause();
            let now = Instant::now();
            patience.allows(pace.when(class, self.ahead(class), now), now)?;
            tokio::select! {
                turn = &mut first => return turn.map_err(closed),
                () = pause => {}
            }
        }
    }

    /// A place in the queue, if there is one.
    fn queue<'b>(&'b self, line: &'b Line) -> Result<QueuePlace<'b>, Refusal> {
        let permit = self.queue.try_acquire();
        let full = |_| Refusal::Shed(Shed::Full, self.wait(self.max_queued));
        let permit = permit.map_err(full)?;
        self.metrics.queued(1);
        line.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(QueuePlace { bulkhead: self, line, _permit: permit })
    }

    fn line(&self, class: Class) -> &Line {
        let [settling, call, list, watch] = &self.lines;
        match class {
            Class::Settling => settling,
            Class::Call => call,
            Class::List => list,
            Class::Watch => watch,
        }
    }

    /// The requests that wait in the line of a class, and in those before it.
    fn ahead(&self, class: Class) -> usize {
        let lines = self.lines.iter().take(usize::from(class.rank()) + 1);
        lines.map(|line| line.waiting.load(Ordering::Relaxed)).sum()
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

/// The error of a semaphore that is closed, which none is.
fn closed(_: AcquireError) -> Refusal {
    Refusal::Shed(Shed::Waited, Duration::ZERO)
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
        self.line.waiting.fetch_sub(1, Ordering::Relaxed);
        self.bulkhead.metrics.queued(-1);
    }
}

#[cfg(test)]
mod tests;
