//! The bytes of a connection, over TCP or a Unix socket, with or without TLS, and who is at the
//! other end.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

use super::closing::Closing;
use crate::{
    auth,
    caller::{Caller, CallerId, Callers},
    server::tls::PeerCertificate,
};

/// Who is at the other end of a connection, and what it has proven.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub peer: Peer,
    /// What its certificate proves, if it has shown one in the TLS handshake.
    pub certificate: Option<Arc<PeerCertificate>>,
    pub caller: Arc<Caller>,
    pub closing: Arc<Closing>,
}

/// The other end of a connection, as the system knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The address of another socket.
    Ip(SocketAddr),
    /// A user of this machine, on a Unix socket.
    User { uid: u32 },
}

impl Peer {
    /// Whose calls it makes, as long as it proves nothing.
    pub(crate) fn caller(self, callers: &Callers) -> CallerId {
        match self {
            Self::Ip(address) => callers.id_at(address.ip()),
            Self::User { uid } => CallerId::User { uid },
        }
    }

    /// The same without what differs from connection to connection.
    pub(crate) fn origin(self) -> auth::Peer {
        match self {
            Self::Ip(address) => auth::Peer::Address(address.ip()),
            Self::User { uid } => auth::Peer::User(uid),
        }
    }

    /// Who it is, without what differs from connection to connection.
    pub(crate) fn without_port(self) -> String {
        match self {
            Self::Ip(address) => address.ip().to_string(),
            Self::User { uid } => CallerId::User { uid }.to_string(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::User { uid } => CallerId::User { uid: *uid }.fmt(f),
        }
    }
}

/// A connection as the system gives it.
#[derive(Debug)]
pub(crate) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection that carries HTTP.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Plain),
    /// Boxed, because it is twenty times as large.
    Tls(Box<TlsStream<Plain>>),
}

impl Plain {
    /// Waits for the first byte, which stays where it is; `None` if there will not be any.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let read = match self {
            Self::Tcp(stream) => stream.peek(&mut first).await?,
            Self::Unix(stream) => {
                let peek = || -> io::Result<usize> {
                    let (read, _) = recv(stream, &mut first[..], RecvFlags::PEEK)?;
                    Ok(read)
                };
                stream.async_io(Interest::READABLE, peek).await?
            }
        };
        Ok((read > 0).then_some(u8::from_be_bytes(first)))
    }

    /// Sends what is written at once.
    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            // It never waits.
            Self::Unix(_) => Ok(()),
        }
    }
}

/// Does the same to whichever it is.
macro_rules! of_each {
    ($this:expr, [$($variant:ident),+], $stream:ident => $action:expr) => {
        match $this {
            $(Self::$variant($stream) => $action,)+
        }
    };
}

/// Reads and writes what each variant holds.
macro_rules! passes_bytes {
    ($name:ident, $variants:tt) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                of_each!(self.get_mut(), $variants, s => Pin::new(s).poll_read(cx, buffer))
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                of_each!(self.get_mut(), $variants, s => Pin::new(s).poll_write(cx, bytes))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                of_each!(self.get_mut(), $variants, s => Pin::new(s).poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                of_each!(self.get_mut(), $variants, s => Pin::new(s).poll_shutdown(cx))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                of_each!(self.get_mut(), $variants, s => {
                    Pin::new(s).poll_write_vectored(cx, buffers)
                })
            }

            fn is_write_vectored(&self) -> bool {
                of_each!(self, $variants, s => s.is_write_vectored())
            }
        }
    };
}

passes_bytes!(Plain, [Tcp, Unix]);
passes_bytes!(Stream, [Plain, Tls]);
