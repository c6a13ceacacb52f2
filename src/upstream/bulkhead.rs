//! Limits how many requests to one backend are in flight and how many wait, so that a backend that
//! hangs uses a bounded share of the process.
//!
//! The requests of a class leave in turns, one of each caller, and those of a caller in the order
//! in which they came; each when its caller's share, the rate, and a slot allow it. Only the first
//! in each line looks at the latter: what waits behind it holds no slot, and takes nothing of the
//! rate along when it leaves.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{
    sync::{AcquireError, Semaphore, SemaphorePermit, oneshot::error::RecvError},
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    class::Class,
    limits::Limits,
    metrics::{BackendUpstreamMetrics, Shed},
    pace::{Pace, Refusal, Turn},
    patience::Patience,
    refusal::Bounds,
    shares::{Part, Shares, What},
};
use crate::caller::{self, Caller, CallerId, Turns};

/// The weight of the latest request in the mean.
const WEIGHT: f64 = 0.1;

/// Longer than any deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The slots of one backend and the queue for them.
pub(super) struct Bulkhead {
    /// One line for each class.
    lines: [Turns; Class::COUNT],
    shares: Shares,
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
    _part: Part,
}

/// A place in the queue.
struct QueuePlace<'b> {
    bulkhead: &'b Bulkhead,
    line: &'b Turns,
    caller: CallerId,
    _permit: SemaphorePermit<'b>,
    _part: Part,
}

impl Bulkhead {
    pub(super) fn new(
        slots: usize,
        queue: usize,
        limits: Limits,
        metrics: BackendUpstreamMetrics,
    ) -> Self {
        let (max_slots, max_queued) =
            (slots.min(Semaphore::MAX_PERMITS), queue.min(Semaphore::MAX_PERMITS));
        Self {
            lines: Default::default(),
            shares: Shares::new(max_slots, max_queued, limits),
            slots: Semaphore::new(max_slots),
            queue: Semaphore::new(max_queued),
            max_slots,
            max_queued,
            mean_hold: Mutex::new(None),
            metrics,
        }
    }

    /// Whether a call of this caller may begin: not while its calls have cost more than its quota,
    /// nor while it has used its share of the vendor's windows, and what they have left is kept for
    /// others.
    pub(super) fn admits(
        &self,
        pace: &Pace,
        (class, caller): (Class, &Caller),
        now: Instant,
    ) -> Result<(), Refusal> {
        if class != Class::Settling {
            let may_ask = caller.may_ask_upstream();
            may_ask.map_err(|wait| Refusal::Shed(Shed::CallerRate, wait))?;
        }
        let wait = self.shares.is_used_up(caller, class, now, || pace.left(class, now));
        wait.map_or(Ok(()), |wait| Err(Refusal::Shed(Shed::CallerLimit, wait)))
    }

    /// Whether there is a slot or a place in the queue for a request of this caller, as
    /// [`Self::enter`] would find now.
    pub(super) fn has_room(&self, who: (Class, &Caller)) -> Result<(), Refusal> {
        let (class, caller) = who;
        let free = self.shares.free(caller, class);
        let slot = free.slot
            && self.slots.available_permits() > 0
            && self.line(class).try_take().is_some();
        if slot {
            return Ok(());
        }
        if self.queue.available_permits() <= self.kept_from(class) {
            return Err(self.queue_is_full());
        }
        match free.place {
            true => Ok(()),
            false => Err(self.queue_is_full_for(who)),
        }
    }

    /// Counts a request of this caller that is sent now.
    pub(super) fn count(&self, caller: &Caller, now: Instant) {
        caller.asked_upstream();
        self.shares.count(caller, now);
    }

