//! Updates: masks, what is sent and what is refused, etags, and failures that need a second look.

use profile_gateway::pb::{
    Category, CreateProfileRequest, DeleteProfileRequest, Profile, UpdateProfileRequest,
};
use prost_types::FieldMask;
use serde_json::{Value, json};
use tonic::Code;

use crate::kit::{
    bodies::{self, fixture, profile_with},
    double::{self, CREATE, DELETE, Double, GET, LIST, MODIFY, double},
    gateway::{self, Gateway, gateway},
    model::{self, DATA, NB_IOT, R2G, R3G, R4G, R5G, SMS_MO, mask, named, profile, shape, with},
    sandbox::{Sandbox, sandbox},
    status::{fails, failure},
};

async fn start() -> (Sandbox, Gateway) {
    let sandbox = sandbox().await;
    let gateway = gateway::on(&sandbox).await;
    (sandbox, gateway)
}

/// A double that has one profile SP_1: DATA on 2G and 3G, active, base.
async fn start_double() -> (Double, Gateway) {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    upstream
        .always(GET, double::json(bodies::profiles(&[bodies::profile("SP_1", "one")])))
        .always(LIST, double::json(bodies::profiles(&[bodies::profile("SP_1", "one")])))
        .always(MODIFY, double::json(fixture("modify-base-plan")));
    (upstream, gateway)
}

/// A change of SP_1 with a name for the table.
struct Case {
    what: &'static str,
    request: Profile,
    mask: Option<FieldMask>,
    /// Members sent apart from the id; null when nothing is sent.
    sent: Value,
}

fn case(what: &'static str, request: Profile, paths: Option<&[&str]>, sent: Value) -> Case {
    Case { what, request, mask: paths.map(mask), sent }
}

/// SP_1 as it is, as a whole.
fn whole() -> Profile {
    Profile { name: model::name("SP_1"), ..profile("one") }
}

fn renamed() -> Profile {
    Profile { display_name: "new".into(), ..named("SP_1") }
}

/// Some of each kind; all masks are tested with `model::mask`, all members with the dialect.
fn changes() -> Vec<Case> {
    let nb_iot = Profile { name: model::name("SP_1"), ..with(&[DATA], &[R2G, R3G, NB_IOT]) };
    let only_nb_iot = Profile { name: model::name("SP_1"), ..with(&[], &[NB_IOT]) };
    let all = ["services", "radio_access"];
    let name = json!({"name": "new"});
    vec![
        case("populated fields", renamed(), None, name.clone()),
        case("one path", Profile { state: 2, ..renamed() }, Some(&["display_name"]), name),
        case("output-only paths alone", renamed(), Some(&["etag", "unmapped"]), Value::Null),
        case("NB-IoT more", nb_iot, None, json!({"service": "4|5"})),
        case("NB-IoT alone", only_nb_iot, Some(&all), json!({"service": "5"})),
        case("the same again under *", whole(), Some(&["*"]), Value::Null),
    ]
}

