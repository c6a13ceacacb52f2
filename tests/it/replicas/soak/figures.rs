//! What a soak has seen, in numbers.

use std::collections::BTreeMap;

use crate::{
    kit::show,
    replicas::history::{Found, Lie},
};

/// Operations that have to be made before shares mean something.
const MANY: u64 = 5_000;
const WRITES: [&str; 6] = ["Create", "Rename", "RenameSeen", "Attach", "Detach", "Delete"];

/// What a soak has seen.
#[derive(Default)]
pub(super) struct Figures {
    pub rounds: usize,
    pub operations: u64,
    pub told: BTreeMap<String, usize>,
    /// What is not promised.
    pub excused: Vec<Lie>,
    pub found: Vec<Found>,
}

/// How calls were answered.
#[derive(Default)]
struct Answers {
    ok: usize,
    unavailable: usize,
    other: usize,
}

impl Answers {
    fn all(&self) -> usize {
        self.ok + self.unavailable + self.other
    }

    fn text(&self, what: &str) -> String {
        let share = |count: usize| 100 * count / self.all().max(1);
        let Self { ok, unavailable, other } = self;
        format!(
            "{} {what}: {ok} OK ({} %), {unavailable} unavailable ({} %), {other} other",
            self.all(),
            share(*ok),
            share(*unavailable)
        )
    }
}

/// How often there is which.
fn kinds(lies: impl Iterator<Item = Lie>) -> BTreeMap<Lie, usize> {
    let mut kinds = BTreeMap::new();
    for lie in lies {
        *kinds.entry(lie).or_default() += 1;
    }
    kinds
}

impl Figures {
    /// Calls that write, each attempt by itself.
    fn writes(&self) -> Answers {
        let mut answers = Answers::default();
        for (told, count) in &self.told {
            let Some((what, said)) = told.split_once(' ') else { continue };
            if !WRITES.contains(&what) {
                continue;
            }
            match said {
                "Ok" => answers.ok += count,
                _ if said.contains("UNAVAILABLE") || said.contains("UNREACHABLE") => {
                    answers.unavailable += count;
                }
                _ => answers.other += count,
            }
        }
        answers
    }

    fn reads(&self) -> Answers {
        let mut answers = Answers::default();
        for (told, count) in &self.told {
            match told.as_str() {
                "get" | "list" => answers.ok += count,
                "list failed" => answers.unavailable += count,
                _ if told.starts_with("get ") => answers.unavailable += count,
                _ => {}
            }
        }
        answers
    }

    fn print(&self, seed: u64) {
        for (what, count) in &self.told {
            show(&format!("{count:>8} {what}"));
        }
        show(&self.reads().text("reads"));
        show(&self.writes().text("writes"));
        let Self { rounds, operations, excused, found, .. } = self;
        show(&format!(
            "SOAK_SEED={seed}: {rounds} rounds, {operations} operations, {} excused {:?}, {} \
             violations {:?}",
            excused.len(),
            kinds(excused.iter().copied()),
            found.len(),
            kinds(found.iter().map(|found| found.lie))
        ));
    }

    /// That nothing was broken, and that there was something to break.
    #[track_caller]
    pub(super) fn assert_kept(&self, seed: u64) {
        self.assert_none(seed);
        assert!(self.told("trouble") > 1, "{:?}", self.told);
        assert!(self.told("Rename Ok") > 10, "{:?}", self.told);
        let writes = self.writes();
        let mean = self.operations < MANY || writes.ok * 3 >= writes.all();
        assert!(mean, "too few writes succeed to tell anything: {}", writes.text("writes"));
    }

    /// That nothing was broken.
    #[track_caller]
    pub(super) fn assert_none(&self, seed: u64) {
        self.print(seed);
        let first: Vec<String> =
            self.found.iter().take(10).map(|f| format!("{:?}: {}", f.lie, f.about)).collect();
        let count = self.found.len();
        assert!(first.is_empty(), "SOAK_SEED={seed}: {count} violations\n{}", first.join("\n"));
    }

    pub(super) fn told(&self, what: &str) -> usize {
        self.told.iter().filter(|(told, _)| told.starts_with(what)).map(|(_, count)| count).sum()
    }
}
