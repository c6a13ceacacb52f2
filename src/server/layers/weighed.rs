//! Counts the bytes of responses until the connection has taken them, and hands them over in
//! pieces, so that a reader who takes nothing is noticed.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tonic::Status;

use super::{
    body::{Answer, Polled, Step, Stepped, bare, wrap},
    passing::Passing,
};
use crate::{
    call::CallRecord, resources::held, rpc::request::PER_CALL, server::transport::executor,
};

/// The largest piece of a message that is handed over at once. A reader has to take one within the
/// time that `executor` gives it.
const PIECE: usize = 64 * 1024;

/// Keeps what was taken for a message with the bytes of the message.
pub(crate) struct Weighed<S> {
    pub inner: S,
}

impl<S, B, A> Service<Passing<B>> for Weighed<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<Stepped<Weighing, A>>;
    type Error = Infallible;
    type Future = Begun<S::Future>;

    fn call(&self, passing: Passing<B>) -> Self::Future {
        let step = Weighing { record: Arc::clone(&passing.record), rest: Bytes::new() };
        Begun { inner: self.inner.call(passing), step: Some(step) }
    }
}

pin_project! {
    /// A call whose response will be weighed.
    pub(crate) struct Begun<F> {
        #[pin]
        inner: F,
        step: Option<Weighing>,
    }
}

impl<F, A> Future for Begun<F>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Weighing, A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(match this.step.take() {
            Some(step) => {
                executor::waits_for_reader();
                wrap(response, step)
            }
            None => bare(response),
        }))
    }
}

/// A response, with what is left of the message that is handed over.
pub(crate) struct Weighing {
    record: Arc<CallRecord>,
    rest: Bytes,
}

impl Weighing {
    fn piece(&mut self) -> Polled {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        handed_over(piece)
    }
}

impl Step for Weighing {
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        executor::reader_goes_on();
        if !self.rest.is_empty() {
            return self.piece();
        }
        let frame: Frame<Bytes> = match ready!(body.poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        match frame.into_data() {
            Ok(message) if message.len() > PER_CALL => {
                // It keeps its memory until the last of it is written. Compressed, it needs less,
                // which cannot fail.
                self.rest = match self.record.take_answer() {
                    Some(taken) if taken.resize(message.len()).is_ok() => held(message, taken),
                    _ => message,
                };
                self.piece()
            }
            Ok(message) => handed_over(message),
            Err(other) => Poll::Ready(Some(Ok(other))),
        }
    }
}

fn handed_over(piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
    executor::waits_for_reader();
    Poll::Ready(Some(Ok(Frame::data(piece))))
}
