//! The composition root: a checked configuration becomes a running gateway.
//!
//! The only place that names every module. Nothing here decides anything about a call.

mod about;
mod backends;
mod connect;
mod explain;
mod greeting;
mod health;
mod keys;
mod metrics;
#[cfg(not(feature = "sandbox"))]
mod no_sandbox;
mod operators;
mod reload;
mod replicas;
#[cfg(feature = "sandbox")]
mod sandbox;
mod signals;
mod stored;
pub mod upkeep;
mod upstreams;

use std::{future::Future, io, sync::Arc, time::Duration};

use about::About;
use backends::{Maker, Running, fit_caches};
pub use connect::{Tried, try_connections};
pub use explain::explain;
pub use health::{Found, HealthPort};
pub use metrics::metrics_reference;
use metrics::{Metrics, count_callers, measure_readiness};
#[cfg(not(feature = "sandbox"))]
use no_sandbox::Embedded;
#[cfg(not(feature = "sandbox"))]
pub use no_sandbox::WITHOUT_BACKENDS;
pub use reload::ReloadRequests;
use reload::{Reloads, Serving};
use replicas::Replicas;
#[cfg(feature = "sandbox")]
use sandbox::Embedded;
#[cfg(feature = "sandbox")]
pub use sandbox::{SANDBOX_STORE, WITHOUT_BACKENDS, sandbox_config, sandbox_greeting};
pub use signals::{EndSignals, heed_other_signals};
use stored::{explained, open_store, request_ids};
use tokio::task::spawn_blocking;
pub use upstreams::Upstreams;

use crate::{
    auth::{InForce, PreparedRules},
    cache::BackgroundTasks,
    call::Writes,
    caller::Callers,
    config::{Config, Inputs},
    gateway::{
        EarlierWrites, Gateway,
        watch::{EarlierHistories, Watches},
    },
    query::{page::PageTokens, resume::ResumeTokens},
    resources::{Budget, Processors},
    rpc::{
        BackendRpc, Limits, ProfileRpc,
        servers::{backend_service_server, profile_service_server},
    },
    server::{
        self, Admin, Drained, Health, ListenAddress, Routes, Server, ServerSettings, Services,
    },
    shared::connection::Supervisor,
    store::Store,
    telemetry::{AuditLog, Registry},
    upstream::EarlierUpstreams,
};

const SERVICES: [&str; 2] =
    [profile_service_server::SERVICE_NAME, backend_service_server::SERVICE_NAME];

/// A gateway that holds its ports and does not serve yet.
pub struct App {
    server: Server,
    admin: Admin,
    writes: Writes,
    background: BackgroundTasks,
    kept: Kept,
    sandbox: Option<Embedded>,
    about: About,
    reloading: Reloading,
}

/// What outlives the process, and what replicas share.
struct Kept {
    store: Arc<dyn Store>,
    /// They keep their state in the store.
    running: Running,
    /// The connections to what replicas share.
    shared: Option<Supervisor>,
}

impl Kept {
    /// Keeps the last state of all. No call is left.
    async fn close(self) {
        let Self { store, running, shared } = self;
        running.keep_last();
        if let Some(shared) = shared {
            shared.end().await;
        }
        // It waits for the disk.
        let _ = spawn_blocking(move || store.close()).await;
    }
}

/// What reloads the configuration, and from where.
struct Reloading {
    reloads: Arc<Reloads>,
    inputs: Option<Inputs>,
    requests: ReloadRequests,
}

impl Reloading {
    fn without_inputs(reloads: Reloads) -> Self {
        let reloads = Arc::new(reloads);
        Self { reloads, inputs: None, requests: ReloadRequests::default() }
    }
}

impl App {
    /// Sets everything up and binds the ports. A configuration without backends gets those of an
    /// embedded sandbox.
    ///
    /// # Errors
    ///
    /// When a port cannot be bound, or the store or the audit log cannot be opened, or an HTTP
    /// client cannot be set up, or when there are no backends and this build has no sandbox.
    pub async fn start(config: Config) -> io::Result<Self> {
        let (mut config, read, sandbox) = with_sandbox(config).await?;
        let mut registry = Registry::new(env!("CARGO_PKG_VERSION"));
        let metrics = Arc::new(Metrics::register(&mut registry).over(sandbox.is_some()));
        let callers = Callers::new(config.callers.clone(), metrics.callers.clone());
        count_callers(&mut registry, callers.clone());
        let budget = Budget::new(&config.memory, &callers, &metrics.memory);
        fit_caches(config.backends.values_mut(), budget.cache);
        let about = About::of(&config);
        let health = Health::new(&SERVICES, &about.backends);
        measure_readiness(&mut registry, &metrics, health.clone());
        let background = BackgroundTasks::default();
        let writes = Writes::among_calls(config.server.max_concurrent_calls, &callers);
        let (store, key) = open_store(&config, &metrics.store)?;
        let shared = Replicas::start(&config, &metrics.shared, &mut registry)?;
        let (replicas, shared) = shared.unzip();
        let audit = AuditLog::open(&config.audit, config.log.format, metrics.audit.clone())?;
        let levers = operators::levers(&audit, &metrics.levers, &mut registry, &background);
        let maker = Maker {
            running: Running::default().measured_by(&mut registry, &metrics),
            earlier: EarlierUpstreams::load(Arc::clone(&store), Arc::clone(&key)),
            metrics: Arc::clone(&metrics),
            health: health.clone(),
            background: background.clone(),
            budget: budget.clone(),
            key,
            levers,
            replicas,
        };
        let log = (writes.clone(), audit.clone());
        let gateway = gateway(&config, &maker, &callers, log, &store, &mut registry)?;
        let rules = put_in_force(&config, &metrics, &callers, &gateway)?;
        let routes = routes(&gateway, &config.server, &budget);
        let services =
            Services::new(routes, health.clone(), metrics.server.clone(), callers.clone())?
                .within(budget.requests.clone())
                .audited_in(audit.clone())
                .guarded_by(Arc::clone(&rules));
        let server = bind(&config, services).await?;
        gateway.settle_doubts(&background);
        keys::keep(&rules, &background, health);
        let (running, settings) = (maker.running.clone(), config.clone());
        let (tls, sandboxed) = (server.tls().cloned(), sandbox.is_some());
        let serving = Serving { gateway, maker, callers, rules, tls, sandbox: sandboxed };
        let reloads = Reloads::new(serving, (read, config), metrics.reload.clone(), audit);
        let reloading = Reloading::without_inputs(reloads);
        let admin = operators::admin(&settings, registry, &reloading.reloads);
        let kept = Kept { store, shared, running };
        Ok(Self { server, admin, writes, background, kept, sandbox, about, reloading })
    }

