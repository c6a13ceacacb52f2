//! The faults of the soak, from the sandbox and on the way to it. None of them lies: an upstream
//! that refuses a request and carries it out all the same cannot be found out.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use profile_gateway_sandbox::FAULT_KINDS;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Chance, Field};
use crate::{conformance::samples::registered, kit::chaos::Break};

/// What never shows keeps a caller until the deadline, so it is rare.
const COMMITS: [&str; 4] = ["none", "before", "before", "before"];

impl Field {
    /// Breaks something every few milliseconds as long as a worker runs.
    pub(super) async fn disturb(&self, mut chance: Chance) {
        let operations = self.bench.sample.operations;
        let (mut of_writes, mut of_reads) = (0, 0);
        while !self.over.load(SeqCst) {
            match chance.below(8) {
                0 => self.break_connection(&mut chance).await,
                1..5 => {
                    let operation = chance.pick(self.bench.sample.writes);
                    let fault = self.next(&mut chance, of_writes, Aim::Write);
                    self.bench.arm(operation, &fault, 1).await;
                    of_writes += 1;
                }
                _ => {
                    let operation = chance.pick(&[operations.get, operations.list]);
                    let fault = self.next(&mut chance, of_reads, Aim::Read);
                    self.bench.arm(operation, &fault, 1).await;
                    of_reads += 1;
                }
            }
            if chance.one_in(12) {
                // Faults that no request met pile up.
                self.bench.sandbox.calm().await;
            }
            sleep(Duration::from_millis(10 + chance.below(40))).await;
        }
        self.bench.sandbox.calm().await;
        self.chaos.calm();
    }

    async fn break_connection(&self, chance: &mut Chance) {
        let what = match chance.below(8) {
            0 => Break::InRequest,
            1 => Break::BeforeAnswer,
            2 => Break::AfterHead,
            3 | 4 => Break::Hold(Duration::from_millis(50 + chance.below(1250))),
            5 | 6 => {
                let late = Break::Late(Duration::from_millis(50 + chance.below(1250)));
                return self.chaos.arm(late, true, 0);
            }
            _ => {
                self.chaos.refuse_after(0).await;
                sleep(Duration::from_millis(chance.below(120))).await;
                return self.chaos.calm();
            }
        };
        self.chaos.arm(what, !chance.one_in(4), 0);
    }

    /// The next fault in turn, so that each kind is played, or one that is worth more turns.
    fn next(&self, chance: &mut Chance, turn: usize, aim: Aim) -> Value {
        let upstream = self.bench.sample.upstream;
        let often = chance.pick(&["status", "result", "delay", "reset"]);
        let kind = match chance.below(3) {
            0 => often,
            _ => FAULT_KINDS[turn % FAULT_KINDS.len()],
        };
        let fault =
            fault(upstream, kind, aim, chance).or_else(|| fault(upstream, often, aim, chance));
        fault.unwrap_or_else(|| json!({"kind": "reset"}))
    }
}

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    Read,
    Write,
}

