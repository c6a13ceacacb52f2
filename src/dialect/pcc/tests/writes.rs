//! Creates, updates and deletes: what is sent, and how replies are read.

use super::*;

/// An object as an upstream may write it: unknown members, numbers that no parser preserves, odd
/// spacing.
const ODD: &str = concat!(
    r#"{ "_links": {"self": { "href":"http:\/\/localhost/pcc" } }, "#,
    r#""big" : 123456789012345678901234567890, "#,
    r#""exact":1.10e+2, "id": 39, "name":"old","defaultProfile": true , "locale":null,"#,
    r#""subscriberType":"prepaid","subscriberClass":7,"dpsEnabled":"true","later":[1.0, null]}"#,
);

fn update(fresh: &str, current: &Profile, desired: &Profile) -> Option<String> {
    let recorder = Recorder::default();
    recorder.push(200, fresh.to_owned());
    recorder.push(200, r#"{"id":39}"#);
    now(Pcc.update(&recorder, ProfileUpdate { id: "39", current, desired })).unwrap();
    let requests = recorder.requests();
    let body = requests.get(1)?.body.clone()?;
    Some(String::from_utf8(body.to_vec()).unwrap())
}

fn odd() -> Profile {
    let recorder = Recorder::default();
    recorder.push(200, ODD);
    now(Pcc.get(&recorder, "39")).unwrap().profile
}

#[test]
fn an_update_keeps_every_other_byte() {
    let current = odd();
    let big = &current.unmapped.as_ref().unwrap().fields["big"];
    assert_eq!(*big, to_value(&json!("123456789012345678901234567890")));
    let mut desired = current.clone();
    desired.display_name = "n\"ew".into();
    desired.notifications.get_or_insert_default().eos = Some(true);
    let expected = concat!(
        r#"{"_links":{"self": { "href":"http:\/\/localhost/pcc" } },"#,
        r#""big":123456789012345678901234567890,"#,
        r#""exact":1.10e+2,"name":"n\"ew","defaultProfile":true,"locale":null,"#,
        r#""subscriberType":"prepaid","subscriberClass":7,"dpsEnabled":"true","#,
        r#""later":[1.0, null],"#,
        r#""eosNotification":true}"#,
    );
    assert_eq!(update(ODD, &current, &desired).as_deref(), Some(expected));
}

#[test]
fn an_update_without_changes_sends_nothing() {
    let current = odd();
    let silent = Recorder::default();
    let change = ProfileUpdate { id: "39", current: &current, desired: &current };
    now(Pcc.update(&silent, change)).unwrap();
    assert!(silent.requests().is_empty());
    // Another client has made the same change in the meantime: the read shows it, and no PUT
    // follows.
    let desired = Profile { display_name: "new".into(), ..current.clone() };
    let fresh = ODD.replace(r#""old""#, r#""new""#);
    assert_eq!(update(&fresh, &current, &desired), None);
}

#[test]
fn changes_of_other_clients_stay_unless_overwritten() {
    let current = odd();
    let desired = Profile { display_name: "mine".into(), ..current.clone() };
    let fresh = ODD
        .replace(r#""old""#, r#""theirs""#)
        .replace("true ,", "false ,")
        .replace(r#""big" :"#, r#""bigger" :"#);
    let body: Value = serde_json::from_str(&update(&fresh, &current, &desired).unwrap()).unwrap();
    assert_eq!((&body["name"], &body["defaultProfile"]), (&json!("mine"), &json!(false)));
    assert!(body.get("bigger").is_some() && body.get("big").is_none() && body.get("id").is_none());
}

#[test]
fn clearing_sends_null() {
    let current = read(&fixture("create-success"));
    let desired =
        Profile { payment_type: 0, subscriber: None, notifications: None, ..current.clone() };
    let fresh = fixture("create-success").to_string();
    let body: Value = serde_json::from_str(&update(&fresh, &current, &desired).unwrap()).unwrap();
    let expected = json!({"name": "turkeySauce", "defaultProfile": false, "locale": null,
        "initialCorePlanName": null, "subscriberClass": null, "subscriberType": null,
        "dpsEnabled": null, "dpsNotification": null, "eosNotification": null,
        "paygNotification": null});
    assert_eq!(body, expected);
    let change = ProfileUpdate { id: "39", current: &current, desired: &desired };
    assert!(Pcc.is_applied(change, &read(&body)));
    assert!(!Pcc.is_applied(change, &current));
}

#[test]
fn a_created_profile_is_recognized_by_its_fields() {
    let mut defaults = read(&fixture("create-success"));
    let asked = Profile { notifications: None, subscriber: None, ..turkey_sauce() };
    assert!(Pcc.is_created(&asked, &defaults));
    defaults.payment_type = PaymentType::Postpaid.into();
    assert!(!Pcc.is_created(&asked, &defaults));
}

#[test]
fn a_create_without_a_body_is_left_to_be_found_by_name() {
    let recorder = Recorder::default();
    recorder.push(204, "");
    assert_eq!(now(Pcc.create(&recorder, &turkey_sauce())).unwrap(), None);
    assert_eq!(recorder.bodies(), [fixture("create-request")]);

    let spellings = json!({"length": 3, "provisioningProfileDTOList": [
        {"id": 9, "name": "turkeySauce"}, {"id": "100", "name": "TURKEYSAUCE"},
        {"id": 999, "name": "chickenSauce"}]});
    recorder.push(200, spellings.to_string());
    let named = now(Pcc.find_by_name(&recorder, "turkeySauce")).unwrap();
    let ids: Vec<&str> = named.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!((ids, named.all.len()), (vec!["9", "100"], 3));
}

#[test]
fn a_create_with_a_body_returns_its_id() {
    for (body, id) in [
        (fixture("create-success").to_string(), Some("39")),
        (r#"{"id":"39"}"#.to_owned(), Some("39")),
        (r#"{"id":null,"name":"turkeySauce"}"#.to_owned(), None),
        (r#"{"id":12345678901234567890}"#.to_owned(), None),
        (r#"{"id":3.9e1}"#.to_owned(), Some("39")),
        (r#"{"id":40.0}"#.to_owned(), Some("40")),
        (r#"{"id":40.5}"#.to_owned(), None),
        ("[39]".to_owned(), None),
        (String::new(), None),
        ("<profile><id>39</id></profile>".to_owned(), None),
    ] {
        let recorder = Recorder::default();
        recorder.push(201, body.clone());
        let created = now(Pcc.create(&recorder, &turkey_sauce()));
        match (created, id) {
            (Ok(found), Some(id)) => assert_eq!(found.as_deref(), Some(id)),
            (Err(error), None) => {
                let seen = (error.reason(), error.effect());
                assert_eq!(seen, (Reason::UpstreamContractViolation, Effect::Unknown), "{body}");
            }
            (other, _) => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn an_update_or_delete_may_return_no_body() {
    let renamed = Profile { display_name: "new".into(), ..turkey_sauce() };
    let change = ProfileUpdate { id: "39", current: &turkey_sauce(), desired: &renamed };
    let recorder = Recorder::answering([fixture("create-success")]);
    recorder.push(204, "");
    now(Pcc.update(&recorder, change)).unwrap();
    for (status, body, done) in [
        (204, "", true),
        (200, "", false),
        (200, " \r\n", false),
        (200, "<html>log in</html>", false),
        (200, r#"{"message":"no","status":"error"}"#, false),
        (202, "", false),
    ] {
        let recorder = Recorder::default();
        recorder.push(status, body);
        match now(Pcc.delete(&recorder, "39")) {
            Ok(()) => assert!(done, "{status} {body}"),
            Err(error) => assert!(!done && error.effect() == Effect::Unknown, "{status} {body}"),
        }
    }
}

#[test]
fn a_profile_other_than_the_requested_one_is_rejected() {
    let recorder = Recorder::answering([json!({"id": 40, "name": "turkeySauce"})]);
    let error = now(Pcc.get(&recorder, "39")).unwrap_err();
    assert_eq!((error.reason(), error.effect()), (Reason::UpstreamContractViolation, Effect::None));
    let renamed = Profile { display_name: "new".into(), ..turkey_sauce() };
    let change = ProfileUpdate { id: "39", current: &turkey_sauce(), desired: &renamed };
    let recorder = Recorder::answering([fixture("create-success"), json!({"id": 40})]);
    let error = now(Pcc.update(&recorder, change)).unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown);
}
