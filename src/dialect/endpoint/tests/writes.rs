//! Model → requests.

use http::HeaderMap;

use super::*;
use crate::pb::{
    ApiSecret, Callback, Callbacks, Dns, EsmeInterface, NetworkSettings, PaymentType, Period,
    Quotas, SmsSettings,
};

/// What a create from the vendor's example sends: all writable members, references by id.
fn written() -> Value {
    let mut object = fixture("profile");
    let members = object.as_object_mut().unwrap();
    for key in ["id", "used_count", "service"] {
        members.remove(key);
    }
    for (_, value) in members.iter_mut().filter(|(_, value)| value.is_object()) {
        *value = json!({"id": value["id"]});
    }
    object
}

#[test]
fn the_vendors_example_is_written_as_it_was_read() {
    let profile = read(&fixture("profile"));
    let (recorder, held) = fake::obedient(Value::Null);
    assert_eq!(create(&recorder, &recorder, &profile).unwrap(), "7");
    let expected = [
        "POST service_profile",
        "PUT service_profile/7/service/123",
        "PUT service_profile/7/service/234",
        "PUT service_profile/7/service/123/traffic_limit/123",
        "PUT service_profile/7/service/123/traffic_limit/234",
    ];
    assert_eq!(lines(&recorder), expected);
    assert_eq!(recorder.bodies(), [written()]);
    assert_eq!(held.lock().unwrap()["service"][0]["traffic_limit"][1]["id"], 234);

    let request = &recorder.requests()[0];
    assert_eq!(request.path, "/api/v1/service_profile");
    let headers: HeaderMap = request.headers.iter().cloned().collect();
    assert_eq!(headers["content-type"], "application/json");
    let headers: HeaderMap = recorder.requests()[1].headers.iter().cloned().collect();
    assert_eq!(headers["content-length"], "0");

    let change = ProfileUpdate { id: "1", current: &profile, desired: &profile };
    now(ENDPOINT.update(&Recorder::default(), change)).unwrap();
    assert!(ENDPOINT.is_applied(change, &profile) && ENDPOINT.is_created(&profile, &profile));
}

#[test]
fn a_create_omits_unset_fields() {
    let recorder = Recorder::default();
    let mut created = crate::dialect::recorder::reply(201, "");
    // Another host, and a slash at the end: the last segment is the id, and the URL is not used.
    created
        .headers
        .insert("location", "https://x.example/api/v1/service_profile/12/".parse().unwrap());
    recorder.push_result(Ok(created));
    assert_eq!(create(&recorder, &recorder, &minimal(vec![])).unwrap(), "12");
    assert_eq!(recorder.bodies(), [json!({"name": "n"})]);

    let radio = Profile { radio_access: vec![R2g.into(), R4g.into()], ..minimal(vec![]) };
    let expected =
        json!({"name": "n", "allowed_3g": false, "allowed_4g": true, "allowed_nb_iot": false});
    assert_eq!(Value::Object(encode::creation(&radio)), expected);
    let radio = Profile { radio_access: vec![R2g.into(), NbIotNtn.into()], ..minimal(vec![]) };
    assert_eq!(encode::creation(&radio)["allowed_nb_iot_geo"], true);
}

#[test]
fn a_creation_without_a_location_is_searched_for() {
    for location in [
        None,
        Some("/api/v1/service_profile"),
        Some(""),
        // The id of something else.
        Some("https://x.example/api/v1/organisation/77"),
        Some("/api/v1/service_profile/7/service/77"),
    ] {
        let recorder = Recorder::default();
        let mut created = crate::dialect::recorder::reply(201, "");
        if let Some(location) = location {
            created.headers.insert("location", location.parse().unwrap());
        }
        recorder.push_result(Ok(created));
        let services = minimal(vec![by_id("38")]);
        assert_eq!(now(ENDPOINT.create(&recorder, &services)).unwrap(), None, "{location:?}");
        assert_eq!(lines(&recorder), ["POST service_profile"]);
    }
    // A found profile is ours if it has what the POST sets; an update completes it.
    let (desired, found) = (minimal(vec![by_id("38")]), read(&json!({"id": 7, "name": "n"})));
    assert!(ENDPOINT.is_created(&desired, &found));
    assert!(!ENDPOINT.is_created(&desired, &read(&json!({"id": 7, "name": "m"}))));
    // Replies may lack `dns`, which then proves nothing.
    let dns = Dns { id: "1".into(), ..Dns::default() };
    let network = Some(NetworkSettings { dns: Some(dns), ..NetworkSettings::default() });
    let with_dns = Profile { network, ..desired.clone() };
    assert!(ENDPOINT.is_created(&with_dns, &found));
    let other = read(&json!({"id": 7, "name": "n", "dns": {"id": 2}}));
    assert!(!ENDPOINT.is_created(&with_dns, &other));
    let change = ProfileUpdate { id: "7", current: &found, desired: &desired };
    assert!(!ENDPOINT.is_applied(change, &found));
    let (recorder, _) = fake::obedient(json!({"id": 7, "name": "n", "service": []}));
    let item = Item { id: "7".into(), profile: found.clone() };
    now(ENDPOINT.finish(&recorder, None, &item, &desired)).unwrap();
    assert_eq!(lines(&recorder), ["PUT service_profile/7/service/38"]);
}

