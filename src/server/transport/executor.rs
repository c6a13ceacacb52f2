//! The streams of an HTTP/2 connection, which are its calls: who runs them.
//!
//! A call that needs nothing but the processor is over when it has been asked once. So each is asked
//! once by its connection's own task, and only those that wait for something get a task: a task costs
//! more than such a call, and answers that are ready together leave in one write. The price: what calls
//! of one connection compute before they first wait, one thread computes.
//!
//! For the same write a busy connection that is woken goes once to the end of the line: what else is ready
//! to run may have an answer for it too. A write costs more than all else that an answer needs. With one
//! call at a time there is nothing to wait for, and going to the end of the line wakes an idle thread.

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
};

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use pin_project_lite::pin_project;
use tokio::{
    task::coop,
    time::{Instant, Sleep, sleep_until},
};
use tracing::Instrument;

use super::connection::Connections;

/// How often in a row a connection is asked that has always more to do, before others get their turn.
const TURNS: usize = 16;

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the streams of one connection; a handle.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Shared>);

struct Shared {
    connections: Connections,
    /// Those that nobody has asked yet. Empty whenever the connection waits.
    fresh: Mutex<Vec<Stream>>,
    /// How many have a task, because they wait for something.
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
    // Asking it here would be too early: the connection may have read more calls already.
    fn execute(&self, stream: F) {
        self.fresh().push(Box::pin(Ending { stream, end: None, timer: None }));
    }
}

