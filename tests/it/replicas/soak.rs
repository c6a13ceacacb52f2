//! Random calls to three replicas under random troubles of replicas, of the store, of the network
//! between, and of the upstream, and then a check that promises were kept (`history`).
//!
//! `make soak-replicas` makes `SOAK_OPERATIONS` of them; a short round is a test. `SOAK_SEED`
//! repeats the choices, though not the order in which things happen. All replicas reach the
//! upstream at one address: by that, they know that it is the same.
//!
//! The check has to fail where replicas do not agree. `SOAK_APART=1`, which gives each a store of
//! its own, breaks most promises in 1,500 operations. `make mutations` takes one rule after another
//! out of the protocol, and aims at it: `SOAK_TROUBLES` names the only troubles that come,
//! `SOAK_HOT` says how many profiles are written most, `SOAK_WORKERS` how many callers there are,
//! and `SOAK_READS` how many reads follow each of their operations. `aimed` has troubles for what
//! chance does not bring about.
//!
//! On a machine that is too busy, replicas do not reach their store in time, and most writes are
//! refused: the check still holds, but finds less.
//!
//! One of these events is not one of real servers: that a turn is lost, and nothing else, before
//! its write is announced (`LoseTurns`). Turns outlive what their writes may send, and a server
//! that has lost one has another history or is empty, so that a replica restores its turn, or
//! learns that it is lost, before it announces anything. So the check of the turn in `open.lua` is
//! a second line of defense, as against an operator that deletes keys.

mod account;
mod aimed;
mod ask;
mod backends;
mod field;
mod figures;
mod look;
mod nemesis;
mod servers;
mod split;
mod troubles;
mod upstream;
mod watcher;
mod worker;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;

use self::{
    field::Field,
    figures::Figures,
    nemesis::Nemesis,
    troubles::{ALL, What},
    watcher::Watcher,
    worker::Worker,
};
use crate::kit::{chance::Chance, show};

const REPLICAS: usize = 3;
/// Most of the time they wait: for a store that is away, or for a turn.
const WORKERS: u64 = 64;
const WATCHERS: u64 = 3;
/// How many profiles are written most.
const HOT: u64 = 12;
/// Of a round: a store has a journal of bounded length, and a history has to fit into memory.
const ROUND: u64 = 25_000;
/// Of the round that is a test.
const SHORT: u64 = 600;
const SHORT_WORKERS: u64 = 16;
/// No more troubles than that in the round that is a test.
const SHORT_TROUBLES: usize = 3;

/// How a soak goes.
#[derive(Clone)]
struct Plan {
    seed: u64,
    operations: u64,
    workers: u64,
    troubles: usize,
    /// Which of them there are.
    kinds: Vec<What>,
    /// How many profiles are written most.
    hot: u64,
    /// How many reads follow each operation.
    reads: u64,
    /// Each replica has a store of its own.
    is_apart: bool,
    /// The store has a follower.
    is_in_pairs: bool,
    /// Lines of the section `[store]`.
    store: String,
}

/// One round on an upstream, a store and replicas of its own.
async fn round(plan: Plan, figures: &mut Figures) {
    let field = Arc::new(Field::start(&plan).await);
    let collecting = tokio::spawn(Arc::clone(&field).collect());
    let disturbing = tokio::spawn(Arc::clone(&field).disturb(Chance::of(plan.seed, 1)));
    let watchers = (0..WATCHERS).map(|number| {
        let chance = Chance::of(plan.seed, 50 + number);
        tokio::spawn(Watcher::new(Arc::clone(&field), chance).watch())
    });
    let watchers: Vec<_> = watchers.collect();
    let troubling = tokio::spawn(Nemesis::new(Arc::clone(&field), plan.clone()).trouble());
    let workers = (0..plan.workers).map(|number| {
        let chance = Chance::of(plan.seed, 100 + number);
        tokio::spawn(Worker::new(Arc::clone(&field), chance, plan.hot, plan.reads).work())
    });
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    field.end();
    troubling.await.unwrap();
    disturbing.await.unwrap();
    field.look_at_last().await;
    for watcher in join_all(watchers).await {
        watcher.unwrap();
    }
    field.settle();
    collecting.await.unwrap();
    figures.rounds += 1;
    figures.operations += plan.operations;
    let found = field.judge(figures);
    let (excused, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.is_excused);
    figures.excused.extend(excused.into_iter().map(|found| found.lie));
    figures.found.extend(found);
}

fn read(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

impl Plan {
    /// What the environment says. Without it, a short one.
    fn wanted() -> Self {
        let seed = read("SOAK_SEED").unwrap_or_else(rand::random::<u64>) >> 8;
        let operations = read("SOAK_OPERATIONS");
        let (workers, troubles) = match operations {
            Some(_) => (WORKERS, usize::MAX),
            None => (SHORT_WORKERS, SHORT_TROUBLES),
        };
        let kinds = match std::env::var("SOAK_TROUBLES") {
            Ok(names) => names.split(',').map(What::named).collect(),
            Err(_) => ALL.to_vec(),
        };
        let operations = operations.unwrap_or(SHORT);
        let hot = read("SOAK_HOT").unwrap_or(HOT);
        let workers = read("SOAK_WORKERS").unwrap_or(workers);
        let reads = read("SOAK_READS").unwrap_or(0);
        let is_apart = read("SOAK_APART").is_some();
        let store = std::env::var("SOAK_STORE").unwrap_or_default();
        Self {
            seed,
            operations,
            workers,
            troubles,
            kinds,
            hot,
            reads,
            is_apart,
            is_in_pairs: false,
            store,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_keep_what_is_promised() {
    let all = Plan::wanted();
    let size = read("SOAK_ROUND").unwrap_or(ROUND);
    let mut left = all.operations;
    let mut figures = Figures::default();
    for number in 0.. {
        let operations = left.min(size);
        left -= operations;
        let plan = Plan { seed: all.seed + number, operations, ..all.clone() };
        show(&format!("SOAK_SEED={} for {operations} operations", plan.seed << 8));
        tokio::time::timeout(LONGEST, round(plan, &mut figures)).await.expect("a round ends");
        if !figures.found.is_empty() || left == 0 {
            break;
        }
    }
    figures.assert_kept(all.seed << 8);
}

/// For a broken program, not for a slow one.
const LONGEST: Duration = Duration::from_secs(3_600);
