//! Tries the upstreams of a configuration, as `check --connect` does: whether each can be reached,
//! and takes the credentials. One that a gateway has paused, as its store says, is left alone.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{backends::account, metrics::Metrics};
use crate::{
    caller::{Caller, Callers},
    config::{BackendSettings, Config},
    dialect,
    error::{Error, Reason},
    resources::{Budget, Share},
    store::{self, Memory, StoreKey, StoreKind, StoreSettings},
    telemetry::Registry,
    upstream::{EarlierUpstreams, Session, Upstream, UpstreamSettings},
};

const IN_USE: &str = "its pauses are not known, because a gateway is running on the store";

/// How one upstream was found.
pub struct Tried {
    /// The name of the backend.
    pub backend: String,
    /// How long it took to log in and to answer one read, or why it did not.
    pub outcome: Result<Duration, Error>,
    /// Whether it was known that no gateway has paused it.
    pub knows_pauses: bool,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, outcome, knows_pauses } = self;
        match outcome {
            Ok(took) => {
                let took = took.as_millis();
                write!(f, "{backend}: it answers, and takes the credentials ({took} ms)")?;
            }
            Err(error) => write!(f, "{backend}: {}: {}", error.facts().name(), error.message())?,
        }
        match knows_pauses {
            true => Ok(()),
            false => write!(f, "; {IN_USE}"),
        }
    }
}

/// Logs in to each upstream, and reads one profile that need not be there. Each gets one attempt,
/// because some lock an account after a few with a wrong password; and none if it is paused by what
/// the store has.
///
/// # Errors
///
/// When a client cannot be set up, or the store cannot be read.
pub async fn try_upstreams(config: &Config) -> io::Result<Vec<Tried>> {
    let mut registry = Registry::new("");
    let metrics = Metrics::register(&mut registry);
    let callers = Callers::new(config.callers.clone(), metrics.callers.clone());
    let budget = Budget::new(&config.memory, &callers, &metrics.memory);
    let earlier = earlier(&config.store)?;
    let tried = config.backends.values().map(|backend| {
        let decoding = budget.of_backend(true).decoding.clone();
        try_one(backend, &metrics, decoding, earlier.as_ref())
    });
    join_all(tried).await.into_iter().collect()
}

/// What the store has of upstreams; `None` while a gateway is running on it.
fn earlier(settings: &StoreSettings) -> io::Result<Option<EarlierUpstreams>> {
    let path = settings.path.as_ref().filter(|_| settings.kind == StoreKind::File);
    let found = match path.map(|path| store::examine(Path::new(path))) {
        Some(Ok(found)) => Memory::from(found),
        Some(Err(error)) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(None),
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Some(Err(_)) | None => Memory::default(),
    };
    let key = Arc::new(StoreKey::load(&found)?);
    Ok(Some(EarlierUpstreams::load(Arc::new(found), key)))
}

async fn try_one(
    backend: &BackendSettings,
    metrics: &Metrics,
    decoding: Share,
    earlier: Option<&EarlierUpstreams>,
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
    if let Some(earlier) = earlier {
        upstream.keep_in(earlier, &account(backend));
    }
    let began = Instant::now();
    let deadline = began + settings.request_timeout * 2;
    let session = Session::new(&upstream, deadline, Arc::new(AtomicU32::new(0)), Caller::gateway());
    let found = built.dialect.get(&session, built.dialect.example_id()).await;
    let outcome = match found {
        Err(error) if error.reason() != Reason::ProfileNotFound => Err(error),
        _ => Ok(began.elapsed()),
    };
    Ok(Tried { backend: backend.name.clone(), outcome, knows_pauses: earlier.is_some() })
}
