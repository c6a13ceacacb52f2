//! What the contract says of failures: each dialect's table of what its upstream does and what the
//! caller gets, and that the outcome told is the outcome there is.

use futures_util::future::join_all;
use profile_gateway::pb::Profile;
use serde_json::{Value, json};
use tonic::{
    Code::{
        self, AlreadyExists, FailedPrecondition, Internal, InvalidArgument, NotFound,
        PermissionDenied, ResourceExhausted, Unavailable, Unknown,
    },
    Status,
};

use self::Call::{Create, Delete, Get, List, Update};
use super::{
    bench::{self, Bench, id},
    samples::{Sample, registered},
};
use crate::kit::status::failure;

/// A call whose request upstream meets the fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call {
    Get,
    List,
    Create,
    Update,
    Delete,
}

pub const READS: &[Call] = &[Get, List];
pub const WRITES: &[Call] = &[Create, Update, Delete];
pub const ALL: &[Call] = &[Get, List, Create, Update, Delete];
const EDITS: &[Call] = &[Create, Update];
const OF_ONE: &[Call] = &[Get, Update, Delete];

/// Calls, the fault in the sandbox's words, and the code and reason that they end with.
type Row = (&'static [Call], &'static str, Code, &'static str);

const DOWN: (Code, &str) = (Unavailable, "UPSTREAM_UNAVAILABLE");
const LOST: (Code, &str) = (Unknown, "WRITE_OUTCOME_UNKNOWN");
const NOT_ITS: (Code, &str) = (Internal, "UPSTREAM_CONTRACT_VIOLATION");

/// What is the same for all: HTTP itself. None of these takes effect upstream.
const COMMON: &[Row] = &[
    (READS, r#"{"kind": "drop"}"#, DOWN.0, DOWN.1),
    (READS, r#"{"kind": "reset"}"#, DOWN.0, DOWN.1),
    (READS, r#"{"kind": "status", "status": 502}"#, DOWN.0, DOWN.1),
    (READS, r#"{"kind": "status", "status": 503}"#, DOWN.0, DOWN.1),
    (READS, r#"{"kind": "status", "status": 504}"#, DOWN.0, DOWN.1),
    (READS, r#"{"kind": "html"}"#, NOT_ITS.0, NOT_ITS.1),
    (READS, r#"{"kind": "empty"}"#, NOT_ITS.0, NOT_ITS.1),
    (READS, r#"{"kind": "body", "body": "{\"cut\": "}"#, NOT_ITS.0, NOT_ITS.1),
    (READS, r#"{"kind": "body", "body": "{\"no\": \"envelope\"}"}"#, NOT_ITS.0, NOT_ITS.1),
    (READS, r#"{"kind": "body", "body": "7"}"#, NOT_ITS.0, NOT_ITS.1),
    (READS, r#"{"kind": "huge", "bytes": 4000000000, "declared": true}"#, NOT_ITS.0, NOT_ITS.1),
    (WRITES, r#"{"kind": "drop"}"#, LOST.0, LOST.1),
    (WRITES, r#"{"kind": "reset"}"#, LOST.0, LOST.1),
    (WRITES, r#"{"kind": "html"}"#, LOST.0, LOST.1),
    (WRITES, r#"{"kind": "status", "status": 502}"#, LOST.0, LOST.1),
    (WRITES, r#"{"kind": "status", "status": 504}"#, LOST.0, LOST.1),
    (READS, r#"{"kind": "status", "status": 500}"#, Internal, "UPSTREAM_INTERNAL"),
    (WRITES, r#"{"kind": "status", "status": 500}"#, LOST.0, LOST.1),
    (ALL, r#"{"kind": "status", "status": 403}"#, PermissionDenied, "UPSTREAM_PERMISSION_DENIED"),
    (
        ALL,
        r#"{"kind": "status", "status": 429, "retry_after_seconds": 1}"#,
        ResourceExhausted,
        "UPSTREAM_THROTTLED",
    ),
];

/// An internal error that the vendor's own server reports, where the vendor documents one.
const INTERNAL: Row =
    (WRITES, r#"{"kind": "status", "status": 500, "body": "{}"}"#, Internal, "UPSTREAM_INTERNAL");

const SFT: &[Row] = &[
    (&[Get], r#"{"kind": "result", "code": "1359"}"#, NotFound, "PROFILE_NOT_FOUND"),
    (READS, r#"{"kind": "result", "code": "1328"}"#, Unknown, "UPSTREAM_FAILURE"),
    (&[Create], r#"{"kind": "result", "code": "1324"}"#, Unknown, "UPSTREAM_FAILURE"),
    (&[Update], r#"{"kind": "result", "code": "1326"}"#, Unknown, "UPSTREAM_FAILURE"),
    (&[Delete], r#"{"kind": "result", "code": "1330"}"#, Unknown, "UPSTREAM_FAILURE"),
    (READS, r#"{"kind": "result", "code": "7777"}"#, Unknown, "UPSTREAM_FAILURE"),
    (WRITES, r#"{"kind": "result", "code": "7777"}"#, Unknown, "UPSTREAM_FAILURE"),
    (EDITS, r#"{"kind": "result", "code": "6554"}"#, AlreadyExists, "PROFILE_ALREADY_EXISTS"),
    (&[Delete], r#"{"kind": "result", "code": "1338"}"#, FailedPrecondition, "PROFILE_IN_USE"),
    (&[Delete], r#"{"kind": "result", "code": "8196"}"#, FailedPrecondition, "PROFILE_IN_USE"),
    (EDITS, r#"{"kind": "result", "code": "6565"}"#, FailedPrecondition, "CHILD_CONFIG_INVALID"),
    (
        &[Update],
        r#"{"kind": "result", "code": "10085"}"#,
        FailedPrecondition,
        "RAT_PRIVILEGE_CONFLICT",
    ),
    (
        &[Update],
        r#"{"kind": "result", "code": "10100"}"#,
        FailedPrecondition,
        "ADDON_SERVICES_IMMUTABLE",
    ),
    (
        EDITS,
        r#"{"kind": "result", "code": "10111"}"#,
        InvalidArgument,
        "ACCESS_TYPE_NOT_APPLICABLE",
    ),
    (WRITES, r#"{"kind": "result", "code": "10239"}"#, Unknown, "UPSTREAM_FAILURE"),
    (WRITES, r#"{"kind": "result", "code": "10240"}"#, LOST.0, LOST.1),
    (WRITES, r#"{"kind": "empty"}"#, LOST.0, LOST.1),
    (WRITES, r#"{"kind": "status", "status": 503}"#, LOST.0, LOST.1),
    (READS, r#"{"kind": "status", "status": 404}"#, NOT_ITS.0, NOT_ITS.1),
];

const PCC: &[Row] = &[
    INTERNAL,
    (ALL, r#"{"kind": "result", "code": "400"}"#, InvalidArgument, "VALIDATION_FAILED"),
    (ALL, r#"{"kind": "result", "code": "412"}"#, InvalidArgument, "VALIDATION_FAILED"),
    (ALL, r#"{"kind": "result", "code": "422"}"#, FailedPrecondition, "PROCESSING_FAILED"),
    (READS, r#"{"kind": "result", "code": "500"}"#, Internal, "UPSTREAM_INTERNAL"),
    (WRITES, r#"{"kind": "result", "code": "500"}"#, Internal, "UPSTREAM_INTERNAL"),
    (READS, r#"{"kind": "result", "code": "503"}"#, DOWN.0, DOWN.1),
    // Only with the vendor's own words is it certain that nothing was done.
    (WRITES, r#"{"kind": "result", "code": "503"}"#, LOST.0, LOST.1),
    (
        WRITES,
        r#"{"kind": "status", "status": 503, "body": "{\"message\": \"x\", \"errorCode\": 1}"}"#,
        DOWN.0,
        DOWN.1,
    ),
    (EDITS, r#"{"kind": "result", "code": "409"}"#, AlreadyExists, "PROFILE_ALREADY_EXISTS"),
    (&[Delete], r#"{"kind": "result", "code": "409"}"#, FailedPrecondition, "PROFILE_IN_USE"),
    (OF_ONE, r#"{"kind": "result", "code": "404"}"#, NotFound, "PROFILE_NOT_FOUND"),
    (&[List], r#"{"kind": "result", "code": "404"}"#, NOT_ITS.0, NOT_ITS.1),
    (&[Create], r#"{"kind": "status", "status": 404}"#, NOT_ITS.0, NOT_ITS.1),
    (WRITES, r#"{"kind": "result", "code": "207"}"#, LOST.0, LOST.1),
    (EDITS, r#"{"kind": "empty"}"#, LOST.0, LOST.1),
];

const ENDPOINT: &[Row] = &[
    INTERNAL,
    (OF_ONE, r#"{"kind": "result", "code": "1201"}"#, NotFound, "PROFILE_NOT_FOUND"),
    (
        OF_ONE,
        r#"{"kind": "body", "status": 404, "body": "{\"error_code\": 1401}"}"#,
        NotFound,
        "PROFILE_NOT_FOUND",
    ),
    (EDITS, r#"{"kind": "result", "code": "409"}"#, AlreadyExists, "PROFILE_ALREADY_EXISTS"),
    (EDITS, r#"{"kind": "result", "code": "1405"}"#, AlreadyExists, "PROFILE_ALREADY_EXISTS"),
    (&[Delete], r#"{"kind": "result", "code": "409"}"#, FailedPrecondition, "PROFILE_IN_USE"),
    (&[Delete], r#"{"kind": "result", "code": "1405"}"#, FailedPrecondition, "PROFILE_IN_USE"),
    (ALL, r#"{"kind": "result", "code": "1000"}"#, InvalidArgument, "VALIDATION_FAILED"),
    (ALL, r#"{"kind": "result", "code": "1400"}"#, InvalidArgument, "VALIDATION_FAILED"),
    (EDITS, r#"{"kind": "result", "code": "1401"}"#, InvalidArgument, "VALIDATION_FAILED"),
    (ALL, r#"{"kind": "result", "code": "1402"}"#, InvalidArgument, "VALIDATION_FAILED"),
    (ALL, r#"{"kind": "result", "code": "1403"}"#, InvalidArgument, "VALIDATION_FAILED"),
    (EDITS, r#"{"kind": "result", "code": "1406"}"#, FailedPrecondition, "PROCESSING_FAILED"),
    (ALL, r#"{"kind": "result", "code": "422"}"#, FailedPrecondition, "PROCESSING_FAILED"),
    (READS, r#"{"kind": "result", "code": "500"}"#, Internal, "UPSTREAM_INTERNAL"),
    (WRITES, r#"{"kind": "result", "code": "500"}"#, Internal, "UPSTREAM_INTERNAL"),
    (READS, r#"{"kind": "result", "code": "9999"}"#, Unknown, "UPSTREAM_FAILURE"),
    (WRITES, r#"{"kind": "result", "code": "9999"}"#, Unknown, "UPSTREAM_FAILURE"),
    (READS, r#"{"kind": "result", "code": "404"}"#, NOT_ITS.0, NOT_ITS.1),
    (READS, r#"{"kind": "status", "status": 404}"#, NOT_ITS.0, NOT_ITS.1),
    (WRITES, r#"{"kind": "status", "status": 503}"#, LOST.0, LOST.1),
];

/// The tables by dialect, with how its upstream says that it locked the account on a login.
const TABLES: &[(&str, &[Row], Option<&str>)] = &[
    ("bics-sft", SFT, Some(r#"{"kind": "result", "code": "11044"}"#)),
    ("pcc", PCC, None),
    (
        "endpoint",
        ENDPOINT,
        Some(
            r#"{"kind": "body", "status": 401,
                "body": "{\"error_code\": 1105, \"message\": \"User is locked\"}"}"#,
        ),
    ),
];

fn rows(sample: &Sample) -> (Vec<Row>, Option<&'static str>) {
    let Some((_, own, lock)) = TABLES.iter().find(|(dialect, ..)| *dialect == sample.dialect)
    else {
        panic!(
            "the conformance suite has no errors of dialect {}: add its table to TABLES in \
             tests/it/conformance/errors.rs",
            sample.dialect
        )
    };
    (COMMON.iter().chain(*own).copied().collect(), *lock)
}

impl Call {
    pub fn operation(self, sample: &Sample) -> &'static str {
        let of = &sample.operations;
        match self {
            Get => of.get,
            List => of.list,
            Create => of.create,
            Update => of.update,
            Delete => of.delete,
        }
    }

    /// Calls on `there`, a profile that nothing else uses.
    pub async fn run(self, bench: &Bench, there: &Profile, name: &str) -> Result<(), Status> {
        let fresh = Profile { display_name: name.to_owned(), ..bench.full() };
        match self {
            Get => bench.get(&there.name).await.map(drop),
            List => bench.list().await.map(drop),
            Create => bench.create(fresh).await.map(drop),
            Update => {
                let renamed = Profile { name: there.name.clone(), ..fresh };
                bench.update(renamed, &["display_name"]).await.map(drop)
            }
            Delete => bench.delete(&there.name).await,
        }
    }

    /// Whether it shows in the upstream's raw state that the call has happened.
    pub async fn happened(self, bench: &Bench, there: &Profile, name: &str) -> bool {
        let raw = bench.sandbox.raw(bench.sample.upstream).await;
        let is_there = |profile: &&Value| match &profile["id"] {
            Value::String(text) => text == id(there),
            number => *number == json!(id(there).parse::<i64>().unwrap()),
        };
        match self {
            Get | List => false,
            Create => raw.iter().any(|profile| profile[bench.sample.raw_name] == name),
            Update => raw.iter().find(is_there).unwrap()[bench.sample.raw_name] == name,
            Delete => !raw.iter().any(|profile| is_there(&profile)),
        }
    }
}

/// One call that meets a fault: how it ended, and whether it happened to `there`.
pub(super) async fn attempt(
    bench: &Bench,
    (call, there): (Call, &Profile),
    fault: &Value,
    times: u64,
) -> (Result<(), Status>, bool) {
    let name = bench.full().display_name;
    bench.arm(call.operation(&bench.sample), fault, times).await;
    let result = call.run(bench, there, &name).await;
    (result, call.happened(bench, there, &name).await)
}

/// The calls, each with a profile of its own; made before any fault is armed.
async fn prepared(bench: &Bench, calls: &[Call]) -> Vec<(Call, Profile)> {
    let mut prepared = Vec::new();
    for call in calls {
        prepared.push((*call, bench.create(bench.full()).await.unwrap()));
    }
    prepared
}

/// What is wrong with how a row ends; nothing of it may have happened.
async fn wrong(
    bench: &Bench,
    (call, there): (Call, &Profile),
    (_, fault, code, reason): Row,
) -> Option<String> {
    let what = format!("{}: {call:?} {fault}", bench.sample.dialect);
    let fault = serde_json::from_str(fault).unwrap();
    let (result, happened) = attempt(bench, (call, there), &fault, 1).await;
    assert!(!happened, "{what}: it happened");
    if result.is_ok() {
        return Some(format!("{what}: it succeeded and did not happen"));
    }
    let failed = failure(result);
    let retry = failed.reason == "UPSTREAM_THROTTLED" || failed.code == Unavailable;
    assert_eq!(failed.retry.is_some(), retry, "{what}: {failed:#?}");
    let named = failed.meta("dialect") == bench.sample.dialect;
    (!failed.is(code, reason) || !named).then(|| format!("{what}: {failed:?}"))
}

/// Whether a row is of writes alone and such that reading back decides.
fn is_slow((calls, _, _, reason): &Row) -> bool {
    let looked_for = ["WRITE_OUTCOME_UNKNOWN", "UPSTREAM_FAILURE", "UPSTREAM_INTERNAL"];
    calls.iter().all(|call| WRITES.contains(call)) && looked_for.contains(reason)
}

#[tokio::test]
async fn every_error_row_maps() {
    for sample in registered() {
        let (rows, _) = rows(&sample);
        // Those that are read back wait side by side; a sandbox takes one of each call.
        let slow = rows.iter().filter(|row| is_slow(row)).map(async |row| {
            let bench = bench::settling("5s", sample).await;
            let calls = prepared(&bench, row.0).await;
            join_all(calls.iter().map(|(call, there)| wrong(&bench, (*call, there), *row))).await
        });
        let mut found: Vec<_> = join_all(slow).await.into_iter().flatten().collect();
        let bench = bench::settling("30s", sample).await;
        for row in rows.iter().filter(|row| !is_slow(row)) {
            for (call, there) in prepared(&bench, row.0).await {
                found.push(wrong(&bench, (call, &there), *row).await);
            }
        }
        let found: Vec<String> = found.into_iter().flatten().collect();
        assert!(found.is_empty(), "{} rows:\n{}", found.len(), found.join("\n"));
    }
}

/// Whether reading back decides what a failure means: the upstream says that the write failed, and
/// not that it refused to begin.
fn is_read_back(sample: &Sample, (_, fault, _, reason): &Row) -> bool {
    // "Failed processing (after passing validation)", and what lacks the vendor's own body.
    let codes = [r#""code": "422""#, r#""code": "503""#, r#""status": 404"#];
    let pcc = sample.dialect == "pcc" && codes.iter().any(|code| fault.contains(code));
    // No 409 is documented for a creation or a PATCH, so only the documented code is a refusal.
    let conflict = *reason == "PROFILE_ALREADY_EXISTS" && fault.contains(r#""code": "409""#);
    let endpoint = sample.dialect == "endpoint" && conflict;
    pcc || endpoint || ["UPSTREAM_FAILURE", "UPSTREAM_INTERNAL"].contains(reason)
}

#[tokio::test]
async fn a_refusal_is_final_and_any_other_failure_is_read_back() {
    for sample in registered() {
        let (rows, _) = rows(&sample);
        let known = rows.iter().filter(|row| row.3 != LOST.1);
        let found = known.map(async |row| {
            let (bench, mut wrong) = (bench::bench(sample).await, Vec::new());
            let fault = serde_json::from_str(row.1).unwrap();
            for (call, there) in prepared(&bench, row.0).await {
                let (result, _) = attempt(&bench, (call, &there), &fault, 1).await;
                let journal = bench.sandbox.journal().await;
                let ends_with_it = journal.last().unwrap()["operation"] == call.operation(&sample);
                if WRITES.contains(&call) && ends_with_it == is_read_back(&sample, row) {
                    wrong.push(format!("{}: {call:?} {}: {result:?}", sample.dialect, row.1));
                }
            }
            wrong
        });
        let wrong: Vec<String> = join_all(found).await.into_iter().flatten().collect();
        assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// Faults after which the upstream has done the write all the same.
const DONE: &[&str] = &[
    r#"{"kind": "drop", "commit": "before"}"#,
    r#"{"kind": "reset", "commit": "before"}"#,
    r#"{"kind": "html", "commit": "before"}"#,
    r#"{"kind": "status", "status": 500, "commit": "before"}"#,
    r#"{"kind": "status", "status": 502, "commit": "before"}"#,
    r#"{"kind": "status", "status": 504, "commit": "before"}"#,
    r#"{"kind": "body", "body": "{\"cut\": ", "commit": "before"}"#,
    r#"{"kind": "hang", "commit": "before"}"#,
];

#[tokio::test]
async fn a_write_that_happened_succeeds_whatever_its_answer() {
    for sample in registered() {
        join_all(DONE.iter().map(async |fault| {
            let bench = bench::within("5s", sample).await;
            let calls = prepared(&bench, WRITES).await;
            join_all(calls.iter().map(async |(call, there)| {
                let what = format!("{}: {call:?} {fault}", sample.dialect);
                let fault = serde_json::from_str(fault).unwrap();
                let (result, happened) = attempt(&bench, (*call, there), &fault, 1).await;
                assert!(happened, "{what}");
                result.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }))
            .await
        }))
        .await;
    }
}

#[tokio::test]
async fn a_locked_login_is_a_matter_of_time() {
    for sample in registered() {
        let (Some(login), (_, lock)) = (sample.operations.login, rows(&sample)) else { continue };
        let fault: Value = serde_json::from_str(lock.unwrap()).unwrap();
        for call in ALL {
            let bench = bench::bench(sample).await;
            let there = Profile { name: bench.name(sample.in_use), ..Profile::default() };
            bench.arm(login, &fault, 0).await;
            let failed = failure(call.run(&bench, &there, "Attempted").await);
            let what = format!("{}: {call:?} {failed:#?}", sample.dialect);
            assert!(failed.is(Unavailable, "UPSTREAM_ACCOUNT_LOCKED"), "{what}");
            assert!(failed.retry.is_some() && bench.writes().await.is_empty(), "{what}");
        }
    }
}
