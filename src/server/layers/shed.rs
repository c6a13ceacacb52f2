//! Limits how many calls run at once. Queues nothing: a caller that is rejected at once can try
//! another replica.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::future::Either;
use http::Response;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    body::{Answer, Polled, Step, Stepped, bare, wrap},
    passing::Passing,
    reply,
};
use crate::{error::Reason, server::metrics::ServerMetrics};

/// Rejects calls when the limit is reached.
///
/// Health and reflection pass: they cost nothing, and rejecting a probe would get a busy process
/// killed, which makes the others busier.
pub(crate) struct Shed<S> {
    inner: S,
    permits: Arc<Semaphore>,
    metrics: ServerMetrics,
}

impl<S> Shed<S> {
    pub(crate) fn new(inner: S, max_concurrent_calls: usize, metrics: ServerMetrics) -> Self {
        let permits = max_concurrent_calls.min(Semaphore::MAX_PERMITS);
        Self { inner, permits: Arc::new(Semaphore::new(permits)), metrics }
    }
}

impl<S, B, A> Service<Passing<B>> for Shed<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<Stepped<Permit, A>>;
    type Error = Infallible;
    type Future = Either<Permitted<S::Future>, Ready<Result<Self::Response, Infallible>>>;

    fn call(&self, passing: Passing<B>) -> Self::Future {
        if passing.method.probe {
            return Either::Left(Permitted { inner: self.inner.call(passing), permit: None });
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            self.metrics.call_shed();
            let message = "too many concurrent calls; try again later or on another replica";
            let error = reply::error(&passing.method, Reason::Overloaded, message);
            return Either::Right(ready(Ok(reply::refuse(&error))));
        };
        let permit = Some(Permit { _semaphore: permit });
        Either::Left(Permitted { inner: self.inner.call(passing), permit })
    }
}

pin_project! {
    /// A call that has its permit, or does not need one.
    pub(crate) struct Permitted<F> {
        #[pin]
        inner: F,
        permit: Option<Permit>,
    }
}

impl<F, A> Future for Permitted<F>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Permit, A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(match this.permit.take() {
            Some(permit) => wrap(response, permit),
            None => bare(response),
        }))
    }
}

/// Counts toward the limit until the response was sent or dropped.
pub(crate) struct Permit {
    _semaphore: OwnedSemaphorePermit,
}

impl Step for Permit {
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        body.poll_frame(cx)
    }
}
