//! Rule 3 as a history: writers that count upwards, readers that note what they saw, an upstream
//! that is slow and fails now and then, and purges. A read that begins after a write was
//! acknowledged sees that write or a later one.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use futures_util::future::join_all;
use profile_gateway::pb::Profile;
use serde_json::json;
use tokio::time::{Duration, sleep};

use super::reads::{get, list, purge};
use crate::{
    conformance::{
        bench::{self, Bench},
        samples::{Sample, registered},
    },
    kit::until,
};

const PROFILES: usize = 3;
const READERS: usize = 4;
const WRITES: u64 = 20;

/// Runs out at once, so that reads of all kinds occur.
const CACHE: &str = "ttl = \"40ms\"\nstale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"";
const PREFIX: &str = "History";

/// Numbers that look like chance, and are the same for the same seed.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }
}

/// What a reader saw of a profile, in the time of the history.
#[derive(Debug)]
struct Seen {
    profile: usize,
    start: u64,
    end: u64,
    value: u64,
    how: String,
}

/// A write, from before it was sent until after it was acknowledged.
#[derive(Debug)]
struct Written {
    profile: usize,
    start: u64,
    /// Never, for one that failed.
    end: Option<u64>,
    value: u64,
}

struct History {
    bench: Bench,
    names: Vec<String>,
    clock: AtomicU64,
    over: AtomicBool,
    seen: Mutex<Vec<Seen>>,
    written: Mutex<Vec<Written>>,
}

fn display_name(profile: usize, value: u64) -> String {
    format!("{PREFIX} {profile} {value}")
}

/// Which of the profiles it is, and its number.
fn value(profile: &Profile) -> Option<(usize, u64)> {
    let mut words = profile.display_name.strip_prefix(PREFIX)?.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

impl History {
    async fn of(sample: Sample) -> Self {
        let bench = bench::caching("30s", CACHE, sample).await;
        let mut names = Vec::new();
        for number in 0..PROFILES {
            let display_name = display_name(number, 0);
            let created = bench.create(Profile { display_name, ..bench.full() }).await.unwrap();
            names.push(created.name);
        }
        Self {
            bench,
            names,
            clock: AtomicU64::new(1),
            over: AtomicBool::new(false),
            seen: Mutex::default(),
            written: Mutex::default(),
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst)
    }

    /// Writes one profile, again and again.
    async fn write(&self, profile: usize) {
        for value in 1..=WRITES {
            let display_name = display_name(profile, value);
            let name = self.names[profile].clone();
            let update = Profile { name, display_name, ..Profile::default() };
            let start = self.tick();
            let result = self.bench.update(update, &["display_name"]).await;
            let end = result.is_ok().then(|| self.tick());
            self.written.lock().unwrap().push(Written { profile, start, end, value });
            // Time for what was read to be kept, and to run out.
            sleep(Duration::from_millis(value % 5 * 20)).await;
        }
    }

    async fn read(&self, mut chance: Chance) {
        while !self.over.load(SeqCst) {
            let control = ["", "", "", "no-cache", "max-age=0", "only-if-cached"];
            let control = control[usize::try_from(chance.below(6)).unwrap()];
            let (start, number) = (self.tick(), chance.below(PROFILES as u64));
            let (found, how) = match chance.below(4) {
                0 => {
                    let parent = self.bench.parent();
                    let read = list(&self.bench.gateway, &parent, control).await;
                    (read.result.unwrap_or_default(), format!("list {}", read.cache))
                }
                1 => {
                    let read = list(&self.bench.gateway, "backends/-", control).await;
                    (read.result.unwrap_or_default(), format!("list of all {}", read.cache))
                }
                _ => {
                    let name = &self.names[usize::try_from(number).unwrap()];
                    let read = get(&self.bench.gateway, name, control).await;
                    (read.result.into_iter().collect(), format!("get {}", read.cache))
                }
            };
            let end = self.tick();
            let seen = found.iter().filter_map(value).map(|(profile, value)| {
                let how = format!("{how} {control}");
                Seen { profile, start, end, value, how }
            });
            self.seen.lock().unwrap().extend(seen);
            sleep(Duration::from_millis(chance.below(8))).await;
        }
    }

    /// Makes answers slow or fail, and purges.
    async fn disturb(&self, mut chance: Chance) {
        let operations = self.bench.sample.operations;
        while !self.over.load(SeqCst) {
            let operation = match chance.below(5) {
                0 => operations.update,
                1 | 2 => operations.list,
                _ => operations.get,
            };
            let commit = if chance.below(3) == 0 { "after" } else { "before" };
            let fault = match chance.below(12) {
                // A write that fails like that is looked for until its deadline.
                0 if operation != operations.update => json!({"kind": "status", "status": 503}),
                // Of a write the effect is found by reading back.
                1 => json!({"kind": "reset", "commit": "before"}),
                _ => json!({"kind": "delay", "ms": 5 + chance.below(60), "commit": commit}),
            };
            self.bench.arm(operation, &fault, 1).await;
            if chance.below(20) == 0 {
                // Faults that no request met pile up.
                self.bench.sandbox.calm().await;
                let name = if chance.below(2) == 0 { &self.names[0] } else { &self.bench.parent() };
                purge(&self.bench.gateway, name).await.unwrap();
            }
            sleep(Duration::from_millis(5 + chance.below(15))).await;
        }
        self.bench.sandbox.calm().await;
    }

    async fn run(&self, seed: u64) {
        let chance = |n: u64| Chance(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let writers = async {
            join_all((0..PROFILES).map(|profile| self.write(profile))).await;
            // That there was something to go wrong.
            until("reads of all kinds", async || {
                let seen = self.seen.lock().unwrap();
                let has = |how: &&str| seen.iter().any(|read| read.how.starts_with(how));
                ["get hit", "get stale", "get miss", "list ", "list of all"].iter().all(has)
            })
            .await;
            self.over.store(true, SeqCst);
        };
        let readers = join_all((1..=READERS).map(|n| self.read(chance(n as u64))));
        tokio::join!(writers, readers, self.disturb(chance(0)));
    }

    /// Holds every read against all writes.
    fn check(&self, seed: u64) {
        let what = format!("{} with seed {seed}", self.bench.sample.dialect);
        let (seen, written) = (self.seen.lock().unwrap(), self.written.lock().unwrap());
        for read in seen.iter() {
            let of_it = || written.iter().filter(|write| write.profile == read.profile);
            let acknowledged = of_it().filter(|w| w.end.is_some_and(|end| end < read.start));
            let least = acknowledged.map(|write| write.value).max().unwrap_or(0);
            let begun = of_it().filter(|write| write.start < read.end);
            let most = begun.map(|write| write.value).max().unwrap_or(0);
            assert!(read.value >= least, "{what}: {least} was acknowledged before {read:?}");
            assert!(read.value <= most, "{what}: only {most} was begun before the end of {read:?}");
        }
        let acknowledged = written.iter().filter(|write| write.end.is_some()).count();
        assert!(acknowledged > PROFILES * 10, "{what}: only {acknowledged} acknowledged writes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_3_every_read_of_a_history_gives_the_last_acknowledged_write_or_a_later_one() {
    let seed: u64 = rand::random();
    let histories = join_all(registered().into_iter().map(History::of)).await;
    let histories: Vec<Arc<History>> = histories.into_iter().map(Arc::new).collect();
    let runs = histories.iter().cloned().map(|history| {
        tokio::spawn(async move {
            history.run(seed).await;
            history.check(seed);
        })
    });
    for run in join_all(runs).await {
        run.unwrap();
    }
}
