//! The fault matrix: every write of every dialect, met by every fault, each on a sandbox and a
//! gateway of its own. The sandbox's journal and its raw profiles say what happened; the answer
//! must say the same.
//!
//! `--nocapture` shows how many cells ended how.

mod faults;
mod rows;

use std::{collections::BTreeMap, fmt::Write as _};

use futures_util::{StreamExt as _, stream};
use profile_gateway::pb::Profile;
use serde_json::Value;
use tonic::{Code, Status};

use self::{
    faults::{Fault, How, faults},
    rows::{ROWS, Row},
};
use crate::{
    conformance::{
        bench::{self, Bench, id},
        samples::{Sample, registered},
    },
    kit::{
        chaos::{Chaos, chaos},
        sandbox::sandbox,
        show,
        status::failure,
        until,
    },
};

/// How many cells run at once.
const AT_ONCE: usize = 40;
/// Fewer than these are a table that has lost rows or faults.
const LEAST: usize = 900;
/// The words of the sandbox before the credentials of a request.
const ECHOED: &str = "credentials ";
const REQUEST_ID: &str = "123e4567-e89b-12d3-a456-426614174abc";
const LINES: &str = "requests_per_second = 100000\nrequest_limit = \"off\"\n\
                     max_attempts = 1\ncircuit_breaker = \"off\"\nsettle_time = \"1s\"";

/// A place for a write to be tried.
struct Site {
    row: Row,
    bench: Bench,
    chaos: Chaos,
    there: Profile,
    before: Vec<Value>,
    /// The journal's last sequence number before the write.
    seq: u64,
}

/// A write that nothing happens to: what every other one is held against.
struct Plain {
    after: Vec<Value>,
    effects: Vec<Value>,
    /// How many requests come before the one that faults hit, and how many of them write.
    requests_before: usize,
    writes_before: usize,
}

/// What the upstream shows of a write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Truth {
    Nothing,
    Whole,
    Part,
}

fn sample(upstream: &str) -> Sample {
    registered().into_iter().find(|sample| sample.upstream == upstream).unwrap()
}

impl Site {
    async fn new(row: Row, time: &str, fault: Option<&Fault>) -> Self {
        let (sample, sandbox) = (sample(row.upstream), sandbox().await);
        let chaos = chaos(&sandbox.base_url()).await;
        if fault.is_some_and(|fault| matches!(fault.how, How::Refused)) {
            chaos.keep_no_connections();
        }
        let bench = bench::reaching(&chaos.base_url, sandbox, time, LINES, sample).await;
        let there = row.prepare(&bench).await;
        let before = bench.sandbox.raw(row.upstream).await;
        let seq = bench.sandbox.journal().await.last().map_or(0, |e| e["seq"].as_u64().unwrap());
        Self { row, bench, chaos, there, before, seq }
    }

    async fn journal(&self) -> Vec<Value> {
        self.bench.sandbox.journal_after(self.seq).await
    }

    async fn effects(&self) -> Vec<Value> {
        let journal = self.journal().await;
        journal.iter().map(|e| e["effect"].clone()).filter(|e| !e.is_null()).collect()
    }

    async fn write(&self) -> Result<(), Status> {
        self.row.write(&self.bench, &self.there, REQUEST_ID).await
    }

    async fn arm(&self, fault: &Fault, plain: &Plain) {
        match &fault.how {
            How::Sandbox(order, times) => {
                let order = serde_json::from_str(order).unwrap();
                self.bench.arm_later(self.row.operation, &order, *times, 0).await;
            }
            How::Chaos(what) => self.chaos.arm(*what, true, plain.writes_before),
            How::Refused => self.chaos.refuse_after(plain.requests_before).await,
        }
    }