#[tokio::test]
async fn only_what_changes_is_sent() {
    let (upstream, _) = start_double().await;
    let lines = "settle_time = \"0s\"";
    let gateway = gateway().fixed("sft", &upstream.base_url, lines).start().await;
    for Case { what, request, mask, sent } in changes() {
        let before = upstream.count(MODIFY);
        let updated = gateway.update_with(request, mask, None).await;
        let requests = upstream.requests(MODIFY).split_off(before);
        if sent.is_null() {
            assert!(requests.is_empty(), "{what}: {requests:?}");
            assert!(updated.is_ok(), "{what}: {updated:?}");
            continue;
        }
        // The double takes what it is sent, and shows the same profile as before.
        fails(updated, Code::FailedPrecondition, "WRITE_NOT_APPLIED");
        let mut members = sent;
        members["id"] = json!("SP_1");
        let bodies: Vec<Value> = requests.iter().map(|r| r.json()).collect();
        assert_eq!(bodies, [bodies::request(members)], "{what}");
    }
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused() {
    let (upstream, gateway) = start_double().await;
    let request = Profile {
        category: Category::Addon.into(),
        description: Some("x".into()),
        ..named("SP_1")
    };
    let invalid = "VALIDATION_FAILED";
    for (paths, reason, fields) in [
        (&["display_name"][..], invalid, &["profile.display_name"][..]),
        (&["state"], invalid, &["profile.state"]),
        (
            &["nope", "description"],
            "FIELD_NOT_SUPPORTED",
            &["profile.description", "update_mask.nope"],
        ),
    ] {
        let failed = failure(gateway.update_with(request.clone(), Some(mask(paths)), None).await);
        assert!(failed.is(Code::InvalidArgument, reason), "{paths:?}: {failed:#?}");
        let mut found = failed.fields;
        found.sort_unstable();
        assert_eq!(found, fields, "{paths:?}");
    }
    let changed = Profile { category: Category::Addon.into(), ..named("SP_1") };
    let failed = fails(gateway.update(changed).await, Code::InvalidArgument, "FIELD_IMMUTABLE");
    assert_eq!(failed.fields, ["profile.category"]);
    assert_eq!(upstream.writes(), 0);
}

#[tokio::test]
async fn every_violation_is_named_at_once_and_no_upstream_is_asked() {
    let (upstream, gateway) = start_double().await;
    let wrong = Profile {
        description: Some("x".into()),
        radio_access: vec![R2G.into(), R4G.into()],
        services: vec![model::service_id("9")],
        ..Profile::default()
    };
    let request = CreateProfileRequest {
        parent: model::BACKEND.into(),
        profile: Some(wrong.clone()),
        request_id: "not a uuid".into(),
        validate_only: false,
    };
    let failed = failure(gateway.profiles.clone().create_profile(request).await);
    assert_eq!(failed.code, Code::InvalidArgument);
    let mut fields = failed.fields;
    fields.sort_unstable();
    let expected = [
        "profile.category",
        "profile.description",
        "profile.display_name",
        "profile.radio_access",
        "profile.services",
        "profile.state",
        "request_id",
    ];
    assert_eq!(fields, expected);

    let update = UpdateProfileRequest {
        profile: Some(Profile { name: model::name("SP_1"), ..wrong }),
        request_id: "not a uuid".into(),
        ..UpdateProfileRequest::default()
    };
    let failed = failure(gateway.profiles.clone().update_profile(update).await);
    let mut fields = failed.fields;
    fields.sort_unstable();
    let expected =
        ["profile.description", "profile.radio_access", "profile.services", "request_id"];
    assert_eq!(fields, expected);
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn radio_access_and_services_must_fit_before_any_call() {
    let (upstream, gateway) = start_double().await;
    for (services, access) in [
        (&[DATA][..], &[R3G][..]),
        (&[DATA], &[R2G, R4G]),
        (&[DATA], &[R2G, R3G, R5G]),
        (&[DATA], &[]),
        (&[DATA], &[NB_IOT]),
        (&[], &[R2G]),
        (&[], &[R2G, NB_IOT]),
    ] {
        let request =
            Profile { display_name: "a".into(), state: 1, category: 1, ..with(services, access) };
        let failed = failure(gateway.create(request).await);
        assert!(failed.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{access:?}: {failed:#?}");
        assert_eq!(failed.fields, ["profile.radio_access"], "{services:?} {access:?}");
        let odd = access == [R3G] || access.contains(&R4G) || access.contains(&R5G);
        let four = ["{2G}", "{2G,3G}", "{2G,3G,4G}", "{2G,3G,4G,5G}"];
        assert!(!odd || four.iter().all(|set| failed.message.contains(set)), "{}", failed.message);
    }
    let nothing = Profile { display_name: "a".into(), state: 1, category: 1, ..with(&[], &[]) };
    fails(gateway.create(nothing).await, Code::InvalidArgument, "VALIDATION_FAILED");
    assert_eq!(upstream.seen().len(), 0);
    for (access, code, id) in [
        (&[R2G][..], "02", "SP_9"),
        (&[R3G, R2G], "01", "SP_10"),
        (&[R4G, R3G, R2G], "06", "SP_11"),
        (&[R2G, R3G, R4G, R5G], "10", "SP_12"),
    ] {
        upstream.then(CREATE, double::json(bodies::created(id)));
        let request =
            Profile { display_name: "a".into(), state: 1, category: 1, ..with(&[DATA], access) };
        gateway.create(request).await.unwrap();
        let sent = upstream.requests(CREATE).pop().unwrap().json();
        assert_eq!(sent["Request"]["requestParam"]["serviceProfile"]["accessType"], code);
    }
}

#[tokio::test]
async fn a_stale_etag_aborts_and_a_fresh_one_passes() {
    let (sandbox, gateway) = start().await;
    let seen = gateway.get("SP_352").await.unwrap();
    assert_eq!(gateway.get("SP_352").await.unwrap().etag, seen.etag);
    let other = gateway::on(&sandbox).await;
    assert_eq!(other.get("SP_352").await.unwrap().etag, seen.etag, "the same on every replica");

    let update = |display_name: &str, etag: &str| Profile {
        display_name: display_name.into(),
        etag: etag.into(),
        ..named("SP_352")
    };
    let changed = other.update(update("second", &seen.etag)).await.unwrap();
    assert_ne!(changed.etag, seen.etag);
    let writes = sandbox.effects().await.len();
    let stale =
        fails(gateway.update(update("third", &seen.etag)).await, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(stale.resource.as_deref(), Some("backends/sft/profiles/SP_352"));
    let delete = async |etag: &str| {
        let request = DeleteProfileRequest {
            name: model::name("SP_352"),
            etag: etag.into(),
            ..DeleteProfileRequest::default()
        };
        gateway.profiles.clone().delete_profile(request).await
    };
    fails(delete(&seen.etag).await, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(sandbox.effects().await.len(), writes);

    let third = gateway.update(update("third", &changed.etag)).await.unwrap();
    delete(&third.etag).await.unwrap();
    fails(gateway.get("SP_352").await, Code::NotFound, "PROFILE_NOT_FOUND");
}

#[tokio::test]
async fn deleting_a_missing_profile_succeeds_only_with_allow_missing() {
    let (sandbox, gateway) = start().await;
    // Ids that the dialect cannot have count as missing too.
    for id in ["SP_99999", "nope"] {
        let request = DeleteProfileRequest { name: model::name(id), ..Default::default() };
        let missing = gateway.profiles.clone().delete_profile(request.clone()).await;
        let missing = fails(missing, Code::NotFound, "PROFILE_NOT_FOUND");
        assert_eq!(missing.resource, Some(model::name(id)));
        let allowed = DeleteProfileRequest { allow_missing: true, ..request };
        gateway.profiles.clone().delete_profile(allowed).await.unwrap();
    }
    assert_eq!(sandbox.effects().await, [] as [Value; 0]);
    let in_use = DeleteProfileRequest {
        name: model::name("SP_1249"),
        allow_missing: true,
        ..Default::default()
    };
    let in_use = gateway.profiles.clone().delete_profile(in_use).await;
    fails(in_use, Code::FailedPrecondition, "PROFILE_IN_USE");
}

#[tokio::test]
async fn validate_only_writes_nothing_and_fails_alike() {
    let (sandbox, gateway) = start().await;
    let mut client = gateway.profiles.clone();
    let create = |profile| CreateProfileRequest {
        parent: model::BACKEND.into(),
        profile: Some(profile),
        validate_only: true,
        ..Default::default()
    };
    let preview = client.create_profile(create(profile("fresh"))).await.unwrap().into_inner();
    assert_eq!((preview.display_name.as_str(), preview.name.as_str()), ("fresh", ""));
    let taken = client.create_profile(create(profile("DEFAULT"))).await;
    fails(taken, Code::AlreadyExists, "PROFILE_ALREADY_EXISTS");
    let wrong = client.create_profile(create(Profile { state: 0, ..profile("fresh") })).await;
    fails(wrong, Code::InvalidArgument, "VALIDATION_FAILED");

    let update = |profile: Profile| UpdateProfileRequest {
        profile: Some(profile),
        validate_only: true,
        ..Default::default()
    };
    let change = Profile { display_name: "renamed".into(), ..named("SP_352") };
    let preview = client.update_profile(update(change.clone())).await.unwrap().into_inner();
    assert_eq!(
        (preview.display_name.as_str(), preview.name.clone()),
        ("renamed", model::name("SP_352"))
    );
    let stale = Profile { etag: "\"stale\"".into(), ..change.clone() };
    fails(client.update_profile(update(stale)).await, Code::Aborted, "ETAG_MISMATCH");
    let missing = Profile { name: model::name("SP_99999"), ..change };
    fails(client.update_profile(update(missing)).await, Code::NotFound, "PROFILE_NOT_FOUND");

    let delete = |id: &str, etag: &str| DeleteProfileRequest {
        name: model::name(id),
        etag: etag.into(),
        validate_only: true,
        ..Default::default()
    };
    client.delete_profile(delete("SP_352", "")).await.unwrap();
    fails(client.delete_profile(delete("SP_352", "\"x\"")).await, Code::Aborted, "ETAG_MISMATCH");
    fails(client.delete_profile(delete("SP_99999", "")).await, Code::NotFound, "PROFILE_NOT_FOUND");
    for operation in ["CreateServiceProfile", "ModifyServiceProfile", "DeleteServiceProfile"] {
        assert_eq!(sandbox.arrived(operation).await, 0, "{operation}");
    }
}

#[tokio::test]
async fn a_failure_without_a_reason_is_investigated() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    let there = double::json(bodies::profiles(&[bodies::profile("SP_1", "one")]));
    let gone = double::json(fixture("get-failure-no-data-available"));
    // Gone between the read and the write, or all along.
    upstream.then(GET, there.clone()).then(MODIFY, double::json(fixture("modify-failure")));
    upstream.then(GET, gone.clone());
    let failed = fails(gateway.update(renamed()).await, Code::NotFound, "PROFILE_NOT_FOUND");
    assert_eq!(failed.resource.as_deref(), Some("backends/sft/profiles/SP_1"));
    upstream.then(DELETE, double::json(fixture("delete-failure"))).then(GET, gone);
    fails(gateway.delete("SP_1").await, Code::NotFound, "PROFILE_NOT_FOUND");

    upstream.then(GET, there.clone()).then(MODIFY, double::json(fixture("modify-failure")));
    upstream.always(GET, there);
    let failed = fails(gateway.update(renamed()).await, Code::Unknown, "UPSTREAM_FAILURE");
    assert_eq!(failed.meta("upstream_code"), "1326");
    upstream.then(DELETE, double::json(fixture("delete-failure")));
    let failed = fails(gateway.delete("SP_1").await, Code::Unknown, "UPSTREAM_FAILURE");
    assert_eq!(failed.meta("upstream_code"), "1330");
    assert_eq!((upstream.count(MODIFY), upstream.count(DELETE)), (2, 2), "nothing is sent again");
}

#[tokio::test]
async fn services_that_the_model_cannot_name_are_not_dropped() {
    let (upstream, gateway) = start_double().await;
    let strange = |name| {
        let members = json!({"serviceName": "DATA|VOLTE", "owner": "x"});
        double::json(bodies::profiles(&[profile_with("SP_1", name, members)]))
    };
    upstream.then(GET, strange("one")).then(GET, strange("one")).always(GET, strange("new"));
    let more = Profile { name: model::name("SP_1"), ..with(&[DATA, SMS_MO], &[R2G, R3G]) };
    fails(gateway.update(more).await, Code::FailedPrecondition, "UNMAPPED_VALUE_AT_RISK");
    assert_eq!(upstream.writes(), 0);
    // A change of something else leaves them alone.
    let changed = gateway.update(renamed()).await.unwrap();
    let sent = upstream.requests(MODIFY).pop().unwrap().json();
    assert_eq!(sent, bodies::request(json!({"id": "SP_1", "name": "new"})));
    assert!(changed.unmapped.unwrap().fields.contains_key("serviceName"));
    assert_eq!(shape(&gateway.get("SP_1").await.unwrap()).0, ["4"]);
}
