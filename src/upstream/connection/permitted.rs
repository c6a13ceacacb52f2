//! Asks once more whether a write may be sent when there is a connection for it: that may have
//! taken longer than what allowed the write holds.

use std::{
    error, fmt,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tower::{BoxError, Layer, Service};

use crate::{error::Error, upstream::permit};

/// Makes connections that ask. The HTTP client sends nothing of a request before it has one.
#[derive(Debug, Clone)]
pub(in crate::upstream) struct Permitted;

/// What connects, and then asks.
#[derive(Debug, Clone)]
pub(in crate::upstream) struct Asking<S>(S);

/// Nothing may be sent over the connection.
#[derive(Debug)]
pub(in crate::upstream) struct Unpermitted(pub(in crate::upstream) Error);

impl<S> Layer<S> for Permitted {
    type Service = Asking<S>;

    fn layer(&self, connects: S) -> Asking<S> {
        Asking(connects)
    }
}

impl<S, R> Service<R> for Asking<S>
where
    S: Service<R, Error = BoxError> + 'static,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connecting = self.0.call(request);
        Box::pin(async move {
            let connection = connecting.await?;
            permit::ask().map_err(Unpermitted)?;
            Ok(connection)
        })
    }
}

impl fmt::Display for Unpermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request may not be sent any more: {}", self.0)
    }
}

impl error::Error for Unpermitted {}
