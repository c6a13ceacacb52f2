//! The dialect on the vendor's own examples and on mutated ones, without a network.

mod errors;
mod writes;

use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::*;
use crate::{
    dialect::{
        Settings,
        recorder::{Recorder, now},
    },
    error::Effect,
    model::{json::to_value, method::Method, object},
    pb::{Notifications, PaymentType, SubscriberDefaults},
};

#[test]
fn each_member_is_looked_at_a_few_times() {
    const MANY: usize = 1000;
    let ids = r#""id":39,"#.repeat(MANY);
    let others: Vec<String> = (0..MANY).map(|n| format!(r#""m{n}":{n}"#)).collect();
    let object = format!("{{{ids}{}}}", others.join(","));
    let members = wire::members(object.as_bytes()).unwrap();
    let looked_at = object::work::members(|| {
        let profile = decode::profile(&members);
        assert_eq!(profile.unmapped.unwrap().fields.len(), MANY);
    });
    assert!(looked_at <= 16 * MANY, "{looked_at}");
}

fn fixture(name: &str) -> Value {
    crate::dialect::recorder::fixture(&format!("pcc/{name}"))
}

fn read(object: &Value) -> Profile {
    now(Pcc.get(&Recorder::answering([object.clone()]), "39")).unwrap().profile
}

/// The vendor's example of a create, as a profile of the model.
fn turkey_sauce() -> Profile {
    Profile {
        display_name: "turkeySauce".into(),
        default_profile: Some(false),
        payment_type: PaymentType::Prepaid.into(),
        subscriber: Some(SubscriberDefaults {
            initial_core_plan: Some("turkey".into()),
            subscriber_class: Some("gold".into()),
            locale: Some("en".into()),
        }),
        notifications: Some(Notifications {
            dps_enabled: Some(false),
            dps: Some(false),
            eos: Some(false),
            payg: Some(false),
        }),
        ..Profile::default()
    }
}

#[test]
fn the_vendors_list_is_read_completely() {
    let recorder = Recorder::answering([fixture("list-success")]);
    let items = now(Pcc.list(&recorder)).unwrap().items;
    let first = Profile { payment_type: PaymentType::Postpaid.into(), ..turkey_sauce() };
    let second = Profile {
        display_name: "chaCha".into(),
        default_profile: Some(true),
        payment_type: PaymentType::Prepaid.into(),
        subscriber: Some(SubscriberDefaults {
            initial_core_plan: Some("prepaidCORE".into()),
            subscriber_class: Some("Standard".into()),
            locale: Some("en".into()),
        }),
        ..first.clone()
    };
    let item = |id: &str, profile| Item { id: id.into(), profile };
    assert_eq!(items, [item("39", first), item("55", second)]);
    let request = &recorder.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("GET", "/pcc/spcm/provisionProfile")
    );
    // What was read is written unchanged.
    for (item, object) in
        items.iter().zip(fixture("list-success")["provisioningProfileDTOList"].as_array().unwrap())
    {
        let recorder = Recorder::answering([object.clone()]);
        now(Pcc.create(&recorder, &item.profile)).unwrap();
        let mut expected = object.clone();
        expected.as_object_mut().unwrap().remove("id");
        assert_eq!(recorder.bodies(), [expected]);
    }
}

#[test]
fn each_member_has_its_own_field() {
    // All flags differ from their neighbors in one of the two rounds.
    for odd in [true, false] {
        let object = json!({"id": 39, "name": "n", "defaultProfile": odd, "locale": "l",
            "initialCorePlanName": "p", "subscriberClass": "c", "subscriberType": "postPaid",
            "dpsEnabled": !odd, "dpsNotification": odd, "eosNotification": !odd,
            "paygNotification": odd});
        let profile = read(&object);
        let (subscriber, notifications) =
            (profile.subscriber.clone().unwrap(), profile.notifications.unwrap());
        assert_eq!((profile.display_name.as_str(), profile.default_profile), ("n", Some(odd)));
        assert_eq!(profile.payment_type, i32::from(PaymentType::Postpaid));
        assert_eq!(subscriber.locale.as_deref(), Some("l"));
        assert_eq!(subscriber.initial_core_plan.as_deref(), Some("p"));
        assert_eq!(subscriber.subscriber_class.as_deref(), Some("c"));
        assert_eq!((notifications.dps_enabled, notifications.dps), (Some(!odd), Some(odd)));
        assert_eq!((notifications.eos, notifications.payg), (Some(!odd), Some(odd)));
        assert_eq!(profile.unmapped, None);
    }
}

#[test]
fn the_members_are_the_capabilities() {
    let mut members: Vec<&str> = members::MEMBERS.iter().map(|member| member.path).collect();
    let mut settable: Vec<&str> = crate::model::fields::SETTABLE
        .iter()
        .copied()
        .filter(|p| CAPABILITIES.field(p).is_some())
        .collect();
    members.sort_unstable();
    settable.sort_unstable();
    assert_eq!(members, settable);
    assert!(CAPABILITIES.methods.iter().all(|m| *m != Method::ListServices));
    let recorder = Recorder::default();
    let service = Edit::AttachService(Service::default());
    for error in [
        now(Pcc.services(&recorder)).unwrap_err(),
        now(Pcc.edit(&recorder, &Profile::default(), &service)).unwrap_err(),
    ] {
        assert_eq!(error.reason(), Reason::OperationNotSupported);
    }
}

#[test]
fn reads_are_lenient() {
    let strict = read(&json!({"id": 39, "name": "7", "locale": "5"}));
    for object in [
        json!({"id": "39", "name": 7, "locale": 5, "subscriberType": null, "dpsEnabled": null}),
        json!({"id": "0039", "name": "7", "locale": "5"}),
        json!({"name": "7", "locale": "5", "id": null}),
    ] {
        assert_eq!(read(&object), strict);
    }
    for empty in [
        json!({"length": 0}),
        json!({"length": "0", "provisioningProfileDTOList": null}),
        json!({"provisioningProfileDTOList": []}),
    ] {
        assert_eq!(now(Pcc.list(&Recorder::answering([empty]))).unwrap().items, []);
    }
    // A profile without a valid id does not affect the others.
    let list = json!({"length": 9, "provisioningProfileDTOList":
        [{"name": "a"}, {"id": -1}, {"id": "x"}, {"id": {}}, {"id": 2}]});
    let items = now(Pcc.list(&Recorder::answering([list]))).unwrap().items;
    assert_eq!(items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["2"]);
}

#[test]
fn values_outside_the_model_are_kept_verbatim() {
    let object = json!({"id": 39, "name": {"en": "x"}, "defaultProfile": "true", "locale": ["en"],
        "initialCorePlanName": true, "subscriberClass": -1.5, "subscriberType": "HYBRID",
        "dpsEnabled": 1, "dpsNotification": "false", "eosNotification": 0, "paygNotification": {},
        "big": 18_446_744_073_709_551_615_u64, "gone": null,
        "_links": {"self": {"href": "http://localhost:8080/spcm-rest-ws/pcc"}}});
    let profile = read(&object);
    let unmapped = profile.unmapped.clone().unwrap().fields;
    for (key, value) in object.as_object().unwrap() {
        let expected = (key != "id").then(|| to_value(value));
        assert_eq!(unmapped.get(key), expected.as_ref(), "{key}");
    }
    assert_eq!(Profile { unmapped: None, ..profile }, Profile::default());
    // Too deep for the parser, but still valid JSON.
    let deep = format!(r#"{{"id":39,"deep":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let recorder = Recorder::default();
    recorder.push(200, deep);
    assert_eq!(now(Pcc.get(&recorder, "39")).unwrap().profile.unmapped.unwrap().fields.len(), 1);
}

#[test]
fn every_request_has_the_right_headers() {
    let recorder = Recorder::answering([
        fixture("list-success"),
        fixture("create-success"),
        fixture("create-success"),
        fixture("create-success"),
        fixture("create-success"),
    ]);
    recorder.push(204, "");
    now(Pcc.list(&recorder)).unwrap();
    now(Pcc.get(&recorder, "39")).unwrap();
    now(Pcc.create(&recorder, &turkey_sauce())).unwrap();
    let renamed = Profile { display_name: "new".into(), ..turkey_sauce() };
    let change = ProfileUpdate { id: "39", current: &turkey_sauce(), desired: &renamed };
    now(Pcc.update(&recorder, change)).unwrap();
    now(Pcc.delete(&recorder, "39")).unwrap();
    let requests = recorder.requests();
    let shown: Vec<String> =
        requests.iter().map(|r| format!("{} {} {:?}", r.method, r.path, r.safety)).collect();
    let about: Vec<_> = requests.iter().map(|request| request.profile.as_deref()).collect();
    assert_eq!(about, [None, Some("39"), None, Some("39"), Some("39"), Some("39")]);
    assert_eq!(
        shown,
        [
            "GET /pcc/spcm/provisionProfile Read",
            "GET /pcc/spcm/provisionProfile/39 Read",
            "POST /pcc/spcm/provisionProfile Write",
            "GET /pcc/spcm/provisionProfile/39 Read",
            "PUT /pcc/spcm/provisionProfile/39 Write",
            "DELETE /pcc/spcm/provisionProfile/39 Write",
        ]
    );
    for request in requests {
        let headers: http::HeaderMap = request.headers.into_iter().collect();
        assert_eq!(headers["accept"], "application/hal+json, application/json");
        let json = headers.get("content-type").map(|value| value.to_str().unwrap());
        assert_eq!(json, request.body.map(|_| "application/json"), "{}", request.operation);
    }
}

fn build(settings: &[(&str, &str)]) -> std::result::Result<Built, Vec<String>> {
    let settings: Settings =
        settings.iter().map(|(k, v)| ((*k).to_owned(), SecretString::from(*v))).collect();
    (REGISTRATION.build)(&settings)
}

#[test]
fn credentials_are_basic_with_a_tenant() {
    // RFC 7617's own example.
    let good = [("tenant", "acme"), ("username", "Aladdin"), ("password", "open sesame")];
    let auth = build(&good).ok().unwrap().auth;
    let fixed = auth.fixed().unwrap();
    let headers: http::HeaderMap = auth.headers(fixed).unwrap().into_iter().collect();
    assert_eq!(headers["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert!(headers["authorization"].is_sensitive());
    assert_eq!(headers["tenant"], "acme");
    let secrets: Vec<&str> = auth.secrets().into_iter().map(|s| s.expose_secret()).collect();
    assert_eq!(secrets, ["open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]);
    assert!(auth.login().is_none());
}

#[test]
fn configuration_errors_never_contain_values() {
    let faults = |settings: &[(&str, &str)]| build(settings).err().unwrap_or_default();
    assert_eq!(faults(&[]), ["tenant is missing", "username is missing", "password is missing"]);
    for (tenant, username, password, expected) in [
        ("hunter2\r\nx: y", "u", "p", "tenant contains characters not allowed in an HTTP header"),
        ("hünter2", "u", "p", "tenant contains characters not allowed in an HTTP header"),
        (" hunter2", "u", "p", "tenant begins or ends with a space"),
        (
            "t",
            "hunter2:x",
            "p",
            "username contains a colon, which HTTP Basic credentials do not allow (RFC 7617)",
        ),
        (
            "t",
            "hunter2\n",
            "p",
            "username contains control characters, which HTTP Basic credentials do not allow \
             (RFC 7617)",
        ),
        (
            "t",
            "u",
            "hunter2\0",
            "password contains control characters, which HTTP Basic credentials do not allow \
             (RFC 7617)",
        ),
        ("t", "u", "", "password is missing"),
    ] {
        let settings = [("tenant", tenant), ("username", username), ("password", password)];
        assert_eq!(faults(&settings), [expected]);
    }
    assert!(build(&[("tenant", "t"), ("username", "ü"), ("password", "pä:ß")]).is_ok());
}

#[test]
fn ids_are_integers() {
    for (id, good) in [
        ("39", true),
        ("0", true),
        ("9999999999999999999", true),
        ("10000000000000000000", false),
        ("039", false),
        ("-1", false),
        ("1.0", false),
        ("", false),
        ("SP_1", false),
        ("..", false),
        ("٣", false),
    ] {
        assert_eq!(Pcc.accepts_id(id), good, "{id}");
    }
}

prop_compose! {
    fn any_profile()(
        name in "[a-zA-Z0-9 äß/|&'\"\\\\]{1,40}",
        default_profile: bool,
        payment_type in 0..=2,
        texts in proptest::array::uniform3(proptest::option::of(".{0,20}")),
        flags: [Option<bool>; 4],
    ) -> Profile {
        let [initial_core_plan, subscriber_class, locale] = texts;
        let [dps_enabled, dps, eos, payg] = flags;
        let subscriber = SubscriberDefaults { initial_core_plan, subscriber_class, locale };
        let notifications = Notifications { dps_enabled, dps, eos, payg };
        Profile {
            display_name: name,
            default_profile: Some(default_profile),
            payment_type,
            subscriber: (subscriber != SubscriberDefaults::default()).then_some(subscriber),
            notifications: (notifications != Notifications::default()).then_some(notifications),
            ..Profile::default()
        }
    }
}

proptest! {
    #[test]
    fn written_profiles_are_read_back(profile in any_profile()) {
        let recorder = Recorder::answering([fixture("create-success")]);
        now(Pcc.create(&recorder, &profile)).unwrap();
        prop_assert_eq!(read(&recorder.bodies()[0]), profile);
    }

    #[test]
    fn changes_are_read_back(current in any_profile(), desired in any_profile()) {
        let recorder = Recorder::answering([fixture("create-success")]);
        now(Pcc.create(&recorder, &current)).unwrap();
        let before = recorder.bodies()[0].clone();
        let recorder = Recorder::answering([before.clone(), fixture("create-success")]);
        let change = ProfileUpdate { id: "39", current: &current, desired: &desired };
        now(Pcc.update(&recorder, change)).unwrap();
        let after = recorder.bodies().first().cloned().unwrap_or(before);
        let found = read(&after);
        prop_assert!(Pcc.is_applied(change, &found));
        prop_assert_eq!(found, desired);
    }

    #[test]
    fn mutated_answers_never_panic_and_never_pass_as_successful_writes(
        at in 0_usize..400, byte: u8, cut in 0_usize..400, truncate: bool,
    ) {
        let whole = fixture("create-success").to_string().into_bytes();
        let mut body = whole.clone();
        let (at, cut) = (at % body.len(), cut % body.len());
        if truncate { body.truncate(cut) } else { body[at] = byte; }
        let recorder = Recorder::default();
        recorder.push(201, body.clone());
        let created = now(Pcc.create(&recorder, &turkey_sauce()));
        let renamed = Profile { display_name: "new".into(), ..turkey_sauce() };
        let change = ProfileUpdate { id: "39", current: &turkey_sauce(), desired: &renamed };
        recorder.push(200, whole);
        recorder.push(200, body.clone());
        let updated = now(Pcc.update(&recorder, change));
        recorder.push(200, body.clone());
        let deleted = now(Pcc.delete(&recorder, "39"));
        match serde_json::from_slice::<Value>(&body) {
            // The mutation changed a text that decides nothing.
            Ok(body) => {
                let id = created.ok().flatten();
                prop_assert!(id.is_none() || id == body["id"].as_u64().map(|id| id.to_string()));
                prop_assert!(updated.is_err() || body["id"] == 39 || body["id"].is_null());
            }
            Err(_) => {
                prop_assert_eq!(created.unwrap_err().effect(), Effect::Unknown);
                prop_assert_eq!(updated.unwrap_err().effect(), Effect::Unknown);
                prop_assert_eq!(deleted.unwrap_err().effect(), Effect::Unknown);
            }
        }
        let mut body = fixture("list-success").to_string().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        recorder.push(200, body);
        let _ = now(Pcc.list(&recorder));
    }
}
