//! The port for probes: a thread of its own serves it, with a runtime of its own.
//!
//! So it answers when all other threads are busy, and when all places of the other ports are taken.
//! Whether the others make progress at all is what it tells.

use std::{io, net::SocketAddr, thread, time::Duration};

use axum::Router;
use hyper_util::service::TowerToHyperService;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    metrics::PortMetrics,
    transport::{
        connection::{Age, ConnectionLimits},
        connections::Connections,
        listener::{Limits, Listener},
        places::PlaceLimits,
    },
};
use crate::caller::Callers;

/// A few machines probe, each with a new connection each time.
pub(super) const MAX_CONNECTIONS: usize = 32;
const MAX_CONNECTIONS_PER_PEER: usize = 8;
const MAX_HEADERS: usize = 8 * 1024;
const MAX_STREAMS: u32 = 8;
/// For the first request, between two, and for an answer. No prober waits for longer.
const LIMIT: Duration = Duration::from_secs(5);
/// Most of a connection's life.
const MAX_AGE: Duration = Duration::from_secs(30);
/// How long the thread may take to end.
const END: Duration = Duration::from_secs(1);

/// The thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Probing {
    address: SocketAddr,
    ended: oneshot::Receiver<()>,
    end: DropGuard,
}

impl Probing {
    /// Serves the port until the end.
    ///
    /// # Errors
    ///
    /// When the thread or its runtime cannot be made.
    pub(super) fn start(
        port: Listener,
        router: Router,
        metrics: PortMetrics,
        callers: Callers,
    ) -> io::Result<Self> {
        let (address, port) = (port.address(), port.into_std()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = CancellationToken::new();
        let (until, (ends, ended)) = (end.clone(), oneshot::channel());
        thread::Builder::new().name("probes".to_owned()).spawn(move || {
            let serving = serve(port, router, metrics, callers);
            let served = runtime.block_on(until.run_until_cancelled(serving));
            if let Some(Err(error)) = served {
                tracing::error!(%error, "the port for probes cannot be served");
            }
            // The drop would tell it as well.
            let _ = ends.send(());
        })?;
        Ok(Self { address, ended, end: end.drop_guard() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, and waits for that.
    pub(super) async fn stop(self) {
        drop(self.end);
        if timeout(END, self.ended).await.is_err() {
            tracing::warn!("the thread for probes has not ended");
        }
    }
}

async fn serve(
    port: std::net::TcpListener,
    router: Router,
    metrics: PortMetrics,
    callers: Callers,
) -> io::Result<()> {
    let limits = Limits {
        places: PlaceLimits {
            all: MAX_CONNECTIONS,
            per_peer: MAX_CONNECTIONS_PER_PEER,
            busy_too: true,
        },
        connection: ConnectionLimits {
            headers: MAX_HEADERS,
            streams: MAX_STREAMS,
            first_request: LIMIT,
            idle: Some(LIMIT),
            unread: LIMIT,
            answer: Some(LIMIT),
            age: Some(Age { max: MAX_AGE, grace: Duration::ZERO }),
        },
    };
    let service = move |_, _: &_| TowerToHyperService::new(router.clone());
    let (port, connections) = (Listener::from_std(port)?, Connections::default());
    match port.serve(service, limits, connections, metrics, callers).await {}
}
