//! The port for probes: a thread of its own serves it, with a runtime of its own.
//!
//! So it answers when all other threads are busy, and when all places of the other ports are taken.
//! Whether the others make progress at all is what it tells.

use std::{io, thread, time::Duration};

use axum::Router;
use hyper_util::service::TowerToHyperService;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    metrics::PortMetrics,
    transport::{
        connection::ConnectionLimits,
        connections::Connections,
        listener::{Limits, Listener, Unserved},
        places::PlaceLimits,
    },
};
use crate::{caller::Callers, settings::ListenAddress};

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
    address: ListenAddress,
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
        callers: &Callers,
    ) -> io::Result<Self> {
        // A prober may come from where callers come from, and waits for none of their turns.
        let callers = callers.apart();
        let (address, port) = (port.address().clone(), port.into_unserved()?);
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

    pub(super) fn address(&self) -> &ListenAddress {
        &self.address
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
    port: Unserved,
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
            age: Some(MAX_AGE),
            grace: Duration::ZERO,
        },
    };
    let service = move |_: &_| TowerToHyperService::new(router.clone());
    let (port, connections) = (Listener::of_unserved(port)?, Connections::default());
    match port.serve(service, limits, connections, metrics, callers).await {}
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::routing::get;
    use futures_util::poll;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::timeout,
    };

    use super::*;
    use crate::{
        server::metrics::{Port, ServerMetrics},
        telemetry::Registry,
    };

    // Regression: where callers and probers have one address, as behind a proxy, a probe waited for
    // the turns of calls on threads that may hang.
    #[tokio::test]
    async fn a_probe_waits_for_no_turn_of_a_caller_at_its_address() {
        let callers = Callers::default();
        let caller = callers.at(IpAddr::from([127, 0, 0, 1]));
        let mut tasks = Vec::new();
        for _ in 0..1000 {
            let (wake, woken) = oneshot::channel::<()>();
            let mut task = Box::pin(caller.run(woken));
            assert!(poll!(task.as_mut()).is_pending());
            wake.send(()).unwrap();
            // It has a turn, or waits for one, and is not polled.
            tasks.push(task);
        }
        let port = Listener::bind("a port", &"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let metrics = ServerMetrics::register(&mut Registry::new("test")).port(Port::Probe);
        let router = Router::new().route("/livez", get(async || "ok"));
        let probing = Probing::start(port, router, metrics, &callers).unwrap();
        let mut client = TcpStream::connect(probing.address().dial().unwrap()).await.unwrap();
        let request = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = String::new();
        timeout(2 * LIMIT, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
        probing.stop().await;
    }
}
