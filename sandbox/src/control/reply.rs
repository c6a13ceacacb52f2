//! The answers of the control API, and the parsing of its input.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::World;

pub(super) type Shared = State<Arc<World>>;
pub(super) type ControlResult = Result<Json<Value>, ControlError>;

/// Why a control request was refused.
pub(super) struct ControlError {
    pub status: StatusCode,
    pub error: String,
}

impl ControlError {
    pub(super) fn bad(error: &str) -> Self {
        error.to_owned().into()
    }

    pub(super) fn missing(error: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, error: error.to_owned() }
    }
}

impl From<String> for ControlError {
    fn from(error: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error }
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}

/// The content type is not looked at here: `guard` has.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ControlError> {
    serde_json::from_slice(body).map_err(|error| error.to_string().into())
}

/// A profile id of a vendor whose ids are integers.
pub(super) fn number(id: &str) -> Result<i64, ControlError> {
    id.parse().map_err(|_| ControlError::bad("the profile id must be an integer"))
}