#[test]
fn a_patch_sends_only_what_changes() {
    let current = read(&fixture("profile"));
    let mut desired = current.clone();
    desired.display_name = "new".into();
    desired.radio_access = vec![R2g.into(), R3g.into(), R4g.into(), NbIotNtn.into()];
    desired.payment_type = PaymentType::Prepaid.into();
    desired.quotas = Some(Quotas { data: Some(false), sms: None });
    desired.sms = Some(SmsSettings {
        p2p_external: Some(false),
        esme_interface: Some(EsmeInterface { id: "4".into(), description: None }),
        ..desired.sms.unwrap()
    });
    desired.callbacks = Some(Callbacks {
        api: Some(Callback { id: "38".into(), ..Callback::default() }),
        api_secret: Some(ApiSecret { id: "40".into(), purpose: None }),
        moc: None,
    });
    let change = ProfileUpdate { id: "1", current: &current, desired: &desired };
    let (recorder, held) = fake::obedient(fixture("profile"));
    now(ENDPOINT.update(&recorder, change)).unwrap();
    assert_eq!(lines(&recorder), ["PATCH service_profile/1"]);
    let expected = json!({"name": "new", "allowed_4g": true, "allowed_nb_iot_geo": true,
        "apply_data_quota": false, "sms_p2p_ext": false, "prepaid": true,
        "api_secret": {"id": 40}, "esme_interface_type": {"id": 4}, "moc_callback": {"id": null}});
    assert_eq!(recorder.bodies(), [expected]);
    assert!(ENDPOINT.is_applied(change, &read(&held.lock().unwrap())));
    assert!(!ENDPOINT.is_applied(change, &current));
}

#[test]
fn an_empty_text_clears_a_description() {
    let current = read(&fixture("profile"));
    let desired = Profile { description: None, ..current.clone() };
    let asked = encode::differences(&current, &desired);
    assert_eq!(Value::Object(asked), json!({"description": ""}));
    let emptied = Profile { description: Some(String::new()), ..current.clone() };
    assert!(encode::differences(&emptied, &desired).is_empty());
}

#[test]
fn services_change_in_the_order_that_the_upstream_accepts() {
    let current = minimal(vec![service("1", &["11", "12"]), service("2", &["21"]), by_id("3")]);
    let desired = minimal(vec![service("4", &["41"]), service("2", &["22"]), by_id("3")]);
    let object = json!({"id": 7, "name": "n", "service": [
        {"id": 1, "traffic_limit": [{"id": 11}, {"id": 12}]},
        {"id": 2, "traffic_limit": [{"id": 21}]}, {"id": 3, "traffic_limit": []}]});
    let (recorder, held) = fake::obedient(object);
    let change = ProfileUpdate { id: "7", current: &current, desired: &desired };
    now(ENDPOINT.update(&recorder, change)).unwrap();
    let expected = [
        "DELETE service_profile/7/service/1/traffic_limit/11",
        "DELETE service_profile/7/service/1/traffic_limit/12",
        "DELETE service_profile/7/service/2/traffic_limit/21",
        "DELETE service_profile/7/service/1",
        "PUT service_profile/7/service/4",
        "PUT service_profile/7/service/4/traffic_limit/41",
        "PUT service_profile/7/service/2/traffic_limit/22",
    ];
    assert_eq!(lines(&recorder), expected);
    let found = read(&held.lock().unwrap());
    assert!(ENDPOINT.is_applied(change, &found) && !ENDPOINT.is_applied(change, &current));
}

