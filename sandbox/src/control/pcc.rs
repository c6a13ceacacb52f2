//! Control routes of the PCC simulator.

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
        .route("/options", patch(set_options).get(options))
}

async fn list(State(world): Shared) -> Json<Value> {
    Json(json!({ "profiles": world.pcc.raw_profiles() }))
}

async fn one(State(world): Shared, Path(id): Path<String>) -> ControlResult {
    let found = world.pcc.raw_profile(number(&id)?);
    found.map(Json).ok_or(ControlError::missing("no such profile"))
}

async fn replace(State(world): Shared, Path(id): Path<String>, body: Bytes) -> ControlResult {
    Ok(Json(world.pcc.put_raw_profile(number(&id)?, parse(&body)?)?))
}

async fn remove(State(world): Shared, Path(id): Path<String>) -> ControlResult {
    if world.pcc.delete_raw_profile(number(&id)?) {
        Ok(Json(json!({})))
    } else {
        Err(ControlError::missing("no such profile"))
    }
}

async fn seed(State(world): Shared, body: Bytes) -> ControlResult {
    Ok(Json(world.pcc.seed(parse(&body)?)?))
}

async fn options(State(world): Shared) -> Json<Value> {
    Json(json!(world.pcc.switches()))
}

async fn set_options(State(world): Shared, body: Bytes) -> ControlResult {
    world.pcc.set_switches(parse(&body)?)?;
    Ok(Json(json!(world.pcc.switches())))
}
