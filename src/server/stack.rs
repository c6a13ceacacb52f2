//! The layers around the services, outermost first, and why they are in this order.

use std::{convert::Infallible, sync::Arc};

use http::Response;
use hyper::{body::Incoming, service::Service};
use tower::ServiceBuilder;

use super::{
    layers::{
        access::Access,
        body::Answer,
        catch::Catch,
        deadline::Deadline,
        grpc_only::GrpcOnly,
        grpc_web::GrpcWeb,
        metadata::MetadataLimit,
        methods::Methods,
        normalize::{Limits, Normalize},
        passing::Arrived,
        shed::Shed,
        whole::{Whole, WholeRequest},
    },
    metrics::ServerMetrics,
    routes::Routes,
    settings::ServerSettings,
    transport::closing::Closing,
};

/// The layers around the routes.
///
/// Each layer is a type of its own around the next, without a box or a clone per call: together
/// they cost less than the log line of a call.
pub(super) fn build<B: Send + 'static>(
    routes: Routes<Whole<B>>,
    methods: &Methods,
    metrics: &ServerMetrics,
    settings: &ServerSettings,
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
    let limits = Limits {
        request: settings.max_request_bytes,
        response_metadata: settings.max_response_metadata_bytes,
    };
    let (permits, web) = (settings.max_concurrent_calls, settings.grpc_web);

    ServiceBuilder::new()
        // Translates gRPC-Web to gRPC, and the response back. Outside all others, so that they all
        // see an ordinary gRPC call. It decides nothing and rejects nothing.
        .layer_fn(|inner| GrpcWeb { inner, enabled: web })
        // Access log and metrics. Outside everything that can reject a call, so that they have
        // every call: those rejected below, those that panic, and those whose caller leaves. They
        // report what was really sent.
        .layer_fn(|inner| Access::new(inner, methods, metrics))
        // Requests that are not gRPC end here: the layers below respond in gRPC, which a browser
        // cannot read. They are counted above, so that a misdirected probe is noticed.
        .layer_fn(|inner| GrpcOnly { inner, web })
        // Every status gets an ErrorInfo and a bounded size. Outside everything that may make a
        // status, and inside the log, which reads the reason from what this layer wrote.
        .layer_fn(|inner| Normalize { inner, limits })
        // Rejects calls with too large metadata. First of those that reject, because it keeps
        // nothing of the call.
        .layer_fn(|inner| MetadataLimit { inner, limit: settings.max_request_metadata_bytes })
        // Panics become INTERNAL. Outside the layers below, so that a panic in them is caught too,
        // and unwinds through them: the permit is released.
        .layer_fn(|inner| Catch { inner })
        // Rejects calls beyond the limit. Outside the deadline, because a rejected call needs no
        // timer, and so that a call that hits its deadline releases its permit.
        .layer_fn(|inner| Shed::new(inner, permits, metrics.clone()))
        // The deadline. Innermost, so that it covers exactly the service, which includes reading
        // the request: a client that sends its message slowly is cut off like any other.
        .layer_fn(|inner| Deadline { inner, default, max })
        // A request body ends only where its caller ended it. Right around the services, which act
        // on what they read.
        .layer_fn(|inner| WholeRequest { inner })
        .service(routes)
}

/// The stack as one connection sees it.
pub(super) struct Connected<S> {
    pub stack: Arc<S>,
    pub peer: Arc<str>,
    pub closing: Arc<Closing>,
}

impl<S: Service<Arrived<Incoming>>> Service<http::Request<Incoming>> for Connected<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let (peer, closing) = (Some(Arc::clone(&self.peer)), Arc::clone(&self.closing));
        self.stack.call(Arrived { request, web: false, peer, closing })
    }
}
