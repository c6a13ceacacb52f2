//! A caller's turns on the threads of the process.
//!
//! The runtime lets tasks run in the order in which they were woken, so one that has many that are
//! ready makes all others wait for them. Here, only as many of a caller's tasks as there are
//! threads are ready at a time; the others wait behind them, and not before the next caller. One
//! caller alone can still use all threads.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::available_parallelism,
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use pin_project_lite::pin_project;

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
}

/// The place of a task in the line, until this is dropped.
struct Place(Arc<Task>);

pin_project! {
    /// A future that is polled only in its caller's turn.
    pub struct InTurns<F> {
        #[pin]
        future: F,
        place: Place,
        waker: Waker,
    }
}

impl Processor {
    pub(super) fn run<F>(self: &Arc<Self>, future: F) -> InTurns<F> {
        let (runtime, phase) = (AtomicWaker::new(), AtomicU8::new(IDLE));
        let task = Arc::new(Task { processor: Arc::clone(self), runtime, phase });
        let waker = Waker::from(Arc::clone(&task));
        InTurns { future, place: Place(task), waker }
    }
}

impl Line {
    /// Whether a task that was woken gets a turn. If not, it waits for one.
    fn enter(&mut self, task: &Arc<Task>) -> bool {
        let has_turn = self.ready < *MOST;
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
        }
        has_turn
    }

    /// Gives the turn back. The next one may be its own.
    fn ends(self: &Arc<Self>, is_over: bool) {
        let mut line = self.processor.line.lock();
        let woken = self.phase() == WOKEN;
        self.set(if is_over { OVER } else { IDLE });
        if woken && !is_over {
            line.waiting.push_back(Arc::clone(self));
            self.set(QUEUED);
        }
        let next = line.pass_on();
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
mod tests {
    use std::{
        future::poll_fn,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::AtomicUsize,
    };

    use futures_util::poll;
    use tokio::{sync::oneshot, task::JoinSet};

    use super::*;

    /// Lets others run, as a task that was woken meanwhile.
    async fn yield_now() {
        let mut woken = false;
        poll_fn(|cx| {
            if woken {
                return Poll::Ready(());
            }
            woken = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Tasks that are always ready, and how often they were polled.
    fn busy(processor: &Arc<Processor>, tasks: usize, polls: &Arc<AtomicUsize>) -> JoinSet<()> {
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            let polls = Arc::clone(polls);
            set.spawn(processor.run(async move {
                loop {
                    polls.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            }));
        }
        set
    }

    #[tokio::test]
    async fn one_caller_waits_for_few_tasks_of_another_however_many_there_are() {
        let (greedy, other) = (Arc::<Processor>::default(), Arc::<Processor>::default());
        let polls = Arc::default();
        let tasks = busy(&greedy, 1000, &polls);
        let counted = Arc::clone(&polls);
        let beside = tokio::spawn(other.run(async move {
            yield_now().await;
            let before = counted.load(Ordering::Relaxed);
            for _ in 0..100 {
                yield_now().await;
            }
            counted.load(Ordering::Relaxed) - before
        }));
        let beside = beside.await.unwrap();
        assert!((1..=100 * *MOST).contains(&beside), "{beside} polls beside 100");
        drop(tasks);
    }

    #[tokio::test]
    async fn the_tasks_of_a_caller_take_turns_among_themselves() {
        let processor = Arc::<Processor>::default();
        let counts: Vec<Arc<AtomicUsize>> = (0..50).map(|_| Arc::default()).collect();
        let tasks: Vec<_> = counts.iter().map(|polls| busy(&processor, 1, polls)).collect();
        for _ in 0..1000 {
            yield_now().await;
        }
        let polls: Vec<usize> = counts.iter().map(|polls| polls.load(Ordering::Relaxed)).collect();
        let (least, most) = (polls.iter().min().unwrap(), polls.iter().max().unwrap());
        assert!(*least > 0 && most - least <= 1, "{polls:?}");
        drop(tasks);
    }

    #[tokio::test]
    async fn a_turn_comes_back_however_its_task_ends() {
        let processor = Arc::<Processor>::default();
        let free = || processor.line.lock().ready == 0 && processor.line.lock().waiting.is_empty();
        // It ends.
        assert_eq!(processor.run(async { 7 }).await, 7);
        assert!(free());
        // It panics.
        let mut panics = Box::pin(processor.run(async { panic!("on purpose") }));
        let waker = Waker::noop();
        let mut cx = Context::from_waker(waker);
        let caught = catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(&mut cx).is_ready()));
        assert!(caught.is_err());
        drop(panics);
        assert!(free());
        // It is dropped while it waits, while it has a turn, and while it waits for one.
        let mut tasks: Vec<_> = (0..3 * *MOST)
            .map(|_| {
                let (wake, woken) = oneshot::channel::<()>();
                (wake, Box::pin(processor.run(woken)))
            })
            .collect();
        for (_, task) in &mut tasks {
            assert!(poll!(task.as_mut()).is_pending());
        }
        assert!(free(), "what waits has no turn");
        let (wakes, mut tasks): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
        for wake in wakes.into_iter().skip(1) {
            wake.send(()).unwrap();
        }
        assert_eq!(processor.line.lock().ready, *MOST);
        drop(tasks.remove(0));
        while !tasks.is_empty() {
            drop(tasks.remove(0));
        }
        assert_eq!(processor.line.lock().ready, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn none_is_forgotten() {
        let processor = Arc::<Processor>::default();
        let mut tasks = JoinSet::new();
        for n in 0..200 {
            let (wake, woken) = oneshot::channel::<()>();
            tasks.spawn(processor.run(async move {
                woken.await.unwrap();
                for _ in 0..n {
                    yield_now().await;
                }
            }));
            tasks.spawn(processor.run(async move {
                yield_now().await;
                wake.send(()).unwrap();
            }));
        }
        tasks.join_all().await;
        assert_eq!(processor.line.lock().ready, 0);
    }
}