/// A fault of this kind, unless the upstream does not have it or it would be a lie there.
pub(super) fn fault(upstream: &str, kind: &str, aim: Aim, chance: &mut Chance) -> Option<Value> {
    let is_sft = upstream == "sft";
    let (reads, writes) = (aim == Aim::Read, aim != Aim::Read);
    let commit = chance.pick(&COMMITS);
    let fault = match kind {
        "delay" if reads => {
            let commit = chance.pick(&["before", "after"]);
            json!({"kind": kind, "ms": 5 + chance.below(80), "commit": commit})
        }
        "delay" if chance.one_in(2) => {
            json!({"kind": kind, "ms": 5 + chance.below(300), "commit": "before"})
        }
        "delay" => json!({"kind": kind, "ms": 5 + chance.below(1300), "commit": "after"}),
        // It keeps a reader until the deadline.
        "hang" if reads => return None,
        "drop" | "hang" | "reset" | "html" | "bad_head" => json!({"kind": kind, "commit": commit}),
        "truncate" | "numbers" | "nulls" | "unknown_members" => json!({"kind": kind}),
        "trickle" => json!({"kind": kind, "chunk": 200, "pause_ms": 1 + chance.below(5)}),
        // Without a body, 200 is the documented success of some writes.
        "empty" if reads => json!({"kind": kind, "status": 503}),
        "empty" => json!({"kind": kind, "status": 200, "commit": "before"}),
        "status" if reads => json!({"kind": kind, "status": 503}),
        "status" => of_a_status(upstream, chance, commit),
        "ignore" => json!({"kind": kind}),
        "lag" => json!({"kind": kind, "ms": 5 + chance.below(600)}),
        "body" if reads => json!({"kind": kind, "status": 503, "body": "{}"}),
        "body" if is_sft => json!({"kind": kind, "body": "{\"Response\":{}}", "commit": commit}),
        "body" => json!({"kind": kind, "status": 500, "body": "{}", "commit": commit}),
        "result" if is_sft => of_a_result(chance, commit, aim),
        "result" | "echo" if !is_sft => json!({"kind": kind, "code": "500", "commit": commit}),
        "echo" => json!({"kind": kind, "code": "10239", "commit": commit}),
        "outer" | "total_count" if !is_sft => return None,
        "outer" => json!({"kind": kind, "code": "7"}),
        "total_count" => json!({"kind": kind, "value": "none"}),
        // Members that say nothing of a profile.
        "missing" => json!({"kind": kind, "members": ["resultDescription", "message", "href"]}),
        "huge" => json!({"kind": kind, "bytes": 100_000, "declared": chance.one_in(2)}),
        "deep" => json!({"kind": kind, "depth": 1 + chance.below(3000)}),
        "coding" => json!({"kind": kind, "coding": chance.pick(&["x-gzip", "Deflate", "br"])}),
        // In the answer to a read, it changes what is there.
        "invalid_utf8" if reads => return None,
        "invalid_utf8" => json!({"kind": kind}),
        "respell" if writes => {
            let how = chance.pick(&["collapse", "nfc", "escape", "cut", "fold"]);
            json!({"kind": kind, "how": how, "lost": chance.one_in(2)})
        }
        "respell" => return None,
        other => panic!("how does the soak play the fault {other}?"),
    };
    Some(fault)
}

fn of_a_status(upstream: &str, chance: &mut Chance, commit: &str) -> Value {
    let status = |status: u64| json!({"kind": "status", "status": status, "commit": commit});
    match (upstream, chance.below(8)) {
        (_, 0) => json!({"kind": "status", "status": 429, "retry_after_seconds": 0}),
        (_, 1) => status(500),
        (_, 2) => status(502),
        (_, 3) => status(300 + chance.below(100)),
        (_, 4) => status(504 + chance.below(200)),
        ("pcc", 5) => json!({"kind": "status", "status": 503}),
        ("pcc", _) => status(207),
        ("endpoint", 5) => json!({"kind": "status", "status": 401}),
        ("endpoint", 6) => json!({"kind": "status", "status": 422,
            "body": "{\"error_code\": 1406, \"message\": \"Not allowed\"}"}),
        _ => status(504),
    }
}

/// A result code of SFT.
fn of_a_result(chance: &mut Chance, commit: &str, aim: Aim) -> Value {
    match chance.below(4) {
        0 => json!({"kind": "result", "code": "401"}),
        _ if aim == Aim::Read => json!({"kind": "result", "code": "10239"}),
        1 => json!({"kind": "result", "code": "10239", "commit": commit}),
        2 => json!({"kind": "result", "code": "10240", "commit": commit}),
        _ => json!({"kind": "result", "code": "10240", "commit": "late",
            "late_ms": chance.below(1300)}),
    }
}

#[test]
fn each_kind_of_fault_is_played() {
    let mut chance = Chance::of(1, 1);
    for kind in FAULT_KINDS {
        let mut played = registered().into_iter().flat_map(|sample| {
            [Aim::Write, Aim::Read].map(|aim| fault(sample.upstream, kind, aim, &mut chance))
        });
        let fault = played.find_map(|fault| fault).unwrap_or_default();
        assert_eq!(fault["kind"], *kind);
    }
}
