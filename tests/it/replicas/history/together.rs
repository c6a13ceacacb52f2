//! What all replicas together send: no two writes to one profile at once.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{Lie, Suspicion, effects::Life};
use crate::kit::{history::named, tap::Passed};

/// Requests that write one profile, at once.
pub(super) fn judge(passed: &[Passed], lives: &BTreeMap<String, Life>) -> Vec<Suspicion> {
    let mut of: HashMap<String, Vec<&Passed>> = HashMap::new();
    for passed in passed {
        if let Some(target) = target(passed) {
            of.entry(target).or_default().push(passed);
        }
    }
    let mut found = Vec::new();
    for (target, mut writes) in of {
        writes.sort_by_key(|passed| passed.from.tick);
        let mut last: Option<&Passed> = None;
        for passed in writes {
            let over = |other: &Passed| other.to.map_or(u64::MAX, |to| to.tick);
            if let Some(other) = last.filter(|other| over(other) > passed.from.tick) {
                let about = format!("{target}: {other:?}, {passed:?}");
                let profile = lives.get(&target).map(|life| life.profile);
                let profile = profile.or_else(|| number(passed)).unwrap_or_default();
                let (from, to) = (other.from.ms, passed.from.ms);
                found.push(Suspicion { lie: Lie::AtOnce, about, profile, from, to });
            }
            if last.is_none_or(|other| over(other) < over(passed)) {
                last = Some(passed);
            }
        }
    }
    found
}

fn body(passed: &Passed) -> Value {
    serde_json::from_str(&passed.body).unwrap_or_default()
}

fn number(passed: &Passed) -> Option<u64> {
    named(&body(passed)).map(|(profile, _)| profile)
}

/// Which profile a request writes: its id, or its number if it has no id yet.
fn target(passed: &Passed) -> Option<String> {
    let (method, path) = passed.line.split_once(' ')?;
    let is_login = path.contains("login") || path.contains("authenticate");
    if method == "GET" || is_login {
        return None;
    }
    let body = body(passed);
    let in_body = body.pointer("/Request/requestParam/serviceProfile/id");
    let id = in_body.and_then(Value::as_str).map(str::to_owned);
    let in_path = || {
        let mut parts = path.split(['/', '?']);
        parts.find_map(|part| part.parse::<u64>().ok()).map(|id| id.to_string())
    };
    id.or_else(in_path).or_else(|| number(passed).map(|number| format!("new {number}")))
}
