//! The vendor's rules, tested on the simulator directly.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::answer::Content;

struct Vendor {
    pcc: Pcc,
    headers: HeaderMap,
}

impl Vendor {
    fn new() -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Basic c2FuZGJveDpzYW5kYm94LXBhc3N3b3Jk"),
            ("tenant", "sandbox"),
            ("accept", "application/hal+JSON"),
            ("content-type", "application/JSON"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Self { pcc: Pcc::new(Options::default()), headers }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        if value.is_empty() {
            self.headers.remove(name);
        } else {
            self.headers.insert(name, value.parse().unwrap());
        }
        self
    }

    fn outcome(&self, method: &str, path: &str, body: &str) -> Outcome {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (headers, body) = (self.headers.clone(), Bytes::from(body.to_owned()));
        let call = Call { method, uri: path.parse().unwrap(), headers, body };
        match self.pcc.operation(&call) {
            Ok(operation) => self.pcc.serve(operation, &call),
            Err(answer) => Outcome { answer: *answer, code: None, effect: None },
        }
    }

    /// Status and body; null if there is no body.
    fn call(&self, method: &str, id: &str, body: Value) -> (u16, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let outcome = self.outcome(method, &format!("{PROFILES}{id}"), &text);
        let status = outcome.answer.status.as_u16();
        match outcome.answer.content {
            Content::Json(body) => (status, body),
            Content::Nothing => (status, Value::Null),
            Content::Text(text) => (status, Value::String(text)),
        }
    }

    fn get(&self, id: &str) -> (u16, Value) {
        self.call("GET", id, Value::Null)
    }

    fn switch(&self, wanted: Value) {
        self.pcc.set_switches(serde_json::from_value(wanted).unwrap()).unwrap();
    }
}

#[test]
fn reads_show_the_documents_examples() {
    let vendor = Vendor::new();
    let (status, list) = vendor.get("");
    assert_eq!((status, &list["length"]), (200, &json!(6)));
    let turkey = json!({"id": 39, "name": "turkeySauce", "defaultProfile": false, "locale": "en",
        "initialCorePlanName": "turkey", "subscriberClass": "gold", "subscriberType": "POSTPAID",
        "dpsEnabled": false, "dpsNotification": false, "eosNotification": false,
        "paygNotification": false});
    assert_eq!(list["provisioningProfileDTOList"][0], turkey);
    assert_eq!(list["provisioningProfileDTOList"][1]["name"], "chaCha");
    assert_eq!(vendor.get("/39"), (200, turkey));
    assert!(!list.to_string().contains("sandbox_in_use"));
    assert_eq!(vendor.get("/").1, list);
    for (id, status) in [("/40", 404), ("/x", 404)] {
        assert_eq!(vendor.get(id), (status, Value::Null));
    }
    for (method, path, status) in [
        ("GET", "/spcm-rest-ws/pcc/spcm/provisionProfile/39", 200),
        ("GET", "/spcm-rest-ws/pcc/spcm/provisionProfiles", 404),
        ("GET", "/pcc/spcm/provisionProfile/39/x", 404),
        ("PATCH", "/pcc/spcm/provisionProfile/39", 405),
        ("DELETE", "/pcc/spcm/provisionProfile", 405),
    ] {
        assert_eq!(vendor.outcome(method, path, "").answer.status.as_u16(), status, "{path}");
    }
}

#[test]
fn who_may_call() {
    for (header, value, status) in [
        ("authorization", "", 401),
        ("authorization", "Basic eDp5", 401),
        ("authorization", "Bearer c2FuZGJveDpzYW5kYm94LXBhc3N3b3Jk", 401),
        ("authorization", "basic c2FuZGJveDpzYW5kYm94LXBhc3N3b3Jk", 200),
        ("tenant", "", 400),
        ("tenant", "other", 403),
    ] {
        let vendor = Vendor::new().with(header, value);
        let (found, body) = vendor.get("/39");
        assert_eq!((found, body.is_null()), (status, status != 200), "{header}: {value}");
    }
}

#[test]
fn xml_unless_json_is_asked_for() {
    let vendor = Vendor::new().with("accept", "");
    let (status, body) = vendor.get("/39");
    assert_eq!(status, 200);
    assert!(body.as_str().unwrap().contains("<name>turkeySauce</name>"));
    let body = json!({"name": "x"});
    assert!(vendor.call("POST", "", body).1.as_str().unwrap().contains("<errors><errors><field>"));
    vendor.switch(json!({"json_by_default": true}));
    assert_eq!(vendor.get("/39").1["id"], 39);
}

