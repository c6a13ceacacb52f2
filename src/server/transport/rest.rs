//! Takes what a client still sends of a request that is already answered.
//!
//! A stream whose request is dropped before its end is reset. h2 remembers 50 of those for a second
//! each. What arrives for one that it has forgotten counts as an error of the client, and after
//! 1,024 of them it ends the connection with every other call on it. Behind a proxy those are calls
//! of others. So the rest of a request is read and dropped, whichever layer refused the call, and
//! however early: then the stream ends as any other does.
//!
//! There is a bound to it. A client that goes on for longer has its stream reset, as before; one
//! that does what HTTP/2 says then sends no more within the second that h2 remembers it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

/// How long the rest of a request may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Largest rest that is read: hardly any client sends a larger message, because 4 MiB is the most
/// that gRPC servers take by default.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A request as it comes from a connection.
pub(crate) type RequestBody = Rest<Incoming>;

/// The body of a request, which is read to its end even if it is dropped before.
///
/// A connection has no more of these than it has streams: one whose rest is still read counts
/// toward the limit.
pub struct Rest<B: Droppable> {
    /// Nothing once it was dropped.
    body: Option<B>,
    /// Over HTTP/1, hyper does with the rest what is right there.
    multiplexed: bool,
}

/// A body that can be read by a task of its own.
pub trait Droppable: Body<Data = Bytes> + Unpin + Send + 'static {}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Droppable for B {}

impl<B: Droppable> Rest<B> {
    /// The same request.
    pub(super) fn of(request: Request<B>) -> Request<Self> {
        let multiplexed = request.version() == Version::HTTP_2;
        request.map(|body| Self { body: Some(body), multiplexed })
    }
}

impl<B: Droppable> Body for Rest<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<B: Droppable> Drop for Rest<B> {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if !self.multiplexed || body.is_end_stream() {
            return;
        }
        let mut ending = Ending { body, bytes: 0 };
        // Most of it has arrived already, or its client has left: that needs no task.
        if Pin::new(&mut ending).poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        // Not when the process ends.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout_at(Instant::now() + PATIENCE, ending));
        }
    }
}

/// Reads a request to its end, or as much of it as is worth it.
struct Ending<B> {
    body: B,
    bytes: usize,
}

impl<B: Droppable> Future for Ending<B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while !self.body.is_end_stream() && self.bytes <= MOST_BYTES {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.bytes += frame.data_ref().map_or(0, Bytes::len),
                // It has ended, or broken off.
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::{
        sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        time::sleep,
    };

    use super::*;

    /// What a client sends, for as long as it is read.
    struct Sent(UnboundedReceiver<usize>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = |n| Ok(Frame::data(Bytes::from(vec![0; n])));
            self.0.poll_recv(cx).map(|bytes| bytes.map(piece))
        }
    }

    /// A client whose request was dropped.
    fn refused(version: Version) -> UnboundedSender<usize> {
        let (client, body) = unbounded_channel();
        client.send(1).unwrap();
        let mut request = Request::new(Sent(body));
        *request.version_mut() = version;
        drop(Rest::of(request));
        client
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_request_is_read_for_a_while() {
        let client = refused(Version::HTTP_2);
        for _ in 0..9 {
            sleep(PATIENCE / 10).await;
            client.send(1000).unwrap();
        }
        sleep(PATIENCE / 5).await;
        client.send(1).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_without_end_is_not_read() {
        let client = refused(Version::HTTP_2);
        let mut sent = 0;
        while client.send(64 * 1024).is_ok() {
            sent += 64 * 1024;
            assert!(sent <= 2 * MOST_BYTES);
            sleep(PATIENCE / 1000).await;
        }
        assert!(sent >= MOST_BYTES, "{sent}");
    }

    #[tokio::test]
    async fn over_http_1_nothing_more_is_read() {
        refused(Version::HTTP_11).send(1).unwrap_err();
    }
}
