//! A bound port: accepts connections, limits their number, and survives failures to accept.
//!
//! Knows nothing of requests; `connection` serves what it accepts, and `places` says who may stay.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

pub(crate) use super::bound::Unserved;
use super::{
    bound::Bound,
    closing::Closing,
    connection::{self, Accepted, Broken, ConnectionLimits},
    connections::Connections,
    handshake::{Beginning, Handshaking},
    places::{Full, Place, PlaceLimits, Places},
    rarely::Rarely,
    rest::RequestBody,
    stream::{Client, Peer, Plain},
};
use crate::{
    caller::Callers,
    server::{
        metrics::{CertificateMetrics, Closed, HandshakeMetrics, PortMetrics},
        tls::{CurrentTls, Tls},
    },
    settings::ListenAddress,
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
    bound: Bound,
    tls: Option<Handshaking>,
}

impl Listener {
    /// Binds the port; an error says which one it was.
    pub(crate) async fn bind(what: &str, address: &ListenAddress) -> io::Result<Self> {
        let bound = Bound::new(address).await.map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => "; stop what listens there, or choose another port",
                _ => "",
            };
            io::Error::new(
                error.kind(),
                format!("cannot listen on {what} {address}: {error}{hint}"),
            )
        })?;
        Ok(Self { bound, tls: None })
    }

    /// The same port, whose connections begin with a TLS handshake.
    pub(crate) fn secured(
        self,
        tls: &Tls,
        metrics: HandshakeMetrics,
        shown: CertificateMetrics,
    ) -> Self {
        let tls = Handshaking { tls: CurrentTls::new(tls, shown), limits: tls.limits, metrics };
        Self { tls: Some(tls), ..self }
    }

    /// The TLS of its connections, if they begin with a handshake.
    pub(crate) fn tls(&self) -> Option<&CurrentTls> {
        self.tls.as_ref().map(|handshaking| &handshaking.tls)
    }

    /// Where it is, with the port that the system chose.
    pub(crate) fn address(&self) -> &ListenAddress {
        self.bound.address()
    }

    /// Whether its connections begin with a TLS handshake.
    pub(crate) fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// The same port, without TLS, for another runtime.
    pub(crate) fn into_unserved(self) -> io::Result<Unserved> {
        self.bound.into_unserved()
    }

    /// The port that another runtime has bound.
    pub(crate) fn of_unserved(unserved: Unserved) -> io::Result<Self> {
        Ok(Self { bound: Bound::of_unserved(unserved)?, tls: None })
    }

    /// Accepts connections until dropped, which closes the port. `service` makes the service for a
    /// client's connection, whose calls are its caller's, and learn of its end.
    pub(crate) async fn serve<S, A>(
        self,
        service: impl Fn(&Client) -> S + Send + Sync + 'static,
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
        let begins = Arc::new((Beginning::new(self.tls, metrics.clone()), service));
        loop {
            let (stream, peer) = door.accept(&self.bound).await;
            let (opened, closing) = (Instant::now(), Arc::new(Closing::of(&connections)));
            let Some(place) = door.place(peer, &closing).await else { continue };
            let counted = Counted::new(metrics.clone());
            let caller = door.callers.of(peer.caller(&door.callers));
            let in_turns = Arc::clone(&caller);
            let client = Client { peer, certificate: None, caller, closing };
            let (place, metrics) = (Arc::new(place), metrics.clone());
            let accepted = Accepted { stream, client, opened, place, metrics };
            let (begins, connections) = (Arc::clone(&begins), connections.clone());
            let tracker = connections.tracker.clone();
            let task = async move {
                let (beginning, service) = &*begins;
                let limits = limits.connection;
                connection::serve(accepted, beginning, service, limits, connections).await;
                drop(counted);
            };
            let task = task.instrument(tracing::debug_span!("connection", %peer));
            tracker.spawn(in_turns.run(task));
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
    async fn accept(&self, bound: &Bound) -> (Plain, Peer) {
        let (mut pause, longest) = PAUSES;
        loop {
            match bound.accept().await {
                Ok((stream, peer)) => {
                    // Calls are small and answered at once: waiting to fill a segment only delays
                    // them.
                    if let Err(error) = stream.set_nodelay() {
                        tracing::debug!(%error, "TCP_NODELAY cannot be set");
                    }
                    return (stream, peer);
                }
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
    async fn place(&self, peer: Peer, closing: &Arc<Closing>) -> Option<Place> {
        let (caller, mut waits) = (peer.caller(&self.callers), false);
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

    fn made_room(&self, peer: Peer, full: Full) {
        let rarely = match full {
            Full::Port => &self.room,
            Full::Peer => &self.peers_room,
        };
        let Some(times) = rarely.happened() else { return };
        let (port, peer) = (self.metrics.port(), peer.without_port());
        match full {
            Full::Port => {
                tracing::warn!(port, times, "full: connections without calls make room");
            }
            Full::Peer => tracing::warn!(
                port,
                peer,
                times,
                "a peer has as many connections as one may have: those without calls make room"
            ),
        }
    }

    fn refused(&self, peer: Peer) {
        self.metrics.closed(Closed::PeerLimit);
        if let Some(times) = self.refused.happened() {
            let port = self.metrics.port();
            tracing::warn!(
                port,
                peer = peer.without_port(),
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
