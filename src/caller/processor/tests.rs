//! How tasks take turns, and which do not.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::AtomicUsize,
};

use futures_util::poll;
use tokio::{sync::oneshot, task::JoinSet};

use super::*;

/// Lets others run, as a task that was woken meanwhile.
pub(crate) async fn yield_now() {
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

/// Waits, and goes on twice; says how often others were polled by then.
async fn counting(woken: oneshot::Receiver<()>, polls: Arc<AtomicUsize>) -> usize {
    woken.await.unwrap();
    yield_now().await;
    polls.load(Ordering::Relaxed)
}

#[tokio::test]
async fn what_is_urgent_waits_for_no_turn_of_its_caller() {
    let (processor, polls) = (Arc::<Processor>::default(), Arc::default());
    let tasks = busy(&processor, 1000, &polls);
    for is_urgent in [true, false] {
        let (wake, woken) = oneshot::channel();
        let waits = counting(woken, Arc::clone(&polls));
        let waiting = match is_urgent {
            true => tokio::spawn(processor.run(urgently(waits))),
            false => tokio::spawn(processor.run(waits)),
        };
        // Long enough for it to be polled.
        while polls.load(Ordering::Relaxed) < 5000 {
            yield_now().await;
        }
        polls.store(0, Ordering::Relaxed);
        wake.send(()).unwrap();
        let passed = waiting.await.unwrap();
        assert_eq!(passed < 100, is_urgent, "{passed} polls of others");
    }
    drop(tasks);
}

#[tokio::test]
async fn what_goes_on_in_a_task_of_its_own_stays_urgent() {
    let (processor, polls) = (Arc::<Processor>::default(), Arc::default());
    let tasks = busy(&processor, 1000, &polls);
    let (wake, woken) = oneshot::channel();
    let mut waits = Box::pin(urgently(counting(woken, Arc::clone(&polls))));
    let (own, counted) = (Arc::clone(&processor), Arc::clone(&polls));
    let spawned = tokio::spawn(processor.run(async move {
        assert!(poll!(waits.as_mut()).is_pending());
        counted.store(0, Ordering::Relaxed);
        wake.send(()).unwrap();
        tokio::spawn(own.run(waits)).await.unwrap()
    }));
    let passed = spawned.await.unwrap();
    assert!(passed < 100, "{passed} polls of others");
    drop(tasks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn none_is_forgotten() {
    let processor = Arc::<Processor>::default();
    let mut tasks = JoinSet::new();
    for n in 0..200 {
        let (wake, woken) = oneshot::channel::<()>();
        let waits = async move {
            woken.await.unwrap();
            for _ in 0..n {
                yield_now().await;
            }
        };
        match n % 3 {
            0 => tasks.spawn(processor.run(urgently(waits))),
            _ => tasks.spawn(processor.run(waits)),
        };
        tasks.spawn(processor.run(async move {
            yield_now().await;
            wake.send(()).unwrap();
        }));
    }
    tasks.join_all().await;
    assert_eq!(processor.line.lock().ready, 0);
}
