//! Random writes and reads under random faults over every dialect, and then a check that every
//! answer was true (`kit::history`).
//!
//! Rounds of a fixed number of operations: one as a test; as many as fit into `SOAK_SECONDS` for
//! `make soak`. `SOAK_SEED` repeats a round's choices, though not the order in which things happen.

mod faults;
mod worker;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use self::worker::Worker;
use crate::{
    conformance::{
        bench::{self, Bench},
        samples::{Sample, registered},
    },
    kit::{
        chance::Chance,
        chaos::{Chaos, chaos},
        history::{Clock, History, Kind, Moment, Read, Said, version},
        sandbox::sandbox,
        show,
    },
};

const WORKERS: u64 = 14;
/// Those who only read, beside them.
const READERS: u64 = 2;
const OPERATIONS: u64 = 6;
/// A round is mostly waiting.
const ROUNDS_AT_ONCE: u64 = 2;
/// What each call has. Some faults hold a request for longer, so that only a repeat can find its
/// effect.
const TIME: &str = "1s";
/// How long reads may lag behind writes: longer than any fault lets them, and time enough for a
/// write that is acknowledged and ignored to fail within its call.
const SETTLE_TIME: &str = "700ms";
/// How long after the last call something may still happen: longer than any fault holds a request.
const SETTLED: Duration = Duration::from_millis(1600);

/// A dialect under fire.
struct Field {
    bench: Bench,
    chaos: Chaos,
    clock: Clock,
    /// Whether all callers are done, and whether nothing can happen any more.
    over: AtomicBool,
    settled: AtomicBool,
    numbers: AtomicU64,
    history: Mutex<History>,
    journal: Mutex<Vec<Value>>,
    /// The profiles that readers look at: number and resource name.
    known: Mutex<Vec<(u64, String)>>,
    /// What operations were told.
    told: Mutex<BTreeMap<String, usize>>,
}

/// What a soak has seen.
#[derive(Default)]
struct Figures {
    rounds: usize,
    operations: usize,
    faults: usize,
    unknown: usize,
    resolved: usize,
    lies: usize,
    told: BTreeMap<String, usize>,
}

