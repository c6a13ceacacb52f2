//! Runs the streams of an HTTP/2 connection, which are its calls.
//!
//! A call that never waits completes in one poll. So the connection's own task polls each stream
//! once, and only streams that wait get a task: a task costs more than such a call, and responses
//! that are ready together are sent in one write. The price: until they first wait, the calls of
//! one connection share one thread.
//!
//! For the same reason a busy connection that is woken yields once: other tasks that are ready may
//! have a response for it too, and a write costs more than everything else that a response needs.
//! With one call at a time there is nothing to wait for, and yielding would wake an idle thread.

use std::{
    cell::Cell,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use hyper_util::server::graceful::GracefulConnection;
use parking_lot::{Mutex, MutexGuard};
use pin_project_lite::pin_project;
use tokio::{
    task::coop,
    time::{Instant, Sleep, sleep_until},
};
use tracing::Instrument;

use super::{clock::PollClock, connections::Connections};
use crate::caller::Caller;

/// How long new streams are polled in a row before other tasks run.
const TURN: Duration = Duration::from_millis(1);
/// How often a connection that always has more work is polled in a row before other tasks run.
const POLL_BUDGET: usize = 16;

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a connection and the streams that it gives to the handle passed to `serve`, with its clock.
pub(super) fn run<C>(
    connections: &Connections,
    caller: &Arc<Caller>,
    serve: impl FnOnce(Streams, PollClock) -> C,
) -> Running<C> {
    let streams = Streams::new(connections.clone(), Arc::clone(caller));
    let clock = PollClock::start();
    let connection = serve(streams.clone(), clock.clone());
    streams.run_with(connection, clock)
}

/// Runs the streams of one connection; a handle.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Shared>);

struct Shared {
    connections: Connections,
    /// In whose turns the streams run.
    caller: Arc<Caller>,
    /// Streams that have not been polled. Empty whenever the connection waits.
    new: Mutex<Vec<Stream>>,
    /// How many streams have a task because they wait for something.
    waiting: AtomicUsize,
}

/// A stream that has a task.
struct Waiting(Arc<Shared>);

impl Waiting {
    fn of(shared: &Arc<Shared>) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    // Polling it here would be too early: the connection may have read more calls already.
    fn execute(&self, stream: F) {
        self.new_streams().push(Box::pin(Ending {
            stream,
            told: Told::default(),
            unread_since: None,
            timer: None,
        }));
    }
}

impl Streams {
    fn new(connections: Connections, caller: Arc<Caller>) -> Self {
        let (new, waiting) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Shared { connections, caller, new, waiting }))
    }

    fn run_with<C>(self, connection: C, clock: PollClock) -> Running<C> {
        let wakes = Arc::new(Wakes { state: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&wakes));
        Running { connection, clock, streams: self, wakes, waker, polled: 0, yielded: false }
    }

    fn new_streams(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.0.new.lock()
    }

    /// Polls the new streams, and returns how many it polled. A connection with many calls at once
    /// must not monopolize this thread: after a while, the rest stay new.
    fn poll_new(&self, cx: &mut Context<'_>) -> usize {
        let mut new = mem::take(&mut *self.new_streams());
        let (mut polled, began) = (0, Instant::now());
        let mut streams = new.drain(..);
        while began.elapsed() < TURN
            && coop::has_budget_remaining()
            && let Some(mut stream) = streams.next()
        {
            polled += 1;
            // As in a task, a panic outside the layer that catches panics ends only this stream.
            match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(cx))) {
                Ok(Poll::Pending) => self.spawn(stream),
                Ok(Poll::Ready(())) | Err(_) => {}
            }
        }
        let rest: Vec<Stream> = streams.collect();
        // Its memory is reused.
        *self.new_streams() = if rest.is_empty() { new } else { rest };
        polled
    }

    fn has_new(&self) -> bool {
        !self.new_streams().is_empty()
    }

    /// The connection is over, and polls no one any more.
    fn spawn_new(&self) {
        let new = mem::take(&mut *self.new_streams());
        new.into_iter().for_each(|stream| self.spawn(stream));
    }

    /// Spawns a task that shutdown waits for and can end.
    fn spawn(&self, stream: Stream) {
        let Shared { connections: Connections { kill, streams, .. }, caller, .. } = &*self.0;
        let (kill, waiting) = (kill.clone(), Waiting::of(&self.0));
        let task = async move {
            let _waiting = waiting;
            kill.run_until_cancelled(stream).await
        };
        streams.spawn(caller.run(task.in_current_span()));
    }
}

