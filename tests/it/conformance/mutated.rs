//! Answers that were changed or cut on their way: never a panic, never a false success.

use futures_util::future::join_all;
use profile_gateway::pb::Profile;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tonic::Status;

use super::{
    bench::{self, Bench, bench, id},
    errors::Call::{self, Create, Delete, Get, List, Update},
    samples::registered,
};
use crate::kit::{bodies, status::failure};

/// How many random changes of each answer to a read, and to a write.
const READS: usize = 60;
const WRITES: usize = 20;
/// One in so many of the replacements is tried; no divisor of how many each part has.
const STEP: usize = 4;

/// The good answers of a dialect with a body: the call, the status, and the body for an
/// existing profile.
fn answers(bench: &Bench, there: &Profile, raw: &Value) -> Vec<(Call, u16, Value)> {
    match bench.sample.dialect {
        "bics-sft" => {
            let read = bodies::profiles(&[bodies::profile(id(there), &there.display_name)]);
            vec![
                (Get, 200, read.clone()),
                (List, 200, read),
                (Create, 200, bodies::created(id(there))),
                (Update, 200, bodies::result("1325")),
                (Delete, 200, bodies::result("1329")),
            ]
        }
        "pcc" => vec![
            (Get, 200, raw.clone()),
            (List, 200, json!({"length": 1, "provisioningProfileDTOList": [raw]})),
            (Create, 201, raw.clone()),
            (Update, 200, raw.clone()),
        ],
        // Its writes have no body; one of JSON is not taken amiss.
        "endpoint" => vec![
            (Get, 200, raw.clone()),
            (List, 200, json!([raw])),
            (Create, 201, json!({"id": raw["id"], "name": "x"})),
            (Update, 201, json!({"id": raw["id"], "name": "x"})),
            (Delete, 200, json!({"id": raw["id"], "name": "x"})),
        ],
        other => panic!(
            "the conformance suite has no good answers of dialect {other}: add them to `answers` \
             in tests/it/conformance/mutated.rs"
        ),
    }
}

fn fault(status: u16, body: &[u8], commit: &str) -> Value {
    let body = String::from_utf8_lossy(body);
    json!({"kind": "body", "status": status, "body": body, "commit": commit})
}

/// A profile that is there, and the good answers about it.
async fn start(bench: &Bench) -> (Profile, Vec<(Call, u16, Value)>) {
    let there = bench.create(bench.full()).await.unwrap();
    let raw = bench.raw_named(&there.display_name).await.remove(0);
    let answers = answers(bench, &there, &raw);
    (there, answers)
}

fn is_write((call, ..): &(Call, u16, Value)) -> bool {
    ![Get, List].contains(call)
}

/// That the gateway itself has not failed.
#[track_caller]
fn assert_sound(result: Result<(), Status>, what: &str) {
    if result.is_err() {
        let failed = failure(result);
        assert_ne!(failed.reason, "GATEWAY_INTERNAL", "{what}: {failed:#?}");
    }
}

