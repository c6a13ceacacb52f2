//! What a round is made of: an upstream, a store, replicas, and what is recorded of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Plan, REPLICAS,
    backends::{self, LIMITED, PER_SECOND},
    figures::Figures,
    servers::Servers,
    worker::Later,
};
use crate::{
    kit::{
        chance::Chance,
        history::{Clock, Moment},
        replicas::{self, Replica},
        sandbox::{Sandbox, sandbox},
        show,
        tap::{Tap, tap},
    },
    replicas::history::{Found, History, Rate, Trouble, effects},
};

/// What each call has, in milliseconds: long enough for a lease to run out.
const TIME: u64 = 4_000;
/// A call that took so long may be answered before all replicas know what it wrote.
const CUT: u64 = TIME - 300;
/// How long a stream has for what has happened, on a busy machine.
const TOLD: Duration = Duration::from_secs(60);
/// How long it has if it cannot be opened, because replicas do not reach the store in time.
const OPENED: Duration = Duration::from_secs(240);
/// What a login with a wrong password is answered with.
const WRONG_PASSWORD: &str = "10126";

pub(super) struct Field {
    pub sandbox: Sandbox,
    pub servers: Servers,
    pub replicas: Vec<Replica>,
    tap: Tap,
    pub clock: Arc<Clock>,
    numbers: AtomicU64,
    left: AtomicU64,
    /// Calls go on until all the troubles of a short round have come.
    awaits_trouble: AtomicBool,
    over: OnceLock<Instant>,
    settled: AtomicBool,
    pub history: Mutex<History>,
    journal: Mutex<Vec<Value>>,
    pub known: Mutex<Vec<Known>>,
    pub later: Mutex<Vec<Later>>,
    told: Mutex<BTreeMap<String, usize>>,
}

/// A profile that was created.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub number: u64,
    pub name: String,
    pub backend: &'static str,
    pub is_deleted: bool,
}

impl Known {
    pub(super) fn id(&self) -> String {
        self.name.rsplit('/').next().unwrap().to_owned()
    }
}