/// The connection waits.
const IDLE: u8 = 0;
/// The connection is being polled.
const POLLED: u8 = 1;
/// It was woken; a bit of its own.
const WOKEN: u8 = 2;

/// Tells a connection that is being polled from one that waits. Its own streams wake it during the
/// poll when they have something to send; waking the task then would cost a trip through the
/// scheduler.
struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wakes {
    // Swapped, not stored, so that everything a waker did before waking is visible from here on.
    fn begin(&self) {
        self.state.swap(POLLED, Ordering::AcqRel);
    }

    /// Whether the connection was not woken since the poll began.
    fn end(&self) -> bool {
        self.state.compare_exchange(POLLED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) & POLLED == 0 {
            self.task.wake();
        }
    }
}

pin_project! {
    /// A connection and its streams.
    pub(crate) struct Running<C> {
        #[pin]
        connection: C,
        clock: PollClock,
        streams: Streams,
        wakes: Arc<Wakes>,
        waker: Waker,
        // How many streams were new in the last poll.
        polled: usize,
        // Whether it has let other ready tasks run since it was woken.
        yielded: bool,
    }
}

impl<C: GracefulConnection> Running<C> {
    pub(crate) fn graceful_shutdown(self: Pin<&mut Self>) {
        self.project().connection.graceful_shutdown();
    }
}

impl<C: Future> Future for Running<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        let is_busy = *this.polled > 1 || this.streams.0.waiting.load(Ordering::Relaxed) > 1;
        *this.yielded = is_busy && !*this.yielded;
        if *this.yielded {
            // A task that wakes itself runs after those that are ready.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.clock.tick();
        this.wakes.task.register(cx.waker());
        let mut own = Context::from_waker(this.waker);
        *this.polled = 0;
        for _ in 0..POLL_BUDGET {
            this.wakes.begin();
            let result = this.connection.as_mut().poll(&mut own);
            *this.polled += this.streams.poll_new(&mut own);
            let (is_over, has_new) = (result.is_ready(), this.streams.has_new());
            if is_over && has_new {
                this.streams.spawn_new();
            }
            if is_over {
                return result;
            }
            if has_new {
                break;
            }
            if this.wakes.end() {
                return Poll::Pending;
            }
        }
        this.wakes.state.swap(IDLE, Ordering::AcqRel);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// How long a reader may take nothing of a response that waits for it.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// What a stream tells of itself while it is polled.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    end: Option<Instant>,
    /// Whether a part of the response waits for its reader.
    waits_for_reader: bool,
    /// How many parts have been handed over.
    parts: u64,
}

tokio::task_local! {
    static TOLD: Cell<Told>;
}

/// Changes what the stream that is being polled tells. False over HTTP/1, which has no such stream.
fn tell(change: impl FnOnce(&mut Told)) -> bool {
    let told = TOLD.try_with(|cell| {
        let mut told = cell.get();
        change(&mut told);
        cell.set(told);
    });
    told.is_ok()
}

/// Resets the HTTP/2 stream that is being polled at `end`, even if it is still waiting. A client
/// that opens no flow-control window keeps hyper from polling the response body, and the timers in
/// it. False over HTTP/1, which has no streams.
pub(crate) fn end_stream_at(end: Option<Instant>) -> bool {
    tell(|told| told.end = end)
}

/// A part of the response of the HTTP/2 stream that is being polled was handed over. Unless its
/// reader makes room for the next one in time, the stream is reset.
pub(crate) fn waits_for_reader() {
    tell(|told| {
        told.waits_for_reader = true;
        told.parts += 1;
    });
}

/// The reader made room for the next part, whether there is one yet or not.
pub(crate) fn reader_goes_on() {
    tell(|told| told.waits_for_reader = false);
}

pin_project! {
    /// Runs a stream until it completes or its time is up; dropping it resets it.
    struct Ending<F> {
        #[pin]
        stream: F,
        told: Told,
        // Since when its reader has taken nothing.
        unread_since: Option<Instant>,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Future for Ending<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (polled, told) = TOLD.sync_scope(Cell::new(*this.told), || {
            let polled = this.stream.poll(cx);
            (polled, TOLD.with(Cell::get))
        });
        if polled.is_ready() {
            return Poll::Ready(());
        }
        if !told.waits_for_reader {
            *this.unread_since = None;
        } else if told.parts != this.told.parts || this.unread_since.is_none() {
            *this.unread_since = Some(Instant::now());
        }
        *this.told = told;
        let unread_until = this.unread_since.map(|since| since + READER_PATIENCE);
        let ends = [told.end, unread_until].into_iter().flatten();
        let Some(end) = ends.min() else { return Poll::Pending };
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests;
