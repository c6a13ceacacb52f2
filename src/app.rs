//! The composition root: a checked configuration becomes a running gateway.
//!
//! The only place that names every module. Nothing here decides anything about a call.

mod metrics;
#[cfg(not(feature = "sandbox"))]
mod no_sandbox;
#[cfg(feature = "sandbox")]
mod sandbox;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use metrics::Metrics;
pub use metrics::metrics_reference;
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
    caller::Callers,
    config::{BackendSettings, Config},
    dialect,
    gateway::{
        Backend, Gateway,
        idempotency::{self, Memory},
        watch::{WatchMetrics, Watches},
    },
    query::{page::PageTokens, resume::ResumeTokens},
    rpc::{
        BackendRpc, Limits, ProfileRpc,
        servers::{backend_service_server, profile_service_server},
    },
    server::{AddressSettings, Admin, Drained, Health, Routes, Server, ServerSettings, Services},
    telemetry::Registry,
    upstream::Upstream,
};

const SERVICES: [&str; 2] =
    [profile_service_server::SERVICE_NAME, backend_service_server::SERVICE_NAME];

/// A gateway that holds its ports and does not serve yet.
pub struct App {
    server: Server,
    services: Services,
    admin: Admin,
    writes: TaskTracker,
    background: BackgroundTasks,
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
                // A trial run has no load balancer in front of it, so it can end at once.
                config.server.drain_grace = Duration::ZERO;
            }
            Some(sandbox)
        } else {
            None
        };
        let mut registry = Registry::new(env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::register(&mut registry);
        let ids: Vec<&str> = config.backends.keys().map(String::as_str).collect();
        let health = Health::new(&SERVICES, &ids);
        let (writes, background) = (TaskTracker::new(), BackgroundTasks::default());
        let backends: Vec<Backend> = config
            .backends
            .values()
            .map(|backend| build(backend, &mut registry, &metrics, &health, &background))
            .collect::<io::Result<_>>()?;
        let callers = Callers::new(config.callers.clone(), metrics.callers);
        let counted = callers.clone();
        registry.before_scrape(move || counted.forget_idle());
        let requests = Arc::new(Memory::new(idempotency::Limits::default()));
        let mut page_settings = config.page_tokens.clone();
        // A page leaves room for its token and the rest of its response.
        let largest = config.server.max_response_bytes / 16 * 15;
        page_settings.max_page_bytes = page_settings.max_page_bytes.min(largest);
        let page_tokens = PageTokens::from_settings(&page_settings);
        let gateway = Arc::new(Gateway::new(
            backends,
            writes.clone(),
            requests,
            page_tokens,
            watches(&config, &callers, &metrics.watch, &background),
        ));
        let routes = routes(&gateway, &config.server);
        let services = Services::new(routes, health, metrics.server, callers)?;
        let admin = Admin { metrics: Arc::new(registry), config: config.redacted() };
        let AddressSettings { listen, admin_listen } = config.addresses;
        let server = Server::bind(listen, admin_listen, config.server).await?;
        Ok(Self { server, services, admin, writes, background, sandbox })
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
        // No call is left that waits for what the background tasks read.
        self.background.shut_down().await;
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        drained
    }
}

fn build(
    backend: &BackendSettings,
    registry: &mut Registry,
    metrics: &Metrics,
    health: &Health,
    background: &BackgroundTasks,
) -> io::Result<Backend> {
    let registration = dialect::REGISTRY.iter().find(|r| r.name == backend.dialect);
    let Some(registration) = registration else {
        return Err(io::Error::other(format!("unknown dialect {}", backend.dialect)));
    };
    let built = (registration.build)(&backend.dialect_settings()).map_err(|faults| {
        io::Error::other(format!("backend {}: {}", backend.name, faults.join("; ")))
    })?;
    let name: Arc<str> = backend.name.as_str().into();
    let (health, id) = (health.clone(), Arc::clone(&name));
    let upstream = Upstream::new(
        &name,
        &backend.upstream,
        registration.limits,
        built.auth,
        metrics.upstream.backend(&name),
        move |serving| health.set_backend(&id, serving),
    )
    .map_err(io::Error::other)?;
    let measured = Arc::clone(&upstream);
    registry.before_scrape(move || measured.measure_windows());
    let cache = Cache::new(
        backend.cache.clone(),
        built.dialect.lists_are_complete(),
        metrics.cache.backend(&name),
        background.clone(),
    );
    let display_name = backend.label.display_name.clone();
    Ok(Backend::new(&name, display_name, built.dialect, upstream, backend.write, cache))
}

fn watches(
    config: &Config,
    callers: &Callers,
    metrics: &WatchMetrics,
    background: &BackgroundTasks,
) -> Watches {
    let tokens = ResumeTokens::new(rand::random(), rand::random());
    let calls = config.server.max_concurrent_calls;
    let watches = Watches::among_calls(calls, callers, tokens, background.clone());
    let mut watches = watches.keep_alive(config.server.stream_keep_alive);
    for backend in config.backends.values() {
        let name: Arc<str> = backend.name.as_str().into();
        watches.add(&name, backend.watch.clone(), metrics.backend(&name));
    }
    watches
}

fn routes(gateway: &Arc<Gateway>, server: &ServerSettings) -> Routes {
    let limits = Limits {
        request_bytes: server.max_request_bytes,
        response_bytes: server.max_response_bytes,
        min_compressed_bytes: server.min_compressed_bytes,
    };
    Routes::default()
        .with(ProfileRpc::service(Arc::clone(gateway), limits))
        .with(BackendRpc::service(Arc::clone(gateway), limits))
}
