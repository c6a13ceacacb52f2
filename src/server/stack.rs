//! The layers around the services, outermost first, and why they are in this order.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::Response;
use http_body::Body as HttpBody;
use hyper::service::Service;
use tower::ServiceBuilder;

use super::{
    layers::{
        access::Access,
        authenticate::Authenticate,
        body::Answer,
        catch::Catch,
        deadline::Deadline,
        grpc_only::GrpcOnly,
        grpc_web::GrpcWeb,
        metadata::MetadataLimit,
        methods::Methods,
        normalize::{Limits, Normalize},
        passing::{Arrived, BoxError, Origin},
        shed::{Places, Shed},
        weighed::Weighed,
        whole::{Whole, WholeRequest},
    },
    metrics::ServerMetrics,
    routes::Routes,
    settings::ServerSettings,
    transport::{closing::Closing, rest::RequestBody},
};
use crate::{
    auth::InForce,
    caller::{Caller, Callers},
    resources::Share,
    telemetry::AuditLog,
};

/// The layers around the routes.
///
/// Each layer is a type of its own around the next, without a box or a clone per call: together
/// they cost less than the log line of a call.
pub(super) fn build<B>(
    routes: Routes<Whole<B>>,
    methods: &Methods,
    metrics: &ServerMetrics,
    settings: &ServerSettings,
    (callers, authenticator, audit): (&Callers, &Arc<InForce>, Option<&AuditLog>),
    memory: &Share,
) -> impl Service<
    Arrived<B>,
    Response = Response<impl Answer + use<B>>,
    Error = Infallible,
    Future: Send + 'static,
>
+ Send
+ Sync
+ 'static
+ use<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    let ServerSettings { default_timeout: default, max_timeout: max, .. } = *settings;
    let limits = Limits {
        request: settings.max_request_bytes,
        response_metadata: settings.max_response_metadata_bytes,
    };
    let web = settings.grpc_web;
    let places = Places::new(callers, settings);

    ServiceBuilder::new()
        // Translates gRPC-Web to gRPC, and the response back. Outside all others, so that they all
        // see an ordinary gRPC call. It decides nothing and rejects nothing.
        .layer_fn(|inner| GrpcWeb { inner, enabled: web })
        // Access log and metrics. Outside everything that can reject a call, so that they have
        // every call: those rejected below, those that panic, and those whose caller leaves. They
        // report what was really sent.
        .layer_fn(|inner| Access::new(inner, methods, metrics, audit))
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
        // Who calls. Outside everything that keeps or counts something of a caller, and of what
        // that caller asks for.
        .layer_fn(|inner| Authenticate { inner, authenticator: Arc::clone(authenticator) })
        // The deadline. Around the wait for the message and for nothing else that waits: a client
        // that sends its message slowly is cut off like any other. A call that hits its deadline
        // gives back its place.
        .layer_fn(|inner| Deadline { inner, default, max })
        // A request body ends only where its caller ended it.
        .layer_fn(|inner| WholeRequest { inner, limit: settings.max_request_bytes })
        // Waits for the message, and rejects calls beyond the limits. Right around the services:
        // what has not arrived takes no place, and what is rejected is not decoded.
        .layer_fn(|inner| {
            Shed::new(inner, methods, places.clone(), memory.clone(), metrics.clone())
        })
        // Counts the bytes of responses, and cuts messages into pieces. Next to the services, so
        // that all that is said of a response is said after the last piece.
        .layer_fn(|inner| Weighed { inner })
        .service(routes)
}

/// The stack as one connection sees it.
pub(super) struct Connected<S> {
    pub stack: Arc<S>,
    pub peer: Arc<str>,
    pub caller: Arc<Caller>,
    pub origin: Origin,
    pub closing: Arc<Closing>,
}

impl<S: Service<Arrived<RequestBody>>> Service<http::Request<RequestBody>> for Connected<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: http::Request<RequestBody>) -> Self::Future {
        let (peer, closing) = (Some(Arc::clone(&self.peer)), Arc::clone(&self.closing));
        let (caller, origin) = (Arc::clone(&self.caller), self.origin.clone());
        self.stack.call(Arrived { request, web: false, peer, caller, origin, closing })
    }
}
