//! The composition root: a checked configuration becomes a running gateway.
//!
//! The only place that names every module. Nothing here decides anything about a call.

mod counted;
#[cfg(not(feature = "sandbox"))]
mod no_sandbox;
#[cfg(feature = "sandbox")]
mod sandbox;

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::SocketAddr,
    num::NonZeroU32,
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
use secrecy::{ExposeSecret, SecretString};
use tokio_util::task::TaskTracker;

use crate::{
    cache::{self, BackgroundTasks, Cache},
    config::{self, Config, DialectSchema, Known, OptionSpec, OptionValue},
    dialect,
    gateway::{
        Backend, Gateway,
        requests::{self, Memory},
        watch::{self, Watches},
    },
    pb::{backend_service_server, profile_service_server},
    query::{page::PageTokens, resume::ResumeTokens},
    rpc::{BackendRpc, Limits, ProfileRpc},
    server::{Admin, Drained, Health, Routes, Server, Services, Settings},
    telemetry::{logs, metrics::Metrics},
    upstream::{self, RateLimit, Thresholds, Upstream},
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
            let (sandbox, backends) = Embedded::start(&known_settings()).await?;
            config.backends = backends;
            if config.server == config::Server::default() {
                // No load balancer stands before a try-out: it may end at once.
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
        let requests = Arc::new(Memory::new(requests::Limits::default()));
        let page_tokens = match &config.page_token_key {
            Some(key) => PageTokens::sealed_with(key.expose_secret()),
            None => PageTokens::new(rand::random()),
        };
        let gateway = Arc::new(Gateway::new(
            backends,
            writes.clone(),
            requests,
            page_tokens,
            watches(&config.server),
        ));
        let ids: Vec<&str> = config.backends.keys().map(String::as_str).collect();
        let services = services(&gateway, &config.server, &ids)?;
        // Before the first call, and so before the first backend has anything to tell.
        let _ = health.set(services.health());
        let server =
            Server::bind(config.listen, config.admin_listen, settings(&config.server)).await?;
        let admin = Admin { metrics, config: config.redacted() };
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
        // Nobody is left to wait for what they read.
        self.loads.closing.cancel();
        self.loads.tasks.close();
        self.loads.tasks.wait().await;
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        drained
    }
}

/// What the configuration has to know of the rest of the program.
#[must_use]
pub fn known_settings() -> Known {
    Known { dialects: dialect_schemas(), log_level: logs::check }
}

fn dialect_schemas() -> Vec<DialectSchema> {
    let option = |s: &dialect::Setting| OptionSpec { key: s.key, secret: s.secret };
    dialect::REGISTRY
        .iter()
        .map(|registration| DialectSchema {
            name: registration.name,
            options: registration.settings.iter().map(option).collect(),
            check: Box::new(|options| {
                (registration.build)(&settings_of(options)).err().unwrap_or_default()
            }),
        })
        .collect()
}

/// A backend's options as its dialect takes them.
fn settings_of(options: &BTreeMap<String, OptionValue>) -> dialect::Settings {
    let secret = |value: &OptionValue| match value {
        OptionValue::Plain(text) => SecretString::from(text.as_str()),
        OptionValue::Secret(secret) => secret.clone(),
    };
    options.iter().map(|(key, value)| (key.clone(), secret(value))).collect()
}

