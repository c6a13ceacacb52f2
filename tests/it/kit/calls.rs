//! Upstream calls that the gateway shows, held against those that a sandbox got.

use profile_gateway::{model::json, pb::UpstreamCall};
use serde_json::Value;

/// Asserts that what was shown is what arrived: method, path, headers and body. `new` is the id
/// that the upstream gave.
#[track_caller]
pub fn same(shown: &[UpstreamCall], arrived: &[Value], new: &str, what: &str) {
    let brief: Vec<_> = arrived.iter().map(|entry| (&entry["method"], &entry["path"])).collect();
    assert_eq!(shown.len(), arrived.len(), "{what}: {shown:#?} {brief:#?}");
    for (call, entry) in shown.iter().zip(arrived) {
        let what = format!("{what}: {} {}", call.method, call.path);
        assert_eq!(call.method, entry["method"], "{what}");
        let path = call.path.replace("{new}", new);
        assert!(entry["path"].as_str().unwrap().ends_with(&path), "{what}: {}", entry["path"]);
        let body = Some(&entry["body"]).filter(|body| !body.is_null()).map(json::to_value);
        assert_eq!(call.body, body, "{what}");
        let mut credentials = 0;
        for (name, value) in &call.headers {
            let sent = entry["headers"][name].as_str().unwrap_or_else(|| panic!("{what}: {name}"));
            if value == "[redacted]" {
                assert!(sent.contains("[redacted]"), "{what}: {name}: {sent}");
                credentials += 1;
            } else {
                assert_eq!(value, sent, "{what}: {name}");
            }
        }
        assert_eq!(credentials, 1, "{what}: {:?}", call.headers);
    }
}
