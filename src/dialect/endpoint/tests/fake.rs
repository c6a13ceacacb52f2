//! A fake upstream with one profile, which keeps what it is sent.

use std::sync::{Arc, Mutex};

use http::{Method, header::LOCATION};
use serde_json::{Value, json};

use super::*;
use crate::{
    dialect::recorder::reply,
    upstream::{Reply, Request},
};

/// The stored profile; `null` without one.
pub(super) type Held = Arc<Mutex<Value>>;

/// The reply to the n-th write instead of the fake's own, and whether it is carried out anyway.
pub(super) type Interference = Box<dyn Fn(usize) -> Option<(Result<Reply>, bool)> + Send + Sync>;

/// A fake with this profile.
pub(super) fn with(object: Value, interfere: Interference) -> (Recorder, Held) {
    let held: Held = Arc::new(Mutex::new(object));
    let (inside, writes) = (held.clone(), Mutex::new(0_usize));
    let recorder = Recorder::responding(move |request| {
        let mut object = inside.lock().unwrap();
        if request.method == Method::GET {
            return Ok(read(&object, &request.path));
        }
        let mut writes = writes.lock().unwrap();
        *writes += 1;
        match interfere(*writes) {
            Some((answer, carried_out)) => {
                if carried_out {
                    write(&mut object, request);
                }
                answer
            }
            None => Ok(write(&mut object, request)),
        }
    });
    (recorder, held)
}

/// A fake that carries out every request.
pub(super) fn obedient(object: Value) -> (Recorder, Held) {
    with(object, Box::new(|_| None))
}

fn read(object: &Value, path: &str) -> Reply {
    match path.strip_prefix("/api/v1/").unwrap() {
        "service" => reply(
            200,
            json!([{"id": 38, "description": "Data", "traffic_type": {"id": 5, "unit": "MB"}},
                   {"id": 32, "description": "SMS MO"}, {"id": 6, "description": "sms_mt"},
                   {"id": 40, "description": "Data"}, {"id": 3, "description": "Voice"}])
            .to_string(),
        ),
        "service/38/traffic_limit" => reply(
            200,
            json!([{"id": 9, "volume": 1, "period": {"id": 2, "time_units": 1, "unit": "Months"}},
                   {"id": 8, "volume": 5, "period": {"id": 2, "time_units": 1, "unit": "Months"}}])
            .to_string(),
        ),
        limits if limits.ends_with("/traffic_limit") => reply(200, "[]"),
        "service_profile" => match object {
            Value::Null => reply(200, "[]"),
            object => reply(200, json!([{"id": object["id"], "name": object["name"]}]).to_string()),
        },
        _ if object.is_null() => {
            reply(404, error_body(1401, "Service profile with Id '7' not found.").to_string())
        }
        _ => reply(200, object.to_string()),
    }
}

fn write(object: &mut Value, request: &Request) -> Reply {
    let body = request.body.as_ref().map_or(Value::Null, |b| serde_json::from_slice(b).unwrap());
    let path = request.path.strip_prefix("/api/v1/service_profile").unwrap();
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    match (&request.method, parts.as_slice()) {
        (&Method::POST, _) => {
            *object = json!({"id": 7, "used_count": 0, "service": []});
            merge(object, &body);
            let mut created = reply(201, "");
            let location = "https://cdn.emnify.net/api/v1/service_profile/7";
            created.headers.insert(LOCATION, location.parse().unwrap());
            return created;
        }
        (&Method::PATCH, []) => merge(object, &body),
        (&Method::DELETE, []) => *object = Value::Null,
        (method, [collection @ .., id]) => {
            let id: i64 = id.parse().unwrap();
            let services = object["service"].as_array_mut().unwrap();
            let items = match collection {
                ["service"] => services,
                ["service", service, "traffic_limit"] => {
                    let service: i64 = service.parse().unwrap();
                    let found = services.iter_mut().find(|s| s["id"] == service).unwrap();
                    found["traffic_limit"].as_array_mut().unwrap()
                }
                other => panic!("unknown path {other:?}"),
            };
            let new = match collection.len() {
                1 => json!({"id": id, "traffic_limit": []}),
                _ => json!({"id": id}),
            };
            return change(method, items, new);
        }
        other => panic!("unknown request {other:?}"),
    }
    reply(204, "")
}

fn change(method: &Method, items: &mut Vec<Value>, new: Value) -> Reply {
    let at = items.iter().position(|item| item["id"] == new["id"]);
    match (method, at) {
        (&Method::PUT, None) => items.push(new),
        (&Method::PUT, Some(_)) => return reply(409, error_body(1405, "twice").to_string()),
        (_, None) => return reply(422, ""),
        (_, Some(at)) => {
            let limits = items[at]["traffic_limit"].as_array();
            if limits.is_some_and(|limits| !limits.is_empty()) {
                return reply(409, "");
            }
            items.remove(at);
        }
    }
    reply(200, "")
}

fn merge(object: &mut Value, body: &Value) {
    for (key, value) in body.as_object().unwrap() {
        let cleared = value.get("id").is_some_and(Value::is_null);
        object[key] = if cleared { Value::Null } else { value.clone() };
    }
}
