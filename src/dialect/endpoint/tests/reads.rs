//! Answer → model.

use super::*;
use crate::{
    model::json::to_value,
    pb::{
        ApiSecret, BreakoutRegion, Callback, Callbacks, Dns, EsmeInterface, NetworkSettings,
        PaymentType, Period, SmsSettings, TrafficType,
    },
};

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// The services of the vendor's example.
fn example_services() -> Vec<Service> {
    let limit = |id: &str, volume, period: &str, units, unit: &str| TrafficLimit {
        id: id.to_owned(),
        volume: Some(volume),
        period: Some(Period { id: period.to_owned(), time_units: Some(units), unit: text(unit) }),
        name: String::new(),
    };
    let service = |id: &str, kind: ServiceType, words: &str, code, unit: (&str, &str)| Service {
        id: id.to_owned(),
        r#type: kind.into(),
        description: text(words),
        teleservice_code: Some(code),
        used_with_vlr: Some(true),
        used_with_sgsn: Some(true),
        traffic_type: Some(TrafficType {
            id: unit.0.to_owned(),
            description: text(words),
            unit: text(unit.1),
        }),
        ..Service::default()
    };
    let mut data = service("123", ServiceType::Data, "Data", 7_678_345, ("1", "GB"));
    data.traffic_limits =
        vec![limit("123", 64, "33", 5, "Days"), limit("234", 128, "35", 1, "Months")];
    vec![data, service("234", ServiceType::Sms, "SMS", 441_236, ("2", "count"))]
}

/// The callbacks of the vendor's example.
fn example_callbacks() -> Callbacks {
    let callback = |id: &str, url: &str, purpose: &str, created: &str| Callback {
        id: id.to_owned(),
        url: text(url),
        purpose: text(purpose),
        create_time_text: text(created),
    };
    let (url, moc_url) = ("https://www.customers-server.com", "https://moc.customers-server.com");
    Callbacks {
        api: Some(callback("38", url, "Customer's Webserver", "2015-03-18 16:11:07")),
        api_secret: Some(ApiSecret { id: "38".into(), purpose: text("K3") }),
        moc: Some(callback("39", moc_url, "Customer's Moc server", "2015-03-18 16:11:17")),
    }
}

#[test]
fn the_vendors_example_is_read_completely() {
    let expected = Profile {
        display_name: "Smart meter".into(),
        description: text("Data + SMS - 1G limit"),
        radio_access: vec![R2g.into(), R3g.into()],
        services: example_services(),
        payment_type: PaymentType::Postpaid.into(),
        retail: Some(false),
        sms: Some(SmsSettings {
            p2p_internal: Some(true),
            p2p_external: Some(true),
            esme_interface: Some(EsmeInterface { id: "3".into(), description: text("Console") }),
        }),
        network: Some(NetworkSettings {
            network_initiated_pdp: Some(false),
            breakout_region: Some(BreakoutRegion {
                id: "3".into(),
                display_name: text("eu-west-1 (VPN)"),
                ip_address: text("0.0.0.0"),
            }),
            dns: Some(Dns {
                id: "1".into(),
                primary: text("8.8.8.8"),
                secondary: text("8.8.4.4"),
                ip_version: Some(4),
            }),
        }),
        callbacks: Some(example_callbacks()),
        endpoint_count: Some(12),
        ..Profile::default()
    };
    assert_eq!(read(&fixture("profile")), expected);
    // The vendor's page shows it in a list of one.
    let recorder = Recorder::answering([fixture("list")]);
    assert_eq!(now(ENDPOINT.get(&recorder, "1")).unwrap().profile, expected);
    assert_eq!(lines(&recorder), ["GET service_profile/1"]);
}

#[test]
fn reads_are_lenient() {
    let strict = read(&fixture("profile"));
    let lenient = read(&example_with(json!({"used_count": "12", "id": "1", "api_quota": null,
        "api_secret": {"id": "38", "purpose": "K3", "extra": null}})));
    let unmapped = lenient.unmapped.clone().unwrap();
    assert_eq!(unmapped.fields.keys().collect::<Vec<_>>(), ["api_quota"]);
    assert_eq!(Profile { unmapped: None, ..lenient }, strict);
    let nulls: serde_json::Map<String, Value> = fixture("profile")
        .as_object()
        .unwrap()
        .keys()
        .map(|key| (key.clone(), if key == "id" { json!(1) } else { Value::Null }))
        .collect();
    let bare = Profile { radio_access: vec![R2g.into()], ..Profile::default() };
    assert_eq!(read(&Value::Object(nulls)), bare);
    assert_eq!(read(&json!({"id": 1, "dns": {"id": null}, "service": []})), bare);
}

