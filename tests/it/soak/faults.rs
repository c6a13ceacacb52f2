//! The faults of the soak, from the sandbox and on the way to it. None of them lies: an upstream
//! that refuses a request and carries it out all the same cannot be found out.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Chance, Field};
use crate::kit::chaos::Break;

/// What never shows keeps a caller until the deadline, so it is rare.
const COMMITS: [&str; 4] = ["none", "before", "before", "before"];

impl Field {
    /// Breaks something every few milliseconds as long as a worker runs.
    pub(super) async fn disturb(&self, mut chance: Chance) {
        while !self.over.load(SeqCst) {
            match chance.below(8) {
                0 => self.break_connection(&mut chance).await,
                1..5 => {
                    let operation = chance.pick(self.bench.sample.writes);
                    let fault = self.of_a_write(&mut chance);
                    self.bench.arm(operation, &fault, 1).await;
                }
                _ => {
                    let operations = self.bench.sample.operations;
                    let operation = chance.pick(&[operations.get, operations.list]);
                    let fault = of_a_read(&mut chance);
                    self.bench.arm(operation, &fault, 1).await;
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

    fn of_a_write(&self, chance: &mut Chance) -> Value {
        let commit = chance.pick(&COMMITS);
        match chance.below(16) {
            0 => json!({"kind": "reset", "commit": commit}),
            1 => json!({"kind": "drop", "commit": commit}),
            2 => json!({"kind": "html", "commit": commit}),
            3 => json!({"kind": "empty", "status": 200, "commit": "before"}),
            4 => json!({"kind": "truncate"}),
            5 => json!({"kind": "status", "status": 500, "commit": commit}),
            6 => json!({"kind": "status", "status": 502, "commit": commit}),
            7 => json!({"kind": "hang", "commit": commit}),
            8 => json!({"kind": "status", "status": 429, "retry_after_seconds": 0}),
            9 => json!({"kind": "delay", "ms": 5 + chance.below(300), "commit": "before"}),
            10 => json!({"kind": "delay", "ms": 5 + chance.below(1300), "commit": "after"}),
            11 => json!({"kind": "status", "status": 300 + chance.below(100), "commit": commit}),
            12 => json!({"kind": "status", "status": 504 + chance.below(200), "commit": commit}),
            13 => json!({"kind": "lag", "ms": 5 + chance.below(600)}),
            _ => self.of_the_vendor(chance, commit),
        }
    }

    /// What only this vendor does.
    fn of_the_vendor(&self, chance: &mut Chance, commit: &str) -> Value {
        match (self.bench.sample.upstream, chance.below(4)) {
            ("sft", 0) => json!({"kind": "result", "code": "401"}),
            ("sft", 1) => json!({"kind": "result", "code": "10239", "commit": commit}),
            ("sft", 2) => json!({"kind": "result", "code": "10240", "commit": commit}),
            ("sft", _) => json!({"kind": "result", "code": "10240", "commit": "late",
                "late_ms": chance.below(1300)}),
            ("pcc", 0) => json!({"kind": "status", "status": 503}),
            ("pcc", _) => json!({"kind": "status", "status": 207, "commit": commit}),
            (_, 0) => json!({"kind": "status", "status": 401}),
            (_, 1) => json!({"kind": "status", "status": 422,
                "body": "{\"error_code\": 1406, \"message\": \"Not allowed\"}"}),
            _ => json!({"kind": "status", "status": 504, "commit": commit}),
        }
    }
}

fn of_a_read(chance: &mut Chance) -> Value {
    match chance.below(6) {
        0 => json!({"kind": "status", "status": 503}),
        5 => json!({"kind": "coding", "coding": "x-gzip"}),
        1 => json!({"kind": "reset"}),
        2 => json!({"kind": "truncate"}),
        3 => json!({"kind": "delay", "ms": 5 + chance.below(80), "commit": "before"}),
        _ => json!({"kind": "delay", "ms": 5 + chance.below(80), "commit": "after"}),
    }
}
