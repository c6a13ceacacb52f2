//! A response body in which a layer sees every frame.
//!
//! The layers' bodies are nested without a box between them, because the stack is known at compile
//! time.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// What polling a body returns.
pub(crate) type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// What a layer needs from the response bodies of the layers below.
pub(crate) trait Answer:
    HttpBody<Data = Bytes, Error = Status> + From<Body> + Unpin + Send + 'static
{
}

impl<A> Answer for A where
    A: HttpBody<Data = Bytes, Error = Status> + From<Body> + Unpin + Send + 'static
{
}

/// A layer's part in a response. Lives as long as the response, and is dropped with it.
pub(crate) trait Step: Unpin + Send + 'static {
    /// The next frame of the response. Trailers end it, whether the body or the layer made them.
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled;
}

/// Puts a step before a response body. A response without a body, such as an error in the headers,
/// gets no step, which would hide its end from the HTTP/2 layer.
pub(crate) fn wrap<S, A: Answer>(response: Response<A>, step: S) -> Response<Stepped<S, A>> {
    response.map(|inner| {
        let step = (!inner.is_end_stream()).then_some(step);
        Stepped { inner, step, done: false }
    })
}

/// A response in which the layer has no part.
pub(crate) fn bare<S, A>(response: Response<A>) -> Response<Stepped<S, A>> {
    response.map(|inner| Stepped { inner, step: None, done: false })
}

/// A body with a layer's step before it.
pub(crate) struct Stepped<S, A> {
    inner: A,
    step: Option<S>,
    done: bool,
}

impl<S, A: From<Body>> From<Body> for Stepped<S, A> {
    fn from(body: Body) -> Self {
        Self { inner: body.into(), step: None, done: false }
    }
}

impl<S: Step, A: Answer> HttpBody for Stepped<S, A> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if self.done {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let inner = Pin::new(&mut this.inner);
        let frame = match &mut this.step {
            Some(step) => ready!(step.poll(inner, cx)),
            None => ready!(inner.poll_frame(cx)),
        };
        this.done = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.step {
            // A step may cut the body short or add trailers, so the size is unknown.
            Some(_) => SizeHint::default(),
            None => self.inner.size_hint(),
        }
    }
}
