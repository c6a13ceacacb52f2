//! Bodies as BICS SFT writes them, and its own examples from the fixtures.

use serde_json::{Value, json};

/// An example of the vendor's page, parsed.
pub fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/bics-sft/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_slice(&text).unwrap()
}

/// An answer with this inner code and the outer one that belongs to it.
pub fn result(code: &str) -> Value {
    let outer = if ["1323", "1325", "1329", "1331"].contains(&code) { "0" } else { "1" };
    result_with(code, outer, "words of the upstream")
}

pub fn result_with(code: &str, outer: &str, description: &str) -> Value {
    json!({"Response": {
        "responseId": "10147764526003929674",
        "responseTimestamp": "26/05/2020 01:59:44",
        "resultCode": outer,
        "resultParam": {"resultCode": code, "resultDescription": description},
    }})
}

/// The answer to a create.
pub fn created(id: &str) -> Value {
    let mut body = result("1323");
    body["Response"]["serviceProfile"] = json!(id);
    body
}

/// The answer to a read.
pub fn profiles(list: &[Value]) -> Value {
    let mut body = result("1331");
    body["Response"]["responseParam"] =
        json!({"totalCount": list.len().to_string(), "serviceProfileList": list});
    body
}

/// A profile as a read shows it: DATA on 2G and 3G, active, base.
pub fn profile(id: &str, name: &str) -> Value {
    json!({"profileId": id, "profileName": name, "status": "1", "serviceName": "DATA",
        "ratTypeName": "2G/3G", "category": "0"})
}

/// The profile with some members replaced; null takes one away.
pub fn profile_with(id: &str, name: &str, members: Value) -> Value {
    let mut all = profile(id, name);
    for (key, value) in members.as_object().unwrap() {
        match value {
            Value::Null => all.as_object_mut().unwrap().remove(key),
            value => all.as_object_mut().unwrap().insert(key.clone(), value.clone()),
        };
    }
    all
}

/// The answer to a login or a renewal.
pub fn tokens(access: &str, refresh: &str) -> Value {
    json!({"AccessToken": access, "RefreshToken": refresh})
}

/// The request that carries these members.
pub fn request(members: Value) -> Value {
    json!({"Request": {"requestParam": {"serviceProfile": members}}})
}
