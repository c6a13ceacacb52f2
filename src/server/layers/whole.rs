//! Holds a request with one message to its form: one message, and then the end of the request.
//!
//! A request that its caller takes back before its end is not executed. The HTTP/2 and gRPC
//! libraries take a reset with NO_ERROR or CANCEL for the end of the body, so without this layer a
//! write would run that its caller never completed.

use std::{
    convert::Infallible,
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{Response, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::service::Service;
use tonic::Status;

use super::{
    body::Answer,
    methods::Method,
    passing::{BoxError, Passing},
    reply,
};
use crate::{
    error::{Kind, Reason},
    rpc,
};

/// The flag and the length before each message.
const PREFIX: usize = 5;

/// Passes on requests whose body ends only where the caller ended it.
pub(crate) struct WholeRequest<S> {
    pub inner: S,
}

impl<S, B, A> Service<Passing<B>> for WholeRequest<S>
where
    S: Service<Passing<Whole<B>>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<A>;
    type Error = Infallible;
    type Future = S::Future;

    fn call(&self, passing: Passing<B>) -> Self::Future {
        let Passing { request, web, method, record, started, closing } = passing;
        let multiplexed = request.version() == Version::HTTP_2;
        let single = (!method.client_streaming).then(|| Single::new(Arc::clone(&method)));
        let request = request.map(|body| Whole { body, multiplexed, single, broken: false });
        self.inner.call(Passing { request, web, method, record, started, closing })
    }
}

/// The body of a request. Ends only where its caller ended it.
pub struct Whole<B> {
    body: B,
    /// It comes over HTTP/2, where a reset may look like an end.
    multiplexed: bool,
    /// For a method that takes exactly one message.
    single: Option<Single>,
    /// It broke off. From then on it would look like one that ended.
    broken: bool,
}

impl<B> HttpBody for Whole<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.broken {
            return Poll::Pending;
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            None if !this.multiplexed || this.body.is_end_stream() => return Poll::Ready(None),
            broken => {
                this.broken = true;
                let error = broken.and_then(Result::err).map(Into::into);
                return match error.filter(|_| !this.multiplexed) {
                    // HTTP/2 drops the call at once: its caller no longer waits.
                    None => Poll::Pending,
                    Some(error) => Poll::Ready(Some(Err(broken_off(&error)))),
                };
            }
        };
        if let (Some(single), Some(data)) = (&mut this.single, frame.data_ref())
            && single.goes_on_after(data)
        {
            return Poll::Ready(Some(Err(single.refusal())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body over HTTP/1 that broke off: with its connection, or with what cannot be read.
fn broken_off(error: &BoxError) -> Status {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    let source = error.downcast_ref::<hyper::Error>().and_then(Error::source);
    match source.and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(ConnectionAborted | ConnectionReset | UnexpectedEof) => rpc::status::broken_off(),
        _ => {
            let message = "the request body cannot be read to its end";
            rpc::status::of(Reason::MalformedRequest, message)
        }
    }
}

/// Finds where the one message of a request ends.
struct Single {
    prefix: [u8; PREFIX],
    /// How many bytes of the prefix have arrived.
    known: usize,
    /// How many bytes of the message have not arrived yet.
    rest: usize,
    method: Arc<Method>,
}

impl Single {
    fn new(method: Arc<Method>) -> Self {
        Self { prefix: [0; PREFIX], known: 0, rest: 0, method }
    }

    /// Takes the next bytes, and tells whether there are any after the message.
    fn goes_on_after(&mut self, mut data: &[u8]) -> bool {
        if let Some(missing) = self.prefix.get_mut(self.known..)
            && !missing.is_empty()
        {
            let n = missing.len().min(data.len());
            data.copy_to_slice(missing.split_at_mut(n).0);
            self.known += n;
            if self.known == PREFIX {
                let [_, a, b, c, d] = self.prefix;
                self.rest = u32::from_be_bytes([a, b, c, d]) as usize;
            }
        }
        let beyond = data.len() > self.rest;
        self.rest = self.rest.saturating_sub(data.len());
        beyond
    }

    /// The code is the one that gRPC defines for a wrong number of messages.
    fn refusal(&self) -> Status {
        let message = "the method takes one request message, and more were sent";
        let error = reply::error(&self.method, Reason::MalformedRequest, message);
        rpc::status::status(&error.with_kind(Kind::Unimplemented))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::methods::Methods;

    #[test]
    fn a_second_message_is_found_however_the_bytes_are_cut() {
        let methods = Methods::new(&[]).unwrap();
        for (bytes, more) in [
            (&b"\0\0\0\0\x02ab"[..], false),
            (b"\0\0\0\0\x00", false),
            (b"\0\0\0\0\x02ab\0", true),
            (b"\0\0\0\0\x00\0\0\0\0\x00", true),
            (b"\0\0\0\0\x05ab", false),
        ] {
            for size in 1..=bytes.len() {
                let mut single = Single::new(Arc::clone(methods.unknown()));
                let found = bytes.chunks(size).any(|chunk| single.goes_on_after(chunk));
                assert_eq!(found, more, "{bytes:?} in pieces of {size}");
            }
        }
    }
}
