//! An answer's body with a layer's say in every frame.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// What polling a body gives.
pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// A layer's part in an answer. Lives as long as the answer, and is dropped with it.
pub(super) trait Step: Unpin + Send + 'static {
    /// The next frame of the answer. Trailers end it, whoever made them.
    fn poll(&mut self, body: Pin<&mut Body>, cx: &mut Context<'_>) -> Polled;
}

/// Puts a step before an answer's body. An answer without a body, such as an error in the headers, is
/// left as it is: wrapping would hide its end from the HTTP/2 layer.
pub(super) fn wrap(response: Response, step: impl Step) -> Response {
    if response.body().is_end_stream() {
        return response;
    }
    response.map(|inner| Body::new(Wrapped { inner, step, done: false }))
}

struct Wrapped<S> {
    inner: Body,
    step: S,
    done: bool,
}

impl<S: Step> HttpBody for Wrapped<S> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if self.done {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let frame = ready!(this.step.poll(Pin::new(&mut this.inner), cx));
        this.done = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // A step may cut the body short or add trailers, so nothing is promised.
        SizeHint::default()
    }
}
