//! The vendor's rules, tested on the simulator directly.

mod login;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::*;
use crate::answer::Content;

struct Vendor {
    sft: Sft,
    token: String,
}

impl Vendor {
    fn with(options: Options) -> Self {
        let mut vendor = Self { sft: Sft::new(options), token: String::new() };
        vendor.token = vendor.log_in()["AccessToken"].as_str().unwrap().to_owned();
        vendor
    }

    fn new() -> Self {
        Self::with(Options::default())
    }

    fn call(&self, operation: &'static str, query: &str, body: &Value) -> (Value, Outcome) {
        let mut headers = HeaderMap::new();
        let token = format!("Bearer {}", self.token);
        headers.insert("x-authorization", token.parse().unwrap());
        let method = if body.is_null() { Method::GET } else { Method::POST };
        let call = Call {
            method,
            uri: format!("/api/{operation}{query}").parse().unwrap(),
            headers,
            body: Bytes::from(body.to_string()),
        };
        assert_eq!(self.sft.operation(&call).ok(), Some(operation));
        let outcome = self.sft.serve(operation, &call);
        assert_eq!(outcome.answer.status, StatusCode::OK);
        let Content::Json(answer) = &outcome.answer.content else {
            panic!("no JSON");
        };
        (answer.clone(), outcome)
    }

    fn log_in(&self) -> Value {
        let body = json!({"username": "sandbox", "password": "sandbox-password"});
        self.call(LOGIN, "", &body).0
    }

    fn login_code(&self, body: &Value) -> Option<String> {
        self.call(LOGIN, "", body).1.code
    }

    fn write(&self, operation: &'static str, profile: Value) -> String {
        let body = json!({"Request": {"requestParam": {"serviceProfile": profile}}});
        self.call(operation, "", &body).1.code.unwrap()
    }

    fn get(&self, query: &str) -> Value {
        self.call(GET, query, &Value::Null).0
    }

    fn services(&self, id: &str) -> String {
        let answer = self.get(&format!("?serviceProfileId={id}"));
        let list = &answer["Response"]["responseParam"]["serviceProfileList"];
        list[0]["serviceName"].as_str().unwrap().to_owned()
    }

    fn put(&self, id: &str, profile: Value) {
        let profile = serde_json::from_value(profile).unwrap();
        self.sft.put_raw_profile(id, profile).unwrap();
    }
}

#[test]
fn create_rules() {
    let vendor = Vendor::new();
    let good =
        json!({"name": "n", "category": "0", "status": "1", "accessType": "06", "service": "4|2"});
    for (change, code) in [
        (json!({}), "1323"),
        (json!({}), "6554"),
        (json!({"name": "DEFAULT"}), "6554"),
        (json!({"name": "default"}), "1323"),
        (json!({"name": ""}), "1324"),
        (json!({"name": null}), "1324"),
        (json!({"name": "x".repeat(257)}), "1324"),
        (json!({"name": "a", "category": "2"}), "1324"),
        (json!({"name": "a", "category": 0}), "1324"),
        (json!({"name": "a", "status": "2"}), "1324"),
        (json!({"name": "a", "service": "4|9"}), "1324"),
        (json!({"name": "a", "service": ""}), "1324"),
        (json!({"name": "a", "accessType": "2"}), "1324"),
        (json!({"name": "a", "accessType": 10}), "1324"),
        (json!({"name": "a", "service": "5"}), "10111"),
        (json!({"name": "mixed", "service": "5|4"}), "1323"),
        (json!({"name": "unknown member", "hint": 1}), "1323"),
    ] {
        let mut profile = good.clone();
        for (name, value) in change.as_object().unwrap() {
            profile[name] = value.clone();
        }
        assert_eq!(vendor.write(CREATE, profile), code, "{change}");
    }
    for absent in ["name", "category", "status", "service", "accessType"] {
        let mut profile = good.clone();
        profile["name"] = json!("b");
        profile.as_object_mut().unwrap().remove(absent);
        assert_eq!(vendor.write(CREATE, profile), "1324", "{absent}");
    }
    let nb_iot = json!({"name": "nb", "category": "1", "status": "0", "service": "5"});
    assert_eq!(vendor.write(CREATE, nb_iot), "1323");
    assert_eq!(vendor.call(CREATE, "", &json!({"Request": 1})).1.code.unwrap(), "1324");
}

