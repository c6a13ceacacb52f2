//! How many requests to one backend are under way, and how many wait: both bounded, so that a backend
//! that hangs holds a known share of the process and no more.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{Notice, Observer};

/// How much the latest request counts in the mean.
const WEIGHT: f64 = 0.1;

/// Longer than any deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The seats of one backend and the queue before them.
pub(super) struct Bulkhead {
    seats: Semaphore,
    places: Semaphore,
    max_seats: usize,
    max_places: usize,
    /// Mean time that a seat was held of late, in seconds.
    held: Mutex<Option<f64>>,
    observer: Arc<dyn Observer>,
}

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// The queue was full.
    Full,
    /// Its turn would have come after its deadline.
    TooLate,
    /// It waited until its deadline.
    Waited,
    /// Its turn under the rate limit would have come after its deadline.
    Rate,
}

/// A seat; free again when dropped.
pub(super) struct Seat<'b> {
    bulkhead: &'b Bulkhead,
    since: Instant,
    _permit: SemaphorePermit<'b>,
}

/// A place in the queue.
struct Place<'b> {
    bulkhead: &'b Bulkhead,
    _permit: SemaphorePermit<'b>,
}

impl Bulkhead {
    pub(super) fn new(seats: usize, places: usize, observer: Arc<dyn Observer>) -> Self {
        let (max_seats, max_places) =
            (seats.min(Semaphore::MAX_PERMITS), places.min(Semaphore::MAX_PERMITS));
        Self {
            seats: Semaphore::new(max_seats),
            places: Semaphore::new(max_places),
            max_seats,
            max_places,
            held: Mutex::new(None),
            observer,
        }
    }

    /// A seat as soon as one is free, first come first served; or why not, and how long the queue is.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Seat<'_>, (Shed, Duration)> {
        // Nobody is overtaken: what is free here is what no waiter was given.
        if let Ok(permit) = self.seats.try_acquire() {
            return Ok(self.seat(permit));
        }
        let Ok(permit) = self.places.try_acquire() else {
            return Err((Shed::Full, self.wait(self.max_places)));
        };
        self.observer.notice(Notice::Queued(1));
        let place = Place { bulkhead: self, _permit: permit };
        let wait = self.wait(self.max_places.saturating_sub(self.places.available_permits()));
        if Instant::now() + wait > deadline {
            return Err((Shed::TooLate, wait));
        }
        let permit = tokio::time::timeout_at(deadline, self.seats.acquire()).await;
        drop(place);
        match permit {
            Ok(Ok(permit)) => Ok(self.seat(permit)),
            Ok(Err(_)) | Err(_) => Err((Shed::Waited, wait)),
        }
    }

    fn seat<'b>(&'b self, permit: SemaphorePermit<'b>) -> Seat<'b> {
        self.observer.notice(Notice::InFlight(1));
        Seat { bulkhead: self, since: Instant::now(), _permit: permit }
    }

    /// How long so many in the queue will take, as far as the latest requests tell.
    fn wait(&self, queued: usize) -> Duration {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let queued = f64::from(u32::try_from(queued).unwrap_or(u32::MAX));
        let seats = f64::from(u32::try_from(self.max_seats.max(1)).unwrap_or(u32::MAX));
        Duration::try_from_secs_f64(held.unwrap_or(0.0) * queued / seats)
            .unwrap_or(LONGEST)
            .min(LONGEST)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let took = self.since.elapsed().as_secs_f64();
        let mut held = self.bulkhead.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(held.map_or(took, |mean| mean + WEIGHT * (took - mean)));
        drop(held);
        self.bulkhead.observer.notice(Notice::InFlight(-1));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.bulkhead.observer.notice(Notice::Queued(-1));
    }
}

impl Shed {
    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "queue_full",
            Self::TooLate => "deadline_too_near",
            Self::Waited => "deadline",
            Self::Rate => "rate_limit",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Depth(AtomicI64, AtomicI64);

    impl Observer for Depth {
        fn request(&self, _: &str, _: &'static str, _: &'static str, _: Duration) {}
        fn login(&self, _: &str, _: &'static str) {}
        fn notice(&self, notice: Notice) {
            match notice {
                Notice::Queued(n) => self.0.fetch_add(n, Ordering::SeqCst),
                Notice::InFlight(n) => self.1.fetch_add(n, Ordering::SeqCst),
                _ => 0,
            };
        }
    }

    fn bulkhead(seats: usize, places: usize) -> (Arc<Bulkhead>, Arc<Depth>) {
        let depth = Arc::new(Depth::default());
        (Arc::new(Bulkhead::new(seats, places, depth.clone())), depth)
    }

    fn within(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    fn depth(of: &Depth) -> (i64, i64) {
        (of.0.load(Ordering::SeqCst), of.1.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_turns_away_at_once_and_others_wait_their_turn() {
        let (bulkhead, observed) = bulkhead(1, 2);
        let seat = bulkhead.enter(within(60)).await.ok().unwrap();
        let waiter = || {
            let bulkhead = bulkhead.clone();
            tokio::spawn(async move { bulkhead.enter(within(60)).await.map(drop).is_ok() })
        };
        let waiters = [waiter(), waiter()];
        tokio::task::yield_now().await;
        assert_eq!(depth(&observed), (2, 1));
        let before = Instant::now();
        assert!(matches!(bulkhead.enter(within(60)).await, Err((Shed::Full, _))));
        assert_eq!(Instant::now(), before, "without waiting");
        drop(seat);
        for waiter in waiters {
            assert!(waiter.await.unwrap());
        }
        assert_eq!(depth(&observed), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_deadline_and_leaves_the_queue() {
        let (bulkhead, observed) = bulkhead(1, 1);
        let _seat = bulkhead.enter(within(60)).await.ok().unwrap();
        let before = Instant::now();
        assert!(matches!(bulkhead.enter(within(3)).await, Err((Shed::Waited, _))));
        assert_eq!(before.elapsed().as_secs(), 3);
        // A caller who leaves does too.
        let left = tokio::time::timeout(Duration::from_secs(1), bulkhead.enter(within(60)));
        assert!(left.await.is_err());
        assert_eq!(depth(&observed), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_get_a_turn_in_time_does_not_wait_for_it() {
        let (bulkhead, _) = bulkhead(1, 10);
        let seat = bulkhead.enter(within(60)).await.ok().unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        drop(seat);
        let _seat = bulkhead.enter(within(60)).await.ok().unwrap();
        let before = Instant::now();
        let Err((shed, wait)) = bulkhead.enter(within(5)).await else { panic!("a second seat") };
        assert_eq!((shed, wait.as_secs()), (Shed::TooLate, 10));
        assert_eq!(Instant::now(), before, "without waiting");
    }
}
