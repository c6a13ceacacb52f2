//! Every status of the vendor's table, with every body, for every operation.

use std::time::Duration;

use super::*;
use crate::error::{Kind, Retry};

/// An operation under test; `Rename` is the PUT of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ask {
    List,
    Get,
    Create,
    Rename,
    Update,
    Delete,
}

use Ask::{Create, Delete, Get, List, Rename, Update};

const ALL: [Ask; 6] = [List, Get, Create, Rename, Update, Delete];
const READS: [Ask; 2] = [List, Get];
const WRITES: [Ask; 4] = [Create, Rename, Update, Delete];

fn ask(ask: Ask, status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Error {
    let recorder = Recorder::default();
    if matches!(ask, Rename | Update) {
        recorder.push(200, fixture("create-success").to_string());
    }
    recorder.push_with(status, headers, body.to_owned());
    // What a page with this status says is looked at.
    recorder.push(404, "");
    let current = turkey_sauce();
    let desired = match ask {
        Rename => Profile { display_name: "new".into(), ..current.clone() },
        _ => Profile { default_profile: Some(true), ..current.clone() },
    };
    let result = match ask {
        List => now(Pcc.list(&recorder)).map(|_| ()),
        Get => now(Pcc.get(&recorder, "39")).map(|_| ()),
        Create => now(Pcc.create(&recorder, &current)).map(|_| ()),
        Rename | Update => now(
            Pcc.update(&recorder, ProfileUpdate { id: "39", current: &current, desired: &desired })
        ),
        Delete => now(Pcc.delete(&recorder, "39")),
    };
    result.expect_err(&format!("{ask:?} {status} {body}"))
}

/// The vendor's three schemas.
fn own() -> [String; 3] {
    ["failure-412", "failure-422", "failure-500"].map(|name| fixture(name).to_string())
}

/// The same, and bodies that may come instead.
fn bodies() -> Vec<String> {
    let others = [
        String::new(),
        "<html><body>Apache Tomcat</body></html>".to_owned(),
        "<?xml version=\"1.0\"?><error><message>no</message></error>".to_owned(),
        "{\"message\":".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "{\"errors\":{},\"message\":[1],\"errorCode\":{}}".to_owned(),
        "\u{0}\u{1}".to_owned(),
    ];
    own().into_iter().chain(others).collect()
}

/// A page does not say that the vendor's server is done with the request. Overload has the vendor's
/// own body.
fn of_server(status: u16, effect: Effect, body: &str) -> Effect {
    let is_page = !body.trim().is_empty() && serde_json::from_str::<Value>(body).is_err();
    match (status, effect) {
        (503, Effect::Unconfirmed) if own().iter().any(|own| own == body) => Effect::None,
        (500 | 503, Effect::Unconfirmed) if is_page => Effect::Unknown,
        _ => effect,
    }
}

#[test]
fn every_status_has_its_reason_with_any_body() {
    use Effect::{None as No, Unconfirmed, Unknown};
    use Reason as R;
    let table: &[(u16, &[Ask], Kind, Reason, Effect)] = &[
        (400, &ALL, Kind::InvalidArgument, R::ValidationFailed, No),
        (401, &ALL, Kind::Internal, R::UpstreamAuthFailed, No),
        (403, &ALL, Kind::PermissionDenied, R::UpstreamPermissionDenied, No),
        (404, &[List], Kind::Internal, R::UpstreamContractViolation, No),
        (404, &[Create], Kind::Internal, R::UpstreamContractViolation, Unconfirmed),
        (404, &[Get, Rename, Update, Delete], Kind::NotFound, R::ProfileNotFound, No),
        (405, &READS, Kind::Internal, R::UpstreamContractViolation, No),
        (405, &WRITES, Kind::Internal, R::UpstreamContractViolation, Unconfirmed),
        (408, &WRITES, Kind::Unavailable, R::UpstreamUnavailable, Unknown),
        (409, &[Create, Rename], Kind::AlreadyExists, R::ProfileAlreadyExists, No),
        (409, &[Update], Kind::FailedPrecondition, R::ProcessingFailed, No),
        (409, &[Delete], Kind::FailedPrecondition, R::ProfileInUse, No),
        (409, &READS, Kind::Internal, R::UpstreamContractViolation, No),
        (412, &ALL, Kind::InvalidArgument, R::ValidationFailed, No),
        (422, &READS, Kind::FailedPrecondition, R::ProcessingFailed, No),
        (422, &WRITES, Kind::FailedPrecondition, R::ProcessingFailed, Unconfirmed),
        (429, &ALL, Kind::ResourceExhausted, R::UpstreamThrottled, No),
        (500, &READS, Kind::Internal, R::UpstreamInternal, No),
        (500, &WRITES, Kind::Internal, R::UpstreamInternal, Unconfirmed),
        (502, &READS, Kind::Unavailable, R::UpstreamUnavailable, No),
        (502, &WRITES, Kind::Unavailable, R::UpstreamUnavailable, Unknown),
        (503, &READS, Kind::Unavailable, R::UpstreamUnavailable, No),
        (503, &WRITES, Kind::Unavailable, R::UpstreamUnavailable, Unconfirmed),
        (504, &WRITES, Kind::Unavailable, R::UpstreamUnavailable, Unknown),
        (207, &READS, Kind::Internal, R::UpstreamContractViolation, No),
        (207, &WRITES, Kind::Unknown, R::WriteOutcomeUnknown, Unknown),
        (202, &READS, Kind::Internal, R::UpstreamContractViolation, No),
        (202, &WRITES, Kind::Internal, R::UpstreamContractViolation, Unknown),
        (302, &READS, Kind::Internal, R::UpstreamContractViolation, No),
        (302, &WRITES, Kind::Internal, R::UpstreamContractViolation, Unknown),
        (520, &WRITES, Kind::Unavailable, R::UpstreamUnavailable, Unknown),
        (204, &READS, Kind::Internal, R::UpstreamContractViolation, No),
    ];
    for (status, asks, kind, reason, effect) in table {
        for body in bodies() {
            let effect = of_server(*status, *effect, &body);
            for asked in *asks {
                let error = ask(*asked, *status, &[], &body);
                let seen = (error.kind(), error.reason(), error.effect());
                assert_eq!(seen, (*kind, *reason, effect), "{asked:?} {status} {body}");
                assert_eq!(error.upstream().unwrap().status, Some(*status));
                let shown = format!("{error:?}");
                assert!(!shown.contains("Tomcat") && !shown.contains("<?xml"), "{shown}");
            }
        }
    }
}

#[test]
fn a_success_with_a_foreign_body_is_an_error() {
    for body in bodies() {
        for asked in ALL {
            let error = ask(asked, if asked == Create { 201 } else { 200 }, &[], &body);
            let effect = if READS.contains(&asked) { Effect::None } else { Effect::Unknown };
            let seen = (error.reason(), error.effect());
            assert_eq!(seen, (Reason::UpstreamContractViolation, effect), "{asked:?} {body}");
        }
    }
}

#[test]
fn a_failed_validation_reports_our_fields() {
    let violations = |asked, status, body: Value| -> Vec<String> {
        let error = ask(asked, status, &[], &body.to_string());
        error.violations().iter().map(ToString::to_string).collect()
    };
    for asked in [Create, Rename, Update] {
        for status in [400, 412] {
            let found = violations(asked, status, fixture("failure-412"));
            assert_eq!(found, ["profile.display_name: name is mandatory"]);
        }
    }
    let all: Vec<Value> =
        members::MEMBERS.iter().map(|m| json!({"field": m.key, "description": "bad"})).collect();
    let expected: Vec<String> =
        members::MEMBERS.iter().map(|m| format!("profile.{}: bad", m.path)).collect();
    assert_eq!(violations(Create, 412, json!({"errors": all})), expected);
    let odd = json!({"errors": [{"field": "tenant", "description": "unknown"}, {"field": "id"}, {},
        {"field": null, "description": 3}, 7, {"description": "<html>"}, {"field": "locale"}]});
    let expected = [
        "profile: tenant: unknown",
        "profile: id: is not accepted by the upstream",
        "profile: is not accepted by the upstream",
        "profile.subscriber.locale: is not accepted by the upstream",
    ];
    assert_eq!(violations(Update, 412, odd), expected);
    assert_eq!(violations(Create, 400, json!({"message": "no"})), ["profile: no"]);
    let body = fixture("failure-412");
    assert_eq!(violations(Delete, 412, body.clone()), ["name: name: name is mandatory"]);
    assert_eq!(violations(List, 400, body), ["parent: name: name is mandatory"]);
    let many: Vec<Value> = (0..1000).map(|n| json!({"field": format!("f{n}")})).collect();
    assert_eq!(violations(Create, 412, json!({"errors": many})).len(), 32);
}

#[test]
fn the_upstreams_code_and_message_are_passed_on() {
    let facts = |status, body: &str| {
        let facts = ask(Create, status, &[], body).upstream().cloned().unwrap();
        (facts.code, facts.message)
    };
    let words = "Subscriber max plan count exceeded".to_owned();
    let known = fixture("failure-422").to_string();
    for status in [400, 401, 403, 404, 409, 412, 422, 500, 503] {
        assert_eq!(facts(status, &known), (Some("1".into()), Some(words.clone())), "{status}");
    }
    let error = ask(Create, 422, &[], &known);
    assert!(error.message().ends_with("(1: Subscriber max plan count exceeded)"), "{error}");
    let internal = "Internal server error - [Failed to get session information]".to_owned();
    let body = fixture("failure-500").to_string();
    assert_eq!(facts(500, &body), (None, Some(internal)));
    assert_eq!(
        facts(422, r#"{"message":"<html>x</html>","errorCode":"E7"}"#),
        (Some("E7".into()), None)
    );
    let (_, message) = facts(422, &json!({"message": "x".repeat(5000)}).to_string());
    assert!(message.unwrap().len() <= 256);
    // 207 has no schema: its text is shown unchanged.
    let items = r#"{"items":[{"itemIndex":0,"status":200}]}"#;
    assert_eq!(facts(207, items), (None, Some(items.to_owned())));
}

#[test]
fn overload_says_when_to_retry() {
    let retry =
        |status, headers: &[(&'static str, &'static str)]| ask(Create, status, headers, "").retry();
    for status in [429, 503] {
        let after = |seconds| Retry::After(Some(Duration::from_secs(seconds)));
        assert_eq!(retry(status, &[("retry-after", "7")]), after(7));
        assert_eq!(retry(status, &[]), after(1));
    }
    assert_eq!(retry(401, &[]), Retry::No);
}

#[test]
fn an_update_writes_nothing_if_its_read_fails() {
    let desired = Profile { display_name: "new".into(), ..turkey_sauce() };
    let change = ProfileUpdate { id: "39", current: &turkey_sauce(), desired: &desired };
    for (status, body) in
        [(404, ""), (500, ""), (504, ""), (207, "{}"), (200, "{}"), (200, "<html>")]
    {
        let recorder = Recorder::default();
        recorder.push(status, body);
        let error = now(Pcc.update(&recorder, change)).unwrap_err();
        assert_eq!(error.effect(), Effect::None, "{status}");
        assert_eq!(recorder.requests().len(), 1);
    }
}
