//! Model → request.

use http::{
    HeaderValue, Method,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{radio, wire};
use crate::{
    pb::{PaymentType, Profile},
    upstream::{Request, Safety},
};

/// Where the profiles are, below the configured base URL.
pub(super) const COLLECTION: &str = "/api/v1/service_profile";

pub(super) fn list() -> Request {
    request("ListServiceProfiles", Method::GET, COLLECTION.to_owned(), None)
}

pub(super) fn get(id: &str) -> Request {
    request("GetServiceProfile", Method::GET, profile_path(id), None).about(id)
}

pub(super) fn create(profile: &Profile) -> Request {
    let body = Value::Object(creation(profile));
    request("CreateServiceProfile", Method::POST, COLLECTION.to_owned(), Some(&body))
}

pub(super) fn patch(id: &str, members: &Map<String, Value>) -> Request {
    let body = Value::Object(members.clone());
    request("UpdateServiceProfile", Method::PATCH, profile_path(id), Some(&body)).about(id)
}

pub(super) fn delete(id: &str) -> Request {
    request("DeleteServiceProfile", Method::DELETE, profile_path(id), None).about(id)
}

pub(super) fn add_service(id: &str, service: &str) -> Request {
    request("AddService", Method::PUT, service_path(id, service), None).about(id)
}

pub(super) fn remove_service(id: &str, service: &str) -> Request {
    request("RemoveService", Method::DELETE, service_path(id, service), None).about(id)
}

pub(super) fn add_limit(id: &str, service: &str, limit: &str) -> Request {
    request("AddTrafficLimit", Method::PUT, limit_path(id, service, limit), None).about(id)
}

pub(super) fn remove_limit(id: &str, service: &str, limit: &str) -> Request {
    request("RemoveTrafficLimit", Method::DELETE, limit_path(id, service, limit), None).about(id)
}

pub(super) fn data_limits(id: &str) -> Request {
    let path = format!("{}/traffic_limit", profile_path(id));
    request("ListProfileTrafficLimits", Method::GET, path, None).about(id)
}

pub(super) fn catalog() -> Request {
    request("ListServices", Method::GET, "/api/v1/service".to_owned(), None)
}

pub(super) fn catalog_limits(service: &str) -> Request {
    let path = format!("/api/v1/service/{}/traffic_limit", segment(service));
    request("ListTrafficLimits", Method::GET, path, None)
}

/// The members that a create sends. Services and their limits have their own requests.
pub(super) fn creation(profile: &Profile) -> Map<String, Value> {
    let mut members = members(profile);
    // Unset is false there, and the white label's own page does not list the member.
    if members.get(radio::GEO) == Some(&json!(false)) {
        members.remove(radio::GEO);
    }
    members
}

/// The members of the PATCH that turns `current` into `desired`. Members that cannot be cleared
/// stay as they are: `check::unclearable` reports them.
pub(super) fn differences(current: &Profile, desired: &Profile) -> Map<String, Value> {
    let (before, after) = (members(current), members(desired));
    let mut changed = Map::new();
    for (key, value) in &after {
        let off_anyway = key == radio::GEO && !before.contains_key(key) && value == &json!(false);
        if before.get(key) != Some(value) && !off_anyway {
            changed.insert(key.clone(), value.clone());
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        match key.as_str() {
            // [inferred] `{"id": null}` is the documented way to clear a reference, which suggests
            // that the platform ignores null members; so an empty text is sent instead of null.
            "description" => changed.insert(key.clone(), json!("")),
            "api_callback" | "api_secret" | "moc_callback" => {
                changed.insert(key.clone(), json!({"id": null}))
            }
            _ => None,
        };
    }
    changed
}

/// Whether a profile that was read leaves open what it has of a member that is asked to be this. A
/// flag always has a value, and the newer of the vendor's descriptions has no `dns`. A text or
/// reference that is not there is unset.
pub(super) fn is_untold(key: &str, asked: &Value, found: &Profile) -> bool {
    let is_odd = || found.unmapped.as_ref().is_some_and(|odd| odd.fields.contains_key(key));
    (asked.is_boolean() || key == "dns") && !members(found).contains_key(key) && !is_odd()
}

/// A profile's value of each writable member. An empty description counts as unset.
fn members(profile: &Profile) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(key.to_owned(), value);
        }
    };
    let text = |text: &str| (!text.is_empty()).then(|| json!(text));
    put("name", text(&profile.display_name));
    put("description", profile.description.as_deref().and_then(text));
    for (key, kind) in radio::SWITCHES {
        let set = !profile.radio_access.is_empty();
        put(key, set.then(|| json!(profile.radio_access.contains(&kind.into()))));
    }
    let quotas = profile.quotas.unwrap_or_default();
    put("apply_data_quota", quotas.data.map(Value::from));
    put("apply_sms_quota", quotas.sms.map(Value::from));
    put("retail", profile.retail.map(Value::from));
    let sms = profile.sms.clone().unwrap_or_default();
    put("sms_p2p_int", sms.p2p_internal.map(Value::from));
    put("sms_p2p_ext", sms.p2p_external.map(Value::from));
    put("prepaid", prepaid(profile).map(Value::from));
    let network = profile.network.clone().unwrap_or_default();
    put("nipdp", network.network_initiated_pdp.map(Value::from));
    let callbacks = profile.callbacks.clone().unwrap_or_default();
    put("api_callback", callbacks.api.and_then(|c| reference(&c.id)));
    put("api_secret", callbacks.api_secret.and_then(|s| reference(&s.id)));
    put("moc_callback", callbacks.moc.and_then(|c| reference(&c.id)));
    put("esme_interface_type", sms.esme_interface.and_then(|e| reference(&e.id)));
    put("breakout_region", network.breakout_region.and_then(|b| reference(&b.id)));
    put("dns", network.dns.and_then(|d| reference(&d.id)));
    members
}

fn prepaid(profile: &Profile) -> Option<bool> {
    match PaymentType::try_from(profile.payment_type) {
        Ok(PaymentType::Prepaid) => Some(true),
        Ok(PaymentType::Postpaid) => Some(false),
        Ok(PaymentType::Unspecified) | Err(_) => None,
    }
}

/// A reference needs only the id (page "Conventions"), which is a number on the wire.
fn reference(id: &str) -> Option<Value> {
    wire::number(id).map(|id| json!({"id": id}))
}

fn profile_path(id: &str) -> String {
    format!("{COLLECTION}/{}", segment(id))
}

fn service_path(id: &str, service: &str) -> String {
    format!("{}/service/{}", profile_path(id), segment(service))
}

fn limit_path(id: &str, service: &str, limit: &str) -> String {
    format!("{}/traffic_limit/{}", service_path(id, service), segment(limit))
}

fn segment(id: &str) -> String {
    utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()
}

pub(super) fn request(
    operation: &'static str,
    method: Method,
    path: String,
    body: Option<&Value>,
) -> Request {
    let mut headers = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
    match body {
        Some(_) => headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json"))),
        // RFC 9110, 8.6: a PUT without a body has a length of 0, so that no server asks for it
        // (411).
        None if method == Method::PUT => {
            headers.push((CONTENT_LENGTH, HeaderValue::from_static("0")));
        }
        None => {}
    }
    let safety = if method == Method::GET { Safety::Read } else { Safety::Write };
    let body = body.map(|body| body.to_string().into());
    Request { operation, method, path, profile: None, headers, body, safety }
}
