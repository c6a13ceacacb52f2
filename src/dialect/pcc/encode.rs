//! Model → request.

use http::{
    HeaderValue, Method,
    header::{ACCEPT, CONTENT_TYPE},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    members::{ID, MEMBERS, Member, NAME},
    wire::Members,
};
use crate::{
    dialect::adapter::ProfileUpdate,
    pb::Profile,
    upstream::{Request, Safety},
};

/// Relative to the configured base URL, which includes the servlet prefix (`/spcm-rest-ws`), if
/// any.
const COLLECTION: &str = "/pcc/spcm/provisionProfile";

pub(super) fn list() -> Request {
    request("listProvisionProfiles", Method::GET, COLLECTION.to_owned(), None)
}

pub(super) fn get(id: &str) -> Request {
    request("getProvisionProfile", Method::GET, path(id), None).about(id)
}

/// A create with the fields that are set; the upstream decides the rest, and the id.
pub(super) fn create(profile: &Profile) -> Request {
    let mut body = Members::default();
    for member in &MEMBERS {
        if let Some(value) = (member.get)(profile) {
            body.set(member.key, &value);
        }
    }
    request("createProvisionProfile", Method::POST, COLLECTION.to_owned(), Some(&body))
}

/// An update of the object as it was just read; `None` if it already has the whole change.
///
/// The vendor's example of a PUT omits members and keeps their values, so it merges. Sending the
/// whole object is right whether it merges or replaces. Members outside the change keep the values
/// that were just read, even if another client has changed them since the caller read the profile.
pub(super) fn update(change: ProfileUpdate<'_>, mut fresh: Members<'_>) -> Option<Update> {
    let (mut writes, mut renames) = (false, false);
    for (member, value) in differences(change) {
        // How to clear a member is not documented. If PUT merges, omitting a member keeps it, so
        // this sends null [inferred: the vendor's sibling objects have explicit nulls for unset
        // members].
        let value = value.unwrap_or(Value::Null);
        if fresh.value(member.key).unwrap_or(Value::Null) != value {
            fresh.set(member.key, &value);
            writes = true;
            renames |= member.key == NAME;
        }
    }
    // The id is only in the URL: the vendor's example has none in the body, and the effect of a
    // wrong one is not documented.
    fresh.remove(ID);
    let send = || {
        request("updateProvisionProfile", Method::PUT, path(change.id), Some(&fresh))
            .about(change.id)
    };
    writes.then(|| Update { request: send(), renames })
}

/// An update to send.
pub(super) struct Update {
    pub(super) request: Request,
    /// Whether it changes the name, which is then the cause of a conflict.
    pub(super) renames: bool,
}

pub(super) fn delete(id: &str) -> Request {
    request("deleteProvisionProfile", Method::DELETE, path(id), None).about(id)
}

/// Whether a change has nothing to send.
pub(super) fn is_empty(change: ProfileUpdate<'_>) -> bool {
    differences(change).next().is_none()
}

/// Whether everything that a change sends was found by a later read.
pub(super) fn is_applied(change: ProfileUpdate<'_>, found: &Profile) -> bool {
    shows(change, found, |_, _| false)
        && differences(change)
            .filter(|(_, asked)| asked.is_none())
            .all(|(member, _)| (member.get)(found) != (member.get)(change.current))
}

/// Whether nothing that was found by a later read differs from what a change sends. A flag always
/// has a value, so a read without one leaves it open; a text that is not there is unset.
pub(super) fn agrees(change: ProfileUpdate<'_>, found: &Profile) -> bool {
    let is_odd =
        |key: &str| found.unmapped.as_ref().is_some_and(|odd| odd.fields.contains_key(key));
    shows(change, found, |member, asked| {
        asked.is_boolean() && (member.get)(found).is_none() && !is_odd(member.key)
    })
}

fn shows(
    change: ProfileUpdate<'_>,
    found: &Profile,
    untold: impl Fn(&Member, &Value) -> bool,
) -> bool {
    differences(change).all(|(member, asked)| {
        let found = (member.get)(found);
        match asked {
            Some(asked) => found.as_ref() == Some(&asked) || untold(member, &asked),
            // How the upstream treats null is not documented: it may store nothing, an empty text,
            // or its default, which for flags is false [inferred from its subscriber page].
            None => [None, Some(Value::Bool(false)), Some(Value::from(""))].contains(&found),
        }
    })
}

/// The members that a change sets, or clears with `None`.
fn differences(
    change: ProfileUpdate<'_>,
) -> impl Iterator<Item = (&'static Member, Option<Value>)> {
    const { &MEMBERS }.iter().filter_map(move |member| {
        let desired = (member.get)(change.desired);
        ((member.get)(change.current) != desired).then_some((member, desired))
    })
}

fn path(id: &str) -> String {
    format!("{COLLECTION}/{}", utf8_percent_encode(id, NON_ALPHANUMERIC))
}

fn request(
    operation: &'static str,
    method: Method,
    path: String,
    body: Option<&Members<'_>>,
) -> Request {
    let safety = if method == Method::GET { Safety::Read } else { Safety::Write };
    // Sent even if no reply body is expected: without it the upstream answers in XML, including its
    // errors.
    let accept = HeaderValue::from_static("application/hal+json, application/json");
    let mut headers = vec![(ACCEPT, accept)];
    if body.is_some() {
        headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    }
    let body = body.map(|body| body.to_string().into());
    Request { operation, method, path, profile: None, headers, body, safety }
}