#[test]
fn create_rules() {
    let vendor = Vendor::new();
    let good = json!({"name": "n", "defaultProfile": false, "subscriberClass": null,
                      "owner": {"a": [1]}, "id": 5,
        "_links": {}});
    let outcome = vendor.outcome("POST", PROFILES, &good.to_string());
    assert_eq!(
        (outcome.answer.status.as_u16(), outcome.effect),
        (201, Some(json!({"created": "74"})))
    );
    assert_eq!(
        vendor.get("/74").1,
        json!({"id": 74, "name": "n", "defaultProfile": false, "subscriberClass": null,
               "dpsEnabled": false,
               "dpsNotification": false, "eosNotification": false, "paygNotification": false,
               "owner": {"a": [1]}})
    );
    let mandatory =
        |field: &str| json!({"field": field, "description": format!("{field} is mandatory")});
    assert_eq!(
        vendor.call("POST", "", json!({"locale": "en"})),
        (412, json!({"errors": [mandatory("name"), mandatory("defaultProfile")]}))
    );
    for (body, status) in [
        (good, 409),
        (json!({"name": "m"}), 412),
        (json!({"name": "", "defaultProfile": true}), 412),
        (json!({"name": "x".repeat(256), "defaultProfile": true}), 412),
        (json!({"name": 1, "defaultProfile": true}), 400),
        (json!({"name": "m", "defaultProfile": "true"}), 400),
        (json!({"name": "m", "defaultProfile": true, "locale": 1}), 400),
        (json!({"name": "m", "defaultProfile": true, "big": "x".repeat(17_000)}), 400),
        (json!([]), 400),
    ] {
        assert_eq!(vendor.call("POST", "", body.clone()).0, status, "{body}");
    }
    let no_plan = json!({"name": "m", "defaultProfile": true, "initialCorePlanName": "nope"});
    assert_eq!(
        vendor.call("POST", "", no_plan.clone()),
        (422, json!({"message": "Plan definition nope not found", "errorCode": 1}))
    );
    vendor.switch(json!({"core_plans": ["nope"], "create_status": 204}));
    assert_eq!(vendor.call("POST", "", no_plan), (204, Value::Null));
    let text = Vendor::new().with("content-type", "text/plain");
    assert_eq!(text.call("POST", "", json!({})).0, 415);
}

#[test]
fn update_merges() {
    let vendor = Vendor::new();
    let change = json!({"id": 9, "subscriberType": "PREPAID", "locale": null, "tag": 3});
    let (status, updated) = vendor.call("PUT", "/71", change);
    assert_eq!(status, 200);
    assert_eq!(
        updated,
        json!({"id": 71, "name": "iotFleet", "defaultProfile": false, "locale": null,
               "initialCorePlanName": "iotCORE", "subscriberClass": "M2M",
               "subscriberType": "PREPAID",
               "dpsEnabled": true, "dpsNotification": false, "eosNotification": false,
               "paygNotification": false, "renewalDayOfMonth": 1, "tag": 3})
    );
    assert_eq!(vendor.get("/71").1, updated);
    // A plan that does not change is not checked.
    vendor.switch(json!({"core_plans": []}));
    assert_eq!(vendor.call("PUT", "/71", updated).0, 200);
    for (body, status) in [
        (json!({"name": "chaCha"}), 409),
        (json!({"name": "iotFleet"}), 200),
        (json!({"name": null}), 412),
        (json!({"defaultProfile": null}), 412),
        (json!({"defaultProfile": 1}), 400),
        (json!({"initialCorePlanName": "turkey"}), 422),
        (json!({"initialCorePlanName": ""}), 200),
    ] {
        assert_eq!(vendor.call("PUT", "/71", body.clone()).0, status, "{body}");
    }
    assert_eq!(vendor.call("PUT", "/40", json!({})), (404, Value::Null));
    vendor.switch(json!({"unique_names": false}));
    assert_eq!(vendor.call("PUT", "/71", json!({"name": "chaCha"})).0, 200);
}

#[test]
fn delete_rules() {
    let vendor = Vendor::new();
    for (id, status) in [("/61", 409), ("/55", 204), ("/55", 404)] {
        assert_eq!(vendor.call("DELETE", id, Value::Null), (status, Value::Null), "{id}");
    }
    // Clients cannot write the member that marks a profile as used.
    assert_eq!(vendor.call("PUT", "/61", json!({"sandbox_in_use": false})).0, 200);
    assert_eq!(vendor.call("DELETE", "/61", Value::Null).0, 409);
}

#[test]
fn shapes_that_can_be_switched() {
    let vendor = Vendor::new();
    vendor.switch(json!({"links": true, "absent_as_null": true}));
    let bare = vendor.get("/70").1;
    assert_eq!(bare["locale"], Value::Null);
    assert!(bare.as_object().unwrap().contains_key("subscriberType"));
    let href = bare["_links"]["self"]["href"].as_str().unwrap();
    assert!(href.ends_with("/spcm-rest-ws/pcc/spcm/provisionProfile/70"));
    for (bodies, start) in [("xml", "<?xml"), ("html", "<!doctype"), ("empty", "")] {
        vendor.switch(json!({ "error_body": bodies }));
        for (method, id, status) in [("GET", "/1", 404), ("POST", "", 412)] {
            let (found, body) = vendor.call(method, id, json!({}));
            assert_eq!(found, status);
            assert!(body.as_str().unwrap_or_default().starts_with(start), "{body}");
        }
    }
}
