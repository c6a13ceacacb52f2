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

use super::{
    closing::Closing,
    places::Place,
    rest::{Droppable, Rest},
};

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
    S: Service<Request<Rest<B>>, Response = Response<A>>,
    B: Droppable,
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
        Counts { inner: self.service.call(Rest::of(request)), call }
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper::service::service_fn;

    use super::*;
    use crate::{
        caller::CallerId,
        server::transport::places::{PlaceLimits, Places},
    };

    #[tokio::test(start_paused = true)]
    async fn only_a_response_over_http_1_has_a_time_of_its_own() {
        const LIMIT: Duration = Duration::from_secs(10);
        let respond = |_: Request<Rest<Empty<Bytes>>>| async {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        };
        let closing = Arc::new(Closing::default());
        let places = Places::new(PlaceLimits { all: 1, per_peer: 1, busy_too: false });
        let place = Arc::new(places.take(CallerId::Others, &closing).unwrap());
        let (service, own) = (service_fn(respond), Arc::clone(&closing));
        let mut counting = Counting { service, closing: own, place, answer: Some(LIMIT) };
        let request = |version| {
            let mut request = Request::new(Empty::new());
            *request.version_mut() = version;
            request
        };
        counting.call(request(Version::HTTP_2)).await.unwrap();
        assert_eq!(closing.pulse.block(), None);
        counting.call(request(Version::HTTP_11)).await.unwrap();
        assert_eq!(closing.pulse.block(), Some(Instant::now() + LIMIT));
        // Where calls have deadlines, the next one does not end with that of the last one.
        counting.answer = None;
        counting.call(request(Version::HTTP_11)).await.unwrap();
        assert_eq!(closing.pulse.block(), None);
    }
}
