//! Counts the calls of a connection, from their headers to the end of their responses.
//!
//! What has no call may be closed: to make room, or because it has been idle for long.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{closing::Closing, places::Place};

/// A service whose calls are counted.
pub(super) struct Counting<S> {
    pub service: S,
    pub closing: Arc<Closing>,
    pub place: Arc<Place>,
    /// How long a response over HTTP/1 may take, where calls have no deadline.
    pub answer: Option<Duration>,
}

impl<S, B, A> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<Counted<A>>;
    type Error = S::Error;
    type Future = Counts<S::Future>;

    fn call(&self, request: Request<B>) -> Self::Future {
        if self.closing.pulse.begin() {
            self.place.is_known();
        }
        if request.version() < Version::HTTP_2 {
            self.closing.pulse.answer_until(self.answer.map(|limit| Instant::now() + limit));
        }
        let call = Some(Call(Arc::clone(&self.closing)));
        Counts { inner: self.service.call(request), call }
    }
}

/// Counts until it is dropped.
struct Call(Arc<Closing>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.pulse.end();
    }
}

pin_project! {
    /// A call that has no response yet.
    pub(super) struct Counts<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
    }
}

impl<F, A, E> Future for Counts<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = Result<Response<Counted<A>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let call = this.call.take();
        Poll::Ready(Ok(response.map(|inner| Counted { inner, _call: call })))
    }
}

pin_project! {
    /// The response of a call that is counted until it is dropped.
    pub(super) struct Counted<A> {
        #[pin]
        inner: A,
        _call: Option<Call>,
    }
}

impl<A: Body> Body for Counted<A> {
    type Data = A::Data;
    type Error = A::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<A::Data>, A::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
