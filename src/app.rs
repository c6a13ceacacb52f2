//! The composition root: a checked configuration becomes a running gateway.
//!
//! The only place that names every module. Nothing here decides anything about a call.

mod about;
mod connect;
mod greeting;
mod keys;
mod metrics;
#[cfg(not(feature = "sandbox"))]
mod no_sandbox;
mod operators;
#[cfg(feature = "sandbox")]
mod sandbox;
pub mod upkeep;
mod upstreams;

use std::{collections::BTreeMap, future::Future, io, path::Path, sync::Arc, time::Duration};

use about::About;
pub use connect::{Tried, try_upstreams};
pub use metrics::metrics_reference;
use metrics::{Metrics, count_callers};
#[cfg(not(feature = "sandbox"))]
use no_sandbox::Embedded;
#[cfg(not(feature = "sandbox"))]
pub use no_sandbox::WITHOUT_BACKENDS;
#[cfg(feature = "sandbox")]
use sandbox::Embedded;
#[cfg(feature = "sandbox")]
pub use sandbox::{SANDBOX_STORE, WITHOUT_BACKENDS, sandbox_config, sandbox_greeting};
use tokio::task::spawn_blocking;
pub use upstreams::Upstreams;

use crate::{
    auth::Authenticator,
    cache::{BackgroundTasks, Cache},
    call::Writes,
    caller::Callers,
    config::{BackendSettings, Config, OptionValue},
    dialect,
    gateway::{
        Backend, EarlierWrites, Gateway,
        idempotency::{self, Ledger},
        watch::{EarlierHistories, WatchMetrics, Watches},
    },
    levers::Levers,
    query::{page::PageTokens, resume::ResumeTokens},
    resources::{Budget, Part, Processors},
    rpc::{
        BackendRpc, Limits, ProfileRpc,
        servers::{backend_service_server, profile_service_server},
    },
    server::{
        self, Admin, Drained, Health, ListenAddress, Routes, Server, ServerSettings, Services,
    },
    store::{self, Store, StoreKey, StoreKind, StoreMetrics, StoreSettings},
    telemetry::{AuditLog, Registry},
    upstream::{Account, EarlierUpstreams, Upstream},
};

const SERVICES: [&str; 2] =
    [profile_service_server::SERVICE_NAME, backend_service_server::SERVICE_NAME];

/// A gateway that holds its ports and does not serve yet.
pub struct App {
    server: Server,
    admin: Admin,
    writes: Writes,
    background: BackgroundTasks,
    store: Arc<dyn Store>,
    /// They keep their state in the store.
    upstreams: Vec<Arc<Upstream>>,
    sandbox: Option<Embedded>,
    about: About,
}

impl App {
    /// Sets everything up and binds the ports. A configuration without backends gets those of an
    /// embedded sandbox.
    ///
    /// # Errors
    ///
    /// When a port cannot be bound, or the store or the audit log cannot be opened, or an HTTP
    /// client cannot be set up, or when there are no backends and this build has no sandbox.
    pub async fn start(mut config: Config) -> io::Result<Self> {
        let sandbox = embed_sandbox(&mut config).await?;
        fit_open_files(&mut config, sandbox.is_some());
        let mut registry = Registry::new(env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::register(&mut registry).over(sandbox.is_some());
        let callers = Callers::new(config.callers.clone(), metrics.callers.clone());
        count_callers(&mut registry, callers.clone());
        let budget = Budget::new(&config.memory, &callers, &metrics.memory);
        fit_caches(&mut config.backends, budget.cache);
        let about = About::of(&config);
        let health = Health::new(&SERVICES, &about.backends);
        let background = BackgroundTasks::default();
        let writes = Writes::among_calls(config.server.max_concurrent_calls, &callers);
        let store = open_store(&config.store, &metrics.store)?;
        let explain = |error| explained(&config.store, error);
        let key = Arc::new(StoreKey::load(&*store).map_err(explain)?);
        let earlier = EarlierUpstreams::load(Arc::clone(&store), Arc::clone(&key));
        let audit = AuditLog::open(&config.audit, config.log.format, metrics.audit.clone())?;
        let levers = operators::levers(&audit, &metrics.levers, &mut registry, &background);
        let kept = (&earlier, &levers);
        let built = config.backends.values().map(|backend| {
            let (metrics, budget) = (&metrics, budget.of_backend(about.backends.len() == 1));
            build(backend, &mut registry, metrics, &health, &background, &budget, kept)
        });
        let (backends, upstreams) = built.collect::<io::Result<(Vec<_>, Vec<_>)>>()?;
        let requests = request_ids(&config, &metrics, &budget, &store, (&callers, &mut registry))?;
        let authenticator = Arc::new(Authenticator::new(&config.auth, &callers, &metrics.auth)?);
        let gateway = Gateway::new(
            backends,
            writes.clone(),
            EarlierWrites::load(requests, Arc::clone(&store)).map_err(explain)?,
            audit.clone(),
            page_tokens(&config),
            watches(&config, &callers, &metrics.watch, &background, &budget, (&store, &key)),
            Processors::new(&callers),
        );
        let gateway = Arc::new(gateway.guarded(&authenticator));
        let routes = routes(&gateway, &config.server, &budget);
        let services = Services::new(routes, health.clone(), metrics.server, callers)?
            .within(budget.requests.clone())
            .audited_in(audit)
            .guarded_by(Arc::clone(&authenticator));
        let admin = operators::admin(&config, registry, levers, &gateway);
        let server =
            Server::bind(&config.addresses, config.server, services).await?.secured(config.secured);
        gateway.settle_doubts(&background);
        keys::keep(authenticator, &background, health);
        Ok(Self { server, admin, writes, background, store, upstreams, sandbox, about })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        self.server.address()
    }

    /// Whether gRPC is served over TLS.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.server.is_secured()
    }

