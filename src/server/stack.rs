//! What a gRPC request passes on its way to a service, outermost first, and why in this order.

use std::{convert::Infallible, sync::Arc};

use http::Response;
use hyper::{body::Incoming, service::Service};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use super::{
    layers::{
        access::Access, body::Answer, catch::Catch, deadline::Deadline, grpc_only::GrpcOnly,
        grpc_web::GrpcWeb, methods::Methods, normalize::Normalize, passing::Arrived, shed::Shed,
    },
    metrics::ServerMetrics,
    routes::Routes,
    settings::ServerSettings,
};

/// The layers around the routes. `closing` ends streams.
///
/// Each layer is a type of its own around the next, without a box or a clone per call: together they
/// cost a call less than its log line.
pub(super) fn build<B: Send + 'static>(
    routes: Routes<B>,
    methods: &Methods,
    metrics: &ServerMetrics,
    settings: &ServerSettings,
    closing: CancellationToken,
) -> impl Service<
    Arrived<B>,
    Response = Response<impl Answer + use<B>>,
    Error = Infallible,
    Future: Send + 'static,
>
+ Send
+ Sync
+ 'static
+ use<B> {
    let ServerSettings { default_timeout: default, max_timeout: max, .. } = *settings;
    let (permits, web) = (settings.max_concurrent_calls, settings.grpc_web);

    ServiceBuilder::new()
        // gRPC-Web becomes gRPC and its answer gRPC-Web again. Outside all others, so that each of
        // them sees a gRPC call like any other; it decides nothing, and turns nothing away.
        .layer_fn(|inner| GrpcWeb { inner, enabled: web })
        // Access log and metrics. Outside all that decides, so that every call is in them: those that
        // are turned away below, those that panic, and those whose caller leaves. It says what really
        // left.
        .layer_fn(|inner| Access::new(inner, methods, metrics))
        // Whatever is not gRPC ends here: the layers below answer in gRPC, which a browser cannot
        // read. Counted above, so that a misdirected probe is seen.
        .layer_fn(|inner| GrpcOnly { inner })
        // Every status gets an ErrorInfo. Outside everything that may make a status, and inside the
        // log, which reads the reason from what this layer wrote.
        .layer_fn(|inner| Normalize { inner })
        // Panics become INTERNAL. Outside all that runs per call, so that a panic in the layers below
        // is caught too and unwinds through them: the permit is given back.
        .layer_fn(|inner| Catch { inner })
        // Too many calls at once are turned away. Before the deadline, because a call that is turned
        // away needs no timer, and around it, so that a call cut by its deadline gives its permit back.
        .layer_fn(|inner| Shed::new(inner, permits, metrics.clone()))
        // The deadline. Innermost, so that its time is the service's time, reading the request
        // included: a client that dribbles its message is cut like any other.
        .layer_fn(|inner| Deadline { inner, default, max, closing: closing.clone() })
        .service(routes)
}

/// The stack as one connection sees it.
pub(super) struct Connected<S> {
    pub stack: Arc<S>,
    pub peer: Arc<str>,
}

impl<S: Service<Arrived<Incoming>>> Service<http::Request<Incoming>> for Connected<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        self.stack.call(Arrived { request, peer: Some(Arc::clone(&self.peer)) })
    }
}
