//! Levers, on a paused clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{advance, sleep};

use super::*;
use crate::telemetry::{AuditLog, Registry};

const MINUTE: Duration = Duration::from_secs(60);

struct Bench {
    levers: Levers,
    audit: AuditLog,
    registry: Registry,
}

fn bench() -> Bench {
    let audit = AuditLog::in_memory(usize::MAX);
    let mut registry = Registry::new("test");
    let levers = Levers::new(audit.clone(), LeverMetrics::register(&mut registry));
    let measured = levers.clone();
    registry.before_scrape(move || measured.measure());
    Bench { levers, audit, registry }
}

fn jane() -> Operator {
    Operator { name: "jane".into(), peer: Some("127.0.0.1".into()) }
}

fn asked(time: Duration) -> Asked {
    Asked { time, note: "INC-1".to_owned(), filter: None }
}

impl Bench {
    fn set(&self, lever: Lever, backend: Option<&BackendLevers>, time: Duration) -> Set {
        self.levers.set(lever, backend, &jane(), asked(time)).unwrap()
    }

    /// The methods of the lines in the audit log.
    fn audited(&self) -> Vec<String> {
        let method = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["method"].as_str().unwrap().to_owned()
        };
        self.audit.lines().iter().map(method).collect()
    }

    fn active(&self, lever: &str, backend: &str) -> bool {
        let line = format!("lever_active{{lever=\"{lever}\",backend=\"{backend}\"}} 1");
        self.registry.encode().contains(&line)
    }
}

#[tokio::test(start_paused = true)]
async fn a_lever_ends_at_its_time_whether_or_not_anything_runs() {
    let bench = bench();
    let sft = bench.levers.of_backend("sft");
    bench.set(Lever::ReadOnly, Some(&sft), MINUTE);
    assert!(bench.active("read_only", "sft") && sft.writes_disabled().is_some());
    advance(MINUTE - Duration::from_millis(1)).await;
    assert!(sft.writes_disabled().is_some());
    advance(Duration::from_millis(1)).await;
    assert!(sft.writes_disabled().is_none() && sft.in_force().is_empty());
    assert!(bench.levers.in_force().is_empty() && !bench.active("read_only", "sft"));
    let none = bench.levers.end(Lever::ReadOnly, Some(&sft), &jane());
    assert!(none.is_none(), "it is over");
    assert_eq!(bench.audited(), ["SetLever", "ExpireLever"]);
}

#[tokio::test(start_paused = true)]
async fn what_ends_by_itself_is_reported_when_it_does() {
    let bench = bench();
    let sft = bench.levers.of_backend("sft");
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    sft.on_circuit(move || count.fetch_add(1, Ordering::Relaxed) < 100);
    let running = tokio::spawn(bench.levers.clone().run());
    bench.set(Lever::ReadOnly, Some(&sft), 3 * MINUTE);
    bench.set(Lever::CircuitOpen, Some(&sft), MINUTE);
    bench.set(Lever::WritesFrozen, None, 2 * MINUTE);
    for (ended, told_by_then) in [(0, 1), (1, 2), (2, 2), (3, 2)] {
        sleep(Duration::from_millis(1)).await;
        let expired = bench.audited().iter().filter(|method| *method == "ExpireLever").count();
        assert_eq!((expired, told.load(Ordering::Relaxed)), (ended, told_by_then));
        sleep(MINUTE).await;
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn setting_one_again_replaces_it_and_a_circuit_is_forced_one_way() {
    let bench = bench();
    let sft = bench.levers.of_backend("sft");
    let first = bench.set(Lever::CircuitOpen, Some(&sft), MINUTE);
    assert!(first.replaced.is_none());
    let second = bench.set(Lever::CircuitClosed, Some(&sft), 2 * MINUTE);
    assert_eq!(second.replaced.unwrap().lever, Lever::CircuitOpen);
    assert_eq!(bench.levers.in_force().len(), 1);
    assert!(bench.active("circuit_closed", "sft") && !bench.active("circuit_open", "sft"));
    assert!(bench.levers.end(Lever::CircuitOpen, Some(&sft), &jane()).is_none());
    assert!(bench.levers.end(Lever::CircuitClosed, Some(&sft), &jane()).is_some());
    assert!(sft.circuit().is_none());
    assert_eq!(bench.audited(), ["SetLever", "SetLever", "EndLever"]);
}

#[tokio::test(start_paused = true)]
async fn they_belong_to_the_name_of_a_backend() {
    let bench = bench();
    bench.set(Lever::ReadOnly, Some(&bench.levers.of_backend("sft")), MINUTE);
    assert!(bench.levers.of_backend("sft").writes_disabled().is_some());
    assert!(bench.levers.of_backend("pcc").writes_disabled().is_none());
    bench.set(Lever::WritesFrozen, None, 2 * MINUTE);
    let pcc = bench.levers.of_backend("pcc");
    assert_eq!(pcc.writes_disabled().unwrap().lever, Lever::WritesFrozen);
    let both = bench.levers.of_backend("sft");
    assert_eq!(both.writes_disabled().unwrap().lever, Lever::WritesFrozen, "it ends last");
    assert_eq!(both.in_force().len(), 2);
    assert!(bench.active("writes_frozen", "-"));
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_names_who_and_until_when() {
    let bench = bench();
    let set = bench.set(Lever::ReadOnly, Some(&bench.levers.of_backend("sft")), MINUTE).set;
    let lines = bench.audit.lines();
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    for (name, value) in [
        ("principal", "jane"),
        ("peer", "127.0.0.1"),
        ("lever", "read_only"),
        ("backend", "sft"),
        ("until", &set.until()),
        ("note", "INC-1"),
        ("outcome", "OK"),
        ("target", "audit"),
    ] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
}
