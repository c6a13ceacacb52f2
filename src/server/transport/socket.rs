//! A client's socket as hyper takes it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
};

use super::authority::Authorities;

/// Read at once before the first call.
const READ_BYTES: usize = 4096;

/// A socket that makes small responses leave together.
///
/// When HTTP/2 starts, it asks once whether the socket supports vectored writes. If so, each
/// response of 256 bytes or more is written separately, to avoid a copy; if not, a response of up
/// to 1 KiB is copied after the others that are ready. The copy costs a hundredth of the write. So
/// the socket says no at first; after that, larger responses are still written without a copy.
pub(crate) struct Socket {
    tcp: TokioIo<TcpStream>,
    asked: AtomicBool,
    /// Until the first call of the connection, and longer only where its authority is foreign.
    authorities: Option<Box<Authorities>>,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        let authorities = Some(Box::new(Authorities::new()));
        Self { tcp: TokioIo::new(tcp), asked: AtomicBool::new(false), authorities }
    }
}

/// Reads from the socket by way of `authorities`; nothing once that is over.
fn poll_by_way(
    tcp: &mut TcpStream,
    authorities: &mut Authorities,
    cx: &mut Context<'_>,
    buffer: &mut ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    while authorities.output().is_empty() && !authorities.is_over() {
        let mut bytes = [0; READ_BYTES];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut *tcp).poll_read(cx, &mut read))?;
        match read.filled() {
            [] => authorities.finish(),
            bytes => authorities.push(bytes),
        }
    }
    let output = authorities.output();
    let bytes = output.split_to(output.len().min(buffer.remaining()));
    buffer.put_slice(&bytes);
    Poll::Ready(Ok(()))
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(authorities) = &mut this.authorities {
            let before = buffer.remaining();
            ready!(poll_by_way(this.tcp.inner_mut(), authorities, cx, &mut buffer))?;
            if authorities.is_over() {
                this.authorities = None;
            }
            if buffer.remaining() < before {
                return Poll::Ready(Ok(()));
            }
        }
        Pin::new(&mut this.tcp).poll_read(cx, buffer)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.asked.swap(true, Ordering::Relaxed)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, buffers)
    }
}
