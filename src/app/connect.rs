//! Tries the upstreams of a configuration, as `check --connect` does: whether each can be reached,
//! and takes the credentials.

use std::{
    fmt, io,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::metrics::Metrics;
use crate::{
    caller::{Caller, Callers},
    config::{BackendSettings, Config},
    dialect,
    error::{Error, Reason},
    resources::{Budget, Share},
    telemetry::Registry,
    upstream::{Session, Upstream, UpstreamSettings},
};

/// How one upstream was found.
pub struct Tried {
    /// The name of the backend.
    pub backend: String,
    /// How long it took to log in and to answer one read, or why it did not.
    pub outcome: Result<Duration, Error>,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, outcome } = self;
        match outcome {
            Ok(took) => {
                let took = took.as_millis();
                write!(f, "{backend}: it answers, and takes the credentials ({took} ms)")
            }
            Err(error) => write!(f, "{backend}: {}: {}", error.facts().name(), error.message()),
        }
    }
}

/// Logs in to each upstream, and reads one profile that need not be there. Each gets one attempt,
/// because some lock an account after a few with a wrong password.
///
/// # Errors
///
/// When a client cannot be set up.
pub async fn try_upstreams(config: &Config) -> io::Result<Vec<Tried>> {
    let mut registry = Registry::new("");
    let metrics = Metrics::register(&mut registry);
    let callers = Callers::new(config.callers.clone(), metrics.callers.clone());
    let budget = Budget::new(&config.memory, &callers, &metrics.memory);
    let tried = config.backends.values().map(|backend| {
        let decoding = budget.of_backend(true).decoding.clone();
        try_one(backend, &metrics, decoding)
    });
    join_all(tried).await.into_iter().collect()
}

async fn try_one(
    backend: &BackendSettings,
    metrics: &Metrics,
    decoding: Share,
) -> io::Result<Tried> {
    let name: Arc<str> = backend.name.as_str().into();
    let registration = dialect::REGISTRY.iter().find(|known| known.name == backend.dialect);
    let Some(registration) = registration else {
        return Err(io::Error::other(format!("unknown dialect {}", backend.dialect)));
    };
    let built = (registration.build)(&backend.dialect_settings())
        .map_err(|faults| io::Error::other(format!("backend {name}: {}", faults.join("; "))))?;
    let settings = UpstreamSettings { max_attempts: 1, ..backend.upstream.clone() };
    let upstream = Upstream::new(
        &name,
        &settings,
        registration.limits,
        built.auth,
        metrics.upstream.backend(&name),
        decoding,
        |_| {},
    );
    let upstream = upstream.map_err(io::Error::other)?;
    let began = Instant::now();
    let deadline = began + settings.request_timeout * 2;
    let session = Session::new(&upstream, deadline, Arc::new(AtomicU32::new(0)), Caller::gateway());
    let found = built.dialect.get(&session, built.dialect.example_id()).await;
    let outcome = match found {
        Err(error) if error.reason() != Reason::ProfileNotFound => Err(error),
        _ => Ok(began.elapsed()),
    };
    Ok(Tried { backend: backend.name.clone(), outcome })
}
