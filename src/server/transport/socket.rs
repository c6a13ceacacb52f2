//! A client's socket as hyper takes it.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{authority::Authorities, closing::Closing, stream::Stream};

/// Most that is read at once of what has to be complete before h2 may read it.
const READ_BYTES: usize = 4096;

/// A socket that makes small responses leave together.
///
/// When HTTP/2 starts, it asks once whether the socket supports vectored writes. If so, each
/// response of 256 bytes or more is written separately, to avoid a copy; if not, a response of up
/// to 1 KiB is copied after the others that are ready. The copy costs a hundredth of the write. So
/// the socket says no at first; after that, larger responses are still written without a copy.
pub(crate) struct Socket {
    stream: TokioIo<Stream>,
    asked: AtomicBool,
    /// What all bytes come by; nothing over HTTP/1.
    authorities: Option<Box<Authorities>>,
    /// How long the client may take nothing of what is written.
    unread: Duration,
    closing: Arc<Closing>,
    /// Runs while the client takes nothing.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// Takes calls with headers of so many bytes, from a client that reads within this time.
    pub(super) fn new(
        stream: Stream,
        headers: usize,
        unread: Duration,
        closing: Arc<Closing>,
    ) -> Self {
        let authorities = Some(Box::new(Authorities::new(headers)));
        let (stream, asked) = (TokioIo::new(stream), AtomicBool::new(false));
        Self { stream, asked, authorities, unread, closing, blocked: None }
    }

    /// Gives the client up if it reads nothing, or if its response takes too long over HTTP/1. Such
    /// a response is not polled while it cannot be written, so no timer of its own would run.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.blocked.take().is_some() {
                self.closing.pulse.unblock();
            }
            return written;
        }
        let (pulse, longest) = (&self.closing.pulse, Instant::now() + self.unread);
        let blocked = self.blocked.get_or_insert_with(|| {
            let end = pulse.block().map_or(longest, |end| end.min(longest));
            Box::pin(sleep_until(end))
        });
        ready!(blocked.as_mut().poll(cx));
        pulse.give_up();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

/// Reads from the socket by way of `authorities`.
struct ByWay<'s> {
    stream: &'s mut Stream,
    authorities: &'s mut Authorities,
}

impl ByWay<'_> {
    /// Reads what has to be complete; false at the end.
    fn poll_missing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut bytes = [0; READ_BYTES];
        let mut read = ReadBuf::new(&mut bytes);
        let mut few = read.take(self.authorities.missing());
        ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut few))?;
        self.authorities.push(few.filled());
        Poll::Ready(Ok(!few.filled().is_empty()))
    }

    /// Reads what may stay where it is; false at the end.
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let (taken, goes_on) = (self.authorities.take(read), !read.is_empty());
        buffer.set_filled(before + taken);
        Poll::Ready(Ok(goes_on))
    }
}

impl AsyncRead for ByWay<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        let mut goes_on = true;
        while goes_on && buffer.remaining() == before && before > 0 {
            self.authorities.read(buffer);
            if buffer.remaining() < before {
                break;
            }
            goes_on = ready!(match self.authorities.missing() {
                0 => self.poll_rest(cx, buffer),
                _ => self.poll_missing(cx),
            })?;
            if !goes_on {
                self.authorities.finish();
                self.authorities.read(buffer);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(authorities) = &mut this.authorities else {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        };
        let by_way = ByWay { stream: this.stream.inner_mut(), authorities };
        let read = Pin::new(&mut TokioIo::new(by_way)).poll_read(cx, buffer);
        if authorities.is_over() {
            this.authorities = None;
        }
        read
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Over TLS, what was written may not have left.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.asked.swap(true, Ordering::Relaxed)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.written(cx, written)
    }
}
