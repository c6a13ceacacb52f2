//! The armed faults, and which request gets which: they are matched by the names of vendor and
//! operation.

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use super::fault_kind::FaultKind;

/// Most faults armed at a time. A literal body may be up to a megabyte, so this bounds memory too.
const MAX_FAULTS: usize = 256;
/// Matches every vendor or every operation.
const ANY: &str = "*";

/// What the control API is asked to arm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultSpec {
    pub upstream: String,
    pub operation: String,
    pub fault: FaultKind,
    /// How many requests get it; 0 for all until it is cleared.
    #[serde(default = "once")]
    pub times: u64,
    /// How many matching requests to let through first.
    #[serde(default)]
    pub skip: u64,
}

fn once() -> u64 {
    1
}

/// An armed fault. `times` and `skip` count down.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fault {
    pub id: u64,
    pub upstream: String,
    pub operation: String,
    pub fault: FaultKind,
    pub times: u64,
    pub skip: u64,
    /// How many requests have got it so far.
    pub applied: u64,
}

#[derive(Default)]
pub(super) struct FaultTable(Mutex<Table>);

#[derive(Default)]
struct Table {
    faults: Vec<Fault>,
    last_id: u64,
}

impl FaultTable {
    /// Arms a fault and returns its id. `known`: the vendors with their operations.
    ///
    /// # Errors
    ///
    /// Says what is allowed.
    pub(super) fn arm(
        &self,
        spec: FaultSpec,
        known: &[(&'static str, &'static [&'static str])],
    ) -> Result<u64, String> {
        check_target(&spec, known)?;
        spec.fault.check()?;
        let mut table = self.lock();
        if table.faults.len() >= MAX_FAULTS {
            return Err(format!("at most {MAX_FAULTS} faults can be armed, clear some first"));
        }
        table.last_id += 1;
        let id = table.last_id;
        table.faults.push(Fault {
            id,
            upstream: spec.upstream,
            operation: spec.operation,
            fault: spec.fault,
            times: spec.times,
            skip: spec.skip,
            applied: 0,
        });
        Ok(id)
    }

    /// The fault for this request, if any, counted as applied. Faults are tried in the order in
    /// which they were armed; one that still has requests to skip passes the request on to the
    /// next.
    pub(super) fn take(&self, upstream: &str, operation: &str) -> Option<FaultKind> {
        let mut table = self.lock();
        let mut found = None;
        for (index, fault) in table.faults.iter_mut().enumerate() {
            let matches = (fault.upstream == ANY || fault.upstream == upstream)
                && (fault.operation == ANY || fault.operation == operation);
            if !matches {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.applied += 1;
            let used_up = fault.times == 1;
            fault.times = fault.times.saturating_sub(1);
            found = Some((index, used_up, fault.fault.clone()));
            break;
        }
        let (index, used_up, kind) = found?;
        if used_up {
            table.faults.remove(index);
        }
        Some(kind)
    }

    pub(super) fn list(&self) -> Vec<Fault> {
        self.lock().faults.clone()
    }

    /// Disarms all faults; returns how many there were.
    pub(super) fn clear(&self) -> usize {
        std::mem::take(&mut self.lock().faults).len()
    }

    /// Whether it was there.
    pub(super) fn remove(&self, id: u64) -> bool {
        let mut table = self.lock();
        let before = table.faults.len();
        table.faults.retain(|fault| fault.id != id);
        table.faults.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock()
    }
}

/// Refuses a misspelled target: it would never match, and a test relying on it would pass without
/// testing anything.
fn check_target(
    spec: &FaultSpec,
    known: &[(&'static str, &'static [&'static str])],
) -> Result<(), String> {
    let upstream = spec.upstream.as_str();
    if upstream != ANY && !known.iter().any(|(name, _)| *name == upstream) {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "unknown upstream `{upstream}`, expected `*` or one of: {}",
            names.join(", ")
        ));
    }
    let operations: Vec<&str> = known
        .iter()
        .filter(|(name, _)| upstream == ANY || *name == upstream)
        .flat_map(|(_, operations)| operations.iter().copied())
        .collect();
    if spec.operation != ANY && !operations.contains(&spec.operation.as_str()) {
        return Err(format!(
            "unknown operation `{}`, expected `*` or one of: {}",
            spec.operation,
            operations.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: &[(&str, &[&str])] = &[("sft", &["login", "Get"]), ("other", &["list"])];

    fn spec(value: serde_json::Value) -> FaultSpec {
        serde_json::from_value(value).unwrap()
    }

    fn outer(code: &str) -> FaultKind {
        FaultKind::Outer { code: code.to_owned() }
    }

    #[test]
    fn applies_after_skips_the_requested_times_in_order_of_arming() {
        let table = FaultTable::default();
        for armed in [
            json!({"upstream":"sft","operation":"Get","skip":1,"times":2,
                   "fault":{"kind":"outer","code":"a"}}),
            json!({"upstream":"*","operation":"*","times":0,"fault":{"kind":"outer","code":"b"}}),
        ] {
            table.arm(spec(armed), KNOWN).unwrap();
        }
        let seen: Vec<_> = (0..4).map(|_| table.take("sft", "Get").unwrap()).collect();
        assert_eq!(seen, [outer("b"), outer("a"), outer("a"), outer("b")]);
        assert_eq!(table.take("other", "list"), Some(outer("b")));
        let left = table.list();
        assert_eq!((left.len(), left[0].applied, left[0].times), (1, 3, 0));
        assert!(table.remove(left[0].id));
        assert!(!table.remove(left[0].id));
        assert_eq!(table.take("sft", "Get"), None);
    }

    #[test]
    fn refuses_what_could_never_match() {
        let table = FaultTable::default();
        for (upstream, operation, says) in [
            ("stf", "*", "unknown upstream `stf`, expected `*` or one of: sft, other"),
            ("sft", "list", "unknown operation `list`, expected `*` or one of: login, Get"),
            ("*", "x", "unknown operation `x`, expected `*` or one of: login, Get, list"),
        ] {
            let spec =
                spec(json!({"upstream":upstream,"operation":operation,"fault":{"kind":"drop"}}));
            assert_eq!(table.arm(spec, KNOWN), Err(says.to_owned()));
        }
        assert!(table.list().is_empty());
    }

    #[test]
    fn refuses_values_out_of_bounds_and_unknown_members() {
        for bad in [
            json!({"kind":"status","status":101}),
            json!({"kind":"html","status":1000}),
            json!({"kind":"status","status":500,"commit":"before","late_ms":1}),
            json!({"kind":"lag","ms":600_001}),
            json!({"kind":"delay","ms":600_001}),
            json!({"kind":"deep","depth":0}),
            json!({"kind":"missing","members":[]}),
            json!({"kind":"trickle","chunk":0,"pause_ms":1}),
            json!({"kind":"result","code":"10240","late_ms":5}),
            json!({"kind":"body","body":"","content_type":"a\nb"}),
        ] {
            let kind: FaultKind = serde_json::from_value(bad.clone()).unwrap();
            assert!(kind.check().is_err(), "{bad}");
        }
        for bad in [
            json!({"kind":"nope"}),
            json!({"kind":"numbers","x":1}),
            json!({"kind":"drop","commit":"after"}),
            json!({"kind":"delay"}),
        ] {
            assert!(serde_json::from_value::<FaultKind>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn is_bounded() {
        let table = FaultTable::default();
        let drop = spec(json!({"upstream":"*","operation":"*","fault":{"kind":"drop"}}));
        for _ in 0..MAX_FAULTS {
            table.arm(drop.clone(), KNOWN).unwrap();
        }
        assert!(table.arm(drop, KNOWN).is_err());
        assert_eq!(table.clear(), MAX_FAULTS);
    }
}
