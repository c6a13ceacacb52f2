//! The ports of the process, gRPC for callers, HTTP for operators, and one for probes, and their
//! shutdown.
//!
//! `stack` puts the `layers` that a call passes through in order, `transport` is everything below
//! HTTP, and `services` has what the server itself serves. What a call means is up to `rpc`:
//! nothing here knows about profiles.

mod layers;
mod metrics;
mod open_files;
mod probing;
mod routes;
mod services;
mod settings;
mod stack;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use hyper_util::service::TowerToHyperService;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tower::util::MapRequest;

pub(crate) use self::tls::shown_time;
use self::{
    layers::{metadata, methods::Methods, passing::Origin},
    metrics::Port,
    probing::Probing,
    services::{admin, asker, descriptors, heartbeat::Heartbeat, probes, reflection},
    stack::Connected,
    transport::{
        connection::ConnectionLimits,
        connections::Connections,
        drain,
        listener::{Limits, Listener},
        places::PlaceLimits,
        stream::Client,
    },
};
pub use self::{
    metrics::ServerMetrics,
    open_files::raise_open_files,
    routes::Routes,
    services::{
        admin::{Admin, EndPause, Shows},
        health::Health,
        levers::BackendNames,
    },
    settings::{
        ADMIN, AddressSettings, AdminSettings, ClientAuth, ConnectionSettings, HandshakeLimits,
        OperatorSettings, Operators, ServerSettings, ServerTlsSettings, TlsVersion,
    },
    tls::{CurrentTls, OwnCertificate, PeerCertificate, Tls},
    transport::drain::Drained,
};
pub use crate::settings::ListenAddress;
use crate::{
    auth::{Certificate, InForce},
    call::Writes,
    caller::{Callers, Resource},
    resources::Share,
    telemetry::AuditLog,
};

/// Largest headers of a request to the admin port, in bytes.
const MAX_ADMIN_HEADERS: usize = 16 * 1024;
/// Most requests at once on a connection to the admin port.
const MAX_ADMIN_STREAMS: u32 = 16;
/// How long the admin port waits for a request, for its answer to be read, and for a client to go
/// that was asked to.
const ADMIN_LIMIT: Duration = Duration::from_secs(10);
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
    authenticator: Arc<InForce>,
    audit: Option<AuditLog>,
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
        let backends = health.backends();
        for (_, method) in methods.iter().filter(|(_, method)| method.is_of_backends()) {
            metrics.start(&method.label, &backends);
        }
        let routes = routes.with(health.service(services::health::Audience::Callers));
        let routes = reflection::add(routes, &descriptors).map_err(io::Error::other)?;
        let memory = Share::boundless(Resource::RequestBytes);
        let authenticator = Arc::default();
        let audit = None;
        Ok(Self { routes, methods, health, metrics, callers, memory, authenticator, audit })
    }

    /// Lets only those calls pass that the rules of now do.
    #[must_use]
    pub fn guarded_by(self, authenticator: Arc<InForce>) -> Self {
        Self { authenticator, ..self }
    }

    /// Has calls that are denied told of there.
    #[must_use]
    pub fn audited_in(self, log: AuditLog) -> Self {
        Self { audit: Some(log), ..self }
    }

    /// Keeps request messages within this memory.
    #[must_use]
    pub fn within(self, memory: Share) -> Self {
        Self { memory, ..self }
    }
}

/// The ports, bound but not yet serving, except that for probes.
#[derive(Debug)]
pub struct Server {
    grpc: Listener,
    admin: Listener,
    probes: Option<Probing>,
    heartbeat: Heartbeat,
    services: Services,
    settings: ServerSettings,
}

/// Takes connections off what is configured, if the limit of open files has no room for them beside
/// those to `upstreams`.
pub(crate) fn fit_open_files(
    settings: &mut ServerSettings,
    admin: &AdminSettings,
    upstreams: usize,
) {
    let others = admin.max_admin_connections.saturating_add(probing::MAX_CONNECTIONS);
    let wanted = settings.max_connections;
    let others = others.saturating_add(upstreams);
    if let Some(fewer) = open_files::fewer_connections(wanted, others) {
        settings.max_connections = fewer;
        tracing::warn!(
            configured = wanted,
            max_connections = fewer,
            "the limit of open files has room for fewer connections than configured"
        );
    }
}

impl Server {
    /// Binds the ports.
    ///
    /// # Errors
    ///
    /// When one of them cannot be bound, or the thread for probes cannot be started; the message
    /// names which port and its address.
    pub async fn bind(
        addresses: &AddressSettings,
        settings: ServerSettings,
        services: Services,
    ) -> io::Result<Self> {
        let AddressSettings { listen, admin_listen, probe_listen } = addresses;
        let grpc = Listener::bind("the gRPC address", listen).await?;
        let admin = Listener::bind("the admin address", admin_listen).await?;
        let heartbeat = Heartbeat::new(settings.liveness_timeout);
        let probes = match probe_listen {
            Some(address) => {
                let port = Listener::bind("the address for probes", address).await?;
                let router = probes::router(services.health.clone(), heartbeat.clone());
                let metrics = services.metrics.port(Port::Probe);
                Some(Probing::start(port, router, metrics, &services.callers)?)
            }
            None => None,
        };
        Ok(Self { grpc, admin, probes, heartbeat, services, settings })
    }

    /// The same, with this TLS on the gRPC port, if any.
    #[must_use]
    pub fn secured(self, tls: Option<Tls>) -> Self {
        let Some(tls) = tls else { return self };
        let (metrics, shown) =
            (self.services.metrics.handshakes(), self.services.metrics.certificates());
        Self { grpc: self.grpc.secured(&tls, metrics, shown), ..self }
    }

