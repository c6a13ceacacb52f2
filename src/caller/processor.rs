//! A caller's turns on the threads of the process.
//!
//! The runtime lets tasks run in the order in which they were woken, so one that has many that are
//! ready makes all others wait for them. Here, only as many of a caller's tasks as there are
//! threads are ready at a time; the others wait behind them, and not before the next caller. One
//! caller alone can still use all threads.
//!
//! A task that holds something which other callers wait for waits for no turn ([`urgently`]): they
//! would wait for the other tasks of its caller too.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::available_parallelism,
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;

/// How many tasks of a caller are ready at a time.
static MOST: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from));

/// It waits to be woken.
const IDLE: u8 = 0;
/// It was woken, and waits for its turn.
const QUEUED: u8 = 1;
/// It has a turn, and the runtime knows.
const READY: u8 = 2;
const POLLED: u8 = 3;
/// It was woken while it was polled.
const WOKEN: u8 = 4;
const OVER: u8 = 5;

/// The turns of one caller.
#[derive(Debug, Default)]
pub(super) struct Processor {
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// How many tasks have a turn.
    ready: usize,
    waiting: VecDeque<Arc<Task>>,
}

/// A task, as its wakers know it.
struct Task {
    processor: Arc<Processor>,
    runtime: AtomicWaker,
    /// Changes only while the line is locked.
    phase: AtomicU8,
    /// Since its last poll, it waits within something urgent.
    is_urgent: AtomicBool,
}

tokio::task_local! {
    /// The task that is being polled.
    static CURRENT: Arc<Task>;
}

/// The place of a task in the line, until this is dropped.
struct Place(Arc<Task>);

pin_project! {
    /// A future that is polled only in its caller's turn.
    pub struct InTurns<F> {
        #[pin]
        future: TaskLocalFuture<Arc<Task>, F>,
        place: Place,
        waker: Waker,
    }
}

pin_project! {
    /// A future whose task waits for no turn.
    pub struct Urgently<F> {
        #[pin]
        future: F,
    }
}

/// Lets the task that waits for this wait for no turn, because it holds something, or is about to,
/// that other callers wait for.
pub fn urgently<F: Future>(future: F) -> Urgently<F> {
    Urgently { future }
}

impl<F: Future> Future for Urgently<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.project().future.poll(cx);
        if polled.is_pending() {
            // What does not run in turns waits for none.
            let _ = CURRENT.try_with(|task| task.is_urgent.store(true, Ordering::Relaxed));
        }
        polled
    }
}

impl Processor {
    pub(super) fn run<F: Future>(self: &Arc<Self>, future: F) -> InTurns<F> {
        // What was polled in another task a moment ago, and goes on in its own, still is.
        let urgent = CURRENT.try_with(|task| task.is_urgent.swap(false, Ordering::Relaxed));
        let task = Arc::new(Task {
            processor: Arc::clone(self),
            runtime: AtomicWaker::new(),
            phase: AtomicU8::new(IDLE),
            is_urgent: AtomicBool::new(urgent.unwrap_or(false)),
        });
        let waker = Waker::from(Arc::clone(&task));
        let future = CURRENT.scope(Arc::clone(&task), future);
        InTurns { future, place: Place(task), waker }
    }
}

impl Line {
    /// Whether a task that was woken gets a turn. If not, it waits for one.
    fn enter(&mut self, task: &Arc<Task>) -> bool {
        let has_turn = self.ready < *MOST || task.is_urgent.load(Ordering::Relaxed);
        if has_turn {
            self.ready += 1;
        } else {
            // Those that are over are forgotten before there is more room for them.
            if self.waiting.len() == self.waiting.capacity() {
                self.waiting.retain(|task| task.phase() != OVER);
            }
            self.waiting.push_back(Arc::clone(task));
        }
        task.set(if has_turn { READY } else { QUEUED });
        has_turn
    }

    /// Gives a turn to the next task, if there is one.
    fn pass_on(&mut self) -> Option<Arc<Task>> {
        // Those that are urgent have turns beyond the others.
        if self.ready > *MOST {
            self.ready -= 1;
            return None;
        }
        while let Some(next) = self.waiting.pop_front() {
            if next.phase() == QUEUED {
                next.set(READY);
                return Some(next);
            }
        }
        self.ready -= 1;
        None
    }
}

impl Task {
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Relaxed)
    }

    fn set(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// Whether it may be polled now.
    fn begins(self: &Arc<Self>) -> bool {
        let mut line = self.processor.line.lock();
        // The runtime polls a task that is new, or that something else in it has woken.
        let has_turn = match self.phase() {
            IDLE => line.enter(self),
            phase => phase == READY,
        };
        if has_turn {
            self.set(POLLED);
            self.is_urgent.store(false, Ordering::Relaxed);
        }
        has_turn
    }

    /// Gives the turn back. The next one may be its own.
    fn ends(self: &Arc<Self>, is_over: bool) {
        let mut line = self.processor.line.lock();
        let goes_on = self.phase() == WOKEN && !is_over;
        let next = if goes_on && self.is_urgent.load(Ordering::Relaxed) {
            self.set(READY);
            Some(Arc::clone(self))
        } else {
            self.set(if is_over { OVER } else { IDLE });
            if goes_on {
                line.waiting.push_back(Arc::clone(self));
                self.set(QUEUED);
            }
            line.pass_on()
        };
        drop(line);
        if let Some(next) = next {
            next.runtime.wake();
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut line = self.processor.line.lock();
        let has_turn = match self.phase() {
            IDLE => line.enter(self),
            POLLED => {
                self.set(WOKEN);
                false
            }
            _ => false,
        };
        drop(line);
        if has_turn {
            self.runtime.wake();
        }
    }
}

impl<F: Future> Future for InTurns<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let task = &this.place.0;
        task.runtime.register(cx.waker());
        if !task.begins() {
            return Poll::Pending;
        }
        let polled = this.future.poll(&mut Context::from_waker(this.waker));
        task.ends(polled.is_ready());
        polled
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self(task) = self;
        let mut line = task.processor.line.lock();
        // Also after a panic.
        let had_turn = matches!(task.phase(), READY | POLLED | WOKEN);
        task.set(OVER);
        let next = had_turn.then(|| line.pass_on()).flatten();
        drop(line);
        if let Some(next) = next {
            next.runtime.wake();
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("phase", &self.phase).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
