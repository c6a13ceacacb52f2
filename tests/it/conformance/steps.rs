//! Writes of several steps: whichever step fails in whichever way, nothing is left behind, or the
//! error names it.

use futures_util::future::join_all;
use profile_gateway::pb::Profile;
use serde_json::{Value, json};
use tonic::Status;

use super::{
    bench::{self, Bench, asked_of, bench, id, only},
    samples::{Sample, registered},
};
use crate::kit::status::{Failure, failure};

/// What goes wrong at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Drop,
    Refused,
    Broken,
    Hang,
    Reset,
}

const FAULTS: [Fault; 5] = [Fault::Drop, Fault::Refused, Fault::Broken, Fault::Hang, Fault::Reset];

/// Whether the step takes effect even though its answer is lost or replaced.
const COMMITS: [&str; 2] = ["none", "before"];

impl Fault {
    fn spec(self, commit: &str) -> Value {
        match self {
            Self::Drop => json!({"kind": "drop", "commit": commit}),
            Self::Refused => json!({"kind": "status", "status": 422, "commit": commit,
                "body": "{\"error_code\": 1406, \"message\": \"Not allowed\"}"}),
            Self::Broken => {
                json!({"kind": "status", "status": 500, "commit": commit, "body": "{}"})
            }
            Self::Hang => json!({"kind": "hang", "commit": commit}),
            Self::Reset => json!({"kind": "reset", "commit": commit}),
        }
    }
}

/// A step of a write: its operation, and how many of that operation come before it.
type Step = (String, usize);

fn steps_of(writes: &[Value]) -> Vec<Step> {
    let operations: Vec<&str> = writes.iter().map(|w| w["operation"].as_str().unwrap()).collect();
    let before = |n: usize| operations[..n].iter().filter(|op| **op == operations[n]).count();
    (0..operations.len()).map(|n| (operations[n].to_owned(), before(n))).collect()
}

/// A write that met a fault at one of its steps.
struct Tried {
    what: String,
    bench: Bench,
    /// The profile before it.
    there: Profile,
    /// What was asked for.
    asked: Profile,
    result: Result<Profile, Status>,
    fault: Fault,
    commit: &'static str,
    step: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Write {
    Create,
    Update,
}

async fn write(bench: &Bench, kind: Write, there: &Profile) -> (Profile, Result<Profile, Status>) {
    match kind {
        Write::Create => {
            let asked = bench.full();
            (asked.clone(), bench.create(asked).await)
        }
        Write::Update => {
            let asked = only(&there.name, "services", &bench.other());
            (asked.clone(), bench.update(asked, &["services"]).await)
        }
    }
}

/// The steps that a write takes when nothing goes wrong.
async fn steps(sample: Sample, kind: Write) -> Vec<Step> {
    let bench = bench(sample).await;
    let there = bench.create(bench.full()).await.unwrap();
    let before = bench.writes().await.len();
    write(&bench, kind, &there).await.1.unwrap();
    steps_of(&bench.writes().await[before..])
}

/// Each fault at each step, all at once and each on a sandbox of its own.
async fn try_all(sample: Sample, kind: Write, steps: &[Step]) -> Vec<Tried> {
    let mut prepared = Vec::new();
    for (step, (operation, skip)) in steps.iter().enumerate() {
        for fault in FAULTS {
            for commit in COMMITS {
                let bench = bench::settling("8s", sample).await;
                let there = bench.create(bench.full()).await.unwrap();
                bench.arm_later(operation, &fault.spec(commit), 1, *skip).await;
                let what =
                    format!("{} step {step}, {operation}: {fault:?} {commit}", sample.dialect);
                prepared.push((what, bench, there, fault, commit, step));
            }
        }
    }
    join_all(prepared.into_iter().map(async |(what, bench, there, fault, commit, step)| {
        let (asked, result) = write(&bench, kind, &there).await;
        bench.sandbox.calm().await;
        Tried { what, bench, there, asked, result, fault, commit, step }
    }))
    .await
}

impl Tried {
    /// An upstream that refuses a request and carries it out all the same cannot be found out.
    fn is_a_lie(&self) -> bool {
        self.fault == Fault::Refused && self.commit == "before"
    }

    /// What the definite failures are; the others depend on what is found.
    #[track_caller]
    fn check_reason(&self, failed: &Failure) {
        let Self { what, .. } = self;
        let expected = match (self.fault, self.commit) {
            (Fault::Refused, "none") => "PROCESSING_FAILED",
            (Fault::Broken, "none") => "UPSTREAM_INTERNAL",
            _ => return,
        };
        assert_eq!(failed.reason, expected, "{what}: {failed:#?}");
    }
}

/// Whether an error says what is left, so that an operator can fix it.
fn names(failed: &Failure, id: &str) -> bool {
    failed.reason == "PARTIALLY_APPLIED" && failed.message.contains(&format!("/profiles/{id}: "))
}

#[tokio::test]
async fn a_create_that_fails_at_any_step_leaves_nothing_behind() {
    for sample in registered() {
        let steps = steps(sample, Write::Create).await;
        if sample.dialect == "endpoint" {
            assert_eq!(steps.len(), 5, "a profile, two services, two limits: {steps:?}");
        }
        if steps.len() == 1 {
            // Nothing to undo: `errors` has it.
            continue;
        }
        for tried in try_all(sample, Write::Create, &steps).await {
            if !(tried.is_a_lie() && tried.step == 0) {
                check_create(tried).await;
            }
        }
    }
}

async fn check_create(tried: Tried) {
    let Tried { what, bench, asked, there, .. } = &tried;
    let left = bench.raw_named(&asked.display_name).await;
    match &tried.result {
        Ok(created) => {
            assert_eq!(asked_of(created), *asked, "{what}");
            assert_eq!(bench.get(&created.name).await.unwrap(), *created, "{what}");
            assert_eq!(left.len(), 1, "{what}");
        }
        Err(status) => {
            let failed = failure(Err::<(), _>(status.clone()));
            tried.check_reason(&failed);
            let named = |raw: &Value| names(&failed, raw["id"].to_string().trim_matches('"'));
            assert!(left.iter().all(named), "{what}: {failed:#?} leaves {left:#?}");
        }
    }
    assert_eq!(bench.get(&there.name).await.unwrap(), *there, "{what}: another one");
}

#[tokio::test]
async fn an_update_that_fails_at_any_step_is_taken_back() {
    for sample in registered() {
        // Those without services have updates of one request.
        if super::bench::has(&super::samples::profile((sample.full)()), "services") {
            let steps = steps(sample, Write::Update).await;
            if steps.len() == 1 {
                continue;
            }
            for tried in try_all(sample, Write::Update, &steps).await {
                if !tried.is_a_lie() {
                    check_update(tried).await;
                }
            }
        }
    }
}

async fn check_update(tried: Tried) {
    let Tried { what, bench, asked, there, .. } = &tried;
    let found = bench.get(&there.name).await.unwrap();
    match &tried.result {
        Ok(changed) => {
            assert_eq!(found, *changed, "{what}");
            assert_eq!(found.services, asked.services, "{what}");
        }
        Err(status) => {
            let failed = failure(Err::<(), _>(status.clone()));
            tried.check_reason(&failed);
            let told = names(&failed, id(there)) || failed.reason == "WRITE_OUTCOME_UNKNOWN";
            assert!(found == *there || told, "{what}: {failed:#?} leaves {found:#?}");
        }
    }
}
