//! The vendor's rules, tested on the simulator directly.

mod login;
mod services;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::*;
use crate::answer::Content;

const PROFILES: &str = "/api/v1/service_profile";

struct Vendor {
    endpoint: Endpoint,
    authorization: Option<String>,
}

impl Vendor {
    /// Logged in, and without the rate limit.
    fn new() -> Self {
        let mut vendor = Self { endpoint: Endpoint::new(Options::default()), authorization: None };
        let token = vendor.log_in("sandbox-application-token");
        vendor.authorization = Some(format!("Bearer {}", token.1["auth_token"].as_str().unwrap()));
        vendor.switch(json!({"rate_limit": false}));
        vendor
    }

    fn log_in(&self, token: &str) -> (u16, Value) {
        self.call("POST", "/api/v1/authenticate", json!({ "application_token": token }))
    }

    fn outcome(&self, method: &str, path: &str, body: &str) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            headers.insert("authorization", authorization.parse().unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let body = Bytes::from(body.to_owned());
        let call = Call { method, uri: path.parse().unwrap(), headers, body };
        match self.endpoint.operation(&call) {
            Ok(operation) => self.endpoint.serve(operation, &call),
            Err(answer) => Outcome { answer: *answer, code: None, effect: None },
        }
    }

    /// Status and body; null if there is no body.
    fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let outcome = self.outcome(method, path, &text);
        let status = outcome.answer.status.as_u16();
        match outcome.answer.content {
            Content::Json(body) => (status, body),
            Content::Nothing => (status, Value::Null),
            Content::Text(text) => panic!("text: {text}"),
        }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, Value::Null)
    }

    fn one(&self, id: i64) -> Value {
        let (status, body) = self.get(&format!("{PROFILES}/{id}"));
        assert_eq!(status, 200);
        body
    }

    /// Status and the code in the body.
    fn verdict(&self, method: &str, path: &str, body: Value) -> (u16, Option<u64>) {
        let (status, body) = self.call(method, path, body);
        (status, body["error_code"].as_u64())
    }

    fn switch(&self, wanted: Value) {
        self.endpoint.set_switches(serde_json::from_value(wanted).unwrap()).unwrap();
    }

    fn create(&self, body: Value) -> i64 {
        let outcome = self.outcome("POST", PROFILES, &body.to_string());
        assert_eq!(outcome.answer.status, 201);
        assert!(matches!(outcome.answer.content, Content::Nothing));
        let location = outcome.answer.headers[LOCATION].to_str().unwrap().to_owned();
        let id = location.strip_prefix("https://cdn.emnify.net/api/v1/service_profile/").unwrap();
        assert_eq!(outcome.effect, Some(json!({ "created": id })));
        id.parse().unwrap()
    }
}

#[test]
fn seed_holds_the_documents_example_verbatim() {
    let vendor = Vendor::new();
    let literal = vendor.one(1);
    let written: Vec<Value> = serde_json::from_str(include_str!("seed.json")).unwrap();
    assert_eq!(literal, written[0]);
    assert_eq!(literal["service"][0]["traffic_limit"][1]["period"]["unit"], "Months");
    assert!(literal.get("apply_data_quota").is_none());

    let tracker = vendor.one(390);
    assert_eq!(tracker["service"][0]["traffic_type"]["unit"], "MB");
    assert_eq!(
        tracker["service"][0]["traffic_limit"],
        json!([{"id": 13, "volume": 128, "period": {"id": 35, "time_units": 1, "unit": "Months"}}])
    );
    assert_eq!(
        (&tracker["apply_quota"], &tracker["apply_data_quota"]),
        (&json!(true), &json!(true))
    );
}

#[test]
fn list_is_the_short_view() {
    let vendor = Vendor::new();
    let (status, list) = vendor.get(PROFILES);
    assert_eq!((status, list.as_array().unwrap().len()), (200, 6));
    assert_eq!(
        list[0],
        json!({"id": 1, "name": "Smart meter", "description": "Data + SMS - 1G limit",
               "allowed_3g": true,
               "allowed_4g": false, "allowed_nb_iot": false, "used_count": "12"})
    );
    assert_eq!(vendor.one(1)["used_count"], 12);
    assert!(list[5]["ip_firewall_rule_set"]["enforce"].as_bool().unwrap());
    vendor.switch(json!({"list_used_count_as_text": false}));
    assert_eq!(vendor.get("/api/v1/service_profile/").1[0]["used_count"], 12);
}

