//! The composition root: a checked configuration becomes a running gateway.
//!
//! The only place that names every module. Nothing here decides anything about a call.

mod counted;
#[cfg(not(feature = "sandbox"))]
mod no_sandbox;
#[cfg(feature = "sandbox")]
mod sandbox;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use counted::{Counted, CountedCache, CountedWatch};
#[cfg(not(feature = "sandbox"))]
use no_sandbox::Embedded;
#[cfg(not(feature = "sandbox"))]
pub use no_sandbox::WITHOUT_BACKENDS;
#[cfg(feature = "sandbox")]
use sandbox::Embedded;
#[cfg(feature = "sandbox")]
pub use sandbox::{WITHOUT_BACKENDS, sandbox_config};
use tokio_util::task::TaskTracker;

use crate::{
    cache::{BackgroundTasks, Cache},
    config::{BackendSettings, Config},
    dialect,
    gateway::{
        Backend, Gateway,
        idempotency::{self, Memory},
        watch::Watches,
    },
    pb::{backend_service_server, profile_service_server},
    query::{page::PageTokens, resume::ResumeTokens},
    rpc::{BackendRpc, Limits, ProfileRpc},
    server::{AddressSettings, Admin, Drained, Health, Routes, Server, ServerSettings, Services},
    telemetry::metrics::Metrics,
    upstream::Upstream,
};

/// Streams of changes at once.
const MAX_WATCHES: usize = 1000;

/// A gateway that holds its ports and does not serve yet.
pub struct App {
    server: Server,
    services: Services,
    admin: Admin,
    writes: TaskTracker,
    loads: BackgroundTasks,
    sandbox: Option<Embedded>,
}

impl App {
    /// Sets everything up and binds both ports. A configuration without backends gets those of an
    /// embedded sandbox.
    ///
    /// # Errors
    ///
    /// When a port cannot be bound, or an HTTP client cannot be set up, or when there are no
    /// backends and this build has no sandbox.
    pub async fn start(mut config: Config) -> io::Result<Self> {
        let sandbox = if config.backends.is_empty() {
            let (sandbox, backends) = Embedded::start().await?;
            config.backends = backends;
            if config.server == ServerSettings::default() {
                // A try-out has no load balancer in front of it: it may end at once.
                config.server.drain_grace = Duration::ZERO;
            }
            Some(sandbox)
        } else {
            None
        };
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let (writes, loads) = (TaskTracker::new(), BackgroundTasks::default());
        let health = Arc::new(OnceLock::new());
        let backends: Vec<Backend> = config
            .backends
            .values()
            .map(|backend| build(backend, &metrics, &health, &loads))
            .collect::<io::Result<_>>()?;
        let requests = Arc::new(Memory::new(idempotency::Limits::default()));
        let page_tokens = PageTokens::from_settings(&config.page_tokens);
        let gateway = Arc::new(Gateway::new(
            backends,
            writes.clone(),
            requests,
            page_tokens,
            watches(&config, &metrics, &loads),
        ));
        let ids: Vec<&str> = config.backends.keys().map(String::as_str).collect();
        let services = services(&gateway, &config.server, &ids)?;
        // Before the first call, and so before the first backend has anything to tell.
        let _ = health.set(services.health());
        let admin = Admin { metrics, config: config.redacted() };
        let AddressSettings { listen, admin_listen } = config.addresses;
        let server = Server::bind(listen, admin_listen, config.server).await?;
        Ok(Self { server, services, admin, writes, loads, sandbox })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where the admin HTTP is.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.server.admin_address()
    }

    /// Base URL of the embedded sandbox, if there is one.
    #[must_use]
    pub fn sandbox_url(&self) -> Option<String> {
        self.sandbox.as_ref().map(Embedded::base_url)
    }

    /// Serves until `shutdown` resolves, then drains; `abort` ends it at any time.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send,
        abort: impl Future<Output = ()> + Send,
    ) -> Drained {
        let drained =
            self.server.run(self.services, self.admin, self.writes, shutdown, abort).await;
        // Nothing is left that waits for what they read.
        self.loads.closing.cancel();
        self.loads.tasks.close();
        self.loads.tasks.wait().await;
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        drained
    }
}

fn build(
    backend: &BackendSettings,
    metrics: &Arc<Metrics>,
    health: &Arc<OnceLock<Health>>,
    loads: &BackgroundTasks,
) -> io::Result<Backend> {
    let registration = dialect::REGISTRY.iter().find(|r| r.name == backend.dialect);
    let Some(registration) = registration else {
        return Err(io::Error::other(format!("unknown dialect {}", backend.dialect)));
    };
    let built = (registration.build)(&backend.dialect_settings()).map_err(|faults| {
        io::Error::other(format!("backend {}: {}", backend.name, faults.join("; ")))
    })?;
    let observer = Arc::new(Counted {
        metrics: Arc::clone(metrics),
        backend: metrics.upstreams.backend(&backend.name),
        health: Arc::clone(health),
        id: backend.name.clone(),
    });
    let upstream = Upstream::new(
        &backend.name,
        &backend.upstream,
        registration.rate_limit,
        built.auth,
        observer,
    )
    .map_err(io::Error::other)?;
    let cache = cache(backend, metrics, built.dialect.lists_are_complete(), loads);
    let display_name = backend.label.display_name.clone();
    Ok(Backend::new(&backend.name, display_name, built.dialect, upstream, cache))
}

/// Room for streams of changes. Each takes a slot among the calls as long as it is open, and other
/// calls need some too.
fn watches(config: &Config, metrics: &Metrics, loads: &BackgroundTasks) -> Watches {
    let slots = (config.server.max_concurrent_calls / 2).clamp(1, MAX_WATCHES);
    let tokens = ResumeTokens::new(rand::random(), rand::random());
    let mut watches = Watches::new(slots, tokens, loads.clone());
    for backend in config.backends.values() {
        let observer = Arc::new(CountedWatch(metrics.watches.backend(&backend.name)));
        watches.add(&backend.name, backend.watch.clone(), observer);
    }
    watches
}

fn cache(
    backend: &BackendSettings,
    metrics: &Metrics,
    lists_are_complete: bool,
    loads: &BackgroundTasks,
) -> Cache {
    let observer = Arc::new(CountedCache(metrics.cache(&backend.name)));
    let cache = Cache::new(backend.cache.clone(), lists_are_complete, observer, loads.clone());
    let measured = cache.clone();
    metrics.watch_cache(&backend.name, move || measured.size());
    cache
}

fn services(
    gateway: &Arc<Gateway>,
    server: &ServerSettings,
    backends: &[&str],
) -> io::Result<Services> {
    let limits = Limits {
        request_bytes: server.max_request_bytes,
        response_bytes: server.max_response_bytes,
    };
    let routes = Routes::default()
        .with(ProfileRpc::service(Arc::clone(gateway), limits))
        .with(BackendRpc::service(Arc::clone(gateway), limits));
    let names = [profile_service_server::SERVICE_NAME, backend_service_server::SERVICE_NAME];
    Services::new(routes, &names, backends)
}
