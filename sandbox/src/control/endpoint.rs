//! Control routes of the endpoint API simulator.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, patch, post, put},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::reply::{ControlError, ControlResult, Shared, number, parse};
use crate::world::World;

pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/profiles", get(list))
        .route("/profiles/{id}", put(replace).get(one).delete(remove))
        .route("/seed", post(seed))
        .route("/expire-tokens", post(expire_tokens))
        .route("/unlock", post(unlock))
        .route("/options", patch(set_options).get(options))
}

async fn list(State(world): Shared) -> Json<Value> {
    Json(json!({ "profiles": world.endpoint.raw_profiles() }))
}

async fn one(State(world): Shared, Path(id): Path<String>) -> ControlResult {
    let found = world.endpoint.raw_profile(number(&id)?);
    found.map(Json).ok_or(ControlError::missing("no such profile"))
}

async fn replace(State(world): Shared, Path(id): Path<String>, body: Bytes) -> ControlResult {
    Ok(Json(world.endpoint.put_raw_profile(number(&id)?, parse(&body)?)?))
}

async fn remove(State(world): Shared, Path(id): Path<String>) -> ControlResult {
    if world.endpoint.delete_raw_profile(number(&id)?) {
        Ok(Json(json!({})))
    } else {
        Err(ControlError::missing("no such profile"))
    }
}

async fn seed(State(world): Shared, body: Bytes) -> ControlResult {
    Ok(Json(world.endpoint.seed(parse(&body)?)?))
}

async fn expire_tokens(State(world): Shared, body: Bytes) -> ControlResult {
    let how = if body.is_empty() { parse(b"{}")? } else { parse(&body)? };
    world.endpoint.expire_tokens(&how);
    Ok(Json(json!({})))
}

async fn unlock(State(world): Shared) -> Json<Value> {
    world.endpoint.unlock();
    Json(json!({}))
}

async fn options(State(world): Shared) -> Json<Value> {
    Json(json!(world.endpoint.switches()))
}

async fn set_options(State(world): Shared, body: Bytes) -> ControlResult {
    world.endpoint.set_switches(parse(&body)?)?;
    Ok(Json(json!(world.endpoint.switches())))
}
