//! Model → request.

use http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{radio, service};
use crate::{
    dialect::adapter::ProfileUpdate,
    pb::{Category, Profile, State},
    upstream::{Request, Safety},
};

pub(super) fn list() -> Request {
    request("GetServiceProfile", Method::GET, "/api/GetServiceProfile".to_owned(), None)
}

pub(super) fn get(id: &str) -> Request {
    let encoded = utf8_percent_encode(id, NON_ALPHANUMERIC).to_string().replace("%5F", "_");
    let path = format!("/api/GetServiceProfile?serviceProfileId={encoded}");
    request("GetServiceProfile", Method::GET, path, None).about(id)
}

pub(super) fn create(profile: &Profile) -> Request {
    let mut members = members(profile);
    members.insert("category".to_owned(), digit(profile.category == i32::from(Category::Addon)));
    write("CreateServiceProfile", members)
}

/// A request with the differences; `None` without any.
pub(super) fn modify(change: ProfileUpdate<'_>) -> Option<Request> {
    let mut changed = differences(change.current, change.desired);
    if changed.is_empty() {
        return None;
    }
    changed.insert("id".to_owned(), json!(change.id));
    Some(write("ModifyServiceProfile", changed).about(change.id))
}

/// Whether everything that a change sends was found by a later read.
pub(super) fn is_applied(change: ProfileUpdate<'_>, found: &Profile) -> bool {
    let found = members(found);
    let asked = differences(change.current, change.desired);
    asked.iter().all(|(key, value)| found.get(key) == Some(value))
}

/// The same, but what a read does not say agrees: every field of its table may be missing, and all
/// of them always have a value. A creation, as a change of an empty profile, sets the category too.
pub(super) fn agrees(change: ProfileUpdate<'_>, found: &Profile) -> bool {
    let shown = members(found);
    let asked = differences(change.current, change.desired);
    let is_odd =
        |key: &str| found.unmapped.as_ref().is_some_and(|odd| odd.fields.contains_key(key));
    let has_members = asked.iter().all(|(key, value)| {
        let untold = match key.as_str() {
            "status" => found.state == 0,
            "accessType" => !shown.contains_key("accessType"),
            "service" => service::on_wire(found).is_empty() && !is_odd("serviceName"),
            _ => false,
        };
        untold || shown.get(key) == Some(value)
    });
    let (before, category) = (change.current.category, change.desired.category);
    has_members && (before == category || [0, category].contains(&found.category))
}

pub(super) fn delete(id: &str) -> Request {
    write("DeleteServiceProfile", Map::from_iter([("id".to_owned(), json!(id))])).about(id)
}

/// The members that create and modify share. `accessType` is present exactly if there is a service
/// other than NB-IoT; otherwise the vendor rejects it (10111).
fn members(profile: &Profile) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("name".to_owned(), json!(profile.display_name));
    members.insert("status".to_owned(), digit(profile.state == i32::from(State::Active)));
    members.insert("service".to_owned(), json!(service::on_wire(profile)));
    if let Some(code) = radio::code(&profile.radio_access).filter(|_| !profile.services.is_empty())
    {
        members.insert("accessType".to_owned(), json!(code));
    }
    members
}

fn differences(current: &Profile, desired: &Profile) -> Map<String, Value> {
    let before = members(current);
    let mut changed: Map<String, Value> = members(desired)
        .into_iter()
        .filter(|(key, value)| before.get(key) != Some(value))
        .collect();
    if current.state == desired.state {
        changed.remove("status");
    } else if desired.state != 0 {
        // A state that could not be read counts as different from any requested state.
        let active = desired.state == i32::from(State::Active);
        changed.insert("status".to_owned(), digit(active));
    }
    changed
}

fn digit(set: bool) -> Value {
    json!(if set { "1" } else { "0" })
}

fn write(operation: &'static str, service_profile: Map<String, Value>) -> Request {
    let body = json!({"Request": {"requestParam": {"serviceProfile": service_profile}}});
    request(operation, Method::POST, format!("/api/{operation}"), Some(&body))
}

/// A request with the headers that the vendor requires for every call, including reads.
pub(super) fn request(
    operation: &'static str,
    method: Method,
    path: String,
    body: Option<&Value>,
) -> Request {
    let safety = if method == Method::GET { Safety::Read } else { Safety::Write };
    Request {
        operation,
        method,
        path,
        profile: None,
        headers: vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (
                HeaderName::from_static("x-requested-with"),
                HeaderValue::from_static("XMLHttpRequest"),
            ),
        ],
        body: body.map(|body| body.to_string().into()),
        safety,
    }
}
