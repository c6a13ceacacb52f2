//! Fake replies of the upstream to successful writes, for writes that are not sent.

use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::fault::Operation;
use crate::upstream::{Reply, Request};

/// A valid id that no counter reaches.
const NEW_ID: &str = "SP_9999999999999999999";

pub(super) fn simulate(request: &Request) -> Reply {
    let operation = match request.operation {
        "CreateServiceProfile" => Operation::Create,
        "DeleteServiceProfile" => Operation::Delete,
        _ => Operation::Modify,
    };
    let mut response =
        json!({"resultCode": "0", "resultParam": {"resultCode": operation.success()}});
    if let (Operation::Create, Some(response)) = (operation, response.as_object_mut()) {
        response.insert("serviceProfile".to_owned(), json!(NEW_ID));
    }
    let body = json!({"Response": response}).to_string().into();
    Reply::new(StatusCode::OK, HeaderMap::new(), body)
}
