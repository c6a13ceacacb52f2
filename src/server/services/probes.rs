//! What the port for probes serves: `/livez`, `/readyz`, and `grpc.health.v1`.
//!
//! Each request is answered at once, from memory. A name of a backend is told only to those who
//! know it: the port has to be open to whatever probes the process.

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};

use super::{
    admin::get_only,
    health::{Audience, Health},
    heartbeat::Heartbeat,
};
use crate::{error::Reason, rpc};

/// The only method that tools for probes need. `Watch` would keep a connection, and `List` names
/// the backends.
const CHECK: &str = "/grpc.health.v1.Health/Check";

const ONLY_CHECK: &str = "this port serves /livez, /readyz, and grpc.health.v1.Health/Check; the \
                          others are on the gRPC port";

/// The routes of the port for probes.
pub(crate) fn router(health: Health, heartbeat: Heartbeat) -> Router {
    let state = Probed { health: health.clone(), heartbeat };
    let http = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(async || (StatusCode::NOT_FOUND, format!("{ONLY_CHECK}\n")))
        .layer(from_fn(get_only))
        .with_state(state.clone());
    let grpc = Router::new()
        .route_service(CHECK, health.service(Audience::Probes))
        .layer(from_fn_with_state(state, serving_if_alive));
    Router::new().merge(grpc).fallback_service(http).layer(from_fn(grpc_status))
}

#[derive(Debug, Clone)]
struct Probed {
    health: Health,
    heartbeat: Heartbeat,
}

async fn livez(State(probed): State<Probed>) -> Response {
    match probed.heartbeat.missing() {
        None => "ok\n".into_response(),
        Some(since) => {
            let seconds = since.as_secs();
            let said = format!("the threads that serve calls have done nothing for {seconds} s\n");
            (StatusCode::SERVICE_UNAVAILABLE, said).into_response()
        }
    }
}

async fn readyz(State(probed): State<Probed>) -> Response {
    if probed.health.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    let awaited = probed.health.awaited();
    if !awaited.is_empty() {
        let said = format!("waiting for {}\n", awaited.join(", "));
        return (StatusCode::SERVICE_UNAVAILABLE, said).into_response();
    }
    livez(State(probed)).await
}

/// Nothing serves in a process whose other threads hang.
async fn serving_if_alive(State(probed): State<Probed>, request: Request, next: Next) -> Response {
    match probed.heartbeat.missing() {
        None => next.run(request).await,
        Some(_) => {
            let message = "the threads that serve calls do nothing";
            rpc::status::of(Reason::Overloaded, message).into_http()
        }
    }
}

/// Callers of other methods learn of it in gRPC.
async fn grpc_status(request: Request, next: Next) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc && request.uri().path() != CHECK {
        return rpc::status::of(Reason::OperationNotSupported, ONLY_CHECK).into_http();
    }
    next.run(request).await
}
