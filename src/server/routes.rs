//! Routes paths to services.
//!
//! tonic's own routes use a general HTTP router, which boxes, clones and matches more than a gRPC
//! path needs: the path is always `/package.Service/Method`, and the service finds its method.

use std::{convert::Infallible, fmt, future::ready, sync::Arc};

use futures_util::future::Either;
use http::{HeaderValue, Request, Response, header};
use hyper::service::Service;
use tonic::{
    body::Body,
    codegen::{BoxFuture, Service as TowerService},
    metadata::GRPC_CONTENT_TYPE,
    server::NamedService,
};

use super::{
    layers::{passing::Passing, reply, whole::Whole},
    transport::rest::RequestBody,
};

type Answering = BoxFuture<Response<Body>, Infallible>;

/// gRPC services by name, for requests with a body `B`.
pub struct Routes<B = Whole<RequestBody>> {
    services: Vec<(&'static str, Arc<dyn Route<B>>)>,
}

impl<B> Default for Routes<B> {
    fn default() -> Self {
        Self { services: Vec::new() }
    }
}

impl<B> fmt::Debug for Routes<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.services.iter().map(|(name, _)| name)).finish()
    }
}

impl<B: Send + 'static> Routes<B> {
    /// Adds a service, such as a generated one. A second one of the same name is never called.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: TowerService<
                Request<B>,
                Response = Response<Body>,
                Error = Infallible,
                Future = Answering,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.services.push((S::NAME, Arc::new(service)));
        self
    }

    fn find(&self, path: &str) -> Option<&dyn Route<B>> {
        let (name, _) = path.strip_prefix('/')?.split_once('/')?;
        let (_, route) = self.services.iter().find(|(known, _)| *known == name)?;
        Some(route.as_ref())
    }
}

impl<B: Send + 'static> Service<Passing<B>> for Routes<B> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Answering, std::future::Ready<Result<Self::Response, Infallible>>>;

    fn call(&self, passing: Passing<B>) -> Self::Future {
        match self.find(passing.request.uri().path()) {
            Some(route) => Either::Left(route.answer(passing.request)),
            None => Either::Right(ready(Ok(unknown()))),
        }
    }
}

/// What generated services return for an unknown method; `normalize` adds the message.
fn unknown() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
    headers.insert(reply::GRPC_STATUS, HeaderValue::from(tonic::Code::Unimplemented as i32));
    response
}

trait Route<B>: Send + Sync {
    fn answer(&self, request: Request<B>) -> Answering;
}

impl<B, S> Route<B> for S
where
    S: TowerService<Request<B>, Response = Response<Body>, Error = Infallible, Future = Answering>
        + Clone
        + Send
        + Sync,
{
    // No need to wait before the call: the services are always ready.
    fn answer(&self, request: Request<B>) -> Answering {
        self.clone().call(request)
    }
}