#[test]
fn services_and_limits_are_resolved_with_the_catalog() {
    let monthly = Period { id: String::new(), time_units: Some(1), unit: Some("months".into()) };
    let wanted = TrafficLimit { volume: Some(5), period: Some(monthly), ..limit("") };
    let mut data = Service { id: "38".into(), ..by_kind(ServiceType::Data) };
    data.traffic_limits = vec![wanted.clone(), limit("77")];
    let desired = minimal(vec![by_kind(ServiceType::SmsMt), data, by_id("99")]);
    let (recorder, _) = fake::obedient(Value::Null);
    let resolved = now(ENDPOINT.resolve(&recorder, desired, None)).unwrap();
    let ids: Vec<&str> = resolved.services.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["6", "38", "99"]);
    let limits: Vec<&str> =
        resolved.services[1].traffic_limits.iter().map(|l| l.id.as_str()).collect();
    assert_eq!(limits, ["8", "77"]);
    assert_eq!(lines(&recorder), ["GET service", "GET service/38/traffic_limit"]);

    // No lookup is needed for what the profile already has.
    let current = read(&fixture("profile"));
    let again = now(ENDPOINT.resolve(&Recorder::default(), current.clone(), Some(&current)));
    assert_eq!(again.unwrap(), current);
    let named = Profile { services: vec![by_kind(ServiceType::Sms)], ..current.clone() };
    let resolved = now(ENDPOINT.resolve(&Recorder::default(), named, Some(&current))).unwrap();
    assert_eq!(resolved.services, current.services[1..]);

    let period = Period { id: "2".into(), ..Period::default() };
    let wanted = TrafficLimit { volume: Some(6), period: Some(period), ..limit("") };
    for (services, field) in [
        (vec![by_kind(ServiceType::Ussd)], "profile.services"),
        // The catalog has two DATA services.
        (vec![by_kind(ServiceType::Data)], "profile.services"),
        (vec![Service { id: "38".into(), ..by_kind(ServiceType::Voice) }], "profile.services"),
        (vec![by_id("6"), by_kind(ServiceType::SmsMt)], "profile.services"),
        (
            vec![Service { traffic_limits: vec![wanted], ..by_id("38") }],
            "profile.services.traffic_limits",
        ),
    ] {
        let (recorder, _) = fake::obedient(Value::Null);
        let error = now(ENDPOINT.resolve(&recorder, minimal(services), None)).unwrap_err();
        assert_eq!(
            (error.reason(), fields(&error)),
            (Reason::ValidationFailed, vec![field.into()])
        );
    }
    // Unresolved services are never sent.
    let unresolved = minimal(vec![by_kind(ServiceType::Data)]);
    let nothing = Recorder::default();
    let error = create(&nothing, &nothing, &unresolved).unwrap_err();
    assert_eq!(error.reason(), Reason::GatewayInternal);
}

#[test]
fn requests_are_checked_before_anything_is_sent() {
    let fine = read(&fixture("profile"));
    let radio = |set: &[RadioAccess]| Profile {
        radio_access: set.iter().map(|r| i32::from(*r)).collect(),
        ..fine.clone()
    };
    let services = |services| Profile { services, ..fine.clone() };
    let dns = Dns { id: "x".into(), ..Dns::default() };
    let volume_only = TrafficLimit { volume: Some(1), ..limit("") };
    for (profile, expected) in [
        (fine.clone(), None),
        (radio(&[]), None),
        (radio(&[R2g]), None),
        (radio(&[R3g]), Some("profile.radio_access")),
        (radio(&[R2g, R5g]), Some("profile.radio_access")),
        (Profile { display_name: String::new(), ..fine.clone() }, Some("profile.display_name")),
        (services(vec![Service::default()]), Some("profile.services")),
        (services(vec![by_id("x")]), Some("profile.services")),
        (services(vec![by_id("038")]), Some("profile.services")),
        (services(vec![by_id("38"), by_id("38")]), Some("profile.services")),
        (services(vec![service("38", &["-1"])]), Some("profile.services.traffic_limits")),
        (services(vec![service("38", &["1", "1"])]), Some("profile.services.traffic_limits")),
        (
            services(vec![Service { traffic_limits: vec![volume_only], ..by_id("38") }]),
            Some("profile.services.traffic_limits"),
        ),
        (
            Profile {
                network: Some(NetworkSettings { dns: Some(dns), ..NetworkSettings::default() }),
                ..fine.clone()
            },
            Some("profile.network.dns.id"),
        ),
        (
            Profile {
                callbacks: Some(Callbacks {
                    api: Some(Callback::default()),
                    ..Callbacks::default()
                }),
                ..fine.clone()
            },
            Some("profile.callbacks.api.id"),
        ),
    ] {
        let mut violations = Violations::default();
        ENDPOINT.check_fields(&profile, &|_| true, &mut violations);
        assert_eq!(violated(violations), Vec::from_iter(expected.map(ToOwned::to_owned)));
        let mut violations = Violations::default();
        ENDPOINT.check_fields(&profile, &|_| false, &mut violations);
        assert!(violations.is_empty());
    }
}

#[test]
fn clearing_what_cannot_be_cleared_is_rejected() {
    let current = read(&example_with(json!({"apply_data_quota": true, "apply_sms_quota": false})));
    let mut violations = Violations::default();
    let bare = minimal(vec![]);
    ENDPOINT.check_whole(&bare, Some(&current), &mut violations).unwrap();
    let expected = [
        "profile.network.breakout_region",
        "profile.network.dns",
        "profile.network.network_initiated_pdp",
        "profile.payment_type",
        "profile.quotas.data",
        "profile.quotas.sms",
        "profile.radio_access",
        "profile.retail",
        "profile.sms.esme_interface",
        "profile.sms.p2p_external",
        "profile.sms.p2p_internal",
    ];
    assert_eq!(violated(violations), expected);
    // Other fields can be cleared, and a new profile may leave all of these unset.
    let mut violations = Violations::default();
    let cleared =
        Profile { description: None, callbacks: None, services: vec![], ..current.clone() };
    ENDPOINT.check_whole(&cleared, Some(&current), &mut violations).unwrap();
    ENDPOINT.check_whole(&bare, None, &mut violations).unwrap();
    assert!(violations.is_empty());
}