    /// Where the admin HTTP is.
    #[must_use]
    pub fn admin_address(&self) -> &ListenAddress {
        self.server.admin_address()
    }

    /// Where probes are answered, if they have a port of their own.
    #[must_use]
    pub fn probe_address(&self) -> Option<&ListenAddress> {
        self.server.probe_address()
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
        let drained = self.server.run(self.admin, self.writes, shutdown, abort).await;
        // No call is left that waits for what the background tasks read.
        self.background.shut_down().await;
        self.upstreams.iter().for_each(|upstream| upstream.keep_last());
        let store = self.store;
        // It waits for the disk.
        let _ = spawn_blocking(move || store.close()).await;
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        drained
    }
}

/// Starts the embedded sandbox where no backends are configured, and configures its own.
async fn embed_sandbox(config: &mut Config) -> io::Result<Option<Embedded>> {
    if !config.backends.is_empty() {
        return Ok(None);
    }
    let (sandbox, backends) = Embedded::start().await?;
    config.backends = backends;
    if config.server == ServerSettings::default() {
        // A trial run has no load balancer in front of it, so it can end at once.
        config.server.drain_grace = Duration::ZERO;
    }
    Ok(Some(sandbox))
}

/// Page tokens for pages that leave room for them and for the rest of the response.
fn page_tokens(config: &Config) -> PageTokens {
    let mut settings = config.page_tokens.clone();
    let largest = config.server.max_response_bytes / 16 * 15;
    settings.max_page_bytes = settings.max_page_bytes.min(largest);
    PageTokens::from_settings(&settings)
}

/// Keeps open files for the requests to upstreams: each may have a connection of its own. A sandbox
/// in this process has their other ends.
fn fit_open_files(config: &mut Config, sandbox: bool) {
    let calls = config.backends.values().map(|backend| backend.upstream.max_concurrent_calls);
    let ends = if sandbox { 2 } else { 1 };
    let upstreams = calls.fold(0_usize, usize::saturating_add).saturating_mul(ends);
    server::fit_open_files(&mut config.server, &config.admin, upstreams);
}

fn build(
    backend: &BackendSettings,
    registry: &mut Registry,
    metrics: &Metrics,
    health: &Health,
    background: &BackgroundTasks,
    budget: &Budget,
    (earlier, levers): (&EarlierUpstreams, &Levers),
) -> io::Result<(Backend, Arc<Upstream>)> {
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
        budget.decoding.clone(),
        move |serving| health.set_backend(&id, serving),
    )
    .map_err(io::Error::other)?;
    upstream.keep_in(earlier, &account(backend));
    background.spawn(Arc::clone(&upstream).keep());
    let measured = Arc::clone(&upstream);
    registry.before_scrape(move || measured.measure());
    let cache = Cache::new(
        backend.cache.clone(),
        built.dialect.lists_are_complete(),
        metrics.cache.backend(&name),
        background.clone(),
        budget.loads.clone(),
    );
    let measured = cache.clone();
    let bytes = move || usize::try_from(measured.size().1).unwrap_or(usize::MAX);
    metrics.memory.measure(Part::Cache, bytes);
    let display_name = backend.label.display_name.clone();
    let dialect = built.dialect;
    let kept = Arc::clone(&upstream);
    let backend = Backend::new(&name, display_name, dialect, upstream, backend.write, cache);
    Ok((backend.under(levers.of_backend(&name)), kept))
}

