//! The dialect on the vendor's own example and on mutated ones, without a network.

mod edits;
mod failures;
mod fake;
mod login;
mod properties;
mod reads;
mod undo;
mod work;
mod writes;

use serde_json::{Value, json};

use super::*;
use crate::{
    dialect::recorder::{Recorder, now},
    pb::{RadioAccess, ServiceType, TrafficLimit},
};

use RadioAccess::{
    NbIot, NbIotNtn, RadioAccess2g as R2g, RadioAccess3g as R3g, RadioAccess4g as R4g,
    RadioAccess5g as R5g,
};

const ENDPOINT: Endpoint = Endpoint { data_limits: false };

fn fixture(name: &str) -> Value {
    crate::dialect::recorder::fixture(&format!("endpoint/{name}"))
}

/// The profile for an upstream object.
fn read(object: &Value) -> Profile {
    let recorder = Recorder::answering([object.clone()]);
    let id = object["id"].to_string().replace('"', "");
    now(ENDPOINT.get(&recorder, &id)).unwrap().profile
}

/// What a creation sends: the creating request, and then the rest for the profile that it names.
fn create(port: &Recorder, cleanup: &Recorder, desired: &Profile) -> Result<String> {
    let id = now(ENDPOINT.create(port, desired))?.unwrap();
    let found = Item { id: id.clone(), profile: Profile::default() };
    now(ENDPOINT.finish(port, Some(cleanup), &found, desired))?;
    Ok(id)
}

/// The vendor's example with some members replaced.
fn example_with(members: Value) -> Value {
    let mut object = fixture("profile");
    for (key, value) in members.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

/// Method and path of each request, without the common prefix.
fn lines(recorder: &Recorder) -> Vec<String> {
    let short = |path: &str| path.strip_prefix("/api/v1/").unwrap().to_owned();
    let requests = recorder.requests();
    let is_about_one = |path: &str| path.starts_with("/api/v1/service_profile/");
    assert!(requests.iter().all(|r| r.profile.is_some() == is_about_one(&r.path)));
    requests.iter().map(|r| format!("{} {}", r.method, short(&r.path))).collect()
}

fn violated(violations: Violations) -> Vec<String> {
    match violations.into_result() {
        Ok(()) => Vec::new(),
        Err(error) => fields(&error),
    }
}

fn fields(error: &Error) -> Vec<String> {
    let mut fields: Vec<String> = error.violations().iter().map(|v| v.field.clone()).collect();
    fields.sort_unstable();
    fields
}

fn metadata(error: &Error, key: &str) -> Option<String> {
    error.metadata().iter().find(|(k, _)| *k == key).map(|(_, value)| value.clone())
}

fn by_id(id: &str) -> Service {
    Service { id: id.to_owned(), ..Service::default() }
}

fn by_kind(kind: ServiceType) -> Service {
    Service { r#type: kind.into(), ..Service::default() }
}

fn limit(id: &str) -> TrafficLimit {
    TrafficLimit { id: id.to_owned(), ..TrafficLimit::default() }
}

/// A service with limits, all by id.
fn service(id: &str, limits: &[&str]) -> Service {
    Service { traffic_limits: limits.iter().map(|id| limit(id)).collect(), ..by_id(id) }
}

fn minimal(services: Vec<Service>) -> Profile {
    Profile { display_name: "n".to_owned(), services, ..Profile::default() }
}

fn error_body(code: i64, message: &str) -> Value {
    json!({"error_code": code, "error_token": "T", "message": message})
}
