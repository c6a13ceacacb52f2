//! Writes of several steps that fail half way.

use super::{fake::Interference, *};
use crate::{dialect::recorder::reply, error::Kind, upstream::Reply};

/// The n-th write gets this reply and is not carried out.
fn at(n: usize, answer: impl Fn() -> Result<Reply> + Send + Sync + 'static) -> Interference {
    Box::new(move |write| (write == n).then(|| (answer(), false)))
}

fn lost() -> Error {
    Error::new(Reason::WriteOutcomeUnknown, "the caller's deadline passed")
        .with_kind(Kind::DeadlineExceeded)
        .with_effect(Effect::Unknown)
}

#[test]
fn a_creation_that_fails_half_way_is_undone() {
    let desired = minimal(vec![service("38", &["8"]), by_id("6")]);
    let limit_missing = || Ok(reply(404, error_body(1201, "no such limit").to_string()));
    for (interfere, reason, kind, applied) in [
        (
            at(2, || Ok(reply(422, error_body(1401, "x").to_string()))),
            Reason::ValidationFailed,
            Kind::InvalidArgument,
            "create profile 7",
        ),
        (
            at(4, limit_missing),
            Reason::TrafficLimitNotFound,
            Kind::NotFound,
            "create profile 7, attach service 38, attach service 6",
        ),
        (
            at(3, || Ok(reply(500, ""))),
            Reason::UpstreamInternal,
            Kind::Internal,
            "create profile 7, attach service 38",
        ),
        (
            at(3, || Ok(reply(503, ""))),
            Reason::UpstreamUnavailable,
            Kind::Unavailable,
            "create profile 7, attach service 38",
        ),
        // Its outcome is known now: the profile does not exist.
        (
            at(3, || Err(lost())),
            Reason::DeadlineExceeded,
            Kind::DeadlineExceeded,
            "create profile 7, attach service 38",
        ),
    ] {
        let (recorder, held) = fake::with(Value::Null, interfere);
        let error = create(&recorder, &recorder, &desired).unwrap_err();
        assert_eq!((error.reason(), error.kind(), error.effect()), (reason, kind, Effect::None));
        assert_eq!(metadata(&error, "steps_applied").as_deref(), Some(applied));
        let mut undone: Vec<&str> = applied.split(", ").collect();
        undone.reverse();
        assert_eq!(metadata(&error, "steps_undone"), Some(undone.join(", ")));
        assert!(error.message().contains("undone") && error.message().contains(applied));
        assert_eq!(lines(&recorder).last().unwrap(), "DELETE service_profile/7");
        assert!(held.lock().unwrap().is_null());
    }
}

#[test]
fn undoing_uses_its_own_port() {
    let (port, cleanup) = (Recorder::default(), Recorder::default());
    let mut created = reply(201, "");
    created.headers.insert("location", "/api/v1/service_profile/7".parse().unwrap());
    port.push_result(Ok(created));
    port.push_result(Err(lost()));
    cleanup.push(204, "");
    let desired = minimal(vec![by_id("38")]);
    create(&port, &cleanup, &desired).unwrap_err();
    assert_eq!(lines(&cleanup), ["DELETE service_profile/7"]);
}

#[test]
fn a_creation_that_cannot_be_undone_describes_the_state() {
    let desired = minimal(vec![by_id("38"), by_id("6")]);
    let interfere: Interference = Box::new(|write| match write {
        3 => Some((Ok(reply(422, "")), false)),
        4 => Some((Ok(reply(500, "")), false)),
        _ => None,
    });
    let (recorder, _) = fake::with(Value::Null, interfere);
    let error = create(&recorder, &recorder, &desired).unwrap_err();
    assert_eq!(
        (error.reason(), error.kind(), error.effect()),
        (Reason::PartiallyApplied, Kind::FailedPrecondition, Effect::None)
    );
    assert_eq!(metadata(&error, "profile_id").as_deref(), Some("7"));
    assert_eq!(
        metadata(&error, "steps_applied").as_deref(),
        Some("create profile 7, attach service 38")
    );
    assert_eq!(metadata(&error, "steps_undone").as_deref(), Some(""));
    assert!(error.message().starts_with("the profile is left"), "{}", error.message());

    // The reply to the removal was lost, but a read shows that it took effect.
    let interfere: Interference = Box::new(|write| match write {
        3 => Some((Ok(reply(422, "")), false)),
        4 => Some((Ok(reply(504, "")), true)),
        _ => None,
    });
    let (recorder, _) = fake::with(Value::Null, interfere);
    let error = create(&recorder, &recorder, &desired).unwrap_err();
    assert_eq!(error.reason(), Reason::ProcessingFailed);
}

