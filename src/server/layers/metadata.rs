//! Refuses calls whose metadata are too large, in gRPC.
//!
//! The HTTP layers below have limits too, which are above this one: they can only answer with a
//! bare HTTP status (431), or end the connection.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use futures_util::future::Either;
use http::Response;
use hyper::service::Service;

use super::{body::Answer, passing::Passing, reply};
use crate::{error::Reason, rpc::status::header_bytes};

/// How much more the HTTP layers take, so that there is a call to refuse.
const ACCEPTED: usize = 8;

/// The largest headers that the HTTP layers take, in bytes.
pub(crate) fn accepted(limit: usize) -> usize {
    limit.saturating_mul(ACCEPTED)
}

/// Passes on calls with metadata of at most so many bytes.
pub(crate) struct MetadataLimit<S> {
    pub inner: S,
    pub limit: usize,
}

impl<S, B, A> Service<Passing<B>> for MetadataLimit<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<A>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<A>, Infallible>>>;

    fn call(&self, passing: Passing<B>) -> Self::Future {
        let (size, limit) = (header_bytes(passing.request.headers()), self.limit);
        if size <= limit {
            return Either::Left(self.inner.call(passing));
        }
        let message = format!("the metadata take {size} bytes, and the limit is {limit} bytes");
        let error = reply::error(&passing.method, Reason::MessageTooLarge, message);
        Either::Right(ready(Ok(reply::refuse(&error))))
    }
}
