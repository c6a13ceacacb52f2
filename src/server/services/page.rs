//! What the admin port answers as JSON.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde_json::Value;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON value, and the end of its line: a shell shows its prompt on the next one.
pub(super) struct Page(pub(super) Value);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, JSON)], format!("{}\n", self.0)).into_response()
    }
}