/// What tells the account of a backend from others.
fn account(backend: &BackendSettings) -> Account {
    let (mut names, mut secrets) = (Vec::new(), Vec::new());
    for (key, value) in &backend.options {
        match value {
            OptionValue::Plain(text) => names.push(format!("{key}={text}")),
            OptionValue::Secret(secret) => secrets.push(secret.clone()),
        }
    }
    let base_url = backend.upstream.base_url.as_str().to_owned();
    Account { upstream: vec![backend.dialect.to_owned(), base_url], names, secrets }
}

/// Gives each cache less if they have more together than there is for them.
fn fit_caches(backends: &mut BTreeMap<String, BackendSettings>, limit: usize) {
    let sum =
        backends.values().map(|backend| backend.cache.max_bytes).fold(0, usize::saturating_add);
    if sum <= limit {
        return;
    }
    for (name, backend) in backends {
        let bytes = &mut backend.cache.max_bytes;
        let fitted = *bytes as u128 * limit as u128 / sum as u128;
        let fitted = usize::try_from(fitted).unwrap_or(limit);
        tracing::warn!(
            backend = name,
            max_bytes = *bytes,
            fitted,
            "the caches have more bytes together than the memory for them: this one gets less; see \
             cache.max_bytes and memory.cache_percent"
        );
        *bytes = fitted;
    }
}

/// What outlives the process.
fn open_store(settings: &StoreSettings, metrics: &StoreMetrics) -> io::Result<Arc<dyn Store>> {
    Ok(match (settings.kind, &settings.path) {
        (StoreKind::File, Some(path)) => {
            Arc::new(store::File::open(Path::new(path), metrics.clone())?)
        }
        // A file without a path is refused before.
        (StoreKind::Memory, _) | (StoreKind::File, None) => Arc::new(store::Memory),
    })
}

/// The error of what the store has and this release cannot read.
fn explained(settings: &StoreSettings, error: io::Error) -> io::Error {
    match &settings.path {
        Some(path) => store::unreadable_at(Path::new(path), &error),
        None => error,
    }
}

/// The request ids, within their memory.
fn request_ids(
    config: &Config,
    metrics: &Metrics,
    budget: &Budget,
    store: &Arc<dyn Store>,
    (callers, registry): (&Callers, &mut Registry),
) -> io::Result<Arc<Ledger>> {
    let share = config.callers.share_percent;
    let mut limits = idempotency::Limits::new(&config.request_ids, share);
    limits.bytes = limits.bytes.min(budget.request_ids);
    let ids = metrics.request_ids.clone();
    config.backends.keys().for_each(|name| ids.backend(&name.as_str().into()));
    let requests = Ledger::load(limits, ids, Arc::clone(store));
    let requests = requests.map_err(|error| explained(&config.store, error))?;
    let requests = Arc::new(requests.among(callers.clone()));
    let measured = Arc::clone(&requests);
    metrics.memory.measure(Part::RequestIds, move || measured.bytes());
    let measured = Arc::clone(&requests);
    registry.before_scrape(move || measured.measure_doubts());
    Ok(requests)
}

fn watches(
    config: &Config,
    callers: &Callers,
    metrics: &WatchMetrics,
    background: &BackgroundTasks,
    budget: &Budget,
    (store, key): (&Arc<dyn Store>, &StoreKey),
) -> Watches {
    let [a, b, c, d, e, f, g, h, ..] = key.derive("the store in resume tokens", &[]);
    let epoch = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let tokens = ResumeTokens::new(key.derive("resume tokens", &[]), epoch);
    let calls = config.server.max_concurrent_calls;
    let watches = Watches::among_calls(calls, callers, tokens, background.clone());
    let mut watches = watches
        .keep_alive(config.server.stream_keep_alive)
        .within(budget.watch_history.clone())
        .keep_in(EarlierHistories::load(Arc::clone(store)));
    for backend in config.backends.values() {
        let name: Arc<str> = backend.name.as_str().into();
        let account = account(backend).digest(key);
        watches.add(&name, account, backend.watch.clone(), metrics.backend(&name));
    }
    watches.complete()
}

fn routes(gateway: &Arc<Gateway>, server: &ServerSettings, budget: &Budget) -> Routes {
    let limits = Limits {
        request_bytes: server.max_request_bytes,
        response_bytes: server.max_response_bytes,
        min_compressed_bytes: server.min_compressed_bytes,
        answers: budget.answers.clone(),
    };
    Routes::default()
        .with(ProfileRpc::service(Arc::clone(gateway), limits.clone()))
        .with(BackendRpc::service(Arc::clone(gateway), limits))
}
