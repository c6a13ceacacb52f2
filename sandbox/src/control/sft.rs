//! Control routes of the BICS SFT simulator.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
    routing::{get, patch, post, put},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::reply::{ControlError, ControlResult, Shared, parse};
use crate::{sft::Expiry, world::World};

pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/profiles", get(raw_profiles))
        .route("/profiles/{id}", put(put_raw_profile).get(raw_profile).delete(delete_raw_profile))
        .route("/expire-tokens", post(expire_tokens))
        .route("/unlock", post(unlock))
        .route("/options", patch(set_options).get(options))
}

async fn raw_profiles(State(world): Shared) -> Json<Value> {
    Json(json!({ "profiles": world.sft.raw_profiles() }))
}

async fn raw_profile(State(world): Shared, Path(id): Path<String>) -> ControlResult {
    world.sft.raw_profile(&id).map(Json).ok_or(ControlError::missing("no such profile"))
}

async fn put_raw_profile(
    State(world): Shared,
    Path(id): Path<String>,
    body: Bytes,
) -> ControlResult {
    Ok(Json(world.sft.put_raw_profile(&id, parse(&body)?)?))
}

async fn delete_raw_profile(State(world): Shared, Path(id): Path<String>) -> ControlResult {
    if world.sft.delete_raw_profile(&id) {
        Ok(Json(json!({})))
    } else {
        Err(ControlError::missing("no such profile"))
    }
}

async fn expire_tokens(State(world): Shared, body: Bytes) -> ControlResult {
    let which: Expiry = if body.is_empty() { parse(b"{}")? } else { parse(&body)? };
    world.sft.expire_tokens(&which);
    Ok(Json(json!({})))
}

async fn unlock(State(world): Shared) -> Json<Value> {
    world.sft.unlock();
    Json(json!({}))
}

async fn options(State(world): Shared) -> Response {
    Json(world.sft.switches()).into_response()
}

async fn set_options(State(world): Shared, body: Bytes) -> Result<Response, ControlError> {
    world.sft.set_switches(&parse(&body)?)?;
    Ok(Json(world.sft.switches()).into_response())
}
