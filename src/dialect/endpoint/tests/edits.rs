//! Attaching and detaching one service or limit.

use super::*;
use crate::{error::Kind, pb::Period};

fn edit(edit: Edit) -> Result<Profile> {
    let current = read(&fixture("profile"));
    let (recorder, _) = fake::obedient(fixture("profile"));
    now(ENDPOINT.edit(&recorder, &current, &edit))
}

fn ids(profile: &Profile) -> Vec<(String, Vec<String>)> {
    let limits = |s: &Service| s.traffic_limits.iter().map(|l| l.id.clone()).collect();
    profile.services.iter().map(|s| (s.id.clone(), limits(s))).collect()
}

fn expected(services: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    services.iter().map(|(id, limits)| ((*id).to_owned(), owned(limits))).collect()
}

#[test]
fn edits_add_or_remove_one() {
    let data = by_kind(ServiceType::Data);
    let all: &[&str] = &["123", "234"];
    let five = TrafficLimit {
        volume: Some(128),
        period: Some(Period {
            time_units: Some(1),
            unit: Some("Months".into()),
            ..Period::default()
        }),
        ..limit("")
    };
    for (change, services) in [
        (
            Edit::AttachService(by_kind(ServiceType::SmsMt)),
            expected(&[("123", all), ("234", &[]), ("6", &[])]),
        ),
        (Edit::AttachService(by_id("5")), expected(&[("123", all), ("234", &[]), ("5", &[])])),
        (Edit::DetachService(by_kind(ServiceType::Sms)), expected(&[("123", all)])),
        (
            Edit::AttachTrafficLimit(data.clone(), limit("9")),
            expected(&[("123", &["123", "234", "9"]), ("234", &[])]),
        ),
        (
            Edit::DetachTrafficLimit(by_id("123"), limit("123")),
            expected(&[("123", &["234"]), ("234", &[])]),
        ),
        (Edit::DetachTrafficLimit(data, five), expected(&[("123", &["123"]), ("234", &[])])),
    ] {
        let what = format!("{change:?}");
        assert_eq!(ids(&edit(change).unwrap()), services, "{what}");
    }
}

/// A limit that is not in the catalog.
fn unknown() -> TrafficLimit {
    let period = Period { id: "1".into(), ..Period::default() };
    TrafficLimit { volume: Some(1), period: Some(period), ..limit("") }
}

fn assert_refused(change: Edit, kind: Kind, reason: Reason) {
    let what = format!("{change:?}");
    let error = edit(change).unwrap_err();
    assert_eq!((error.kind(), error.reason()), (kind, reason), "{what}");
    assert!(!error.message().is_empty());
}

#[test]
fn an_invalid_request_is_rejected() {
    let data = by_kind(ServiceType::Data);
    for change in [
        Edit::AttachService(by_kind(ServiceType::Ussd)),
        Edit::AttachService(Service { id: "234".into(), ..data.clone() }),
        Edit::AttachService(service("5", &["1"])),
        Edit::AttachService(by_id("x")),
        Edit::AttachTrafficLimit(data.clone(), limit("x")),
        Edit::AttachTrafficLimit(data, limit("")),
    ] {
        assert_refused(change, Kind::InvalidArgument, Reason::ValidationFailed);
    }
}

#[test]
fn a_contradiction_of_id_and_type_names_both() {
    let both = Service { id: "234".into(), ..by_kind(ServiceType::Data) };
    let error = edit(Edit::AttachService(both)).unwrap_err();
    let descriptions: Vec<&str> =
        error.violations().iter().map(|v| v.description.as_str()).collect();
    assert_eq!(descriptions, ["id 234 (SMS) is not of type DATA"]);
}

#[test]
fn edits_that_do_not_fit_the_profile_have_their_reason() {
    use Kind::{AlreadyExists, FailedPrecondition, NotFound};
    use Reason::{
        ServiceAlreadyAttached, ServiceHasTrafficLimits, ServiceNotAttached,
        TrafficLimitAlreadyAttached, TrafficLimitNotFound,
    };
    let (data, sms) = (by_kind(ServiceType::Data), by_id("234"));
    for (change, kind, reason) in [
        (Edit::AttachService(data.clone()), AlreadyExists, ServiceAlreadyAttached),
        (Edit::AttachService(sms.clone()), AlreadyExists, ServiceAlreadyAttached),
        (Edit::DetachService(by_id("5")), NotFound, ServiceNotAttached),
        (Edit::DetachService(data.clone()), FailedPrecondition, ServiceHasTrafficLimits),
        (Edit::AttachTrafficLimit(by_id("5"), limit("1")), NotFound, ServiceNotAttached),
        (
            Edit::AttachTrafficLimit(data.clone(), limit("234")),
            AlreadyExists,
            TrafficLimitAlreadyAttached,
        ),
        (Edit::AttachTrafficLimit(data.clone(), unknown()), NotFound, TrafficLimitNotFound),
        (Edit::DetachTrafficLimit(sms, limit("1")), NotFound, TrafficLimitNotFound),
        (Edit::DetachTrafficLimit(data, unknown()), NotFound, TrafficLimitNotFound),
    ] {
        assert_refused(change, kind, reason);
    }
}

#[test]
fn the_catalog_has_the_limits_of_each_service() {
    let (recorder, _) = fake::obedient(Value::Null);
    let services = now(ENDPOINT.services(&recorder)).unwrap();
    let found: Vec<(&str, usize)> =
        services.iter().map(|s| (s.id.as_str(), s.traffic_limits.len())).collect();
    assert_eq!(found, [("3", 0), ("6", 0), ("32", 0), ("38", 2), ("40", 0)]);
    assert_eq!(services[3].traffic_limits[0].id, "8");
}