    /// The TLS of the gRPC port, if it has any, which may be replaced while it serves.
    #[must_use]
    pub fn tls(&self) -> Option<&CurrentTls> {
        self.grpc.tls()
    }

    /// Whether the gRPC port speaks TLS.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.grpc.is_secured()
    }

    /// The address of the gRPC port.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        self.grpc.address()
    }

    /// The address of the admin port.
    #[must_use]
    pub fn admin_address(&self) -> &ListenAddress {
        self.admin.address()
    }

    /// The address of the port for probes, if there is one.
    #[must_use]
    pub fn probe_address(&self) -> Option<&ListenAddress> {
        self.probes.as_ref().map(Probing::address)
    }

    /// Serves until `shutdown` resolves, then drains: reports NOT_SERVING at once, accepts no new
    /// connections after the grace period, and lets calls and `writes` finish. `abort` ends it at
    /// any time. The ports for operators and probes respond to the end.
    pub async fn run(
        self,
        admin: Admin,
        writes: Writes,
        shutdown: impl Future<Output = ()> + Send,
        abort: impl Future<Output = ()> + Send,
    ) -> Drained {
        let (metrics, health) = (self.services.metrics.clone(), self.services.health.clone());
        // In a task, because it has to tell of the threads that run tasks.
        let beating = AbortOnDropHandle::new(tokio::spawn(self.heartbeat.beat()));
        let operators = Connections::default();
        let limits = admin_limits(&admin.settings, &self.services.callers);
        let router = admin::router(admin, health, metrics.admin_refusals());
        let service = move |client: &Client| {
            TowerToHyperService::new(MapRequest::new(router.clone(), asker::from_peer(client.peer)))
        };
        let callers = self.services.callers.clone();
        let port = metrics.port(Port::Admin);
        let watching = self.admin.serve(service, limits, operators.clone(), port, callers);
        let serving = serve(self.grpc, self.settings, self.services, &writes, shutdown, abort);
        let drained = tokio::select! {
            drained = serving => drained,
            never = watching => match never {},
        };
        operators.goaway.cancel();
        if tokio::time::timeout(ADMIN_END, operators.gone()).await.is_err() {
            operators.kill.cancel();
            operators.gone().await;
        }
        if let Some(probes) = self.probes {
            probes.stop().await;
        }
        drop(beating);
        drained
    }
}

/// The places of a port, of which one peer gets no more than its share.
fn places(callers: &Callers, all: usize, per_peer: usize) -> PlaceLimits {
    let per_peer = callers.share_of(all).map_or(per_peer, |share| per_peer.min(share));
    PlaceLimits { all, per_peer, busy_too: false }
}

fn admin_limits(settings: &AdminSettings, callers: &Callers) -> Limits {
    let AdminSettings { max_admin_connections, max_admin_connections_per_peer, .. } = *settings;
    Limits {
        places: places(callers, max_admin_connections, max_admin_connections_per_peer),
        connection: ConnectionLimits {
            headers: MAX_ADMIN_HEADERS,
            streams: MAX_ADMIN_STREAMS,
            first_request: ADMIN_LIMIT,
            idle: Some(ADMIN_LIMIT),
            unread: ADMIN_LIMIT,
            answer: Some(ADMIN_LIMIT),
            age: None,
            grace: ADMIN_LIMIT,
        },
    }
}

fn grpc_limits(settings: &ServerSettings, callers: &Callers) -> Limits {
    let ConnectionSettings {
        max_connections_per_peer,
        first_request_timeout,
        max_connection_idle,
        write_timeout,
    } = settings.connections;
    Limits {
        places: places(callers, settings.max_connections, max_connections_per_peer),
        connection: ConnectionLimits {
            headers: metadata::accepted(settings.max_request_metadata_bytes),
            streams: settings.max_streams_per_connection,
            first_request: first_request_timeout,
            idle: max_connection_idle,
            unread: write_timeout,
            answer: None,
            age: settings.max_connection_age,
            grace: settings.max_connection_age_grace,
        },
    }
}

/// What proves who calls on a connection, whatever it sends.
fn origin(client: &Client) -> Origin {
    let certificate = client.certificate.as_ref();
    let certificate = certificate.map(|shown| Arc::new(Certificate::of(shown.spiffe.clone())));
    Origin { peer: Some(client.peer.origin()), certificate }
}

async fn serve(
    listener: Listener,
    settings: ServerSettings,
    services: Services,
    writes: &Writes,
    shutdown: impl Future<Output = ()> + Send,
    abort: impl Future<Output = ()> + Send,
) -> Drained {
    let Services { routes, methods, health, metrics, callers, memory, authenticator, audit } =
        services;
    let known = (&callers, &authenticator, audit.as_ref());
    let stack = stack::build(routes, &methods, &metrics, &settings, known, &memory);
    let stack = Arc::new(stack);
    let connected = move |client: &Client| Connected {
        stack: Arc::clone(&stack),
        peer: client.peer.to_string().into(),
        caller: Arc::clone(&client.caller),
        origin: origin(client),
        closing: Arc::clone(&client.closing),
    };
    let limits = grpc_limits(&settings, &callers);
    let connections = Connections::default();
    health.keep_alive(settings.stream_keep_alive);
    let mut abort = pin!(abort);
    let aborted = {
        // Leaving this block closes the port.
        let counted = metrics.port(Port::Grpc);
        let accepting = listener.serve(connected, limits, connections.clone(), counted, callers);
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
    let drained = drain::drain(&connections, writes, &metrics, settings.drain_timeout, abort).await;
    match drained {
        Drained::Clean => tracing::info!("all calls have finished"),
        Drained::Forced { connections, calls, tasks } => {
            tracing::warn!(connections, calls, tasks, "ended with calls in flight");
        }
    }
    drained
}