    async fn truth(&self, plain: &Plain, respelled: bool) -> Truth {
        let now = self.bench.sandbox.raw(self.row.upstream).await;
        let spelled = |profiles: &[Value]| -> Vec<Value> {
            let mut profiles = profiles.to_vec();
            for profile in profiles.iter_mut().filter(|_| respelled) {
                let name = profile["name"].as_str().unwrap_or_default();
                profile["name"] = name.replace("&#39;", "'").to_lowercase().into();
            }
            profiles
        };
        match spelled(&now) {
            now if now == spelled(&self.before) => Truth::Nothing,
            now if now == spelled(&plain.after) => Truth::Whole,
            _ => Truth::Part,
        }
    }
}

async fn plain(row: Row) -> Plain {
    let site = Site::new(row, "30s", None).await;
    site.write().await.unwrap();
    let after = site.bench.sandbox.raw(row.upstream).await;
    let (effects, journal) = (site.effects().await, site.journal().await);
    let hit = journal.iter().position(|entry| entry["operation"] == row.operation).unwrap();
    let writes = site.bench.sample.writes;
    let writes_of = |e: &&Value| writes.iter().any(|operation| e["operation"] == *operation);
    let writes_before = journal[..hit].iter().filter(writes_of).count();
    let done = Plain { after: after.clone(), ..Plain::none() };
    assert_eq!(site.truth(&done, false).await, Truth::Whole);
    assert_ne!(after, site.before, "{row:?}");
    Plain { after, effects, requests_before: hit, writes_before }
}

impl Plain {
    fn none() -> Self {
        Self { after: Vec::new(), effects: Vec::new(), requests_before: 0, writes_before: 0 }
    }
}

/// How a cell ended, or what is wrong with it.
async fn cell(row: Row, fault: &Fault, plain: &Plain) -> Result<&'static str, String> {
    let site = Site::new(row, fault.time, Some(fault)).await;
    site.arm(fault, plain).await;
    let result = site.write().await;
    site.bench.sandbox.calm().await;
    site.chaos.calm();
    if fault.comes_late || fault.outlasts {
        until("the late effect", async || !site.effects().await.is_empty()).await;
    }
    let (truth, effects) = (site.truth(plain, fault.respells).await, site.effects().await);
    let what = format!("{} {} {}: {}", row.upstream, row.method, row.operation, fault.name);
    let tell = |why: &str| format!("{what}: {why}; {result:?}, {truth:?}, {effects:?}");
    let Err(status) = &result else {
        return match truth {
            Truth::Whole if effects == plain.effects => Ok("ok"),
            Truth::Whole => Err(tell("other effects than without the fault")),
            _ => Err(tell("OK without the effect")),
        };
    };
    let failed = failure(Err::<(), _>(status.clone()));
    let mut texts = failed.metadata.values().chain([&failed.message]);
    if fault.name.starts_with("echo") && texts.any(|text| is_shown(text)) {
        return Err(tell("shows the credentials that the upstream repeats"));
    }
    match failed.reason.as_str() {
        _ if fault.outlasts && (failed.code == Code::Unavailable || failed.retry.is_some()) => {
            Err(tell("invites to write again"))
        }
        _ if fault.outlasts => repeat(&site, plain, tell).await,
        "WRITE_OUTCOME_UNKNOWN" if !fault.may_be_unknown => Err(tell("could have been known")),
        "WRITE_OUTCOME_UNKNOWN" if plain.effects.len() == 1 && effects.len() > 1 => {
            Err(tell("more than one effect"))
        }
        "WRITE_OUTCOME_UNKNOWN" if truth == Truth::Whole => repeat(&site, plain, tell).await,
        "WRITE_OUTCOME_UNKNOWN" => Ok("unknown"),
        // What was acknowledged is not there. A creation of several steps may be half done.
        "WRITE_NOT_APPLIED" if truth == Truth::Nothing => Ok("not applied"),
        "PARTIALLY_APPLIED" | "WRITE_NOT_APPLIED" if truth == Truth::Part => {
            let left = match row.method {
                "CreateProfile" => created(&effects).unwrap_or_default(),
                _ => id(&site.there).to_owned(),
            };
            let is_named = failed.message.contains(&left) && !left.is_empty();
            is_named.then_some("partial").ok_or_else(|| tell("does not name what is left"))
        }
        _ if truth != Truth::Nothing => Err(tell("a definite failure with an effect")),
        _ if plain.effects.len() == 1 && !effects.is_empty() => Err(tell("has had an effect")),
        _ => Ok("definite"),
    }
}

