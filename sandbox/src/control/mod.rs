//! The router: the control API under `/sandbox`, and the vendors' paths beside it.
//!
//! Control requests are never journaled and never meet a fault. Input that makes no sense is refused with 400 and
//! `{"error": "..."}` saying what is allowed.

mod endpoint;
mod pcc;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, patch, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::{Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::Answer;
use super::exchange::{self, Upstream};
use super::faults::Order;
use super::sft::switches::Expiry;
use super::world::World;

const MAX_BODY: usize = 1024 * 1024;

type Shared = State<Arc<World>>;
type Answered = Result<Json<Value>, Refused>;

/// The whole HTTP surface of the sandbox.
pub(super) fn router(world: Arc<World>) -> Router {
    let control = Router::new()
        .route("/faults", faults())
        .route("/faults/{id}", delete(disarm))
        .route("/journal", get(journal).delete(clear_journal))
        .route("/reset", post(reset))
        .nest("/sft", sft())
        .nest("/endpoint", endpoint::routes())
        .nest("/pcc", pcc::routes())
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY));
    Router::new()
        .nest("/sandbox", control)
        // A nest's fallback does not see the bare prefix.
        .route("/sandbox", any(no_such_route))
        .fallback(vendor)
        .with_state(world)
}

fn faults() -> MethodRouter<Arc<World>> {
    get(list_faults).post(arm).delete(clear_faults)
}

fn sft() -> Router<Arc<World>> {
    Router::new()
        .route("/profiles", get(raw_profiles))
        .route("/profiles/{id}", put(put_raw_profile).get(raw_profile).delete(delete_raw_profile))
        .route("/expire-tokens", post(expire_tokens))
        .route("/unlock", post(unlock))
        .route("/options", patch(set_options).get(options))
}

/// Everything that is not the control API belongs to a vendor, each by its paths.
async fn vendor(State(world): Shared, request: Request<Body>) -> Response {
    let path = request.uri().path();
    match world.upstreams().into_iter().find(|upstream| upstream.owns(path)) {
        Some(upstream) => exchange::handle(world, upstream, request).await,
        None => Answer::page(StatusCode::NOT_FOUND).into_response(None),
    }
}

async fn arm(State(world): Shared, body: Bytes) -> Answered {
    let order: Order = parse(&body)?;
    let upstreams = world.upstreams();
    check_kind(&order, &upstreams)?;
    let known: Vec<_> =
        upstreams.iter().map(|upstream| (upstream.name(), upstream.operations())).collect();
    let id = world.faults.arm(order, &known)?;
    Ok(Json(json!({ "id": id })))
}

/// Refuses a fault that could never do anything for some of those it would match.
fn check_kind(order: &Order, upstreams: &[Arc<dyn Upstream>]) -> Result<(), Refused> {
    for upstream in upstreams {
        let is_meant = order.upstream == "*" || order.upstream == upstream.name();
        let has_it =
            order.operation == "*" || upstream.operations().contains(&order.operation.as_str());
        if is_meant && has_it {
            upstream.check_fault(&order.fault)?;
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

async fn disarm(State(world): Shared, Path(id): Path<String>) -> Answered {
    let number = id.parse().map_err(|_| Refused::bad("a fault id is a number"))?;
    if world.faults.remove(number) {
        Ok(Json(json!({ "cleared": 1 })))
    } else {
        Err(Refused::missing("no such fault"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    #[serde(default)]
    after: u64,
}

async fn journal(State(world): Shared, request: Request<Body>) -> Result<Response, Refused> {
    let Query(query) = Query::<JournalQuery>::try_from_uri(request.uri())
        .map_err(|_| Refused::bad("the only query parameter is `after`, a sequence number"))?;
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

async fn raw_profiles(State(world): Shared) -> Json<Value> {
    Json(json!({ "profiles": world.sft.raw_profiles() }))
}

async fn raw_profile(State(world): Shared, Path(id): Path<String>) -> Answered {
    world.sft.raw_profile(&id).map(Json).ok_or(Refused::missing("no such profile"))
}

async fn put_raw_profile(State(world): Shared, Path(id): Path<String>, body: Bytes) -> Answered {
    Ok(Json(world.sft.put_raw_profile(&id, parse(&body)?)?))
}

async fn delete_raw_profile(State(world): Shared, Path(id): Path<String>) -> Answered {
    if world.sft.delete_raw_profile(&id) {
        Ok(Json(json!({})))
    } else {
        Err(Refused::missing("no such profile"))
    }
}

async fn expire_tokens(State(world): Shared, body: Bytes) -> Answered {
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

async fn set_options(State(world): Shared, body: Bytes) -> Result<Response, Refused> {
    world.sft.set_switches(&parse(&body)?)?;
    Ok(Json(world.sft.switches()).into_response())
}

async fn no_such_route() -> Refused {
    Refused::missing(
        "no such control route; there are /sandbox/faults[/{id}], /sandbox/journal, /sandbox/reset, \
         /sandbox/{sft|endpoint|pcc}/profiles[/{id}], /sandbox/{sft|endpoint|pcc}/options, \
         /sandbox/{endpoint|pcc}/seed, /sandbox/{sft|endpoint}/expire-tokens, /sandbox/{sft|endpoint}/unlock",
    )
}

async fn no_such_method() -> Refused {
    Refused {
        status: StatusCode::METHOD_NOT_ALLOWED,
        error: "this control route has no such method, see the `allow` header".to_owned(),
    }
}

/// A control request that was not carried out.
struct Refused {
    status: StatusCode,
    error: String,
}

impl Refused {
    fn bad(error: &str) -> Self {
        error.to_owned().into()
    }

    fn missing(error: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, error: error.to_owned() }
    }
}

impl From<String> for Refused {
    fn from(error: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}

/// Whatever the content type says: the control API is meant for curl as well.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| error.to_string().into())
}
