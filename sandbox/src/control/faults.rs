//! Control routes for what all simulators share: the armed faults, the journal, and the reset.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use bytes::Bytes;
use http::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{ControlError, ControlResult, Shared, parse};
use crate::{faults::FaultSpec, simulator::Simulator, world::World};

pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/faults", get(list_faults).post(arm).delete(clear_faults))
        .route("/faults/{id}", delete(disarm))
        .route("/journal", get(journal).delete(clear_journal))
        .route("/reset", post(reset))
}

async fn arm(State(world): Shared, body: Bytes) -> ControlResult {
    let spec: FaultSpec = parse(&body)?;
    let simulators = world.simulators();
    check_kind(&spec, &simulators)?;
    let known: Vec<_> =
        simulators.iter().map(|simulator| (simulator.name(), simulator.operations())).collect();
    let id = world.faults.arm(spec, &known)?;
    Ok(Json(json!({ "id": id })))
}

/// Refuses a fault that could have no effect on some of the requests it would match.
fn check_kind(spec: &FaultSpec, simulators: &[Arc<dyn Simulator>]) -> Result<(), ControlError> {
    for simulator in simulators {
        let is_meant = spec.upstream == "*" || spec.upstream == simulator.name();
        let has_it =
            spec.operation == "*" || simulator.operations().contains(&spec.operation.as_str());
        if is_meant && has_it {
            simulator.check_fault(&spec.fault)?;
        }
    }
    Ok(())
}

async fn list_faults(State(world): Shared) -> Json<Value> {
    Json(json!({ "faults": world.faults.list() }))
}

async fn clear_faults(State(world): Shared) -> Json<Value> {
    Json(json!({ "cleared": world.faults.clear() }))
}

async fn disarm(State(world): Shared, Path(id): Path<String>) -> ControlResult {
    let number = id.parse().map_err(|_| ControlError::bad("the fault id must be a number"))?;
    if world.faults.remove(number) {
        Ok(Json(json!({ "cleared": 1 })))
    } else {
        Err(ControlError::missing("no such fault"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    #[serde(default)]
    after: u64,
}

async fn journal(State(world): Shared, request: Request<Body>) -> Result<Response, ControlError> {
    let Query(query) = Query::<JournalQuery>::try_from_uri(request.uri())
        .map_err(|_| ControlError::bad("the only query parameter is `after`, a sequence number"))?;
    Ok(Json(world.journal.after(query.after)).into_response())
}

async fn clear_journal(State(world): Shared) -> Json<Value> {
    world.journal.clear();
    Json(json!({}))
}

async fn reset(State(world): Shared) -> Json<Value> {
    world.reset();
    Json(json!({}))
}
