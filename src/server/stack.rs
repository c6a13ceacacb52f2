//! What a gRPC request passes on its way to a service, outermost first, and why in this order.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::Request,
    middleware::{from_fn, from_fn_with_state},
    response::Response,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::{Service, ServiceBuilder};

use super::{
    Settings,
    access::{self, Access},
    catch,
    deadline::{self, Deadlines},
    grpc_only,
    methods::Methods,
    normalize,
    shed::{self, Shed},
};
use crate::telemetry::metrics::Metrics;

/// The layers around the routes. `closing` ends streams.
pub(super) fn build(
    routes: Routes,
    methods: Methods,
    metrics: Arc<Metrics>,
    settings: &Settings,
    closing: CancellationToken,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    let access = Access { metrics: Arc::clone(&metrics), methods };
    let shed = Shed::new(settings.max_concurrent_calls, metrics);
    let deadlines =
        Deadlines { default: settings.default_timeout, max: settings.max_timeout, closing };

    ServiceBuilder::new()
        // Access log and metrics. Outermost, so that every call is in them: those that are turned
        // away below, those that panic, and those whose caller leaves. It says what really left.
        .layer(from_fn_with_state(access, access::layer))
        // Whatever is not gRPC ends here: the layers below answer in gRPC, which a browser cannot
        // read. Counted above, so that a misdirected probe is seen.
        .layer(from_fn(grpc_only::layer))
        // Every status gets an ErrorInfo. Outside everything that may make a status, and inside the
        // log, which reads the reason from what this layer wrote.
        .layer(from_fn(normalize::layer))
        // Panics become INTERNAL. Outside all that runs per call, so that a panic in the layers below
        // is caught too and unwinds through them: the permit is given back.
        .layer(from_fn(catch::layer))
        // Too many calls at once are turned away. Before the deadline, because a call that is turned
        // away needs no timer, and around it, so that a call cut by its deadline gives its place back.
        .layer(from_fn_with_state(shed, shed::layer))
        // The deadline. Innermost, so that its time is the service's time, reading the request
        // included: a client that dribbles its message is cut like any other.
        .layer(from_fn_with_state(deadlines, deadline::layer))
        .service(routes.prepare().into_axum_router())
}
