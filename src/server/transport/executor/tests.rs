//! Which streams get a task, when their connection is polled, and when they end.

use std::{future::poll_fn, pin::pin};

use futures_util::poll;
use hyper::rt::Executor;
use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn only_a_stream_that_waits_gets_a_task() {
    let connections = Connections::default();
    let streams = Streams::new(connections.clone(), Arc::clone(Caller::gateway()));
    let handle = streams.clone();
    let (over, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (ends, waits) = (Arc::clone(&over), (Arc::clone(&over), Arc::clone(&open)));
    handle.execute(async move { ends.add_permits(1) });
    handle.execute(async move {
        waits.1.acquire().await.unwrap().forget();
        waits.0.add_permits(1);
    });
    handle.execute(async { panic!("a panic outside the layer that catches") });
    let mut running = pin!(streams.run_with(std::future::pending::<()>(), PollClock::start()));
    assert!(poll!(running.as_mut()).is_pending());
    assert_eq!((over.available_permits(), connections.streams.len()), (1, 1));
    open.add_permits(1);
    over.acquire_many(2).await.unwrap().forget();
    connections.streams.close();
    connections.streams.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_reader_takes_nothing_is_dropped() {
    struct Stream(Arc<Semaphore>);
    impl Drop for Stream {
        fn drop(&mut self) {
            self.0.add_permits(1);
        }
    }
    let second = Duration::from_secs(1);
    for (takes_after, ends_after) in [(u64::MAX, 30), (29, 59), (1, 31)] {
        let connections = Connections::default();
        let streams = Streams::new(connections.clone(), Arc::clone(Caller::gateway()));
        let ended = Arc::new(Semaphore::new(0));
        let stream = Stream(Arc::clone(&ended));
        streams.execute(async move {
            let _stream = stream;
            waits_for_reader();
            if takes_after != u64::MAX {
                tokio::time::sleep(second * u32::try_from(takes_after).unwrap()).await;
                reader_goes_on();
                waits_for_reader();
            }
            std::future::pending::<()>().await;
        });
        let mut running = pin!(streams.run_with(std::future::pending::<()>(), PollClock::start()));
        let began = Instant::now();
        assert!(poll!(running.as_mut()).is_pending());
        ended.acquire().await.unwrap().forget();
        assert_eq!(began.elapsed().as_secs(), ends_after, "{takes_after}");
    }
    // One that has nothing to hand over may wait.
    let streams = Streams::new(Connections::default(), Arc::clone(Caller::gateway()));
    let ended = Arc::new(Semaphore::new(0));
    let stream = Stream(Arc::clone(&ended));
    streams.execute(async move {
        let _stream = stream;
        waits_for_reader();
        reader_goes_on();
        std::future::pending::<()>().await;
    });
    let mut running = pin!(streams.run_with(std::future::pending::<()>(), PollClock::start()));
    assert!(poll!(running.as_mut()).is_pending());
    tokio::time::sleep(second * 3600).await;
    assert_eq!(ended.available_permits(), 0);
}

#[tokio::test]
async fn a_connection_that_its_streams_wake_is_polled_again_at_once() {
    let streams = Streams::new(Connections::default(), Arc::clone(Caller::gateway()));
    let handle = streams.clone();
    let mut polls = 0;
    let connection = poll_fn(|cx| {
        polls += 1;
        let waker = cx.waker().clone();
        handle.execute(async move { waker.wake() });
        if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
    });
    let mut running = pin!(streams.run_with(connection, PollClock::start()));
    assert!(poll!(running.as_mut()).is_ready());
}

#[tokio::test]
async fn a_connection_that_always_has_more_work_lets_others_run() {
    let streams = Streams::new(Connections::default(), Arc::clone(Caller::gateway()));
    let mut polls = 0;
    let connection = poll_fn(|cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls == POLL_BUDGET + 1 { Poll::Ready(()) } else { Poll::Pending }
    });
    let mut running = pin!(streams.run_with(connection, PollClock::start()));
    assert!(poll!(running.as_mut()).is_pending());
    // It has woken its task; otherwise this would never end.
    running.await;
}

#[tokio::test]
async fn a_connection_with_many_new_streams_lets_others_run() {
    let streams = Streams::new(Connections::default(), Arc::clone(Caller::gateway()));
    let polled = Arc::new(AtomicUsize::new(0));
    let slow = |polled: &Arc<AtomicUsize>| {
        let polled = Arc::clone(polled);
        async move {
            let began = Instant::now();
            while began.elapsed() < TURN {
                std::hint::spin_loop();
            }
            polled.fetch_add(1, Ordering::Relaxed);
        }
    };
    (0..5).for_each(|_| streams.execute(slow(&polled)));
    let mut running = pin!(streams.run_with(std::future::pending::<()>(), PollClock::start()));
    for expected in 1..=5 {
        while polled.load(Ordering::Relaxed) < expected {
            assert!(poll!(running.as_mut()).is_pending());
        }
        assert_eq!(polled.load(Ordering::Relaxed), expected);
    }
    // Those that are left when the connection ends get tasks.
    let connections = Connections::default();
    let streams = Streams::new(connections.clone(), Arc::clone(Caller::gateway()));
    (0..5).for_each(|_| streams.execute(slow(&polled)));
    streams.run_with(std::future::ready(()), PollClock::start()).await;
    assert_eq!(polled.load(Ordering::Relaxed), 6);
    connections.streams.close();
    connections.streams.wait().await;
    assert_eq!(polled.load(Ordering::Relaxed), 10);
}

#[tokio::test]
async fn waking_a_connection_that_waits_wakes_its_task() {
    let streams = Streams::new(Connections::default(), Arc::clone(Caller::gateway()));
    let (given, taken) = tokio::sync::oneshot::channel();
    let mut given = Some(given);
    let connection = poll_fn(move |cx| match given.take() {
        Some(given) => {
            given.send(cx.waker().clone()).unwrap();
            Poll::Pending
        }
        None => Poll::Ready(()),
    });
    let running = tokio::spawn(streams.run_with(connection, PollClock::start()));
    let waker = taken.await.unwrap();
    waker.wake();
    running.await.unwrap();
}

/// How often a connection with this many waiting streams is polled until it has three
/// responses.
async fn polls_for_three_answers(waiting: usize) -> u8 {
    let streams = Streams::new(Connections::default(), Arc::clone(Caller::gateway()));
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
    let mut polls = 0;
    let connection = poll_fn(move |cx| {
        polls += 1;
        taking.as_mut().poll(cx).map(|()| polls)
    });
    let running = tokio::spawn(streams.run_with(connection, PollClock::start()));
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
async fn a_busy_connection_waits_for_other_responses() {
    assert_eq!(polls_for_three_answers(2).await, 2, "one poll for all responses");
    assert_eq!(polls_for_three_answers(1).await, 3, "a single call does not wait");
}