#[test]
fn modify_checks_each_member() {
    let vendor = Vendor::new();
    for (profile, code) in [
        (json!({"id": "SP_352"}), "1325"),
        (json!({"id": "SP_352", "name": "renamed", "status": "0"}), "1325"),
        (json!({"id": "SP_352", "name": "renamed"}), "1325"),
        (json!({"id": "SP_352", "name": "DEFAULT"}), "6554"),
        (json!({"id": "SP_352", "category": "0"}), "1326"),
        (json!({"id": "SP_352", "status": 1}), "1326"),
        (json!({"id": "SP_352", "accessType": "07"}), "1326"),
        (json!({"id": "SP_352", "service": "8"}), "1326"),
        (json!({"id": "SP_352", "accessType": "02"}), "1325"),
        (json!({"id": "SP_352", "service": "5", "accessType": "02"}), "10111"),
    ] {
        assert_eq!(vendor.write(MODIFY, profile.clone()), code, "{profile}");
    }
    let answer = vendor.get("?serviceProfileId=SP_352");
    assert_eq!(
        answer["Response"]["responseParam"]["serviceProfileList"][0],
        json!({"profileId": "SP_352", "profileName": "renamed", "status": "0",
               "serviceName": "DATA|MO-SMS|MT-SMS", "ratTypeName": "2G", "category": "0"})
    );
}

#[test]
fn modify_checks_services_addons_default_and_children() {
    let vendor = Vendor::new();
    for (profile, code) in [
        (json!({"id": "SP_361", "accessType": "02"}), "10111"),
        (json!({"id": "SP_361", "service": "4"}), "1326"),
        (json!({"id": "SP_361", "service": "4", "accessType": "02"}), "1325"),
        (json!({"id": "SP_353", "service": "4"}), "10100"),
        (json!({"id": "SP_353", "service": "3|2|4", "status": "0"}), "1325"),
        (json!({"id": "SP_1"}), "1326"),
        (json!({"name": "no id"}), "1326"),
        (json!({"id": "SP_2", "name": "other"}), "1326"),
        (json!({"id": "SP_2", "name": "DEFAULT", "status": "0"}), "1325"),
        // The child Reseller_11 has 2G/3G/4G: a downgrade may go that far.
        (json!({"id": "SP_1301", "accessType": "01"}), "10085"),
        (json!({"id": "SP_1301", "service": "5"}), "10085"),
        (json!({"id": "SP_1301", "accessType": "06"}), "1325"),
        (json!({"id": "SP_1301", "accessType": "10"}), "1325"),
    ] {
        assert_eq!(vendor.write(MODIFY, profile.clone()), code, "{profile}");
    }
}

#[test]
fn rat_conflict_names_the_child_in_the_long_form() {
    let vendor = Vendor::new();
    let fields = json!({"id": "SP_1301", "accessType": "02"});
    let body = json!({"Request": {"requestParam": {"serviceProfile": fields}}});
    let (answer, _) = vendor.call(MODIFY, "", &body);
    assert_eq!(answer["Response"]["resultCode"], "0");
    assert_eq!(
        answer["Response"]["resultParam"]["resultDescription"],
        "Service profile change denied due to conflicting RAT privileges assigned by Reseller_11. \
         Please first update the service profile(s) of Reseller_11."
    );
}

#[test]
fn rat_is_removed_with_the_last_service_that_needs_it() {
    let vendor = Vendor::new();
    assert_eq!(vendor.write(MODIFY, json!({"id": "SP_367", "service": "5"})), "1325");
    let answer = vendor.get("?serviceProfileId=SP_367");
    let profile = &answer["Response"]["responseParam"]["serviceProfileList"][0];
    assert_eq!(profile["serviceName"], "NB-IOT");
    assert!(profile.get("ratTypeName").is_none());
}

