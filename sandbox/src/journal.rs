//! What vendors' clients sent and what it changed: a bounded ring that drops its oldest entries.
//!
//! Credentials are replaced before anything is stored, so the journal can be shown and kept.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{SystemTime, UNIX_EPOCH},
};

use http::HeaderMap;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde_json::Value;

const MAX_ENTRIES: usize = 2_048;
/// Longer bodies are kept as a note of their length.
const MAX_BODY: usize = 8 * 1_024;
const REDACTED: &str = "[redacted]";

/// Request headers that carry credentials.
const SECRET_HEADERS: [&str; 4] =
    ["x-authorization", "authorization", "cookie", "proxy-authorization"];
/// Body members that carry credentials, in lower case.
const SECRET_MEMBERS: [&str; 7] = [
    "password",
    "accesstoken",
    "refreshtoken",
    "application_token",
    "auth_token",
    "refresh_token",
    "secret",
];

/// One request to a vendor, or one late effect of such a request.
#[derive(Clone, Serialize)]
pub(super) struct Entry {
    /// Set by the journal: 1, 2, 3, ...; a reset does not restart it.
    pub seq: u64,
    /// Unix time in milliseconds, set by the journal.
    pub at_ms: u64,
    pub upstream: &'static str,
    /// `None` for a path or method that the vendor does not have.
    pub operation: Option<&'static str>,
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    /// The HTTP status sent; `None` if no answer was sent.
    pub status: Option<u16>,
    /// The vendor's own code in the answer.
    pub result_code: Option<String>,
    /// What changed: `{"created": id}`, `{"modified": id, "cascaded": [..]}` or `{"deleted": id}`;
    /// for services and traffic limits `{"attached": "profile/service[/limit]"}` or `{"detached":
    /// ..}`.
    pub effect: Option<Value>,
    /// The kind of the fault that was applied.
    pub fault: Option<&'static str>,
    /// For an effect that happened after the answer: the `seq` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_of: Option<u64>,
}

#[derive(Default)]
pub(super) struct Journal(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    entries: VecDeque<Entry>,
    last_seq: u64,
    dropped: u64,
}

/// Entries after a sequence number, and how many entries the ring has dropped since it was last
/// cleared.
#[derive(Serialize)]
pub(super) struct Page {
    pub entries: Vec<Entry>,
    pub dropped: u64,
}

impl Journal {
    /// Stores the entry and returns its sequence number.
    pub(super) fn record(&self, mut entry: Entry) -> u64 {
        let mut ring = self.lock();
        ring.last_seq += 1;
        entry.seq = ring.last_seq;
        entry.at_ms = unix_millis();
        if ring.entries.len() >= MAX_ENTRIES {
            ring.entries.pop_front();
            ring.dropped += 1;
        }
        ring.entries.push_back(entry);
        ring.last_seq
    }

    pub(super) fn after(&self, seq: u64) -> Page {
        let ring = self.lock();
        Page {
            entries: ring.entries.iter().filter(|entry| entry.seq > seq).cloned().collect(),
            dropped: ring.dropped,
        }
    }

    pub(super) fn clear(&self) {
        let mut ring = self.lock();
        ring.entries.clear();
        ring.dropped = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock()
    }
}

/// The headers with credentials replaced. The scheme before a credential ("Bearer") is kept,
/// because adapters can get it wrong.
pub(super) fn safe_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut safe = BTreeMap::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        let shown = if !SECRET_HEADERS.contains(&name.as_str()) {
            text.into_owned()
        } else {
            match text.split_once(' ') {
                Some((scheme @ ("Bearer" | "Basic"), _)) => format!("{scheme} {REDACTED}"),
                _ => REDACTED.to_owned(),
            }
        };
        safe.entry(name.as_str().to_owned())
            .and_modify(|all: &mut String| {
                all.push_str(", ");
                all.push_str(&shown);
            })
            .or_insert(shown);
    }
    safe
}

/// The body as JSON with credentials replaced; as text if it is not JSON; null if it is empty.
pub(super) fn safe_body(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    if body.len() > MAX_BODY {
        return Value::String(format!("[{} bytes]", body.len()));
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            redact(&mut value);
            value
        }
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let lower = text.to_lowercase();
            if SECRET_MEMBERS.iter().any(|name| lower.contains(name)) {
                // In invalid JSON it is unclear where a credential begins and ends.
                Value::String(REDACTED.to_owned())
            } else {
                Value::String(text.into_owned())
            }
        }
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if SECRET_MEMBERS.contains(&name.to_lowercase().as_str()) {
                    *member = Value::String(REDACTED.to_owned());
                } else {
                    redact(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry() -> Entry {
        Entry {
            seq: 0,
            at_ms: 0,
            upstream: "sft",
            operation: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: BTreeMap::new(),
            body: Value::Null,
            status: None,
            result_code: None,
            effect: None,
            fault: None,
            late_of: None,
        }
    }

    #[test]
    fn ring_is_bounded_and_counts_dropped_entries() {
        let journal = Journal::default();
        for _ in 0..MAX_ENTRIES + 3 {
            journal.record(entry());
        }
        let page = journal.after(0);
        assert_eq!(page.entries.len(), MAX_ENTRIES);
        assert_eq!(page.dropped, 3);
        assert_eq!(page.entries[0].seq, 4);
        assert_eq!(journal.after(MAX_ENTRIES as u64 + 2).entries.len(), 1);
        journal.clear();
        assert_eq!(journal.after(0).dropped, 0);
        assert_eq!(journal.record(entry()), MAX_ENTRIES as u64 + 4);
    }

    #[test]
    fn credentials_are_replaced() {
        let body = safe_body(br#"{"username":"u","Password":"p","deep":[{"auth_token":"t"}]}"#);
        assert_eq!(
            body,
            json!({"username":"u","Password":"[redacted]","deep":[{"auth_token":"[redacted]"}]})
        );
        assert_eq!(safe_body(b"{\"password\":\"p"), json!("[redacted]"));
        assert_eq!(safe_body(b"plain"), json!("plain"));
        assert_eq!(safe_body(b""), Value::Null);

        let mut headers = HeaderMap::new();
        headers.insert("x-authorization", "Bearer abc".parse().unwrap());
        headers.insert("authorization", "abc".parse().unwrap());
        headers.insert("accept", "a/b".parse().unwrap());
        let safe = safe_headers(&headers);
        assert_eq!(safe["x-authorization"], "Bearer [redacted]");
        assert_eq!(safe["authorization"], "[redacted]");
        assert_eq!(safe["accept"], "a/b");
    }
}
