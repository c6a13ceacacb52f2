//! The router: the control API under `/sandbox`, and the vendors' paths beside it.
//!
//! Control requests are never journaled and no fault applies to them. Invalid input is refused with
//! 400 and `{"error": "..."}`, which says what is allowed. `guard` refuses what a browser sends for
//! a page from elsewhere.

mod endpoint;
mod faults;
mod guard;
mod pcc;
mod reply;
mod sft;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, State},
    middleware::from_fn,
    response::Response,
    routing::any,
};
use http::{Request, StatusCode};

use self::reply::{ControlError, Shared};
use crate::{answer::Answer, exchange, world::World};

const MAX_BODY: usize = 1024 * 1024;

/// The whole HTTP surface of the sandbox.
pub(super) fn router(world: Arc<World>) -> Router {
    let control = Router::new()
        .merge(faults::routes())
        .nest("/sft", sft::routes())
        .nest("/endpoint", endpoint::routes())
        .nest("/pcc", pcc::routes())
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(guard::own));
    Router::new()
        .nest("/sandbox", control)
        // A nest's fallback does not see the bare prefix.
        .route("/sandbox", any(no_such_route))
        .fallback(vendor)
        .with_state(world)
}

/// Everything outside the control API belongs to a vendor, which the path determines.
async fn vendor(State(world): Shared, request: Request<Body>) -> Response {
    let path = request.uri().path();
    match world.simulators().into_iter().find(|simulator| simulator.owns(path)) {
        Some(simulator) => exchange::handle(world, simulator, request).await,
        None => Answer::page(StatusCode::NOT_FOUND).into_response(None),
    }
}

async fn no_such_route() -> ControlError {
    ControlError::missing(
        "no such control route; the routes are \
         /sandbox/faults[/{id}], /sandbox/journal, /sandbox/reset, \
         /sandbox/{sft|endpoint|pcc}/profiles[/{id}], /sandbox/{sft|endpoint|pcc}/options, \
         /sandbox/{endpoint|pcc}/seed, \
         /sandbox/{sft|endpoint}/expire-tokens, /sandbox/{sft|endpoint}/unlock",
    )
}

async fn no_such_method() -> ControlError {
    ControlError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        error: "this control route does not allow the method; see the `allow` header".to_owned(),
    }
}
