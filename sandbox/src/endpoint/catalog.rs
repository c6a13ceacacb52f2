//! What profiles can refer to: services, their traffic limits, and the lookups (DNS, breakout
//! regions, callbacks...).
//!
//! Observed: the service ids 0, 3, 6, 32 and 38. Documented by the example: callbacks 38 and 39,
//! secret 38, DNS 1, breakout region 3, ESME interface type 3, periods 33 and 35. The rest is made
//! up in the same style.

use std::sync::LazyLock;

use serde_json::{Map, Value};

static CATALOG: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("catalog.json")).unwrap_or_default());

pub(super) const SERVICE: &str = "service";
pub(super) const TRAFFIC_LIMIT: &str = "traffic_limit";
pub(super) const DNS: &str = "dns";
pub(super) const ESME_INTERFACE_TYPE: &str = "esme_interface_type";
pub(super) const BREAKOUT_REGION: &str = "breakout_region";
pub(super) const API_CALLBACK: &str = "api_callback";
pub(super) const API_SECRET: &str = "api_secret";

/// All objects of a kind.
pub(super) fn list(kind: &str) -> &'static [Value] {
    CATALOG.get(kind).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn find(kind: &str, id: i64) -> Option<&'static Value> {
    list(kind).iter().find(|object| id_of(object) == Some(id))
}

/// The limits that can be attached to a service, without the service itself.
pub(super) fn limits_of(service: i64) -> Vec<Value> {
    list(TRAFFIC_LIMIT)
        .iter()
        .filter(|limit| limit_service(limit) == Some(service))
        .map(as_attached)
        .collect()
}

/// The service that a limit of the catalog is for.
pub(super) fn limit_service(limit: &Value) -> Option<i64> {
    limit.get(SERVICE).and_then(id_of)
}

/// A limit as shown under its service.
pub(super) fn as_attached(limit: &Value) -> Value {
    let mut limit = limit.clone();
    if let Some(members) = limit.as_object_mut() {
        members.shift_remove(SERVICE);
    }
    limit
}

/// An id as a number, or as a string of digits, which a raw profile may hold.
pub(super) fn id_of(object: &Value) -> Option<i64> {
    number(object.get("id")?)
}

pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_whole() {
        let sizes: Vec<usize> = [
            SERVICE,
            TRAFFIC_LIMIT,
            DNS,
            ESME_INTERFACE_TYPE,
            BREAKOUT_REGION,
            API_CALLBACK,
            API_SECRET,
        ]
        .iter()
        .map(|kind| list(kind).len())
        .collect();
        assert_eq!(sizes, [5, 8, 3, 4, 3, 3, 2]);
        assert_eq!(limits_of(38).len(), 4);
        assert!(limits_of(38).iter().all(|limit| limit.get(SERVICE).is_none()));
        for limit in list(TRAFFIC_LIMIT) {
            assert!(limit_service(limit).and_then(|id| find(SERVICE, id)).is_some(), "{limit}");
        }
    }
}