/// Whether a text shows credentials that the sandbox repeats.
fn is_shown(text: &str) -> bool {
    text.split(ECHOED).skip(1).any(|credentials| !credentials.starts_with("[redacted]"))
}

/// The call again, under the same id, now that nothing is in the way: it must find the effect.
async fn repeat(
    site: &Site,
    plain: &Plain,
    tell: impl Fn(&str) -> String,
) -> Result<&'static str, String> {
    match site.write().await {
        Err(status) => Err(tell(&format!("the repeat does not find it: {status:?}"))),
        Ok(()) if site.effects().await != plain.effects => Err(tell("the repeat writes again")),
        Ok(()) => Ok("found by the repeat"),
    }
}

fn created(effects: &[Value]) -> Option<String> {
    effects.iter().find_map(|effect| Some(effect["created"].as_str()?.to_owned()))
}

/// A line for each dialect and method, a column for each end.
fn table(ended: &[(Row, &'static str)]) -> String {
    let ends = ["ok", "definite", "unknown", "found by the repeat", "partial", "not applied"];
    let mut lines: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    for (row, end) in ended {
        for line in [format!("{} {}", row.upstream, row.method), "total".to_owned()] {
            *lines.entry(line).or_default().entry(end).or_default() += 1;
        }
    }
    let mut text = format!("| {:30} | {} |\n", "write", ends.join(" | "));
    for (line, counts) in &lines {
        write!(text, "| {line:30} |").unwrap();
        for end in ends {
            write!(text, " {:>1$} |", counts.get(end).unwrap_or(&0), end.len()).unwrap();
        }
        text.push('\n');
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_tells_the_truth_under_every_fault() {
    let plains: Vec<(Row, Plain)> =
        stream::iter(ROWS).map(async |row| (*row, plain(*row).await)).buffered(8).collect().await;
    let faults = faults();
    let cells = plains.iter().flat_map(|(row, plain)| {
        faults.iter().filter(|fault| fault.is_of(row)).map(move |fault| (*row, fault, plain))
    });
    let (mut ended, mut wrong) = (Vec::new(), Vec::new());
    let mut running = stream::iter(cells)
        .map(async |(row, fault, plain)| (row, cell(row, fault, plain).await))
        .buffer_unordered(AT_ONCE);
    while let Some((row, end)) = running.next().await {
        match end {
            Ok(end) => ended.push((row, end)),
            Err(why) => wrong.push(why),
        }
    }
    show(&format!("{}{} cells", table(&ended), ended.len() + wrong.len()));
    assert!(wrong.is_empty(), "{} cells lie:\n{}", wrong.len(), wrong.join("\n"));
    assert!(ended.len() >= LEAST, "only {} cells", ended.len());
    for end in ["ok", "definite", "unknown", "found by the repeat", "not applied"] {
        assert!(ended.iter().any(|(_, found)| *found == end), "no cell ended {end}");
    }
    // The table has each write that a dialect says it supports.
    for sample in registered() {
        assert_has_all_writes(sample).await;
    }
}

async fn assert_has_all_writes(sample: Sample) {
    let methods = bench::bench(sample).await.capabilities().await.methods;
    let reads = ["GetProfile", "ListProfiles", "ListServices", "BatchGetProfiles", "WatchProfiles"];
    let pure = ["PreviewWrite", "TranslateProfile", "DiffProfiles"];
    for method in methods.iter().filter(|method| method.supported) {
        let method = method.method.as_str();
        let listed = ROWS.iter().any(|row| row.upstream == sample.upstream && row.method == method);
        let is_write = !reads.contains(&method) && !pure.contains(&method);
        assert!(listed || !is_write, "{} {method} has no row", sample.dialect);
    }
}