/// Lengths to cut at: the first and last few, and so many between.
fn cuts(length: usize, between: usize) -> Vec<usize> {
    let step = (length / between).max(1);
    let mut cuts: Vec<usize> = (1..length).step_by(step).chain([2, 3]).collect();
    cuts.extend((1..=4).filter_map(|last| length.checked_sub(last)));
    cuts.retain(|cut| (1..length).contains(cut));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[tokio::test]
async fn a_read_that_is_cut_never_succeeds() {
    for sample in registered() {
        let bench = bench(sample).await;
        let (there, answers) = start(&bench).await;
        for (call, status, body) in answers.into_iter().filter(|answer| !is_write(answer)) {
            let body = body.to_string().into_bytes();
            for cut in cuts(body.len(), 60) {
                let what = format!("{}: {call:?} cut at {cut} of {}", sample.dialect, body.len());
                bench.arm(call.operation(&sample), &fault(status, &body[..cut], "none"), 1).await;
                let failed = failure(call.run(&bench, &there, "Attempted").await);
                assert_eq!(failed.reason, "UPSTREAM_CONTRACT_VIOLATION", "{what}");
            }
        }
        bench.assert_alive().await;
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_cut_and_that_did_not_happen_never_succeeds() {
    join_all(registered().into_iter().map(async |sample| {
        let bench = bench::within("3s", sample).await;
        let (_, answers) = start(&bench).await;
        let mut attempts = Vec::new();
        for (call, status, body) in answers.into_iter().filter(is_write) {
            let body = body.to_string().into_bytes();
            for cut in cuts(body.len(), 4) {
                let there = bench.create(bench.full()).await.unwrap();
                attempts.push((call, fault(status, &body[..cut], "none"), there));
            }
        }
        for (call, fault, _) in &attempts {
            bench.arm(call.operation(&sample), fault, 1).await;
        }
        join_all(attempts.iter().enumerate().map(async |(number, (call, _, there))| {
            let what = format!("{}: {call:?} with an answer cut", sample.dialect);
            let name = format!("Attempted {number}");
            let failed = failure(call.run(&bench, there, &name).await);
            assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN", "{what}: {failed:#?}");
            assert!(!call.happened(&bench, there, &name).await, "{what}");
        }))
        .await;
        bench.assert_alive().await;
    }))
    .await;
}

/// The body with a few bytes changed, taken out, put in or doubled.
fn mutate(body: &[u8], random: &mut StdRng) -> Vec<u8> {
    const BYTES: &[u8] = b"\"{}[],:\\0129-.eEtfn u\0\xff\xc3\x80";
    let mut mutated = body.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..mutated.len());
        match random.random_range(0..5) {
            0 => mutated[at] = BYTES[random.random_range(0..BYTES.len())],
            1 => mutated[at] ^= 1 << random.random_range(0..8),
            2 => drop(mutated.remove(at)),
            3 => mutated.insert(at, BYTES[random.random_range(0..BYTES.len())]),
            _ => {
                let end = random.random_range(at..mutated.len());
                let piece = mutated[at..end].to_vec();
                mutated.splice(at..at, piece);
            }
        }
        if mutated.is_empty() {
            break;
        }
    }
    mutated
}

/// The value with each of its parts in turn replaced by something of another kind.
fn replaced(value: &Value) -> Vec<Value> {
    let odd = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("\u{0}<html>"),
        json!([]),
        json!({}),
        json!([[{"id": {}}], null]),
    ];
    let mut all: Vec<Value> = odd.to_vec();
    let mut each_part = |parts: Vec<(String, &Value)>| {
        for (pointer, part) in parts {
            for other in replaced(part) {
                let mut whole = value.clone();
                *whole.pointer_mut(&pointer).unwrap() = other;
                all.push(whole);
            }
        }
    };
    match value {
        Value::Array(items) => {
            let parts = items.iter().take(1).enumerate();
            each_part(parts.map(|(n, item)| (format!("/{n}"), item)).collect());
        }
        Value::Object(members) => {
            let parts = members.iter();
            each_part(parts.map(|(key, member)| (format!("/{key}"), member)).collect());
        }
        _ => {}
    }
    all
}

#[tokio::test]
async fn a_read_that_is_changed_never_breaks_the_gateway() {
    for (seed, sample) in (1..).zip(registered()) {
        let bench = bench(sample).await;
        let mut random = StdRng::seed_from_u64(seed);
        let (there, answers) = start(&bench).await;
        for (call, status, body) in answers.into_iter().filter(|answer| !is_write(answer)) {
            let text = body.to_string().into_bytes();
            let random = (0..READS).map(|_| mutate(&text, &mut random));
            let parts = replaced(&body)
                .into_iter()
                .step_by(STEP)
                .map(|value| value.to_string().into_bytes());
            for changed in random.chain(parts) {
                bench.arm(call.operation(&sample), &fault(status, &changed, "none"), 1).await;
                let result = call.run(&bench, &there, "Attempted").await;
                let changed = String::from_utf8_lossy(&changed);
                assert_sound(result, &format!("{}: {call:?} {changed}", sample.dialect));
            }
        }
        assert_eq!(bench.get(&there.name).await.unwrap(), there, "{}", sample.dialect);
        bench.assert_alive().await;
    }
}

#[tokio::test]
async fn a_write_that_happened_is_not_denied_because_its_answer_was_changed() {
    for (seed, sample) in (1001..).zip(registered()) {
        let bench = bench::within("10s", sample).await;
        let mut random = StdRng::seed_from_u64(seed);
        let (_, answers) = start(&bench).await;
        for (call, status, body) in answers.into_iter().filter(is_write) {
            let text = body.to_string().into_bytes();
            for number in 0..WRITES {
                let there = bench.create(bench.full()).await.unwrap();
                let changed = mutate(&text, &mut random);
                bench.arm(call.operation(&sample), &fault(status, &changed, "before"), 1).await;
                let name = format!("Attempted {call:?} {number}");
                let result = call.run(&bench, &there, &name).await;
                let shown = String::from_utf8_lossy(&changed);
                let what = format!("{}: {call:?} {shown}", sample.dialect);
                assert!(call.happened(&bench, &there, &name).await, "{what}");
                if result.is_err() {
                    let failed = failure(result);
                    assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN", "{what}: {failed:#?}");
                }
            }
        }
        bench.assert_alive().await;
    }
}
