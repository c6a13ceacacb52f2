//! The dialect on the vendor's own examples and on mutated ones, without a network.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    dialect::recorder::{Recorder, now},
    error::{Effect, Kind},
    pb::{Category, RadioAccess, ServiceType, State},
    upstream::Reply,
};

fn fixture(name: &str) -> Value {
    crate::dialect::recorder::fixture(&format!("bics-sft/{name}"))
}

fn result(code: &str, outer: &str) -> Value {
    json!({"Response": {"responseId": "1", "resultCode": outer,
        "resultParam": {"resultCode": code, "resultDescription": "words"}}})
}

fn one(members: Value) -> Value {
    json!({"Response": {"resultCode": "0", "resultParam": {"resultCode": "1331"},
        "responseParam": {"totalCount": "1", "serviceProfileList": [members]}}})
}

fn create(answer: Value) -> Result<Option<String>> {
    let recorder = Recorder::answering([answer]);
    now(BicsSft.create(&recorder, &profile(&[Data], &[R2g])))
}

fn read(members: Value) -> Profile {
    let listed = now(BicsSft.list(&Recorder::answering([one(members.clone())])));
    let listed = listed.map(|listing| listing.items);
    let found = now(BicsSft.get(&Recorder::answering([one(members)]), "SP_1")).unwrap().profile;
    assert!(listed.iter().flatten().all(|each| each.profile == found), "a list shows the same");
    found
}