impl Field {
    pub(super) async fn start(plan: &Plan) -> Self {
        let sandbox = sandbox().await;
        let servers = match plan.is_in_pairs {
            true => Servers::start_in_pairs().await,
            false => Servers::start().await,
        };
        sandbox.set("endpoint", &json!({"rate_limit": false})).await;
        let clock = Arc::default();
        // One for all: replicas that reach an upstream at different places share nothing of it.
        let tap = tap(&sandbox.base_url(), &clock).await;
        let mut all = replicas::replicas(REPLICAS)
            .top("[log]\nlevel = \"error,start=info\"")
            .server(&format!("default_timeout = \"{TIME}ms\""))
            .sections(&backends::sections(&sandbox, &tap.base_url));
        if plan.is_apart {
            all = all.apart();
        }
        all = all.store(&plan.store);
        let primary = servers.primary().await;
        let replicas = all.over(&primary).await;
        Self {
            sandbox,
            servers,
            replicas,
            tap,
            clock,
            numbers: AtomicU64::new(1),
            left: AtomicU64::new(plan.operations),
            awaits_trouble: AtomicBool::new(plan.troubles < usize::MAX),
            over: OnceLock::new(),
            settled: AtomicBool::new(false),
            history: Mutex::new(History { cut: CUT, ..History::default() }),
            journal: Mutex::default(),
            known: Mutex::default(),
            later: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Copies what matters of the journal before it forgets.
    pub(super) async fn collect(self: Arc<Self>) {
        let mut seq = 0;
        loop {
            let is_last = self.settled.load(SeqCst);
            let more = self.sandbox.journal_after(seq).await;
            let next = more.first().map_or(seq + 1, |entry| entry["seq"].as_u64().unwrap());
            assert_eq!(next, seq + 1, "the journal has forgotten something");
            seq = more.last().map_or(seq, |entry| entry["seq"].as_u64().unwrap());
            let refused = more.iter().filter(|entry| entry["result_code"] == WRONG_PASSWORD);
            let refused = refused.filter_map(|entry| entry["at_ms"].as_u64());
            self.history.lock().unwrap().refused.extend(refused);
            let matters = more.into_iter().filter(|entry| !entry["effect"].is_null());
            self.journal.lock().unwrap().extend(matters);
            if is_last {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether there is one more operation to make.
    pub(super) fn has_more(&self) -> bool {
        let one = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        one.is_ok() || self.awaits_trouble.load(SeqCst)
    }

    /// No more trouble comes.
    pub(super) fn had_all_troubles(&self) {
        self.awaits_trouble.store(false, SeqCst);
    }

    /// A number that no other has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, SeqCst)
    }

    /// One of the replicas that run, or any.
    pub(super) fn any(&self, chance: &mut Chance) -> usize {
        let runs = |at: &usize| self.replicas[*at].is_running();
        let running: Vec<usize> = (0..REPLICAS).filter(runs).collect();
        match running.is_empty() {
            true => chance.pick(&[0, 1, 2]),
            false => chance.pick(&running),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn count(&self, what: &str) {
        *self.told.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn note(&self, trouble: Trouble) {
        self.history.lock().unwrap().troubles.0.push(trouble);
    }

    /// All calls are over.
    pub(super) fn end(&self) {
        self.over.set(Instant::now()).unwrap();
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.get().is_some()
    }

    /// All calls are over for so long that every stream has told of them, if it ever does.
    pub(super) fn is_told(&self) -> bool {
        self.over.get().is_some_and(|over| over.elapsed() > TOLD)
    }

    /// The same, and that every stream could be opened again.
    pub(super) fn is_over_for_long(&self) -> bool {
        self.over.get().is_some_and(|over| over.elapsed() > OPENED)
    }

    /// Nothing can happen any more.
    pub(super) fn settle(&self) {
        self.settled.store(true, SeqCst);
    }

    /// What was broken, after everything else.
    pub(super) fn judge(&self, figures: &mut Figures) -> Vec<Found> {
        let journal = self.journal.lock().unwrap();
        let mut history = self.history.lock().unwrap();
        history.effects = effects(&journal);
        history.passed = self.tap.passed();
        let limited = history.passed.iter().filter(|passed| passed.line.contains(LIMITED));
        let arrivals = limited.map(|passed| passed.from.ms).collect();
        history.rate = Rate { per_second: PER_SECOND, arrivals };
        for (what, count) in self.told.lock().unwrap().iter() {
            *figures.told.entry(what.clone()).or_default() += count;
        }
        for (what, count) in [
            ("upstream requests", history.passed.len()),
            ("requests within a rate", history.rate.arrivals.len()),
            ("logins refused", history.refused.len()),
            ("memory while the store was silent", history.remembered_alone()),
            ("effects", history.effects.len()),
        ] {
            *figures.told.entry(what.to_owned()).or_default() += count;
        }
        let found = history.lies();
        if !found.is_empty() {
            keep_evidence(&history, &journal, &found);
        }
        found
    }
}

/// Keeps all that was recorded, to find out later how it came about: that may not happen again with
/// the same seed.
fn keep_evidence(history: &History, journal: &[Value], found: &[Found]) {
    let path = format!("{}/soak-replicas.txt", env!("CARGO_TARGET_TMPDIR"));
    let journal: Vec<String> = journal.iter().map(Value::to_string).collect();
    let lines: Vec<String> = history.calls.iter().map(|call| format!("{call:?}")).collect();
    let text = format!(
        "{found:#?}\n{:#?}\n{}\n{}\n",
        history.troubles,
        journal.join("\n"),
        lines.join("\n")
    );
    std::fs::write(&path, text).unwrap();
    show(&format!("all calls, troubles and effects: {path}"));
}
