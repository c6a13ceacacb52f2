//! How two profiles differ, field by field.
//!
//! `name`, `dialect` and `etag`, which only identify the profile, are left out. A set differs as a
//! whole.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    error::Result,
    model::{changes::changed_paths, fields::Fields, json},
    pb::{FieldDifference, Profile, Service, TrafficLimit},
};

/// The fields that differ, ordered by path.
///
/// Within one backend, services are the same if their ids are. Across backends, they are the same
/// if their types are, because each upstream numbers its own services.
pub fn differences(left: &Profile, right: &Profile) -> Result<Vec<FieldDifference>> {
    let (left_json, right_json) = (set_fields(left)?, set_fields(right)?);
    let same_services = services(left, right) == services(right, left);
    let mut found: Vec<FieldDifference> = changed_paths(left, right)?
        .into_iter()
        .filter(|path| *path != "unmapped" && (*path != "services" || !same_services))
        .map(|path| {
            let pointer = format!("/{}", path.replace('.', "/"));
            FieldDifference {
                field: path.to_owned(),
                left: left_json.pointer(&pointer).map(json::to_value),
                right: right_json.pointer(&pointer).map(json::to_value),
            }
        })
        .collect();
    found.extend(unmapped(left, right));
    found.sort_by(|a, b| a.field.cmp(&b.field));
    Ok(found)
}

/// The fields that are set, but for `unmapped`, as JSON with the names of the proto.
fn set_fields(profile: &Profile) -> Result<Value> {
    Fields::of(&Profile { unmapped: None, ..profile.clone() })?.to_json()
}

/// Upstream members that have no field, each as a difference of its own.
fn unmapped(left: &Profile, right: &Profile) -> Vec<FieldDifference> {
    let (left, right) =
        (left.unmapped.clone().unwrap_or_default(), right.unmapped.clone().unwrap_or_default());
    let keys: BTreeSet<&String> = left.fields.keys().chain(right.fields.keys()).collect();
    keys.into_iter()
        .filter(|key| left.fields.get(*key) != right.fields.get(*key))
        .map(|key| FieldDifference {
            field: format!("unmapped.{key}"),
            left: left.fields.get(key).cloned(),
            right: right.fields.get(key).cloned(),
        })
        .collect()
}

/// The keys by which the services and limits of this profile are compared with those of another.
fn services(profile: &Profile, other: &Profile) -> BTreeSet<(String, BTreeSet<String>)> {
    let backend = |profile: &Profile| {
        profile.name.rsplit_once("/profiles/").map(|(backend, _)| backend.to_owned())
    };
    let by_id = backend(profile) == backend(other);
    let each = profile.services.iter().map(|service| {
        let limits = service.traffic_limits.iter();
        (key(service, by_id), limits.map(|limit| limit_key(service, limit, by_id)).collect())
    });
    each.collect()
}

fn key(service: &Service, by_id: bool) -> String {
    if by_id || service.r#type == 0 {
        format!("id {}", service.id)
    } else {
        format!("type {}", service.r#type)
    }
}

/// A limit by its id, or by what it allows.
fn limit_key(service: &Service, limit: &TrafficLimit, by_id: bool) -> String {
    if by_id {
        return limit.id.clone();
    }
    let period = limit.period.clone().unwrap_or_default();
    let traffic = service.traffic_type.clone().unwrap_or_default();
    let unit = period.unit.map(|unit| unit.to_lowercase());
    format!("{:?} {:?} per {:?} {unit:?}", limit.volume, traffic.unit, period.time_units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{Period, Quotas, ServiceType};

    fn limit(id: &str, volume: i64, unit: &str) -> TrafficLimit {
        TrafficLimit {
            id: id.into(),
            volume: Some(volume),
            period: Some(Period { id: id.into(), time_units: Some(1), unit: Some(unit.into()) }),
            ..TrafficLimit::default()
        }
    }

    fn profile(name: &str, services: &[(&str, ServiceType, &[TrafficLimit])]) -> Profile {
        let services = services.iter().map(|(id, kind, limits)| Service {
            id: (*id).into(),
            r#type: (*kind).into(),
            traffic_limits: limits.to_vec(),
            ..Service::default()
        });
        Profile { name: name.into(), services: services.collect(), ..Profile::default() }
    }

    fn paths(left: &Profile, right: &Profile) -> Vec<String> {
        let found = differences(left, right).unwrap();
        found.into_iter().map(|difference| difference.field).collect()
    }

    #[test]
    fn services_match_by_id_within_a_backend_and_by_type_across() {
        use ServiceType::{Data, SmsMo};
        let one = profile("backends/a/profiles/1", &[("4", Data, &[]), ("2", SmsMo, &[])]);
        let reordered = profile("backends/b/profiles/1", &[("32", SmsMo, &[]), ("38", Data, &[])]);
        assert_eq!(paths(&one, &reordered), [""; 0]);
        let renumbered = Profile { name: "backends/a/profiles/2".into(), ..reordered.clone() };
        assert_eq!(paths(&one, &renumbered), ["services"]);
        let fewer = profile("backends/b/profiles/2", &[("38", Data, &[])]);
        assert_eq!(paths(&one, &fewer), ["services"]);
    }

    #[test]
    fn limits_match_by_what_they_allow_across_backends() {
        let data = ServiceType::Data;
        let a = profile("backends/a/profiles/1", &[("4", data, &[limit("1", 10, "Days")])]);
        let b = profile("backends/b/profiles/1", &[("38", data, &[limit("9", 10, "days")])]);
        assert_eq!(paths(&a, &b), [""; 0]);
        let c = profile("backends/b/profiles/1", &[("38", data, &[limit("9", 11, "days")])]);
        assert_eq!(paths(&a, &c), ["services"]);
    }

    #[test]
    fn unset_differs_from_false_and_paths_are_ordered() {
        let left = Profile {
            quotas: Some(Quotas { data: Some(false), sms: None }),
            etag: "\"1\"".into(),
            display_name: "a".into(),
            unmapped: Some(prost_types::Struct {
                fields: [("x".to_owned(), json::to_value(&Value::from(1)))].into(),
            }),
            ..Profile::default()
        };
        let right =
            Profile { endpoint_count: Some(7), display_name: "b".into(), ..Profile::default() };
        assert_eq!(
            paths(&left, &right),
            ["display_name", "endpoint_count", "quotas.data", "unmapped.x"]
        );
        let found = differences(&left, &right).unwrap();
        assert_eq!(found[1].left, None);
        assert_eq!(found[1].right, Some(json::to_value(&Value::from(7))));
        assert_eq!(found[2].left, Some(json::to_value(&Value::from(false))));
        assert_eq!(paths(&left, &left), [""; 0]);
    }
}