    /// Waits until the rate and a slot allow one more request, which is not counted yet. Fails at
    /// once if that would be too late.
    pub(super) async fn enter(
        &self,
        pace: &Pace,
        who: (Class, &Caller),
        patience: &impl Patience,
    ) -> Result<Slot<'_>, Refusal> {
        let (class, caller) = who;
        let line = self.line(class);
        let mut part = self.shares.hold(caller, class, What::Slot);
        // This does not overtake: a free turn was not assigned to a request that waits.
        let turn = part.as_ref().and_then(|_| line.try_take());
        if turn.is_some()
            && let Ok(permit) = self.slots.try_acquire()
            && let Some(part) = part.take_if(|_| pace.take(class, Instant::now()).is_ok())
        {
            return Ok(self.slot(permit, part));
        }
        let place = self.queue(line, who)?;
        let (now, wait) = (Instant::now(), self.wait(self.ahead(who)));
        patience.allows(Turn::of_slot(now + wait), now)?;
        patience.allows(pace.when(class, self.ahead(who), now), now)?;
        let entering = async {
            let part = match part {
                Some(part) => part,
                None => {
                    patience.queues(true);
                    self.shares.wait_for_slot(caller, class).await
                }
            };
            patience.queues(false);
            self.take_turn((turn, part), (pace, who), patience).await
        };
        let entered = timeout_at(patience.deadline(), entering).await;
        drop(place);
        entered.unwrap_or(Err(Refusal::Shed(Shed::Waited, wait)))
    }

    /// Waits to be the first in line, and then until the request may be sent.
    async fn take_turn<'b>(
        &'b self,
        (turn, part): (Option<caller::Turn>, Part),
        (pace, who): (&Pace, (Class, &Caller)),
        patience: &impl Patience,
    ) -> Result<Slot<'b>, Refusal> {
        let _turn = match turn {
            Some(turn) => turn,
            None => self.wait_in_line((pace, who), patience).await?,
        };
        loop {
            let pause = pace.next_pause();
            let now = Instant::now();
            let turn = pace.when(who.0, 1, now);
            patience.allows(turn, now)?;
            if turn.at > now {
                // Meanwhile, the upstream may ask for a pause, and another class may be faster.
                tokio::select! {
                    () = sleep_until(turn.at) => {}
                    () = pause => {}
                }
                continue;
            }
            let permit = self.slots.acquire().await.map_err(closed)?;
            if pace.take(who.0, Instant::now()).is_ok() {
                return Ok(self.slot(permit, part));
            }
        }
    }

    /// Waits to be the first in line. A pause that begins meanwhile may be longer than it can wait.
    async fn wait_in_line(
        &self,
        (pace, who): (&Pace, (Class, &Caller)),
        patience: &impl Patience,
    ) -> Result<caller::Turn, Refusal> {
        let mut first = self.line(who.0).wait(who.1.id());
        loop {
            let pause = pace.next_pause();
            let now = Instant::now();
            patience.allows(pace.when(who.0, self.ahead(who), now), now)?;
            tokio::select! {
                turn = &mut first => return turn.map_err(lost),
                () = pause => {}
            }
        }
    }

    /// A place in the queue, if there is one, and if the caller has less than its share.
    fn queue<'b>(
        &'b self,
        line: &'b Turns,
        (class, caller): (Class, &Caller),
    ) -> Result<QueuePlace<'b>, Refusal> {
        let kept = self.kept_from(class);
        let permit = self.queue.try_acquire().ok();
        let permit = permit.filter(|_| self.queue.available_permits() >= kept);
        let permit = permit.ok_or_else(|| self.queue_is_full())?;
        let part = self.shares.hold(caller, class, What::QueuePlace);
        let part = part.ok_or_else(|| self.queue_is_full_for((class, caller)))?;
        self.metrics.queued(1);
        let caller = caller.id();
        line.enter(caller);
        Ok(QueuePlace { bulkhead: self, line, caller, _permit: permit, _part: part })
    }

    /// How many places a class leaves. What costs many requests is refused first: the last places
    /// are for single ones.
    fn kept_from(&self, class: Class) -> usize {
        if class.rank() < Class::List.rank() { 0 } else { self.max_queued / 4 }
    }

    /// How much there is of both.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { slots: self.max_slots, places: self.max_queued }
    }

    fn queue_is_full(&self) -> Refusal {
        Refusal::Shed(Shed::Full, self.wait(self.max_queued))
    }

    fn queue_is_full_for(&self, who: (Class, &Caller)) -> Refusal {
        Refusal::Shed(Shed::CallerQueue, self.wait(self.ahead(who)))
    }

    fn line(&self, class: Class) -> &Turns {
        let [settling, call, list, watch] = &self.lines;
        match class {
            Class::Settling => settling,
            Class::Call => call,
            Class::List => list,
            Class::Watch => watch,
        }
    }

    /// The requests that leave before the last one of a caller's in the line of a class has left:
    /// those of the lines before it, and what comes before in its own.
    fn ahead(&self, (class, caller): (Class, &Caller)) -> usize {
        let before = self.lines.iter().take(usize::from(class.rank()));
        let before: usize = before.map(|line| line.ahead(None)).sum();
        before + self.line(class).ahead(Some(caller.id()))
    }

    fn slot<'b>(&'b self, permit: SemaphorePermit<'b>, part: Part) -> Slot<'b> {
        self.metrics.in_flight(1);
        Slot { bulkhead: self, since: Instant::now(), _permit: permit, _part: part }
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

/// The error of a turn that is never given, which each is.
fn lost(_: RecvError) -> Refusal {
    Refusal::Shed(Shed::Waited, Duration::ZERO)
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
        self.line.leave(self.caller);
        self.bulkhead.metrics.queued(-1);
    }
}

#[cfg(test)]
mod tests;
