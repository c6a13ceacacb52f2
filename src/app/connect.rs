//! Tries the upstreams of a configuration, as `check --connect` does: whether each can be reached,
//! and takes the credentials. One that a gateway has paused, as its store says, is left alone.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{backends::account, metrics::Metrics};
use crate::{
    caller::{Caller, Callers},
    config::{BackendSettings, Config},
    dialect,
    error::{Error, Reason},
    resources::{Budget, Share},
    shared::{
        SharedMetrics, Visitor,
        commands::Reserve,
        connection::{Failure, Server, ServerInfo},
    },
    store::{self, Memory, StoreKey, StoreKind, StoreSettings},
    telemetry::Registry,
    upstream::{Account, EarlierUpstreams, Session, Upstream, UpstreamSettings},
};

const IN_USE: &str = "its pauses are not known, because a gateway is running on the store";
const NOT_ASKED: &str = "it was not tried, because the store that replicas share does not say \
    whether they pause its logins; nothing was sent";

/// How something was found that the gateway connects to.
pub struct Tried {
    /// For people.
    line: String,
    /// Whether a gateway could use it.
    pub is_well: bool,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// Tries all that a gateway with this configuration connects to: each upstream, and the server that
/// replicas share, if they do.
///
/// # Errors
///
/// When a client cannot be set up, or the store cannot be read.
pub async fn try_connections(config: &Config) -> io::Result<Vec<Tried>> {
    let (server, replicas) = try_shared_store(config).await?.unzip();
    let upstreams = try_upstreams(config, replicas.flatten()).await?;
    let of_upstream =
        |tried: TriedUpstream| Tried { line: tried.to_string(), is_well: tried.outcome.is_ok() };
    let of_server =
        |tried: TriedServer| Tried { line: tried.to_string(), is_well: tried.outcome.is_ok() };
    let upstreams = upstreams.into_iter().map(of_upstream);
    Ok(upstreams.chain(server.map(of_server)).collect())
}

/// How one upstream was found.
struct TriedUpstream {
    backend: String,
    /// How long it took to log in and to answer one read, or why it did not.
    outcome: Result<Duration, Error>,
    /// Why it is not known whether a gateway has paused it.
    remark: Option<&'static str>,
}

impl fmt::Display for TriedUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, outcome, remark } = self;
        match outcome {
            Ok(took) => {
                let took = took.as_millis();
                write!(f, "{backend}: it answers, and takes the credentials ({took} ms)")?;
            }
            Err(error) => write!(f, "{backend}: {}: {}", error.facts().name(), error.message())?,
        }
        match remark {
            None => Ok(()),
            Some(remark) => write!(f, "; {remark}"),
        }
    }
}

/// How the server that replicas share was found.
struct TriedServer {
    /// As it is configured.
    server: String,
    outcome: Result<(ServerInfo, Duration), Failure>,
    durable_replicas: u32,
}

impl fmt::Display for TriedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shared store at {}: ", self.server)?;
        let (info, took) = match &self.outcome {
            Ok(found) => found,
            Err(why) => return write!(f, "{why}"),
        };
        let (version, replicas) = (&info.version, info.replication.replicas);
        let took = took.as_millis();
        write!(f, "it is a primary with {replicas} replicas, {version}, and allows the gateway ")?;
        write!(f, "what it needs ({took} ms)")?;
        info.cautions().iter().try_for_each(|caution| write!(f, "; {caution}"))?;
        if replicas < self.durable_replicas {
            let wanted = self.durable_replicas;
            write!(f, "; no write is sent until it has {wanted} replicas (`durable_replicas`)")?;
        }
        Ok(())
    }
}

/// Connects to the server that replicas share, if they do, and tries what the gateway will have to
/// do there. Nothing is left there, and no replica notices. Gives what asks the server for more, if
/// there is a connection.
async fn try_shared_store(config: &Config) -> io::Result<Option<(TriedServer, Option<Visitor>)>> {
    let Some(settings) = &config.shared else { return Ok(None) };
    let server = Server::new(settings).map_err(|why| io::Error::other(why.to_string()))?;
    let began = Instant::now();
    let metrics = SharedMetrics::register(&mut Registry::new(""));
    let connected = server.connect(&metrics).await;
    let (connections, outcome) = match connected {
        Ok((connections, info)) => (Some(connections), Ok((info, began.elapsed()))),
        Err(failure) => (None, Err(failure)),
    };
    let visitor = connections.map(|those| Visitor::new(&those, &settings.namespace));
    let durable_replicas = settings.durable_replicas.into();
    Ok(Some((TriedServer { server: server.to_string(), outcome, durable_replicas }, visitor)))
}

/// Logs in to each upstream, and reads one profile that need not be there. Each gets one attempt,
/// because some lock an account after a few with a wrong password; and none if it is paused by what
/// the store has, or replicas have, as far as they are known.
async fn try_upstreams(
    config: &Config,
    replicas: Option<Visitor>,
) -> io::Result<Vec<TriedUpstream>> {
    let mut registry = Registry::new("");
    let metrics = Metrics::register(&mut registry);
    let callers = Callers::new(config.callers.clone(), metrics.callers.clone());
    let budget = Budget::new(&config.memory, &callers, &metrics.memory);
    let earlier = earlier(&config.store)?;
    let remark = earlier.is_none().then_some(IN_USE);
    let key = config.page_tokens.page_token_key.as_ref().map(StoreKey::of);
    let shared = config.shared.as_ref().map(|_| replicas.as_ref().zip(key.as_ref()));
    let tried = config.backends.values().map(async |backend| {
        let decoding = budget.of_backend(true).decoding.clone();
        let known = Known { earlier: earlier.as_ref(), shared };
        let outcome = try_one(backend, &metrics, decoding, known).await?;
        Ok(TriedUpstream { backend: backend.name.clone(), outcome, remark })
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

/// Who knows of pauses.
#[derive(Clone, Copy)]
struct Known<'k> {
    /// The store of a gateway that does not run.
    earlier: Option<&'k EarlierUpstreams>,
    /// Replicas, if there may be any; and if they can be asked, whom to ask and their key.
    shared: Option<Option<(&'k Visitor, &'k StoreKey)>>,
}

impl Known<'_> {
    /// Has an upstream pause as it should. Fails if that cannot be known.
    async fn tell(self, upstream: &Arc<Upstream>, account: &Account) -> Result<(), Error> {
        if let Some(earlier) = self.earlier {
            upstream.keep_in(earlier, account);
        }
        let Some(shared) = self.shared else { return Ok(()) };
        let is_told = match shared {
            Some((visitor, key)) => {
                let name = account.name();
                let look = async |batch: &Reserve| visitor.look(&name, batch).await;
                upstream.heed((key, account), look).await
            }
            None => false,
        };
        is_told.then_some(()).ok_or_else(|| Error::new(Reason::StoreUnavailable, NOT_ASKED))
    }
}

async fn try_one(
    backend: &BackendSettings,
    metrics: &Metrics,
    decoding: Share,
    known: Known<'_>,
) -> io::Result<Result<Duration, Error>> {
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
    if let Err(error) = known.tell(&upstream, &account(backend)).await {
        return Ok(Err(error));
    }
    let began = Instant::now();
    let deadline = began + settings.request_timeout * 2;
    let session = Session::new(&upstream, deadline, Arc::default(), Caller::gateway());
    let found = built.dialect.get(&session, built.dialect.example_id()).await;
    Ok(match found {
        Err(error) if error.reason() != Reason::ProfileNotFound => Err(error),
        _ => Ok(began.elapsed()),
    })
}
