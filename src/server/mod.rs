//! The two ports of the process, gRPC for callers and HTTP for operators, and their shutdown.
//!
//! `stack` puts the `layers` that a call passes through in order, `transport` is everything below
//! HTTP, and `services` has what the server itself serves. What a call means is up to `rpc`:
//! nothing here knows about profiles.

mod layers;
mod metrics;
mod routes;
mod services;
mod settings;
mod stack;
#[cfg(test)]
mod tests;
mod transport;

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper_util::service::TowerToHyperService;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use self::{
    layers::{metadata, methods::Methods},
    services::{admin, descriptors, reflection},
    stack::Connected,
    transport::{
        closing::Closing,
        connection::{Age, ConnectionLimits},
        connections::Connections,
        drain,
        listener::{Limits, Listener},
    },
};
pub use self::{
    metrics::ServerMetrics,
    routes::Routes,
    services::{admin::Admin, health::Health},
    settings::{AddressSettings, ServerSettings},
    transport::drain::Drained,
};
use crate::{
    caller::{Callers, Resource},
    resources::Share,
};

/// Most connections to the admin port: probes, scrapers and a few people.
const MAX_ADMIN_CONNECTIONS: usize = 64;
/// Largest headers of a request to the admin port, in bytes.
const MAX_ADMIN_HEADERS: usize = 16 * 1024;
/// Most requests at once on a connection to the admin port.
const MAX_ADMIN_STREAMS: u32 = 16;
/// How long the admin port may take to finish its last responses.
const ADMIN_END: Duration = Duration::from_secs(1);

/// The gRPC services: the program's own, health and reflection.
#[derive(Debug)]
pub struct Services {
    routes: Routes,
    methods: Methods,
    health: Health,
    metrics: ServerMetrics,
    callers: Callers,
    memory: Share,
}

impl Services {
    /// Adds reflection and `health` to `routes`. Calls are counted in `metrics`, and what they hold
    /// to their `callers`.
    ///
    /// # Errors
    ///
    /// When descriptors that are compiled into the program cannot be read, which is a bug.
    pub fn new(
        routes: Routes,
        health: Health,
        metrics: ServerMetrics,
        callers: Callers,
    ) -> io::Result<Self> {
        let descriptors = descriptors::descriptors().map_err(io::Error::other)?;
        let methods = Methods::new(&descriptors).map_err(io::Error::other)?;
        let routes = routes.with(health.service());
        let routes = reflection::add(routes, &descriptors).map_err(io::Error::other)?;
        let memory = Share::boundless(Resource::RequestBytes);
        Ok(Self { routes, methods, health, metrics, callers, memory })
    }

    /// Keeps request messages within this memory.
    #[must_use]
    pub fn within(self, memory: Share) -> Self {
        Self { memory, ..self }
    }
}

/// Both ports, bound but not yet serving.
#[derive(Debug)]
pub struct Server {
    grpc: Listener,
    admin: Listener,
    settings: ServerSettings,
}

impl Server {
    /// Binds the gRPC port and the admin port.
    ///
    /// # Errors
    ///
    /// When one of them cannot be bound; the message names which one and its address.
    pub async fn bind(
        listen: SocketAddr,
        admin: SocketAddr,
        settings: ServerSettings,
    ) -> io::Result<Self> {
        let grpc = Listener::bind("the gRPC address", listen).await?;
        let admin = Listener::bind("the admin address", admin).await?;
        Ok(Self { grpc, admin, settings })
    }

    /// The address of the gRPC port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// The address of the admin port.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Serves until `shutdown` resolves, then drains: reports NOT_SERVING at once, accepts no new
    /// connections after the grace period, and lets calls and `tasks` finish. `abort` ends it at
    /// any time. The admin port responds to the end.
    pub async fn run(
        self,
        services: Services,
        admin: Admin,
        tasks: TaskTracker,
        shutdown: impl Future<Output = ()> + Send,
        abort: impl Future<Output = ()> + Send,
    ) -> Drained {
        let operators = Connections::default();
        let router = admin::router(admin, services.health.clone());
        let watching = self.admin.serve(
            move |_, _| TowerToHyperService::new(router.clone()),
            Limits {
                max_connections: MAX_ADMIN_CONNECTIONS,
                connection: ConnectionLimits {
                    headers: MAX_ADMIN_HEADERS,
                    streams: MAX_ADMIN_STREAMS,
                    age: None,
                },
            },
            operators.clone(),
            None,
        );
        let serving = serve(self.grpc, self.settings, services, &tasks, shutdown, abort);
        let drained = tokio::select! {
            drained = serving => drained,
            never = watching => match never {},
        };
        operators.goaway.cancel();
        if tokio::time::timeout(ADMIN_END, operators.gone()).await.is_err() {
            operators.kill.cancel();
            operators.gone().await;
        }
        drained
    }
}

async fn serve(
    listener: Listener,
    settings: ServerSettings,
    services: Services,
    tasks: &TaskTracker,
    shutdown: impl Future<Output = ()> + Send,
    abort: impl Future<Output = ()> + Send,
) -> Drained {
    let Services { routes, methods, health, metrics, callers, memory } = services;
    let stack = stack::build(routes, &methods, &metrics, &settings, &callers, &memory);
    let stack = Arc::new(stack);
    let connected = move |peer: SocketAddr, closing: &Arc<Closing>| Connected {
        stack: Arc::clone(&stack),
        peer: peer.to_string().into(),
        caller: callers.at(peer.ip()),
        closing: Arc::clone(closing),
    };
    let age = settings
        .max_connection_age
        .map(|max| Age { max, grace: settings.max_connection_age_grace });
    let headers = metadata::accepted(settings.max_request_metadata_bytes);
    let limits = Limits {
        max_connections: settings.max_connections,
        connection: ConnectionLimits { headers, streams: settings.max_streams_per_connection, age },
    };
    let connections = Connections::default();
    health.keep_alive(settings.stream_keep_alive);
    let mut abort = pin!(abort);
    let aborted = {
        // Leaving this block closes the port.
        let counted = Some(metrics.clone());
        let accepting = listener.serve(connected, limits, connections.clone(), counted);
        let until_closed = async {
            shutdown.await;
            tracing::info!("shutting down: no longer ready");
            health.drain();
            sleep(settings.drain_grace).await;
        };
        tokio::select! {
            () = until_closed => false,
            () = abort.as_mut() => true,
            never = accepting => match never {},
        }
    };
    health.drain();
    // A future that is complete must not be polled again.
    let abort = async {
        if !aborted {
            abort.await;
        }
    };
    let drained = drain::drain(&connections, tasks, &metrics, settings.drain_timeout, abort).await;
    match drained {
        Drained::Clean => tracing::info!("all calls have finished"),
        Drained::Forced { connections, calls, tasks } => {
            tracing::warn!(connections, calls, tasks, "ended with calls in flight");
        }
    }
    drained
}
