//! The listener and its connections: HTTP/1.1 by hyper, with the two things that a handler may need
//! and HTTP cannot express: to close the connection without an answer, and to reset it.

use std::{
    convert::Infallible,
    fmt, io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::world::World;

/// How long a client may take over its request head, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Pause after a failed accept (out of file descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection may take to finish its answer once the sandbox stops.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Accepts connections until the sandbox stops.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    world: Arc<World>,
    max_connections: usize,
) {
    let slots = Arc::new(Semaphore::new(max_connections.max(1)));
    loop {
        let accepted = tokio::select! {
            () = world.stopping().cancelled() => return,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                let (router, of_task) = (router.clone(), Arc::clone(&world));
                world.spawn("sandbox connection", async move {
                    serve(stream, router, &of_task).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "sandbox could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Small answers should not wait for the client's delayed acknowledgement.
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

async fn serve(stream: TcpStream, router: Router, world: &World) {
    let wire = Wire::default();
    let io = TokioIo::new(FaultStream { inner: stream, wire: wire.clone() });
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |request| answer(inner.clone(), request, wire.clone()));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(io, service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = world.stopping().cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(CLOSE_LIMIT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "sandbox connection ended");
    }
}

async fn answer(
    router: TowerToHyperService<Router>,
    mut request: http::Request<Incoming>,
    wire: Wire,
) -> Result<http::Response<Body>, Cut> {
    request.extensions_mut().insert(wire.clone());
    let response = router.call(request).await;
    if wire.is_cut() {
        // An error from the service makes hyper close the connection without writing anything.
        return Err(Cut);
    }
    response.map_err(|never: Infallible| match never {})
}

/// What a handler asks of its connection. Handlers get it as a request extension.
#[derive(Clone, Default)]
pub(super) struct Wire(Arc<AtomicU8>);

const CLOSE: u8 = 1;
const RESET: u8 = 2;
const GARBLE: u8 = 3;

/// Bytes that are not an HTTP response.
const GARBAGE: &[u8] = b"SSH-2.0-sandbox\r\n\r\n";

impl Wire {
    /// Close the connection in order (FIN) instead of answering.
    pub(super) fn close_unanswered(&self) {
        self.0.store(CLOSE, Ordering::Release);
    }

    /// Reset the connection (RST) instead of answering.
    pub(super) fn reset(&self) {
        self.0.store(RESET, Ordering::Release);
    }

    /// Send bytes that are not HTTP instead of an answer, and close in order.
    pub(super) fn garble(&self) {
        self.0.store(GARBLE, Ordering::Release);
    }

    /// Whether bytes that are not HTTP are still to be sent.
    fn take_garbage(&self) -> bool {
        let (from, to) = (GARBLE, CLOSE);
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    fn is_reset(&self) -> bool {
        self.0.load(Ordering::Acquire) == RESET
    }
}

#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection cut by a fault")
    }
}

impl std::error::Error for Cut {}

/// The socket, which resets on close when its `Wire` says so.
struct FaultStream {
    inner: TcpStream,
    wire: Wire,
}

impl FaultStream {
    /// The socket has room for a few bytes, as nothing else was sent.
    fn garble(&self) {
        if self.wire.take_garbage()
            && let Err(error) = self.inner.try_write(GARBAGE)
        {
            tracing::warn!(%error, "sandbox could not send bytes that are not HTTP");
        }
    }
}

impl Drop for FaultStream {
    fn drop(&mut self) {
        self.garble();
        if self.wire.is_reset() {
            // With a linger time of zero, closing sends RST instead of FIN.
            if let Err(error) = self.inner.set_zero_linger() {
                tracing::warn!(%error, "sandbox could not prepare a connection reset");
            }
        }
    }
}

impl AsyncRead for FaultStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for FaultStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.garble();
        if self.wire.is_reset() {
            // An orderly shutdown would send the FIN that a reset must not have.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