#[test]
fn radio_access_and_quotas() {
    let all = read(&json!({"id": 1, "allowed_3g": true, "allowed_4g": true,
        "allowed_nb_iot": true, "allowed_nb_iot_geo": true}));
    assert_eq!(all.radio_access, [R2g, R3g, R4g, NbIot, NbIotNtn].map(i32::from));
    for (members, data, kept) in [
        (json!({"apply_quota": true}), Some(true), false),
        (json!({"apply_quota": true, "apply_data_quota": null}), Some(true), false),
        (json!({"apply_quota": false, "apply_data_quota": false}), Some(false), false),
        (json!({"apply_quota": true, "apply_data_quota": false}), Some(false), true),
        (json!({"apply_quota": "x"}), None, true),
    ] {
        let profile = read(&example_with(members.clone()));
        assert_eq!(profile.quotas.and_then(|q| q.data), data, "{members}");
        assert_eq!(profile.unmapped.is_some(), kept, "{members}");
    }
}

#[test]
fn values_outside_the_model_are_kept_verbatim() {
    let object = json!({"id": 1, "name": {"en": "x"}, "description": 5, "allowed_4g": "yes",
        "prepaid": "maybe", "used_count": [], "retail": 1, "apply_sms_quota": "true",
        "api_callback": {"id": 38, "url": 5, "retries": 3}, "moc_callback": {"url": "u"},
        "dns": "8.8.8.8", "ip_firewall_rule_set": {"enforce": true}, "other": {"id": null},
        "service": [{"id": 38, "description": "VoWiFi", "sla": "gold"}, {"id": "x"}, 7]});
    let profile = read(&object);
    let unmapped = profile.unmapped.clone().unwrap();
    let expected: Vec<&String> =
        object.as_object().unwrap().keys().filter(|k| *k != "id").collect();
    let mut expected: Vec<&str> = expected.into_iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(unmapped.fields.keys().collect::<Vec<_>>(), expected);
    for (key, value) in &unmapped.fields {
        assert_eq!(*value, to_value(&object[key]), "{key}");
    }
    // What the model can express is read anyway.
    assert_eq!(profile.callbacks.unwrap().api.unwrap().id, "38");
    let [service] = profile.services.as_slice() else { panic!("one service") };
    assert_eq!((service.r#type, service.description.as_deref()), (0, Some("VoWiFi")));
}

#[test]
fn numbers_that_the_parser_would_change_are_kept_as_text() {
    let long = "123456789012345678901234567890";
    let recorder = Recorder::default();
    recorder.push(200, format!(r#"{{"id": 1, "name": "n", "retail": 1e999, "new": {long}}}"#));
    let profile = now(ENDPOINT.get(&recorder, "1")).unwrap().profile;
    assert_eq!((profile.display_name.as_str(), profile.retail), ("n", None));
    let unmapped = profile.unmapped.unwrap();
    assert_eq!(unmapped.fields["retail"], to_value(&json!("1e999")));
    assert_eq!(unmapped.fields["new"], to_value(&json!(long)));
}

#[test]
fn service_types_are_read_from_descriptions() {
    use ServiceType::{Data, Sms, SmsMo, SmsMt, Unspecified, Ussd, Voice};
    for (id, words, kind) in [
        ("1", Some("DATA"), Data),
        ("1", Some("sms"), Sms),
        ("1", Some("SMS MO"), SmsMo),
        ("1", Some("sms_mt"), SmsMt),
        ("1", Some("MT-SMS"), SmsMt),
        ("1", Some("Voice"), Voice),
        ("1", Some("ussd"), Ussd),
        ("38", Some("Satellite"), Unspecified),
        ("38", None, Data),
        ("32", None, SmsMo),
        ("6", None, SmsMt),
        ("3", None, Voice),
        ("0", None, Ussd),
        ("1", None, Unspecified),
    ] {
        assert_eq!(service::kind(id, words), kind, "{id} {words:?}");
    }
}

#[test]
fn each_profile_of_a_list_is_read() {
    let recorder = Recorder::answering([
        json!([{"id": 1, "name": "a"}, {"id": "2", "name": "b"}, {"name": "no id"}, {"id": 1},
               {"id": 3, "name": "c"}]),
        json!({"id": 1, "name": "a", "retail": true}),
        json!({"id": 2, "name": "b"}),
    ]);
    recorder.push(404, error_body(1401, "Service profile with Id '3' not found.").to_string());
    let items = now(ENDPOINT.list(&recorder)).unwrap().items;
    assert_eq!(items.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(items[0].profile.retail, Some(true));
    let expected = [
        "GET service_profile",
        "GET service_profile/1",
        "GET service_profile/2",
        "GET service_profile/3",
    ];
    assert_eq!(lines(&recorder), expected);

    let recorder = Recorder::answering([
        json!([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": 5}]),
        json!({"id": 2, "name": "b"}),
        json!({"id": 3, "name": 5}),
    ]);
    let named = now(ENDPOINT.find_by_name(&recorder, "b")).unwrap();
    assert_eq!(named.items.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(named.all, ["1", "2", "3"]);
}

#[test]
fn one_failing_profile_is_named_and_a_failing_account_fails_the_list() {
    for (status, reason) in [
        (403, Reason::UpstreamPermissionDenied),
        (410, Reason::UpstreamContractViolation),
        (500, Reason::UpstreamInternal),
        (503, Reason::UpstreamUnavailable),
    ] {
        let recorder = Recorder::answering([json!([{"id": 1}, {"id": 2}]), json!({"id": 1})]);
        recorder.push(status, "");
        let listing = now(ENDPOINT.list(&recorder)).unwrap();
        assert_eq!(listing.items.len(), 1);
        let [(id, error)] = &listing.unreadable[..] else { panic!("{listing:?}") };
        assert_eq!((id.as_str(), error.reason()), ("2", reason));
        let recorder = Recorder::answering([json!([{"id": 1, "name": "a"}])]);
        recorder.push(status, "");
        let error = now(ENDPOINT.find_by_name(&recorder, "a")).unwrap_err();
        assert_eq!(error.reason(), reason);
    }
    for (status, reason) in [(401, Reason::UpstreamAuthFailed), (429, Reason::UpstreamThrottled)] {
        let recorder = Recorder::answering([json!([{"id": 1}, {"id": 2}]), json!({"id": 1})]);
        recorder.push(status, "");
        assert_eq!(now(ENDPOINT.list(&recorder)).unwrap_err().reason(), reason);
    }
}

#[test]
fn a_list_with_all_its_members_needs_no_other_request() {
    let whole = json!({"id": 1, "name": "a", "description": null, "allowed_3g": true,
        "allowed_4g": false, "apply_data_quota": true, "apply_sms_quota": false,
        "used_count": "2"});
    let recorder = Recorder::answering([json!([whole])]);
    let all = ENDPOINT.listed_fields();
    let Brief::Fields(items, shown) = now(ENDPOINT.list_briefly(&recorder, &all)).unwrap() else {
        panic!("it shows all of them")
    };
    assert_eq!(shown, all);
    assert_eq!(items[0].profile.display_name, "a");
    assert_eq!(items[0].profile.endpoint_count, Some(2));
    assert_eq!(lines(&recorder), ["GET service_profile"]);
    for (missing, field) in [
        ("name", "display_name"),
        ("description", "description"),
        ("allowed_3g", "radio_access"),
        ("apply_data_quota", "quotas.data"),
        ("apply_sms_quota", "quotas"),
        ("used_count", "endpoint_count"),
    ] {
        let mut short = whole.clone();
        short["id"] = json!(2);
        short.as_object_mut().unwrap().remove(missing);
        let list = || Recorder::answering([json!([whole, short]), whole.clone(), short.clone()]);
        let recorder = list();
        let found = now(ENDPOINT.list_briefly(&recorder, &["name", field])).unwrap();
        assert!(matches!(found, Brief::Whole(listing) if listing.items.len() == 2), "{missing}");
        assert_eq!(recorder.requests().len(), 3, "{missing}: the list is not read again");
        let recorder = list();
        let others: Vec<_> = all.iter().copied().filter(|path| !path.contains(field)).collect();
        let others: Vec<_> = others.into_iter().filter(|path| !field.contains(path)).collect();
        let found = now(ENDPOINT.list_briefly(&recorder, &others)).unwrap();
        assert!(matches!(found, Brief::Fields(items, _) if items.len() == 2), "{missing}");
        assert_eq!(recorder.requests().len(), 1, "{missing}");
    }
}

#[test]
fn foreign_replies_are_not_profiles() {
    for body in [
        "",
        "<html></html>",
        "{",
        "[]",
        "null",
        "5",
        "{}",
        r#"{"id": 2}"#,
        r#"{"id": null}"#,
        r#"{"message": "hello"}"#,
        r#"[{"id": 1}, {"id": 1}]"#,
    ] {
        let recorder = Recorder::default();
        recorder.push(200, body);
        let error = now(ENDPOINT.get(&recorder, "1")).unwrap_err();
        assert_eq!(error.reason(), Reason::UpstreamContractViolation, "{body}");
    }
    for body in ["", "<html></html>", "[", "null", "{}", "[5]", r#"{"message": "hello"}"#] {
        let recorder = Recorder::default();
        recorder.push(200, body);
        let error = now(ENDPOINT.list(&recorder)).unwrap_err();
        assert_eq!(error.reason(), Reason::UpstreamContractViolation, "{body}");
    }
}

#[test]
fn ids_are_canonical_whole_numbers() {
    for (id, good) in [
        ("1", true),
        ("0", true),
        ("11380017", true),
        ("9223372036854775807", true),
        ("9223372036854775808", false),
        ("", false),
        ("01", false),
        ("-1", false),
        ("+1", false),
        ("1a", false),
        ("٣", false),
        ("..", false),
        ("SP_1", false),
    ] {
        assert_eq!(ENDPOINT.accepts_id(id), good, "{id}");
    }
}
