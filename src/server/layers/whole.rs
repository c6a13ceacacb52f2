//! Holds a request with one message to its form: one message, and then the end of the request; and
//! keeps what has arrived of it until it is whole.
//!
//! A request that its caller takes back before its end is not executed. The HTTP/2 and gRPC
//! libraries take a reset with NO_ERROR or CANCEL for the end of the body, so without this layer a
//! write would run that its caller never completed.
//!
//! It reads the length of the message first, so it also takes the memory for it.

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
    kept::Kept,
    methods::{MAX_PROBE_BYTES, Method},
    passing::{BoxError, Passing},
    reply,
};
use crate::{
    call::CallRecord,
    error::{Error as Refusal, Kind, Reason},
    resources::Share,
    rpc::{
        self,
        request::{PER_CALL, weight},
    },
};

/// The flag and the length before each message.
const PREFIX: usize = 5;

/// Passes on requests whose body ends only where the caller ended it.
pub(crate) struct WholeRequest<S> {
    pub inner: S,
    /// Largest message that is kept until it is whole. What is larger is refused by its service.
    pub limit: usize,
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
        let Passing { request, web, method, record, started, origin, closing } = passing;
        let multiplexed = request.version() == Version::HTTP_2;
        let single = (!method.client_streaming).then(|| Single::new(Arc::clone(&method)));
        let limit = if method.probe { self.limit.min(MAX_PROBE_BYTES) } else { self.limit };
        let request = request.map(|body| Whole::new(body, multiplexed, single, limit));
        self.inner.call(Passing { request, web, method, record, started, origin, closing })
    }
}

/// The body of a request. Ends only where its caller ended it.
pub struct Whole<B> {
    body: B,
    /// It comes over HTTP/2, where a reset may look like an end.
    multiplexed: bool,
    /// For a method that takes exactly one message.
    single: Option<Single>,
    limit: usize,
    /// It broke off. From then on it would look like one that ended.
    broken: bool,
    kept: Kept,
}

impl<B> Whole<B> {
    fn new(body: B, multiplexed: bool, single: Option<Single>, limit: usize) -> Self {
        Self { body, multiplexed, single, limit, broken: false, kept: Kept::default() }
    }
}

impl<B> Whole<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Waits until all of it is here, in this memory. A request of many messages is taken as it
    /// comes, and so is one that is known to be refused: it is too large, or cannot be read.
    pub(super) fn poll_arrival(
        &mut self,
        memory: &Share,
        record: &CallRecord,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while !self.is_here() {
            match ready!(self.poll_body(cx)) {
                Some(piece) => {
                    let piece = piece.and_then(|piece| self.taken(piece, memory, record));
                    self.kept.ended |= piece.is_err();
                    self.kept.add(piece);
                }
                None => self.kept.ended = true,
            }
        }
        Poll::Ready(())
    }

    /// A piece, once there is memory for the message.
    fn taken(
        &mut self,
        piece: Frame<Bytes>,
        memory: &Share,
        record: &CallRecord,
    ) -> Result<Frame<Bytes>, Status> {
        match &mut self.single {
            Some(single) if single.length <= self.limit => {
                let taken = single.take(memory, record).map(|()| piece);
                taken.map_err(|refusal| rpc::status::status(&refusal))
            }
            // What is too large is refused by its length alone.
            _ => Ok(piece),
        }
    }

    fn is_here(&self) -> bool {
        let Some(single) = &self.single else { return true };
        self.kept.ended || single.length > self.limit || self.body.is_end_stream()
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self;
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
        match self.kept.take() {
            Some(piece) => Poll::Ready(Some(piece)),
            None if self.kept.ended => Poll::Ready(None),
            None => self.poll_body(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_empty() && (self.kept.ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.kept.is_empty() {
            true => self.body.size_hint(),
            false => SizeHint::default(),
        }
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
    /// How many bytes the message has; zero until the prefix has arrived.
    length: usize,
    /// How many bytes of the message have not arrived yet.
    rest: usize,
    method: Arc<Method>,
    /// Its memory has been taken.
    is_taken: bool,
}

impl Single {
    fn new(method: Arc<Method>) -> Self {
        Self { prefix: [0; PREFIX], known: 0, length: 0, rest: 0, method, is_taken: false }
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
                self.length = u32::from_be_bytes([a, b, c, d]) as usize;
                self.rest = self.length;
            }
        }
        let beyond = data.len() > self.rest;
        self.rest = self.rest.saturating_sub(data.len());
        beyond
    }

    /// Takes the memory of the message, once its length is known, and before it is kept.
    fn take(&mut self, memory: &Share, record: &CallRecord) -> Result<(), Refusal> {
        if self.is_taken || self.known < PREFIX {
            return Ok(());
        }
        self.is_taken = true;
        let is_compressed = self.prefix.first() == Some(&1);
        // What a compressed message becomes is taken when it is known.
        let bytes = if is_compressed { PER_CALL + self.length } else { weight(self.length) };
        let taken = memory.take_for(record.caller(), bytes);
        record.hold_request(taken.map_err(|error| reply::known(&self.method, error))?);
        Ok(())
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