fn build(
    backend: &config::Backend,
    metrics: &Arc<Metrics>,
    health: &Arc<OnceLock<Health>>,
    loads: &BackgroundTasks,
) -> io::Result<Backend> {
    let registration = dialect::REGISTRY.iter().find(|r| r.name == backend.dialect);
    let Some(registration) = registration else {
        return Err(io::Error::other(format!("unknown dialect {}", backend.dialect)));
    };
    let built = (registration.build)(&settings_of(&backend.options)).map_err(|faults| {
        io::Error::other(format!("backend {}: {}", backend.name, faults.join("; ")))
    })?;
    let settings = upstream::Settings {
        backend: backend.name.clone(),
        base_url: backend.base().to_owned(),
        connect_timeout: backend.connect_timeout,
        header_timeout: backend.header_timeout,
        body_timeout: backend.body_timeout,
        request_timeout: backend.request_timeout,
        max_response_bytes: backend.max_response_bytes,
        max_concurrent_calls: backend.max_concurrent_calls,
        max_queued_calls: backend.max_queued_calls,
        max_attempts: saturated(backend.max_attempts),
        circuit: backend.circuit.map(thresholds),
        rate_limit: rate_limit(backend).or(registration.rate_limit),
    };
    let observer = Arc::new(Counted {
        metrics: Arc::clone(metrics),
        backend: metrics.upstreams.backend(&backend.name),
        health: Arc::clone(health),
        id: backend.name.clone(),
    });
    let upstream = Upstream::new(&settings, built.auth, observer).map_err(io::Error::other)?;
    let cache = cache(backend, metrics, built.dialect.lists_are_complete(), loads);
    let watching = watch::Settings {
        interval: backend.watch_interval,
        tasks: loads.clone(),
        observer: Arc::new(CountedWatch(metrics.watches.backend(&backend.name))),
    };
    let display_name = backend.display_name.clone();
    Ok(Backend::new(&backend.name, display_name, built.dialect, upstream, cache, watching))
}

/// Room for streams of changes. Each takes a place among the calls as long as it is open, and other
/// calls need some too.
fn watches(server: &config::Server) -> Watches {
    let places = (server.max_concurrent_calls / 2).clamp(1, MAX_WATCHES);
    Watches::new(places, ResumeTokens::new(rand::random(), rand::random()))
}

fn cache(
    backend: &config::Backend,
    metrics: &Metrics,
    lists_are_complete: bool,
    loads: &BackgroundTasks,
) -> Cache {
    let config = &backend.cache;
    let settings = cache::Settings {
        enabled: config.enabled,
        ttl: config.ttl,
        services_ttl: config.services_ttl,
        negative_ttl: config.negative_ttl,
        stale_while_revalidate: config.stale_while_revalidate,
        stale_if_error: config.stale_if_error,
        max_bytes: config.max_bytes,
        lists_are_complete,
    };
    let observer = Arc::new(CountedCache(metrics.cache(&backend.name)));
    let cache = Cache::new(settings, observer, loads.clone());
    let measured = cache.clone();
    metrics.watch_cache(&backend.name, move || measured.size());
    cache
}

/// What the configuration says in place of the dialect's own rate limit.
fn rate_limit(backend: &config::Backend) -> Option<RateLimit> {
    let per_second = u32::try_from(backend.requests_per_second?).ok().and_then(NonZeroU32::new)?;
    let burst = NonZeroU32::new(per_second.get() / 2).unwrap_or(NonZeroU32::MIN);
    Some(RateLimit { per_second, burst })
}

fn thresholds(circuit: config::Circuit) -> Thresholds {
    Thresholds {
        failures: saturated(circuit.failures),
        percent: saturated(circuit.failure_percent),
        min_calls: saturated(circuit.min_calls),
        window: circuit.window,
        open: circuit.open,
        max_open: circuit.max_open,
    }
}

fn saturated(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn services(
    gateway: &Arc<Gateway>,
    server: &config::Server,
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

fn settings(server: &config::Server) -> Settings {
    Settings {
        default_timeout: server.default_timeout,
        max_timeout: server.max_timeout,
        max_concurrent_calls: server.max_concurrent_calls,
        max_connections: server.max_connections,
        max_connection_age: server.max_connection_age,
        max_connection_age_grace: server.max_connection_age_grace,
        drain_grace: server.drain_grace,
        drain_timeout: server.drain_timeout,
        grpc_web: server.grpc_web,
    }
}