impl Streams {
    pub(crate) fn new(connections: Connections) -> Self {
        Self(Arc::new(Shared {
            connections,
            fresh: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// A connection with the streams that it gives this handle to run.
    pub(crate) fn run_with<C>(self, connection: C) -> Running<C> {
        let turns = Arc::new(Turns { state: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&turns));
        Running { connection, streams: self, turns, waker, asked: 0, stood_back: false }
    }

    fn fresh(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.0.fresh.lock()
    }

    /// Asks those that nobody has asked yet, and says how many there were.
    fn ask_fresh(&self, cx: &mut Context<'_>) -> usize {
        let mut fresh = mem::take(&mut *self.fresh());
        let asked = fresh.len();
        for mut stream in fresh.drain(..) {
            // A connection with many calls at once must not keep this thread to itself.
            let Poll::Ready(turn) = coop::poll_proceed(cx) else {
                self.spawn(stream);
                continue;
            };
            turn.made_progress();
            // As a task would: a panic outside the layer that catches them ends this stream alone.
            match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(cx))) {
                Ok(Poll::Pending) => self.spawn(stream),
                Ok(Poll::Ready(())) | Err(_) => {}
            }
        }
        // Its memory is kept for the next ones.
        *self.fresh() = fresh;
        asked
    }

    /// A task that shutdown waits for and can end.
    fn spawn(&self, stream: Stream) {
        let Connections { kill, streams, .. } = &self.0.connections;
        let (kill, waiting) = (kill.clone(), Waiting::of(&self.0));
        let task = async move {
            let _waiting = waiting;
            kill.run_until_cancelled(stream).await
        };
        streams.spawn(task.in_current_span());
    }
}

/// The connection waits.
const IDLE: u8 = 0;
/// The connection is being asked.
const ASKED: u8 = 1;
/// Somebody woke it; a bit beside the other.
const WOKEN: u8 = 2;

/// Tells a connection that is being asked from one that waits: what its own streams have to send wakes
/// it while it is at work, and waking the task then would cost a round through the scheduler.
struct Turns {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Turns {
    // Swapped and not stored, so that whatever a waker did before it woke is seen from here on.
    fn begin(&self) {
        self.state.swap(ASKED, Ordering::AcqRel);
    }

    /// Whether nobody woke the connection since the turn began.
    fn end(&self) -> bool {
        self.state.compare_exchange(ASKED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Turns {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) & ASKED == 0 {
            self.task.wake();
        }
    }
}

pin_project! {
    /// A connection and its streams.
    pub(crate) struct Running<C> {
        #[pin]
        connection: C,
        streams: Streams,
        turns: Arc<Turns>,
        waker: Waker,
        // How many streams were new the last time.
        asked: usize,
        // Whether the others that are ready have had their turn since it was woken.
        stood_back: bool,
    }
}

impl<C> Running<C> {
    pub(crate) fn inner(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for Running<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        let is_busy = *this.asked > 1 || this.streams.0.waiting.load(Ordering::Relaxed) > 1;
        *this.stood_back = is_busy && !*this.stood_back;
        if *this.stood_back {
            // A task that wakes itself is run after those that are ready.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.turns.task.register(cx.waker());
        let mut own = Context::from_waker(this.waker);
        *this.asked = 0;
        for _ in 0..TURNS {
            this.turns.begin();
            let polled = this.connection.as_mut().poll(&mut own);
            *this.asked += this.streams.ask_fresh(&mut own);
            if polled.is_ready() || this.turns.end() {
                return polled;
            }
        }
        this.turns.state.swap(IDLE, Ordering::AcqRel);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

tokio::task_local! {
    static END: Cell<Option<Instant>>;
}

/// Bounds the HTTP/2 stream that is being asked: at `end` it is reset, whatever it waits for. A client
/// that opens no window for an answer keeps hyper from asking the answer's body, and with it every timer
/// in there.
pub(crate) fn end_stream_at(end: Instant) {
    // HTTP/1 has no such stream.
    let _ = END.try_with(|cell| cell.set(Some(end)));
}

pin_project! {
    /// Runs a stream until it is over or its end has come; dropping it resets it.
    struct Ending<F> {
        #[pin]
        stream: F,
        end: Option<Instant>,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Future for Ending<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (polled, end) = END.sync_scope(Cell::new(*this.end), || {
            let polled = this.stream.poll(cx);
            (polled, END.with(Cell::get))
        });
        if polled.is_ready() {
            return Poll::Ready(());
        }
        *this.end = end;
        let Some(end) = end else { return Poll::Pending };
        this.timer.get_or_insert_with(|| Box::pin(sleep_until(end))).as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use futures_util::poll;
    use hyper::rt::Executor;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn only_a_stream_that_waits_gets_a_task() {
        let connections = Connections::default();
        let streams = Streams::new(connections.clone());
        let handle = streams.clone();
        let (over, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (ends, waits) = (Arc::clone(&over), (Arc::clone(&over), Arc::clone(&open)));
        handle.execute(async move { ends.add_permits(1) });
        handle.execute(async { panic!("a fault outside the layer that catches") });
        handle.execute(async move {
            waits.1.acquire().await.unwrap().forget();
            waits.0.add_permits(1);
        });
        let mut running = pin!(streams.run_with(std::future::pending::<()>()));
        assert!(poll!(running.as_mut()).is_pending());
        assert_eq!((over.available_permits(), connections.streams.len()), (1, 1));
        open.add_permits(1);
        over.acquire_many(2).await.unwrap().forget();
        connections.streams.close();
        connections.streams.wait().await;
    }

    #[tokio::test]
    async fn a_connection_that_its_streams_wake_is_asked_again_at_once() {
        let streams = Streams::new(Connections::default());
        let handle = streams.clone();
        let mut turns = 0;
        let connection = poll_fn(|cx| {
            turns += 1;
            let waker = cx.waker().clone();
            handle.execute(async move { waker.wake() });
            if turns == 3 { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut running = pin!(streams.run_with(connection));
        assert!(poll!(running.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn a_connection_that_has_always_more_to_do_lets_others_run() {
        let streams = Streams::new(Connections::default());
        let mut turns = 0;
        let connection = poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if turns == TURNS + 1 { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut running = pin!(streams.run_with(connection));
        assert!(poll!(running.as_mut()).is_pending());
        // It has woken its task, or this would wait for ever.
        running.await;
    }

    #[tokio::test]
    async fn who_wakes_a_connection_that_waits_wakes_its_task() {
        let streams = Streams::new(Connections::default());
        let (given, taken) = tokio::sync::oneshot::channel();
        let mut given = Some(given);
        let connection = poll_fn(move |cx| match given.take() {
            Some(given) => {
                given.send(cx.waker().clone()).unwrap();
                Poll::Pending
            }
            None => Poll::Ready(()),
        });
        let running = tokio::spawn(streams.run_with(connection));
        let waker = taken.await.unwrap();
        waker.wake();
        running.await.unwrap();
    }

    /// How often a connection with so many streams that wait is asked until it has three answers, each of
    /// which makes the next one.
    async fn turns_for_three_answers(waiting: usize) -> u8 {
        let streams = Streams::new(Connections::default());
        for _ in 0..waiting {
            streams.execute(std::future::pending::<()>());
        }
        let answers = Arc::new(Semaphore::new(0));
        let mut taking = {
            let answers = Arc::clone(&answers);
            Box::pin(async move {
                for _ in 0..3 {
                    answers.acquire().await.unwrap().forget();
                }
            })
        };
        let mut turns = 0;
        let connection = poll_fn(move |cx| {
            turns += 1;
            taking.as_mut().poll(cx).map(|()| turns)
        });
        let running = tokio::spawn(streams.run_with(connection));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        tokio::spawn(async move {
            answers.add_permits(1);
            tokio::spawn(async move { answers.add_permits(2) });
        });
        running.await.unwrap()
    }

    #[tokio::test]
    async fn a_busy_connection_waits_for_the_answers_of_others() {
        assert_eq!(turns_for_three_answers(2).await, 2, "one for all answers");
        assert_eq!(turns_for_three_answers(1).await, 3, "a lone call waits for nobody");
    }
}
