//! What it costs the gateway to refuse a call, beside one that is answered from the cache.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};

use crate::{
    Role, Turn,
    child::Child,
    hanging::hanging_upstream,
    load::{self, concurrency},
    measure, median,
    overload::Caller,
};

/// The first profile that is in the cache, and how many are. Each call is for another one, as each
/// that is refused is.
const CACHED: usize = 2;
const MANY: usize = 1000;
/// As many as the backend called `full` has slots and places in its queue, and more.
const STUCK: usize = 8;

/// Calls at once in a flood.
pub(crate) const FLOOD: usize = 256;

/// Refuses calls for both reasons that a call meets under load, and prints what that costs.
pub(crate) async fn compare(requests: usize, rounds: usize) {
    let upstream = Child::role(Role::Upstream, "");
    let (well, hanging) = (format!("http://{}", upstream.address), hanging_upstream().await);
    // Half of the places are the caller's share.
    let share = 2 * concurrency() + STUCK;
    let gateway = Child::gateway_that_refuses(&well, &hanging, 2 * share);
    let caller = Caller::connect(&gateway, "127.0.0.4", 1_000).await;
    // The first time, they are read from the upstream.
    for n in 0..MANY {
        caller.get(n, "sft", CACHED + n).await.unwrap();
    }

    let each = (requests / rounds).max(1);
    let (mut hits, mut by_queue, mut by_places) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bare_answers, mut bare_refusals) = (Vec::new(), Vec::new());
    let answering = Child::role(Role::Tonic, &load::to_text(&caller.read("sft", CACHED).await));
    let to_answering = Caller::connect(&answering, "127.0.0.4", 1_000).await;
    let refusing = Child::role(Role::Refuse, &load::status_to_text(&a_refusal(&caller).await));
    let to_refusing = Caller::connect(&refusing, "127.0.0.4", 1_000).await;
    // The first turn warms up.
    for round in 0..=rounds {
        let bare_answer = measure(&answering, async || answer(&to_answering, each).await).await;
        let bare_refusal =
            measure(&refusing, async || refuse(&to_refusing, "full", each).await).await;
        let answered = measure(&gateway, async || answer(&caller, each).await).await;
        let mut held = JoinSet::new();
        fill(&mut held, &caller, ("full", STUCK), || caller.get_new("full")).await;
        let queue = measure(&gateway, async || refuse(&caller, "full", each).await).await;
        fill(&mut held, &caller, ("hanging", share), || caller.get(0, "sft", CACHED)).await;
        let places = measure(&gateway, async || refuse(&caller, "sft", each).await).await;
        held.shutdown().await;
        // The calls that were given up leave their places.
        while caller.get(0, "sft", CACHED).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        if round > 0 {
            bare_answers.push(bare_answer);
            bare_refusals.push(bare_refusal);
            hits.push(answered);
            by_queue.push(queue);
            by_places.push(places);
        }
    }
    report(
        each,
        rounds,
        &[
            ("answered from the cache", hits),
            ("refused: its caller has its share of the places for calls", by_places),
            ("refused: its caller has its share of the backend's queue", by_queue),
            ("bare tonic server, the same answer", bare_answers),
            ("bare tonic server, the same refusal", bare_refusals),
        ],
    );
}

fn report(each: usize, rounds: usize, rows: &[(&str, Vec<Turn>); 5]) {
    let requests = f64::from(u32::try_from(each).unwrap());
    let cpu = |turns: &[Turn]| median(turns, |turn| turn.cpu) * 1e6 / requests;
    let unit = cpu(&rows[0].1);
    println!("\n| GetProfile | CPU µs/request | ratio |\n|---|---:|---:|");
    for (name, turns) in rows {
        println!("| {name} | {:.1} | {:.2} |", cpu(turns), cpu(turns) / unit);
    }
    println!("\nmedians of {rounds} rounds of {each} requests, {} at once", concurrency());
}

/// What a call is refused with that finds its caller's share of the queue taken.
async fn a_refusal(caller: &Caller) -> Status {
    let mut held = JoinSet::new();
    fill(&mut held, caller, ("full", STUCK), || caller.get_new("full")).await;
    let status = caller.get_new("full").await.unwrap_err();
    held.shutdown().await;
    status
}

/// Makes so many calls that will not be answered, and waits until one more is refused.
async fn fill<F>(
    held: &mut JoinSet<()>,
    caller: &Caller,
    (backend, calls): (&'static str, usize),
    one_more: impl Fn() -> F,
) where
    F: Future<Output = Result<(), Status>>,
{
    let mut hold = || {
        let caller = caller.clone();
        held.spawn(async move { drop(caller.get_new(backend).await) });
    };
    (0..calls).for_each(|_| hold());
    let patience = Duration::from_millis(100);
    loop {
        match tokio::time::timeout(patience, one_more()).await {
            Ok(Err(status)) if is_refusal(&status) => return,
            // Some may have been refused for those of the round before, which were about to leave.
            _ => hold(),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn is_refusal(status: &Status) -> bool {
    let codes = [Code::ResourceExhausted, Code::Unavailable];
    codes.contains(&status.code()) && status.message().contains("too many")
}

/// Reads so many times what is in the cache.
async fn answer(caller: &Caller, times: usize) -> Duration {
    let caller = caller.clone();
    load::all(times, move |n| {
        let caller = caller.clone();
        async move { caller.get(n, "sft", CACHED + n % MANY).await.unwrap() }
    })
    .await
}

/// Makes so many calls that are refused.
async fn refuse(caller: &Caller, backend: &'static str, times: usize) -> Duration {
    let caller = caller.clone();
    load::all(times, move |_| {
        let caller = caller.clone();
        async move {
            let status = caller.get_new(backend).await.unwrap_err();
            assert!(is_refusal(&status), "{status:?}");
        }
    })
    .await
}
