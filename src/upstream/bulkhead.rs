//! Limits how many requests to one backend are in flight and how many wait, so that a backend that
//! hangs uses a bounded share of the process.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::metrics::{BackendUpstreamMetrics, Shed};

/// The weight of the latest request in the mean.
const WEIGHT: f64 = 0.1;

/// Longer than any deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The slots of one backend and the queue for them.
pub(super) struct Bulkhead {
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
            slots: Semaphore::new(max_slots),
            queue: Semaphore::new(max_queued),
            max_slots,
            max_queued,
            mean_hold: Mutex::new(None),
            metrics,
        }
    }

    /// Waits for a free slot, first come first served. Fails with the reason and the estimated
    /// wait.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Slot<'_>, (Shed, Duration)> {
        // This does not overtake waiting calls: a free permit was not assigned to any of them.
        if let Ok(permit) = self.slots.try_acquire() {
            return Ok(self.slot(permit));
        }
        let Ok(permit) = self.queue.try_acquire() else {
            return Err((Shed::Full, self.wait(self.max_queued)));
        };
        self.metrics.queued(1);
        let place = QueuePlace { bulkhead: self, _permit: permit };
        let wait = self.wait(self.max_queued.saturating_sub(self.queue.available_permits()));
        if Instant::now() + wait > deadline {
            return Err((Shed::TooLate, wait));
        }
        let permit = tokio::time::timeout_at(deadline, self.slots.acquire()).await;
        drop(place);
        match permit {
            Ok(Ok(permit)) => Ok(self.slot(permit)),
            Ok(Err(_)) | Err(_) => Err((Shed::Waited, wait)),
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
mod tests {
    use std::sync::Arc;

    use super::*;

    fn bulkhead(slots: usize, queue: usize) -> (Arc<Bulkhead>, BackendUpstreamMetrics) {
        let metrics = BackendUpstreamMetrics::unread();
        (Arc::new(Bulkhead::new(slots, queue, metrics.clone())), metrics)
    }

    fn within(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_others_wait_their_turn() {
        let (bulkhead, observed) = bulkhead(1, 2);
        let slot = bulkhead.enter(within(60)).await.ok().unwrap();
        let waiter = || {
            let bulkhead = bulkhead.clone();
            tokio::spawn(async move { bulkhead.enter(within(60)).await.map(drop).is_ok() })
        };
        let waiters = [waiter(), waiter()];
        tokio::task::yield_now().await;
        assert_eq!(observed.depth(), (2, 1));
        let before = Instant::now();
        assert!(matches!(bulkhead.enter(within(60)).await, Err((Shed::Full, _))));
        assert_eq!(Instant::now(), before, "without waiting");
        drop(slot);
        for waiter in waiters {
            assert!(waiter.await.unwrap());
        }
        assert_eq!(observed.depth(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_deadline_and_leaves_the_queue() {
        let (bulkhead, observed) = bulkhead(1, 1);
        let _slot = bulkhead.enter(within(60)).await.ok().unwrap();
        let before = Instant::now();
        assert!(matches!(bulkhead.enter(within(3)).await, Err((Shed::Waited, _))));
        assert_eq!(before.elapsed().as_secs(), 3);
        // A caller that leaves does too.
        let left = tokio::time::timeout(Duration::from_secs(1), bulkhead.enter(within(60)));
        assert!(left.await.is_err());
        assert_eq!(observed.depth(), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_cannot_get_a_slot_in_time_does_not_wait() {
        let (bulkhead, _) = bulkhead(1, 10);
        let slot = bulkhead.enter(within(60)).await.ok().unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        drop(slot);
        let _slot = bulkhead.enter(within(60)).await.ok().unwrap();
        let before = Instant::now();
        let Err((shed, wait)) = bulkhead.enter(within(5)).await else { panic!("a second slot") };
        assert_eq!((shed, wait.as_secs()), (Shed::TooLate, 10));
        assert_eq!(Instant::now(), before, "without waiting");
    }
}