    /// Reads the configuration again from these inputs, when its files change and when it is asked
    /// to, and puts in force what changes.
    #[must_use]
    pub fn reloading(self, inputs: Inputs, requests: ReloadRequests) -> Self {
        let reloading = Reloading { inputs: Some(inputs), requests, ..self.reloading };
        Self { reloading, ..self }
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
        let Reloading { reloads, inputs, requests } = self.reloading;
        self.background.spawn(reloads.run(inputs, requests));
        let drained = self.server.run(self.admin, self.writes, shutdown, abort).await;
        // No call is left that waits for what the background tasks read.
        self.background.shut_down().await;
        self.kept.close().await;
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        drained
    }
}

/// The configuration as it is used, as it was read, and the sandbox that is embedded where no
/// backends are configured: then both have its backends.
async fn with_sandbox(read: Config) -> io::Result<(Config, Config, Option<Embedded>)> {
    let mut config = read.clone();
    let sandbox = embed_sandbox(&mut config).await?;
    let read = Config { backends: config.backends.clone(), ..read };
    fit_open_files(&mut config, sandbox.is_some());
    Ok((config, read, sandbox))
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

/// The use cases, over all backends of the configuration.
fn gateway(
    config: &Config,
    maker: &Maker,
    callers: &Callers,
    (writes, audit): (Writes, AuditLog),
    store: &Arc<dyn Store>,
    registry: &mut Registry,
) -> io::Result<Arc<Gateway>> {
    let backends = maker.all(&config.backends)?;
    let known = (callers, registry);
    let requests = request_ids(config, &maker.metrics, &maker.budget, store, known)?;
    let replicas = maker.replicas.as_ref();
    let agreement = replicas.map(|all| all.agreement(&maker.metrics.shared, &writes));
    let earlier = EarlierWrites::among(agreement, requests, Arc::clone(store));
    let earlier = earlier.map_err(|error| explained(&config.store, error))?;
    let watches = watches(config, callers, store, maker);
    let (tokens, processors) = (page_tokens(config), Processors::new(callers));
    let gateway = Gateway::new(backends, writes, earlier, audit, tokens, watches, processors);
    if let Some(replicas) = replicas {
        gateway.tell_of(replicas.conditions.clone());
    }
    Ok(Arc::new(gateway))
}

/// Has every call checked by the rules of a configuration.
fn put_in_force(
    config: &Config,
    metrics: &Metrics,
    callers: &Callers,
    gateway: &Gateway,
) -> io::Result<Arc<InForce>> {
    let rules = PreparedRules::new(&config.auth, &metrics.auth)?.configure(callers);
    gateway.deny_fresh(rules.denies_fresh());
    Ok(Arc::new(InForce::new(rules)))
}

/// Binds the ports.
async fn bind(config: &Config, services: Services) -> io::Result<Server> {
    let server = Server::bind(&config.addresses, config.server.clone(), services).await?;
    Ok(server.secured(config.secured.clone()))
}

fn watches(config: &Config, callers: &Callers, store: &Arc<dyn Store>, maker: &Maker) -> Watches {
    let key = &maker.key;
    let [a, b, c, d, e, f, g, h, ..] = key.derive("the store in resume tokens", &[]);
    let epoch = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let tokens = ResumeTokens::new(key.derive("resume tokens", &[]), epoch);
    let calls = config.server.max_concurrent_calls;
    let watches = Watches::among_calls(calls, callers, tokens, maker.background.clone());
    let watches = watches
        .keep_alive(config.server.stream_keep_alive)
        .within(maker.budget.watch_history.clone())
        .keep_in(EarlierHistories::load(Arc::clone(store)))
        .share_with(maker.replicas.as_ref().map(|replicas| Arc::clone(&replicas.membership)));
    config.backends.values().for_each(|backend| maker.watch(&watches, backend));
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
