//! The HTTP clients of one upstream: how they connect, and when a fresh one takes the place of the
//! one whose connections have become old.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use rustls::ClientConfig;
use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;

use super::{
    base_url::named,
    connection::{Handshakes, Permitted, Proxy, Resolver},
    settings::UpstreamSettings,
};
use crate::error::{Error, Reason, Result};

/// How many headers a reply may have. Gateways and tracing add dozens.
const MAX_HEADERS: usize = 512;
/// How long a connection for reads may be idle.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The clients for one upstream.
pub(super) struct Clients {
    setup: Setup,
    reads: RwLock<Aging>,
    /// Takes a new connection for each request: on an idle one, which the upstream may be closing,
    /// a write could get lost, and would not be sent again.
    writes: reqwest::Client,
    max_age: Option<Duration>,
    handshakes: Arc<Handshakes>,
    base_url: Url,
    proxy: Option<Proxy>,
    secrets: Vec<SecretString>,
}

/// A client, and when its connections are too old for another request.
struct Aging {
    client: reqwest::Client,
    until: Option<Instant>,
}

/// How clients connect.
struct Setup {
    tls: ClientConfig,
    proxy: Option<reqwest::Proxy>,
    resolver: Arc<Resolver>,
    connect_timeout: Duration,
}

impl Clients {
    /// Connects to nothing.
    pub(super) fn new(settings: &UpstreamSettings) -> Result<Self> {
        let (handshakes, tls) = Handshakes::noting(&settings.tls)?;
        let proxy = settings.proxy.in_force(settings.base_url.as_str()).map_err(not_set_up)?;
        let name = settings.tls.server_name.as_deref();
        let (base_url, instead) = named(&settings.base_url, name).map_err(not_set_up)?;
        let setup = Setup {
            tls,
            proxy: proxy.as_ref().map(Proxy::of_client).transpose().map_err(not_set_up)?,
            resolver: Arc::new(Resolver { instead }),
            connect_timeout: settings.connect_timeout,
        };
        let client = setup.reads().map_err(not_set_up)?;
        let max_age = settings.max_connection_age;
        Ok(Self {
            reads: RwLock::new(Aging { client, until: end_of(max_age, Instant::now()) }),
            writes: setup.writes().map_err(not_set_up)?,
            setup,
            max_age,
            handshakes,
            base_url,
            secrets: proxy.as_ref().map(Proxy::secrets).unwrap_or_default(),
            proxy,
        })
    }

    /// The client for reads. When its connections are too old, a fresh one takes its place, which
    /// looks the host up again; the old connections end with the requests on them.
    pub(super) fn reads(&self, now: Instant) -> reqwest::Client {
        let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        {
            let reads = self.reads.read();
            if !is_over(reads.until) {
                return reads.client.clone();
            }
        }
        let mut reads = self.reads.write();
        if !is_over(reads.until) {
            return reads.client.clone();
        }
        reads.until = end_of(self.max_age, now);
        // It was set up in this way before. If it cannot be now, the old one goes on.
        if let Ok(client) = self.setup.reads() {
            reads.client = client;
        }
        reads.client.clone()
    }

    /// The client for writes.
    pub(super) fn writes(&self) -> reqwest::Client {
        self.writes.clone()
    }

    /// What the upstream has asked for in TLS handshakes.
    pub(super) fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// What requests are made for: the base URL, under the name that the upstream has there.
    pub(super) fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// Secrets that no text may show.
    pub(super) fn secrets(&self) -> &[SecretString] {
        &self.secrets
    }

    /// Whether connections are encrypted.
    pub(super) fn speaks_tls(&self) -> bool {
        self.base_url.scheme() == "https"
    }

    /// The proxy in between, if there is one.
    pub(super) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }
}

impl Setup {
    fn reads(&self) -> reqwest::Result<reqwest::Client> {
        // Below the keep-alive of most servers (5 s); where it is not, a read is repeated.
        self.builder().pool_idle_timeout(POOL_IDLE).build()
    }

    fn writes(&self) -> reqwest::Result<reqwest::Client> {
        // Without a pool, a connection is made within the task of its request.
        self.builder().pool_max_idle_per_host(0).connector_layer(Permitted).build()
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            // The client itself does not retry, follow redirects or look for a proxy.
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::clone(&self.resolver))
            // What other clients read is read here too (RFC 9112, 5.1 and 5.2).
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_max_headers(MAX_HEADERS)
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .user_agent(concat!("profile-gateway/", env!("CARGO_PKG_VERSION")));
        match &self.proxy {
            Some(proxy) => builder.proxy(proxy.clone()),
            None => builder,
        }
    }
}

/// When connections that begin now are too old: up to a tenth earlier, so that many gateways do not
/// open theirs at once.
fn end_of(max_age: Option<Duration>, now: Instant) -> Option<Instant> {
    max_age.map(|age| now + age.mul_f64(1.0 - 0.1 * rand::random::<f64>()))
}

fn not_set_up(why: impl std::fmt::Display) -> Error {
    Error::new(Reason::GatewayInternal, "the HTTP client could not be set up").with_internal(why)
}
