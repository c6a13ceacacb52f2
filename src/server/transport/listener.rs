//! A bound port: accepts connections, limits their number, and survives failures to accept.
//!
//! Knows nothing of requests; `connection` serves what it accepts, and `places` says who may stay.

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
use hyper::service::Service;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tracing::Instrument;

use super::{
    closing::Closing,
    connection::{self, Accepted, Broken, ConnectionLimits},
    connections::Connections,
    places::{Full, Place, PlaceLimits, Places},
    rarely::Rarely,
    rest::RequestBody,
};
use crate::{
    caller::{Caller, Callers},
    server::metrics::{Closed, PortMetrics},
};

/// First and longest pause after a failure to accept.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The limits of a port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub places: PlaceLimits,
    pub connection: ConnectionLimits,
}

/// A bound port.
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds the port; an error says which one it was.
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

    /// The same port, for another runtime.
    pub(crate) fn into_std(self) -> io::Result<std::net::TcpListener> {
        self.tcp.into_std()
    }

    /// The port that another runtime has bound.
    pub(crate) fn from_std(tcp: std::net::TcpListener) -> io::Result<Self> {
        let address = tcp.local_addr()?;
        Ok(Self { tcp: TcpListener::from_std(tcp)?, address })
    }

    /// Accepts connections until dropped, which closes the port. `service` makes the service for a
    /// client's connection, whose calls are its caller's, and learn of its end.
    pub(crate) async fn serve<S, A>(
        self,
        service: impl Fn(SocketAddr, &Arc<Caller>, &Arc<Closing>) -> S,
        limits: Limits,
        connections: Connections,
        metrics: PortMetrics,
        callers: Callers,
    ) -> Infallible
    where
        S: Service<Request<RequestBody>, Response = Response<A>, Error = Infallible>,
        S: Send + 'static,
        S::Future: Send + 'static,
        A: Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
    {
        let door = Door::new(limits.places, callers, metrics.clone());
        loop {
            let (stream, peer) = door.accept(&self.tcp).await;
            let (opened, closing) = (Instant::now(), Arc::new(Closing::of(&connections)));
            let Some(place) = door.place(peer, &closing).await else { continue };
            let counted = Counted::new(metrics.clone());
            let caller = door.callers.at(peer.ip());
            let service = service(peer, &caller, &closing);
            let place = Arc::new(place);
            let metrics = metrics.clone();
            let in_turns = Arc::clone(&caller);
            let accepted = Accepted { stream, caller, opened, closing, place, metrics };
            let served =
                connection::serve(accepted, service, limits.connection, connections.clone());
            let task = async move {
                served.await;
                drop(counted);
            };
            let task = task.instrument(tracing::debug_span!("connection", %peer));
            connections.tracker.spawn(in_turns.run(task));
        }
    }
}

/// Who comes in.
struct Door {
    places: Places,
    callers: Callers,
    metrics: PortMetrics,
    refused: Rarely,
    full: Rarely,
    room: Rarely,
    peers_room: Rarely,
}

impl Door {
    fn new(limits: PlaceLimits, callers: Callers, metrics: PortMetrics) -> Self {
        Self {
            places: Places::new(limits),
            callers,
            metrics,
            refused: Rarely::default(),
            full: Rarely::default(),
            room: Rarely::default(),
            peers_room: Rarely::default(),
        }
    }

    /// The next connection. A lack of file descriptors (EMFILE) or memory passes, so it waits
    /// instead of giving up, and longer each time, so that it does not spin.
    async fn accept(&self, tcp: &TcpListener) -> (TcpStream, SocketAddr) {
        let (mut pause, longest) = PAUSES;
        loop {
            match tcp.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if concerns_one_client(&error) => {}
                Err(error) => {
                    let (port, pause_ms) = (self.metrics.port(), pause.as_millis());
                    tracing::warn!(port, %error, pause_ms, "cannot accept connections");
                    self.metrics.accept_failed();
                    self.places.make_room();
                    sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    /// A place for this client, once there is one; none if its peer has too many. Meanwhile the
    /// others stay in the kernel's queue: they are served later, and cost no memory here.
    async fn place(&self, peer: SocketAddr, closing: &Arc<Closing>) -> Option<Place> {
        let (caller, mut waits) = (self.callers.id_at(peer.ip()), false);
        loop {
            match self.places.take(caller, closing) {
                Ok(place) => {
                    if let Some(full) = place.made_room() {
                        self.made_room(peer, full);
                    }
                    return Some(place);
                }
                Err(Full::Peer) => {
                    self.refused(peer);
                    return None;
                }
                Err(Full::Port) => {
                    self.waits(std::mem::replace(&mut waits, true));
                    self.places.freed().await;
                }
            }
        }
    }

    fn made_room(&self, peer: SocketAddr, full: Full) {
        let rarely = match full {
            Full::Port => &self.room,
            Full::Peer => &self.peers_room,
        };
        let Some(times) = rarely.happened() else { return };
        let (port, peer) = (self.metrics.port(), peer.ip());
        match full {
            Full::Port => {
                tracing::warn!(port, times, "full: connections without calls make room");
            }
            Full::Peer => tracing::warn!(
                port,
                %peer,
                times,
                "a peer has as many connections as one may have: those without calls make room"
            ),
        }
    }

    fn refused(&self, peer: SocketAddr) {
        self.metrics.closed(Closed::PeerLimit);
        if let Some(times) = self.refused.happened() {
            let port = self.metrics.port();
            tracing::warn!(
                port,
                peer = %peer.ip(),
                times,
                "refused connections: their peer has as many as one may have, with calls on each"
            );
        }
    }

    fn waits(&self, already: bool) {
        if already {
            return;
        }
        self.metrics.was_full();
        if let Some(times) = self.full.happened() {
            let port = self.metrics.port();
            tracing::warn!(port, times, "no place for new connections: calls run on each");
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

struct Counted(PortMetrics);

impl Counted {
    fn new(metrics: PortMetrics) -> Self {
        metrics.connection_opened();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}