#[test]
fn a_post_without_a_clear_answer_is_left_to_be_reconciled() {
    for answer in [Ok(reply(502, "")), Err(lost()), Ok(reply(201, "<html>"))] {
        let recorder = Recorder::default();
        recorder.push_result(answer);
        let desired = minimal(vec![by_id("38")]);
        let error = create(&recorder, &recorder, &desired).unwrap_err();
        assert_eq!(error.effect(), Effect::Unknown);
        assert_eq!(lines(&recorder), ["POST service_profile"]);
    }
}

/// A profile, and the result of an update of its name and services: six writes.
fn update(object: &Value) -> (Profile, Profile) {
    let current = read(object);
    let services = vec![service("38", &["8"]), service("3", &["4"])];
    let desired = Profile { display_name: "new".into(), services, ..current.clone() };
    (current, desired)
}

fn before() -> Value {
    json!({"id": 7, "name": "old", "service": [
        {"id": 38, "traffic_limit": [{"id": 9}]}, {"id": 6, "traffic_limit": []}]})
}

#[test]
fn an_update_that_fails_half_way_is_undone() {
    let (current, desired) = update(&before());
    let change = ProfileUpdate { id: "7", current: &current, desired: &desired };
    let (recorder, _) = fake::obedient(before());
    now(ENDPOINT.update(&recorder, change)).unwrap();
    assert_eq!(recorder.requests().len(), 6);

    for n in 2..=6 {
        for (status, carried_out) in [(422, false), (500, false), (500, true)] {
            let interfere: Interference =
                Box::new(move |w| (w == n).then(|| (Ok(reply(status, "")), carried_out)));
            let (recorder, held) = fake::with(before(), interfere);
            let result = now(ENDPOINT.update(&recorder, change));
            if carried_out && n == 6 {
                // The last step took effect after all, so the whole update did.
                result.unwrap();
                continue;
            }
            let error = result.unwrap_err();
            let reason =
                if status == 422 { Reason::ProcessingFailed } else { Reason::UpstreamInternal };
            let effect = if status == 422 { Effect::None } else { Effect::Unconfirmed };
            assert_eq!((error.reason(), error.effect()), (reason, effect), "{n} {status}");
            assert!(metadata(&error, "steps_undone").unwrap().ends_with("change members"));
            let mut found = read(&held.lock().unwrap());
            crate::model::etag::normalize(&mut found);
            let mut expected = current.clone();
            crate::model::etag::normalize(&mut expected);
            assert_eq!(found, expected, "{n} {status} {carried_out}");
        }
    }
}

#[test]
fn an_update_that_fails_at_once_or_unclearly_is_left_to_be_reconciled() {
    let (current, desired) = update(&before());
    let change = ProfileUpdate { id: "7", current: &current, desired: &desired };
    for (n, answer, effect, reads, applied) in [
        // It may have taken effect anyway, so a read looks for the first step only.
        (1, Ok(reply(500, "")), Effect::Unconfirmed, 1, None),
        (1, Ok(reply(422, "")), Effect::None, 0, None),
        (2, Ok(reply(504, "")), Effect::Unknown, 0, Some("change members")),
        (3, Err(lost()), Effect::Unknown, 0, Some("change members, detach limit 9 of service 38")),
    ] {
        let interfere: Interference = Box::new(move |w| (w == n).then(|| (answer.clone(), false)));
        let (recorder, _) = fake::with(before(), interfere);
        let error = now(ENDPOINT.update(&recorder, change)).unwrap_err();
        assert_eq!((error.effect(), recorder.requests().len()), (effect, n + reads));
        assert_eq!(metadata(&error, "steps_applied").as_deref(), applied);
    }
}

#[test]
fn an_update_that_cannot_be_undone_describes_the_state() {
    let (current, desired) = update(&before());
    let change = ProfileUpdate { id: "7", current: &current, desired: &desired };
    // The third write fails, and so does everything that would undo the first two.
    let interfere: Interference = Box::new(|w| (w >= 3).then(|| (Ok(reply(422, "")), false)));
    let (recorder, _) = fake::with(before(), interfere);
    let error = now(ENDPOINT.update(&recorder, change)).unwrap_err();
    assert_eq!((error.reason(), error.effect()), (Reason::PartiallyApplied, Effect::None));
    assert_eq!(
        metadata(&error, "steps_applied").as_deref(),
        Some("change members, detach limit 9 of service 38")
    );

    // A field that cannot be cleared cannot be undone.
    let mut desired = desired.clone();
    desired.retail = Some(true);
    let change = ProfileUpdate { desired: &desired, ..change };
    let (recorder, _) = fake::with(before(), at(3, || Ok(reply(422, ""))));
    let error = now(ENDPOINT.update(&recorder, change)).unwrap_err();
    assert_eq!(error.reason(), Reason::PartiallyApplied);
    assert!(error.message().contains("with retail changed"), "{}", error.message());
}