impl Field {
    async fn new(sample: Sample) -> Self {
        let sandbox = sandbox().await;
        let chaos = chaos(&sandbox.base_url()).await;
        let lines = format!(
            "requests_per_second = 100000\nrequest_limit = \"off\"\n\
             login_limit = \"off\"\n\
             circuit_breaker = \"off\"\nsettle_time = \"{SETTLE_TIME}\"\n\
             confirm_deletions = true\n[backends.{}.cache]\n\
             ttl = \"40ms\"\nstale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"",
            sample.upstream
        );
        Self {
            bench: bench::reaching(&chaos.base_url, sandbox, TIME, &lines, sample).await,
            chaos,
            clock: Clock::default(),
            over: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            numbers: AtomicU64::new(1),
            history: Mutex::default(),
            journal: Mutex::default(),
            known: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Copies the journal before it forgets.
    async fn collect(&self) {
        loop {
            let over = self.settled.load(SeqCst);
            let seq = self.journal.lock().unwrap().last().map_or(0, |e| e["seq"].as_u64().unwrap());
            let more = self.bench.sandbox.journal_after(seq).await;
            let next = more.first().map_or(seq + 1, |entry| entry["seq"].as_u64().unwrap());
            assert_eq!(next, seq + 1, "the journal has forgotten something");
            self.journal.lock().unwrap().extend(more);
            if over {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn round(self: &Arc<Self>, seed: u64) {
        let workers = (1..=WORKERS).map(|number| {
            let worker = Worker::new(Arc::clone(self), Chance::of(seed, number));
            tokio::spawn(worker.work(OPERATIONS))
        });
        let workers = async {
            for worker in join_all(workers).await {
                worker.unwrap();
            }
            self.over.store(true, SeqCst);
        };
        let readers = (1..=READERS).map(|number| {
            let reader = Worker::new(Arc::clone(self), Chance::of(seed, WORKERS + number));
            tokio::spawn(reader.read_on())
        });
        let readers = async {
            for reader in join_all(readers).await {
                reader.unwrap();
            }
        };
        let disturb = async {
            self.disturb(Chance::of(seed, 0)).await;
            tokio::time::sleep(SETTLED).await;
        };
        tokio::join!(workers, readers, disturb);
        // After everything: what is there in the end, and the journal's last words.
        self.read_at_last().await;
        self.settled.store(true, SeqCst);
    }

    /// Everything that is there in the end, as one last read of each profile.
    async fn read_at_last(&self) {
        let start = self.clock.now();
        let sample = self.bench.sample;
        let raw = self.bench.sandbox.raw(sample.upstream).await;
        let end = self.clock.now();
        let there: BTreeMap<u64, u64> =
            raw.iter().filter_map(|profile| version(profile[sample.raw_name].as_str()?)).collect();
        let mut history = self.history.lock().unwrap();
        let profiles: Vec<u64> = history
            .calls
            .iter()
            .filter(|call| call.kind == Kind::Create && call.said == Said::Ok)
            .map(|call| call.profile)
            .collect();
        for profile in profiles {
            let seen = there.get(&profile).copied();
            history.reads.push(Read { profile, start, end, seen, how: "at last".to_owned() });
        }
    }

    fn count(&self, told: String) {
        *self.told.lock().unwrap().entry(told).or_default() += 1;
    }

    /// The lies, after everything else.
    fn judge(&self, figures: &mut Figures) -> Vec<String> {
        let journal = self.journal.lock().unwrap();
        let mut history = self.history.lock().unwrap();
        history.happened(&journal);
        let faults = journal.iter().filter(|entry| !entry["fault"].is_null()).count();
        let told = self.told.lock().unwrap();
        figures.operations += history.calls.len() + told.get("reads").copied().unwrap_or(0);
        figures.faults += faults + self.chaos.broken();
        let unknown = |call: &&crate::kit::history::Call| call.said == Said::Unknown;
        figures.unknown += history.calls.iter().filter(unknown).count();
        for (what, count) in told.iter() {
            *figures.told.entry(what.clone()).or_default() += count;
        }
        figures.resolved += told.get("unknown, then ok").copied().unwrap_or(0);
        let lies = history.lies();
        figures.lies += lies.len();
        let dialect = self.bench.sample.dialect;
        if !lies.is_empty() {
            keep_evidence(dialect, &history, &journal);
        }
        lies.into_iter().map(|(lie, what)| format!("{dialect}: {lie:?}: {what}")).collect()
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }
}

/// Keeps all that was recorded, to find out later how a lie came about: that may not happen again
/// with the same seed.
fn keep_evidence(dialect: &str, history: &History, journal: &[Value]) {
    let path = format!("{}/soak-{dialect}.txt", env!("CARGO_TARGET_TMPDIR"));
    let journal: Vec<String> = journal.iter().map(Value::to_string).collect();
    std::fs::write(&path, format!("{}\n{:#?}\n", journal.join("\n"), history.calls)).unwrap();
    show(&format!("all calls and the sandbox's journal: {path}"));
}

/// One round of all dialects at once.
async fn round(seed: u64) -> Vec<Arc<Field>> {
    let fields = join_all(registered().into_iter().map(Field::new)).await;
    let fields: Vec<Arc<Field>> = fields.into_iter().map(Arc::new).collect();
    let running = fields.iter().map(|field| {
        let field = Arc::clone(field);
        tokio::spawn(async move {
            tokio::join!(field.round(seed), field.collect());
        })
    });
    for ended in join_all(running).await {
        ended.unwrap();
    }
    fields
}

impl Figures {
    fn print(&self) {
        let Self { rounds, operations, faults, unknown, resolved, lies, told } = self;
        for (what, count) in told {
            show(&format!("{count:>8} {what}"));
        }
        show(&format!(
            "{rounds} rounds: {operations} operations, {faults} faults met, {unknown} unknown \
             outcomes, {resolved} of them resolved by repeats, {lies} violations"
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_true() {
    let read = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let mut seed = read("SOAK_SEED").unwrap_or_else(rand::random);
    let until = read("SOAK_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let at_once = if until.is_some() { ROUNDS_AT_ONCE } else { 1 };
    let mut figures = Figures::default();
    loop {
        let seeds: Vec<u64> = (0..at_once).map(|more| seed.wrapping_add(more)).collect();
        show(&format!("seeds {seeds:?}"));
        let rounds = join_all(seeds.iter().map(|seed| round(*seed))).await;
        for (seed, fields) in seeds.iter().zip(rounds) {
            figures.rounds += 1;
            let lies: Vec<_> = fields.iter().flat_map(|field| field.judge(&mut figures)).collect();
            let count = lies.len();
            assert!(lies.is_empty(), "SOAK_SEED={seed} has {count} lies:\n{}", lies.join("\n"));
        }
        if until.is_none_or(|until| until <= Instant::now()) {
            break;
        }
        seed = seed.wrapping_add(at_once);
    }
    figures.print();
    // That there was something to go wrong.
    assert!(figures.operations > 200, "only {} operations", figures.operations);
    assert!(figures.faults > 30, "only {} faults", figures.faults);
    assert!(figures.unknown > 0, "no outcome was ever unknown");
}