fn profile(services: &[ServiceType], radio_access: &[RadioAccess]) -> Profile {
    Profile {
        display_name: "MVNE-AddOnServiceProfile".into(),
        state: State::Active.into(),
        category: Category::Addon.into(),
        radio_access: radio_access.iter().map(|r| i32::from(*r)).collect(),
        services: services
            .iter()
            .map(|s| Service { r#type: i32::from(*s), ..Service::default() })
            .collect(),
        ..Profile::default()
    }
}

use RadioAccess::{
    NbIot, NbIotNtn, RadioAccess2g as R2g, RadioAccess3g as R3g, RadioAccess4g as R4g,
    RadioAccess5g as R5g,
};
use ServiceType::{Data, SmsMo, SmsMt, Voice};

#[test]
fn a_create_matches_the_vendors_example() {
    let recorder = Recorder::answering([fixture("create-success-addon-plan")]);
    let profile = profile(&[SmsMt, Data, SmsMo], &[R5g, R2g, R4g, R3g]);
    let id = now(BicsSft.create(&recorder, &profile)).unwrap();
    assert_eq!(id.as_deref(), Some("SP_355"));
    assert_eq!(recorder.bodies(), [fixture("create-request")]);
    let request = &recorder.requests()[0];
    assert_eq!(request.path, "/api/CreateServiceProfile");
    let headers: HeaderMap = request.headers.iter().cloned().collect();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["x-requested-with"], "XMLHttpRequest");
}

#[test]
fn nb_iot_is_a_service_on_the_wire() {
    for (services, radio_access, expected) in [
        (&[][..], &[NbIot][..], json!({"service": "5"})),
        (&[Data], &[NbIot, R2g], json!({"service": "4|5", "accessType": "02"})),
        (&[SmsMo], &[R2g, R3g], json!({"service": "2", "accessType": "01"})),
        (&[SmsMt], &[R2g, R3g, R4g], json!({"service": "3", "accessType": "06"})),
    ] {
        let recorder = Recorder::answering([fixture("create-success-with-nb-iot-service-type")]);
        now(BicsSft.create(&recorder, &profile(services, radio_access))).unwrap();
        let sent = recorder.bodies()[0]["Request"]["requestParam"]["serviceProfile"].clone();
        let Value::Object(mut sent) = sent else { panic!("no object") };
        sent.retain(|key, _| key == "service" || key == "accessType");
        assert_eq!(Value::Object(sent), expected);
    }
}

#[test]
fn a_modify_sends_only_the_differences() {
    let current = read(json!({"profileName": "old", "status": "0",
        "serviceName": "DATA|MO-SMS|MT-SMS", "ratTypeName": "2G", "category": "0"}));
    let mut desired = current.clone();
    desired.display_name = "MVNE-BaseServiceProfile".into();
    desired.state = State::Active.into();
    desired.radio_access = vec![R2g.into(), R3g.into(), R4g.into()];
    desired.services.retain(|s| s.r#type == i32::from(SmsMt));
    let change = ProfileUpdate { id: "SP_343", current: &current, desired: &desired };
    let recorder = Recorder::answering([fixture("modify-base-plan")]);
    now(BicsSft.update(&recorder, change)).unwrap();
    assert_eq!(recorder.bodies(), [fixture("modify-request")]);
    assert!(!BicsSft.is_applied(change, &current));
    assert!(BicsSft.is_applied(change, &desired));

    let renamed = Profile { display_name: "new".into(), ..current.clone() };
    let recorder = Recorder::answering([fixture("modify-base-plan")]);
    let change = ProfileUpdate { desired: &renamed, ..change };
    now(BicsSft.update(&recorder, change)).unwrap();
    let expected = json!({"Request": {"requestParam": {"serviceProfile":
        {"id": "SP_343", "name": "new"}}}});
    assert_eq!(recorder.bodies(), [expected]);

    let nothing = Recorder::default();
    now(BicsSft.update(&nothing, ProfileUpdate { desired: &current, ..change })).unwrap();
}

#[test]
fn reads_are_lenient() {
    let strict = read(json!({"profileId": "SP_1", "profileName": "7", "status": "1",
        "category": "0", "serviceName": "DATA|MO-SMS", "ratTypeName": "2G/3G"}));
    for members in [
        json!({"profileId": "SP_1", "profileName": 7, "status": 1, "category": 0,
            "serviceName": "data|sms_mo", "ratTypeName": "2g / 3g"}),
        json!({"profileName": "7", "status": "1", "category": "0",
            "serviceName": "DATA'SMS-MO|DATA", "ratTypeName": "2G/3G"}),
    ] {
        assert_eq!(read(members), strict);
    }
    let all = read(json!({"serviceName": "DATA|MO-SMS|MT-SMS|NB-IOT", "ratTypeName": "2G/3G/4G"}));
    assert_eq!((all.services.len(), all.radio_access.len()), (3, 4));
    for names in
        ["data|Mo-Sms|MT_SMS|nb-iot", "DATA|SMS_MO|SMS-MT|NB_IoT", " DATA | MOSMS|MTSMS|NBIOT"]
    {
        let found = read(json!({"serviceName": names, "ratTypeName": "2g/3G / 4g"}));
        assert_eq!(found, all, "{names}");
    }
    let nulls = json!({"profileId": "SP_1", "profileName": null, "status": null,
        "category": null, "serviceName": null, "ratTypeName": null});
    assert_eq!((read(nulls), read(json!({"profileId": "SP_1"}))), Default::default());
}

#[test]
fn values_outside_the_model_are_kept_verbatim() {
    let members = json!({"profileId": "SP_1", "profileName": {"en": "x"}, "status": "2",
        "category": "9", "serviceName": "DATA|VoWiFi", "ratTypeName": "2G/6G",
        "owner": {"a": [1]}});
    let profile = read(members.clone());
    assert_eq!((profile.state, profile.category), (0, 0));
    assert_eq!(profile.services.len(), 1);
    let unmapped = profile.unmapped.clone().unwrap();
    for key in ["profileName", "status", "category", "serviceName", "ratTypeName", "owner"] {
        assert_eq!(unmapped.fields[key], crate::model::json::to_value(&members[key]), "{key}");
    }
    let odd = read(json!({"serviceName": ["DATA"], "status": true, "owner": {"a": [null]}}));
    assert!(odd.unmapped.unwrap().fields.keys().eq(["owner", "serviceName", "status"]));
    // A change of services would drop the unknown service.
    let mut desired = profile.clone();
    desired.services.push(service::KNOWN[1].into());
    desired.radio_access = vec![R2g.into()];
    let mut violations = Violations::default();
    let error = BicsSft.check_whole(&desired, Some(&profile), &mut violations).unwrap_err();
    assert_eq!(error.reason(), Reason::UnmappedValueAtRisk);
    // A rename would not.
    let renamed = Profile { display_name: "new".into(), ..profile.clone() };
    assert!(BicsSft.check_whole(&renamed, Some(&profile), &mut violations).is_ok());
}

#[test]
fn every_documented_code_has_its_reason() {
    use Effect::{None as No, Unconfirmed, Unknown};
    for (code, kind, reason, effect) in [
        ("1324", Kind::Unknown, Reason::UpstreamFailure, Unconfirmed),
        ("1326", Kind::Unknown, Reason::UpstreamFailure, Unconfirmed),
        ("1328", Kind::Unknown, Reason::UpstreamFailure, Unconfirmed),
        ("1330", Kind::Unknown, Reason::UpstreamFailure, Unconfirmed),
        ("1338", Kind::FailedPrecondition, Reason::ProfileInUse, No),
        ("8196", Kind::FailedPrecondition, Reason::ProfileInUse, No),
        ("6554", Kind::AlreadyExists, Reason::ProfileAlreadyExists, No),
        ("6565", Kind::FailedPrecondition, Reason::ChildConfigInvalid, No),
        ("10085", Kind::FailedPrecondition, Reason::RatPrivilegeConflict, No),
        ("10100", Kind::FailedPrecondition, Reason::AddonServicesImmutable, No),
        ("10111", Kind::InvalidArgument, Reason::AccessTypeNotApplicable, No),
        ("10239", Kind::Unknown, Reason::UpstreamFailure, Unconfirmed),
        ("10240", Kind::Unavailable, Reason::UpstreamUnavailable, Unknown),
        ("401", Kind::Internal, Reason::UpstreamAuthFailed, No),
        ("1359", Kind::Unknown, Reason::UpstreamFailure, Unconfirmed),
        ("99999", Kind::Unknown, Reason::UpstreamFailure, Unconfirmed),
        ("1331", Kind::Unknown, Reason::UpstreamFailure, Unconfirmed),
    ] {
        for answer in [result(code, "0"), result(code, "1"), {
            let mut number = result(code, "0");
            number["Response"]["resultParam"]["resultCode"] = json!(code.parse::<u64>().unwrap());
            number
        }] {
            let recorder = Recorder::answering([answer]);
            let error = now(BicsSft.create(&recorder, &profile(&[Data], &[R2g]))).unwrap_err();
            assert_eq!(
                (error.kind(), error.reason(), error.effect()),
                (kind, reason, effect),
                "{code}"
            );
            assert_eq!(error.upstream().unwrap().code.as_deref(), Some(code));
        }
    }
}

#[test]
fn a_conflict_names_the_child_entity() {
    let name = |description: &str| {
        let mut answer = result("10085", "0");
        answer["Response"]["resultParam"]["resultDescription"] = json!(description);
        let error = create(answer);
        error.unwrap_err().metadata().first().map(|(_, name)| name.clone())
    };
    let long =
        "denied due to conflicting RAT privileges assigned by Res. 11 Ltd. Please first update";
    assert_eq!(name(long).as_deref(), Some("Res. 11 Ltd"));
    assert_eq!(name("Service profile change denied due to RAT privileges conflict"), None);
}

#[test]
fn a_permission_failure_is_not_an_expired_token() {
    let mut answer = result("401", "1");
    answer["Response"]["resultParam"]["resultDescription"] = json!("Authorisation Failure");
    let reply = |answer: &Value| {
        let body = Bytes::from(answer.to_string());
        Reply::new(StatusCode::OK, HeaderMap::new(), body)
    };
    assert!(!fault::is_token_refused(&reply(&answer)));
    let error = now(BicsSft.list(&Recorder::answering([answer.clone()]))).unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamPermissionDenied);
    assert!(fault::is_token_refused(&reply(&result("401", "1"))));
}

#[test]
fn services_and_radio_access_must_match() {
    for (services, radio_access, fields) in [
        (&[Data][..], &[R2g][..], &[][..]),
        (&[], &[NbIot], &[]),
        (&[Data], &[R4g], &["profile.radio_access"]),
        (&[Data], &[R2g, R5g], &["profile.radio_access"]),
        (&[Data], &[R2g, NbIotNtn], &["profile.radio_access"]),
        (&[Data], &[NbIot], &["profile.radio_access"]),
        (&[], &[R2g, NbIot], &["profile.radio_access"]),
        (&[], &[], &["profile.services"]),
        (&[Voice], &[R2g], &["profile.services"]),
        (&[Voice], &[R3g], &["profile.radio_access", "profile.services"]),
    ] {
        let mut violations = Violations::default();
        let profile = profile(services, radio_access);
        BicsSft.check_fields(&profile, &|_| true, &mut violations);
        BicsSft.check_whole(&profile, None, &mut violations).unwrap();
        let mut found: Vec<String> = match violations.into_result() {
            Ok(()) => Vec::new(),
            Err(error) => error.violations().iter().map(|v| v.field.clone()).collect(),
        };
        found.sort_unstable();
        assert_eq!(found, fields, "{services:?} {radio_access:?}");
    }
}

#[test]
fn services_are_specified_by_id_or_type() {
    let by = |id: &str, kind: ServiceType| Service {
        id: id.into(),
        r#type: kind.into(),
        ..Service::default()
    };
    let unspecified = ServiceType::Unspecified;
    for (service, id) in [(by("4", unspecified), "4"), (by("", SmsMo), "2"), (by("3", SmsMt), "3")]
    {
        assert_eq!(service::resolve_for_request(&service).unwrap().id, id);
    }
    for bad in [by("4", SmsMo), by("5", unspecified), by("9", Data), by("", unspecified)] {
        let error = service::resolve_for_request(&bad).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{bad:?}");
    }
}

#[test]
fn detaching_the_last_cellular_service_removes_its_radio_access() {
    let current =
        read(json!({"profileId": "SP_1", "serviceName": "DATA|NB-IOT", "ratTypeName": "2G"}));
    let data = Service { r#type: Data.into(), ..Service::default() };
    let left = detach(&current, &data).unwrap();
    assert_eq!((left.services.len(), left.radio_access), (0, vec![i32::from(NbIot)]));
    let only = read(json!({"profileId": "SP_1", "serviceName": "DATA", "ratTypeName": "2G"}));
    assert!(detach(&only, &data).is_err());
}

#[test]
fn ids_are_sp_and_a_number() {
    for (id, good) in [
        ("SP_1", true),
        ("SP_6274", true),
        ("SP_", false),
        ("sp_1", false),
        ("SP_1a", false),
        ("1", false),
        ("SP_%2F", false),
        ("..", false),
        ("SP_٣", false),
        ("SP_12345678901234567890", false),
    ] {
        assert_eq!(BicsSft.accepts_id(id), good, "{id}");
    }
}

prop_compose! {
    fn any_profile()(
        name in "[a-zA-Z0-9 äß/|&'\"\\\\]{1,40}",
        active: bool,
        addon: bool,
        services in proptest::sample::subsequence(vec![Data, SmsMo, SmsMt], 0..=3),
        generation in 1..=4_usize,
        nb_iot: bool,
    ) -> Profile {
        let mut radio_access = Vec::new();
        if !services.is_empty() {
            radio_access.extend([R2g, R3g, R4g, R5g].into_iter().take(generation));
        }
        if nb_iot || services.is_empty() {
            radio_access.push(NbIot);
        }
        Profile {
            display_name: name,
            state: if active { State::Active } else { State::Inactive }.into(),
            category: if addon { Category::Addon } else { Category::Base }.into(),
            radio_access: radio_access.into_iter().map(i32::from).collect(),
            services: service::KNOWN.into_iter()
                .filter(|known| services.contains(&known.kind)).map(Service::from).collect(),
            ..Profile::default()
        }
    }
}

/// The vendor's tables, written independently: ids and codes as names.
fn as_read(written: &Value) -> Value {
    let text = |key: &str| written[key].as_str().unwrap_or_default().to_owned();
    let names: Vec<&str> = text("service")
        .split('|')
        .map(|id| match id {
            "2" => "MO-SMS",
            "3" => "MT-SMS",
            "4" => "DATA",
            _ => "NB-IOT",
        })
        .collect();
    let rat = match text("accessType").as_str() {
        "02" => json!("2G"),
        "01" => json!("2G/3G"),
        "06" => json!("2G/3G/4G"),
        "10" => json!("2G/3G/4G/5G"),
        _ => Value::Null,
    };
    json!({"profileId": "SP_1", "profileName": text("name"), "status": text("status"),
        "category": text("category"), "serviceName": names.join("|"), "ratTypeName": rat})
}

proptest! {
    #[test]
    fn written_profiles_are_read_back(profile in any_profile()) {
        let recorder = Recorder::answering([fixture("create-success-base-plan")]);
        now(BicsSft.create(&recorder, &profile)).unwrap();
        let sent = recorder.bodies()[0]["Request"]["requestParam"]["serviceProfile"].clone();
        let mut found = read(as_read(&sent));
        found.radio_access.sort_unstable();
        prop_assert_eq!(found, profile);
    }

    #[test]
    fn mutated_answers_never_panic_and_never_pass_as_successful_writes(
        at in 0_usize..400, byte: u8, cut in 0_usize..400, truncate: bool,
    ) {
        let mut body = fixture("create-success-base-plan").to_string().into_bytes();
        let cut = cut % body.len();
        if truncate { body.truncate(cut) } else { let at = at % body.len(); body[at] = byte; }
        let recorder = Recorder::default();
        recorder.push(200, body.clone());
        let created = now(BicsSft.create(&recorder, &profile(&[Data], &[R2g])));
        if truncate {
            prop_assert_eq!(created.unwrap_err().effect(), Effect::Unknown);
        } else if created.is_ok() {
            // The mutation changed a text that decides nothing.
            let body: Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&body["Response"]["resultParam"]["resultCode"], "1323");
        }
        let mut body = fixture("get-success").to_string().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let recorder = Recorder::default();
        recorder.push(200, body);
        let _ = now(BicsSft.list(&recorder));
    }
}
