//! Random calls to three replicas under random troubles of replicas, of the store, of the network
//! between, and of the upstream, and then a check that promises were kept (`history`).
//!
//! `make soak-replicas` makes `SOAK_OPERATIONS` of them; a short round is a test. `SOAK_SEED`
//! repeats the choices, though not the order in which things happen. All replicas reach the
//! upstream at one address: by that, they know that it is the same.
//!
//! The check has to fail where replicas do not agree. `SOAK_APART=1`, which gives each a store of
//! its own, breaks most promises in 1,500 operations. `SOAK_STORE='acknowledge = "here"'`, which
//! answers writes before the others know of them, gave one stale read in 4,000, and
//! `Lease::may_serve` without its comparison four in 1,500.
//!
//! To take out other rules, change a line of `src/shared/scripts`: the check of the turn in
//! `open.lua`, the comparison in `evict.lua`, or in `prelude.lua` the history of the server or
//! `grace_left`. They need events that are rare among real processes: each was not seen to be found
//! here. `shared::protocol::tests::rules` finds each of them in the model.

mod ask;
mod field;
mod look;
mod nemesis;
mod servers;
mod troubles;
mod upstream;
mod watcher;
mod worker;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;

use self::{field::Field, nemesis::Nemesis, watcher::Watcher, worker::Worker};
use super::history::{Found, Lie};
use crate::kit::{chance::Chance, show};

const REPLICAS: usize = 3;
const WORKERS: u64 = 16;
const WATCHERS: u64 = 3;
/// Of a round: a store has a journal of bounded length, and a history has to fit into memory.
const ROUND: u64 = 25_000;
/// Of the round that is a test.
const SHORT: u64 = 600;
/// No more troubles than that in the round that is a test.
const SHORT_TROUBLES: usize = 3;

/// How a soak goes.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    operations: u64,
    troubles: usize,
    /// Each replica has a store of its own.
    is_apart: bool,
}

/// What a soak has seen.
#[derive(Default)]
struct Figures {
    rounds: usize,
    operations: u64,
    told: BTreeMap<String, usize>,
    excused: usize,
    found: Vec<Found>,
}

/// One round on an upstream, a store and replicas of its own.
async fn round(plan: Plan, figures: &mut Figures) {
    let field = Arc::new(Field::start(plan).await);
    let collecting = tokio::spawn(Arc::clone(&field).collect());
    let disturbing = tokio::spawn(Arc::clone(&field).disturb(Chance::of(plan.seed, 1)));
    let watchers = (0..WATCHERS).map(|number| {
        let chance = Chance::of(plan.seed, 50 + number);
        tokio::spawn(Watcher::new(Arc::clone(&field), chance).watch())
    });
    let watchers: Vec<_> = watchers.collect();
    let troubling = tokio::spawn(Nemesis::new(Arc::clone(&field), plan).trouble());
    let workers = (0..WORKERS).map(|number| {
        let chance = Chance::of(plan.seed, 100 + number);
        tokio::spawn(Worker::new(Arc::clone(&field), chance).work())
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
    figures.excused += found.iter().filter(|found| found.is_excused).count();
    figures.found.extend(found.into_iter().filter(|found| !found.is_excused));
}

impl Figures {
    fn print(&self, seed: u64) {
        for (what, count) in &self.told {
            show(&format!("{count:>8} {what}"));
        }
        let Self { rounds, operations, excused, found, .. } = self;
        let mut kinds: BTreeMap<Lie, usize> = BTreeMap::new();
        for Found { lie, .. } in found {
            *kinds.entry(*lie).or_default() += 1;
        }
        show(&format!(
            "SOAK_SEED={seed}: {rounds} rounds, {operations} operations, {excused} excused, {} \
             violations {kinds:?}",
            found.len()
        ));
    }

    #[track_caller]
    fn assert_kept(&self, seed: u64) {
        self.print(seed);
        let first: Vec<String> =
            self.found.iter().take(10).map(|f| format!("{:?}: {}", f.lie, f.about)).collect();
        let count = self.found.len();
        assert!(first.is_empty(), "SOAK_SEED={seed}: {count} violations\n{}", first.join("\n"));
    }

    fn told(&self, what: &str) -> usize {
        self.told.iter().filter(|(told, _)| told.starts_with(what)).map(|(_, count)| count).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_keep_what_is_promised() {
    let read = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = read("SOAK_SEED").unwrap_or_else(rand::random::<u64>) >> 8;
    let wanted = read("SOAK_OPERATIONS");
    let mut left = wanted.unwrap_or(SHORT);
    let is_apart = read("SOAK_APART").is_some();
    let troubles = if wanted.is_some() { usize::MAX } else { SHORT_TROUBLES };
    let mut figures = Figures::default();
    let mut number = 0;
    while left > 0 {
        let operations = left.min(ROUND);
        left -= operations;
        let plan = Plan { seed: seed + number, operations, troubles, is_apart };
        number += 1;
        show(&format!("SOAK_SEED={} for {operations} operations", plan.seed << 8));
        tokio::time::timeout(LONGEST, round(plan, &mut figures)).await.expect("a round ends");
        if !figures.found.is_empty() {
            break;
        }
    }
    // That there was something to go wrong.
    assert!(figures.told("trouble") > 1, "{:?}", figures.told);
    assert!(figures.told("Rename Ok") > 10, "{:?}", figures.told);
    figures.assert_kept(seed << 8);
}

/// For a broken program, not for a slow one.
const LONGEST: Duration = Duration::from_secs(3_600);