#[test]
fn services_cascade_with_default() {
    let vendor = Vendor::new();
    // Some profiles have NB-IoT only, so DEFAULT cannot lose it.
    assert_eq!(vendor.write(MODIFY, json!({"id": "SP_2", "service": "4|2|3"})), "6565");
    let fields = json!({"id": "SP_2", "service": "4|2|5"});
    let body = json!({"Request": {"requestParam": {"serviceProfile": fields}}});
    let (_, outcome) = vendor.call(MODIFY, "", &body);
    assert_eq!(
        outcome.effect.unwrap(),
        json!({"modified": "SP_2",
               "cascaded": ["SP_352", "SP_353", "SP_367", "SP_1249", "SP_1301"]})
    );
    assert_eq!(vendor.services("SP_353"), "DATA|MO-SMS");
    assert_eq!(vendor.write(MODIFY, json!({"id": "SP_402", "service": "4|3"})), "1325");
    assert_eq!(vendor.services("SP_2"), "DATA|MO-SMS|MT-SMS|NB-IOT");
    // Removing from a base profile other than DEFAULT does not cascade.
    assert_eq!(vendor.write(MODIFY, json!({"id": "SP_402", "service": "4"})), "1325");
    assert_eq!(vendor.services("SP_2"), "DATA|MO-SMS|MT-SMS|NB-IOT");
}

#[test]
fn default_takes_a_rat_with_its_first_service_that_needs_one() {
    let vendor = Vendor::with(Options { seed_profiles: false, ..Options::default() });
    vendor.put("SP_2", json!({"name": "DEFAULT", "is_default": true, "services": ["NB-IOT"]}));
    vendor.put("SP_5", json!({"name": "b", "services": ["NB-IOT"]}));
    let change = json!({"id": "SP_5", "service": "5|4", "accessType": "01"});
    assert_eq!(vendor.write(MODIFY, change), "1325");
    let answer = vendor.get("?serviceProfileId=SP_2");
    let profile = &answer["Response"]["responseParam"]["serviceProfileList"][0];
    assert_eq!(
        (&profile["serviceName"], &profile["ratTypeName"]),
        (&json!("DATA|NB-IOT"), &json!("2G/3G"))
    );
}

#[test]
fn marked_child_configuration_is_6565() {
    let vendor = Vendor::new();
    vendor.put(
        "SP_7",
        json!({"name": "c", "services": ["DATA"], "rat": "2G", "invalid_child_config": true}),
    );
    assert_eq!(vendor.write(MODIFY, json!({"id": "SP_7", "accessType": "06"})), "6565");
    assert_eq!(vendor.write(MODIFY, json!({"id": "SP_7", "service": "4|2"})), "6565");
    assert_eq!(vendor.write(MODIFY, json!({"id": "SP_7", "status": "0"})), "1325");
}

#[test]
fn delete_rules() {
    let vendor = Vendor::new();
    for (id, code) in [
        ("SP_1249", "8196"),
        ("SP_2", "1330"),
        ("SP_1", "1330"),
        ("SP_352", "1329"),
        ("SP_352", "1330"),
    ] {
        assert_eq!(vendor.write(DELETE, json!({"id": id})), code, "{id}");
    }
    assert_eq!(vendor.write(DELETE, json!({})), "1330");
    let switch = serde_json::from_value(json!({"in_use_code": "1338"})).unwrap();
    vendor.sft.set_switches(&switch).unwrap();
    assert_eq!(vendor.write(DELETE, json!({"id": "SP_1249"})), "1338");
    assert_eq!(vendor.services("SP_1249"), "DATA|MO-SMS|MT-SMS");
}

#[test]
fn nothing_to_show_is_1359() {
    let vendor = Vendor::new();
    for query in ["?serviceProfileId=SP_1", "?serviceProfileId="] {
        let answer = vendor.get(query);
        assert_eq!(answer["Response"]["resultParam"]["resultCode"], "1359");
        assert_eq!(answer["Response"]["resultCode"], "1");
        assert!(answer["Response"].get("responseParam").is_none());
    }
    let empty = Vendor::with(Options { seed_profiles: false, ..Options::default() });
    assert_eq!(empty.get("")["Response"]["resultParam"]["resultCode"], "1359");
}

#[test]
fn full_account_refuses_to_create() {
    let vendor = Vendor::with(Options { max_profiles: 10, ..Options::default() });
    let profile =
        |name: &str| json!({"name": name, "category": "0", "status": "1", "service": "5"});
    assert_eq!(vendor.write(CREATE, profile("a")), "1323");
    assert_eq!(vendor.write(CREATE, profile("b")), "1324");
}
