//! A bound port: accepts connections, limits their number, and survives failures to accept.
//!
//! Knows nothing of requests; `connection` serves what it accepts.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::Service};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tracing::Instrument;

use super::{
    closing::Closing,
    connection::{self, Broken, ConnectionLimits},
    connections::Connections,
};
use crate::server::metrics::ServerMetrics;

/// First and longest pause after a failure to accept.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The limits of a port.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub max_connections: usize,
    pub connection: ConnectionLimits,
}

/// A bound port.
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds the port; an error says which of the two it was.
    pub(crate) async fn bind(what: &str, address: SocketAddr) -> io::Result<Self> {
        let explain = |error: io::Error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => "; stop what listens there, or choose another port",
                _ => "",
            };
            io::Error::new(
                error.kind(),
                format!("cannot listen on {what} {address}: {error}{hint}"),
            )
        };
        let tcp = TcpListener::bind(address).await.map_err(explain)?;
        let address = tcp.local_addr().map_err(explain)?;
        Ok(Self { tcp, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until dropped, which closes the port. `service` makes the service for a
    /// client's connection, whose calls learn of its end. `metrics`, if given, counts connections.
    pub(crate) async fn serve<S, A>(
        self,
        service: impl Fn(SocketAddr, &Arc<Closing>) -> S,
        limits: Limits,
        connections: Connections,
        metrics: Option<ServerMetrics>,
    ) -> Infallible
    where
        S: Service<Request<Incoming>, Response = Response<A>, Error = Infallible>,
        S: Send + 'static,
        S::Future: Send + 'static,
        A: Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
    {
        let permits = limits.max_connections.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits));
        loop {
            // Waiting before accepting leaves the rest in the kernel's queue: they are served later
            // instead of being refused, and cost no memory here.
            let permit = Arc::clone(&permits).acquire_owned().await;
            let (stream, peer) = accept(&self.tcp).await;
            let counted = metrics.clone().map(Counted::new);
            let closing = Arc::new(Closing::of(&connections));
            let service = service(peer, &closing);
            let limits = limits.connection;
            let served = connection::serve(stream, service, limits, closing, connections.clone());
            let task = async move {
                served.await;
                drop((permit, counted));
            };
            connections.tracker.spawn(task.instrument(tracing::debug_span!("connection", %peer)));
        }
    }
}

/// The next connection. A lack of file descriptors (EMFILE) or memory passes, so it waits instead
/// of giving up, and longer each time, so that it does not spin.
async fn accept(tcp: &TcpListener) -> (TcpStream, SocketAddr) {
    let (mut pause, longest) = PAUSES;
    loop {
        match tcp.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if concerns_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

/// The client left before it was accepted.
fn concerns_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

struct Counted(ServerMetrics);

impl Counted {
    fn new(metrics: ServerMetrics) -> Self {
        metrics.connection_opened();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}