#[test]
fn create_gives_defaults_and_resolves_references() {
    let vendor = Vendor::new();
    let id = vendor.create(json!({"name": "n", "retail": true, "dns": {"id": 2}, "used_count": 5,
        "moc_callback": {"id": 39}, "api_secret": null, "mystery": 1}));
    let one = vendor.one(id);
    assert_eq!(one["id"], id);
    for (name, expected) in [
        ("allowed_3g", json!(true)),
        ("allowed_nb_iot", json!(true)),
        ("allowed_nb_iot_geo", json!(false)),
        ("apply_quota", json!(false)),
        ("apply_data_quota", json!(false)),
        ("retail", json!(true)),
        ("sms_p2p_ext", json!(true)),
        ("used_count", json!(0)),
        ("description", Value::Null),
        ("api_secret", Value::Null),
        ("service", json!([])),
        ("esme_interface_type", json!({"id": 1, "description": "Local"})),
    ] {
        assert_eq!(one[name], expected, "{name}");
    }
    assert_eq!(one["dns"]["primary"], "1.1.1.1");
    assert_eq!(one["moc_callback"]["purpose"], "Customer's Moc server");
    assert!(one.get("mystery").is_none());
    // Names are not unique.
    assert_ne!(vendor.create(json!({"name": "n"})), id);

    vendor.switch(json!({"create_location": false}));
    let silent = vendor.outcome("POST", PROFILES, r#"{"name":"n"}"#);
    assert_eq!(silent.answer.status, 201);
    assert!(silent.answer.headers.get(LOCATION).is_none());
}

#[test]
fn what_create_refuses() {
    let vendor = Vendor::new();
    let errors = |body: Value| {
        let (status, answer) = vendor.call("POST", PROFILES, body);
        assert_eq!((status, &answer["error_code"]), (422, &json!(1400)), "{answer}");
        let nested = answer["errors"].as_array().unwrap().clone();
        nested
            .iter()
            .map(|e| (e["error_code"].as_u64().unwrap(), e["message"].to_string()))
            .collect()
    };
    let name: Vec<(u64, String)> = errors(json!({"dns": {"id": 99}, "api_callback": {}}));
    assert_eq!(
        name,
        [
            (1402, "\"ServiceProfile - name is required\"".to_owned()),
            (1402, "\"ServiceProfile - api_callback.id is required\"".to_owned()),
            (1401, "\"Invalid reference to Dns with id 99\"".to_owned()),
        ]
    );
    for bad in [json!({"name": ""}), json!({"name": null}), json!({})] {
        assert_eq!(errors(bad).len(), 1);
    }
    for bad in [
        json!({"name": 1}),
        json!({"name": "x".repeat(257)}),
        json!({"name": "n", "allowed_3g": "true"}),
        json!({"name": "n", "allowed_3g": null}),
        json!({"name": "n", "description": 3}),
        json!({"name": "n", "dns": {"id": "1"}}),
        json!({"name": "n", "dns": {"id": null}}),
        json!({"name": "n", "dns": 1}),
        json!({"apply_quota": 1}),
    ] {
        assert_eq!(vendor.verdict("POST", PROFILES, bad.clone()), (422, Some(1403)), "{bad}");
    }
    vendor.switch(json!({"format_errors_nested": true, "retail_allowed": false}));
    assert_eq!(errors(json!({"name": 1, "nipdp": 0})).len(), 2);
    let retail = json!({"name": "n", "retail": true});
    assert_eq!(vendor.verdict("POST", PROFILES, retail), (403, Some(1104)));
    assert_eq!(vendor.verdict("POST", PROFILES, json!([])), (400, Some(1000)));
    assert_eq!(vendor.outcome("POST", PROFILES, "{").answer.status, 400);
    assert_eq!(vendor.get(PROFILES).1.as_array().unwrap().len(), 6);
}

#[test]
fn patch_changes_what_it_names() {
    let vendor = Vendor::new();
    let path = format!("{PROFILES}/1204");
    let before = vendor.one(1204);
    let change = json!({"description": null, "api_callback": {"id": null}, "api_secret": null,
        "apply_quota": true, "apply_data_quota": false, "breakout_region": {"id": 3}});
    let outcome = vendor.outcome("PATCH", &path, &change.to_string());
    assert_eq!(outcome.answer.status, 201);
    assert!(matches!(outcome.answer.content, Content::Nothing));
    assert_eq!(outcome.effect, Some(json!({"modified": "1204"})));
    let mut expected = before.clone();
    expected["description"] = Value::Null;
    expected["api_callback"] = Value::Null;
    expected["breakout_region"] =
        json!({"id": 3, "name": "eu-west-1 (VPN)", "ip_address": "0.0.0.0"});
    assert_eq!(vendor.one(1204), expected);

    assert_eq!(vendor.call("PATCH", &path, json!({"apply_quota": true})).0, 201);
    assert_eq!(vendor.one(1204)["apply_data_quota"], true);
    for status in [204, 200] {
        vendor.switch(json!({ "patch_status": status }));
        assert_eq!(vendor.call("PATCH", &path, json!({})), (status, Value::Null));
    }
    assert_eq!(vendor.verdict("PATCH", &path, json!({"name": null})), (422, Some(1400)));
    assert_eq!(vendor.verdict("PATCH", &path, json!({"dns": {"id": 7}})), (422, Some(1400)));
    let unknown = vendor.call("PATCH", &format!("{PROFILES}/-1"), json!({}));
    assert_eq!(
        unknown,
        (
            404,
            json!({"error_code": 1401, "error_token": "InvalidReference",
                     "message": "Service profile with Id '-1' not found."})
        )
    );
}

#[test]
fn delete_rules_and_invalid_ids() {
    let vendor = Vendor::new();
    assert_eq!(vendor.verdict("DELETE", &format!("{PROFILES}/1"), Value::Null), (409, Some(1406)));
    let gone = vendor.outcome("DELETE", &format!("{PROFILES}/390"), "");
    assert_eq!((gone.answer.status.as_u16(), gone.effect), (204, Some(json!({"deleted": "390"}))));
    for method in ["DELETE", "GET"] {
        let path = format!("{PROFILES}/390");
        assert_eq!(vendor.verdict(method, &path, Value::Null), (404, Some(1401)));
    }
    vendor.switch(json!({"not_found_code": 1201}));
    assert_eq!(vendor.get(&format!("{PROFILES}/390")).1["error_token"], "NotFound");
    assert_eq!(
        vendor.get(&format!("{PROFILES}/None")),
        (
            400,
            json!({"error_code": 1000, "error_token": "BadRequest",
                     "message": "Cannot parse parameter id as Long: For input string: \"None\""})
        )
    );
}

#[test]
fn what_the_vendor_does_not_have() {
    let vendor = Vendor::new();
    for (method, path, status) in [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/api/v1/service_profile/1/quota/data", 404),
        ("PUT", "/api/v1/service_profile/1/traffic_limit", 405),
        ("PUT", "/api/v1/service_profile/1", 405),
        ("GET", "/api/v1/authenticate", 405),
        ("POST", "/api/v1/dns", 405),
    ] {
        assert_eq!(vendor.call(method, path, Value::Null), (status, Value::Null), "{path}");
    }
}

#[test]
fn profile_reads_have_a_rate_limit() {
    let vendor = Vendor::new();
    vendor.switch(json!({"rate_limit": true, "rate_burst": 3, "rate_per_second": 1}));
    let path = format!("{PROFILES}/1");
    let statuses: Vec<u16> = (0..4).map(|_| vendor.get(&path).0).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = vendor.outcome("GET", PROFILES, "");
    assert_eq!(refused.code.as_deref(), Some("1105"));
    assert!(refused.answer.headers.get("retry-after").is_none());
    assert_eq!(vendor.get("/api/v1/service").0, 200);
    vendor.switch(json!({"retry_after_seconds": 2}));
    assert_eq!(vendor.outcome("GET", PROFILES, "").answer.headers["retry-after"], "2");
}

#[test]
fn requests_and_logins_are_limited_within_a_time() {
    let vendor = Vendor::new();
    vendor.switch(json!({"rate_limit": true, "window_requests": 6, "window_logins": 3}));
    let log_in = || vendor.log_in("sandbox-application-token").0;
    // The vendor was logged in once before.
    assert_eq!([(); 3].map(|()| log_in()), [200, 200, 429]);
    let path = format!("{PROFILES}/1");
    let statuses: Vec<u16> = (0..4).map(|_| vendor.get(&path).0).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!(vendor.call("DELETE", &path, Value::Null).0, 429, "writes too");
    vendor.switch(json!({"rate_limit": false}));
    assert_eq!((vendor.get(&path).0, log_in()), (200, 200));
}

#[test]
fn full_account_refuses_to_create() {
    let options = Options { max_profiles: 6, ..Options::default() };
    let vendor = Vendor { endpoint: Endpoint::new(options), ..Vendor::new() };
    let token = vendor.log_in("sandbox-application-token").1["auth_token"].clone();
    let vendor =
        Vendor { authorization: Some(format!("Bearer {}", token.as_str().unwrap())), ..vendor };
    assert_eq!(vendor.call("POST", PROFILES, json!({"name": "n"})).0, 507);
}
