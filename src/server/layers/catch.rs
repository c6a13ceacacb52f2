//! Turns a panic in a handler or in a response stream into INTERNAL, so that it ends one call and
//! not the others on the connection.
//!
//! Never shows or logs the panic's message: it may quote a request or a secret.

use std::{
    any::Any,
    convert::Infallible,
    future::{Future, Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::future::Either;
use http::Response;
use http_body::Frame;
use hyper::service::Service;
use pin_project_lite::pin_project;

use super::{
    body::{Answer, Polled, Step, Stepped, wrap},
    methods::Method,
    passing::Passing,
    reply,
};
use crate::{
    error::{Error, Reason},
    telemetry::panics,
};

/// Catches panics. State that handlers share must stay valid when one panics (no locks, or locks
/// that do not poison), which is what the assertion of unwind safety here relies on.
pub(crate) struct Catch<S> {
    pub inner: S,
}

impl<S, B, A> Service<Passing<B>> for Catch<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<Stepped<Catching, A>>;
    type Error = Infallible;
    type Future = Either<Caught<S::Future>, Ready<Result<Self::Response, Infallible>>>;

    fn call(&self, passing: Passing<B>) -> Self::Future {
        let method = Arc::clone(&passing.method);
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(passing))) {
            Ok(inner) => Either::Left(Caught { inner, method }),
            Err(payload) => Either::Right(ready(Ok(reply::refuse(&panicked(&method, payload))))),
        }
    }
}

pin_project! {
    /// A call whose panics are caught.
    pub(crate) struct Caught<F> {
        #[pin]
        inner: F,
        method: Arc<Method>,
    }
}

impl<F, A> Future for Caught<F>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Catching, A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(Ok(match catch_unwind(AssertUnwindSafe(|| this.inner.poll(cx))) {
            Ok(polled) => {
                let Ok(response) = ready!(polled);
                wrap(response, Catching(Arc::clone(this.method)))
            }
            Err(payload) => reply::refuse(&panicked(this.method, payload)),
        }))
    }
}

/// Catches panics in a response stream.
pub(crate) struct Catching(Arc<Method>);

impl Step for Catching {
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx))).unwrap_or_else(|payload| {
            let error = panicked(&self.0, payload);
            Poll::Ready(Some(Ok(Frame::trailers(reply::trailers(&error)))))
        })
    }
}

fn panicked(method: &Method, payload: Box<dyn Any + Send>) -> Error {
    drop(payload);
    let location = panics::take_location();
    tracing::error!(method = %method.label, location, "a call panicked");
    reply::error(method, Reason::GatewayInternal, "internal gateway error")
}
