//! From the settings of the backends to running ones, and to others when a configuration is
//! reloaded.
//!
//! What goes on is kept wherever it is of the same account: an upstream's tokens, what is used of
//! its limits, and what is cached. So a reload causes no request of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{metrics::Metrics, replicas::Replicas};
use crate::{
    cache::{BackgroundTasks, Cache},
    config::{BackendSettings, OptionValue},
    dialect::{self, Built},
    gateway::{Backend, watch::Watches},
    levers::Levers,
    resources::{Budget, Part},
    server::Health,
    shared::SharedAccount,
    store::StoreKey,
    telemetry::Registry,
    upstream::{Account, Connections, EarlierUpstreams, Limits, Upstream},
};

/// What backends are made with.
pub(super) struct Maker {
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Health,
    pub(super) background: BackgroundTasks,
    pub(super) budget: Budget,
    pub(super) earlier: EarlierUpstreams,
    pub(super) key: Arc<StoreKey>,
    pub(super) running: Running,
    /// What operators set for a time, by the names of backends.
    pub(super) levers: Levers,
    /// The others, if they share a store.
    pub(super) replicas: Option<Replicas>,
}

/// What is measured of the backends that are configured now, and ends with them.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    parts: BTreeMap<String, Parts>,
    /// The names of those that are not configured any more.
    gone: BTreeSet<String>,
}

struct Parts {
    upstream: Arc<Upstream>,
    cache: Cache,
    /// Ends what keeps its state in the store.
    over: CancellationToken,
}

/// A backend that is set up, and not in use yet.
pub(super) struct Prepared {
    settings: BackendSettings,
    built: Built,
    upstream: Arc<Upstream>,
}

/// What changes of a backend that goes on: its secrets, its connections, or both.
pub(super) struct Renewed {
    pub(super) secrets: Option<Built>,
    pub(super) connections: Option<Connections>,
}

impl Running {
    /// Has them measured whenever the metrics are read.
    pub(super) fn measured_by(self, registry: &mut Registry, metrics: &Metrics) -> Self {
        let running = self.clone();
        registry.before_scrape(move || {
            running.0.lock().parts.values().for_each(|parts| parts.upstream.measure());
        });
        let running = self.clone();
        metrics.memory.measure(Part::Cache, move || {
            let bytes = |parts: &Parts| usize::try_from(parts.cache.size().1).unwrap_or(usize::MAX);
            running.0.lock().parts.values().map(bytes).fold(0, usize::saturating_add)
        });
        let running = self.clone();
        registry.leave_out(move |backend| running.0.lock().gone.contains(backend));
        self
    }

    /// Keeps the last state of all: nothing is sent any more.
    pub(super) fn keep_last(&self) {
        self.0.lock().parts.values().for_each(|parts| parts.upstream.keep_last());
    }

    fn set(&self, name: &str, parts: Parts) {
        let mut all = self.0.lock();
        all.gone.remove(name);
        if let Some(before) = all.parts.insert(name.to_owned(), parts) {
            before.over.cancel();
        }
    }

    fn remove(&self, name: &str) {
        let mut all = self.0.lock();
        if let Some(before) = all.parts.remove(name) {
            before.over.cancel();
            all.gone.insert(name.to_owned());
        }
    }
}

impl Maker {
    /// All backends of a configuration, at the start.
    pub(super) fn all(
        &self,
        settings: &BTreeMap<String, BackendSettings>,
    ) -> io::Result<Vec<Backend>> {
        let alone = settings.len() == 1;
        let begun = |settings| Ok(self.begin(self.prepare(settings, alone)?));
        settings.values().map(begun).collect()
    }

    /// Sets a backend up. Nothing that is in use changes. `alone`: there are no others.
    pub(super) fn prepare(&self, settings: &BackendSettings, alone: bool) -> io::Result<Prepared> {
        let (built, limits) = built(settings)?;
        let name: Arc<str> = settings.name.as_str().into();
        self.metrics.audit.start(&name);
        let (health, id) = (self.health.clone(), Arc::clone(&name));
        let upstream = Upstream::new(
            &name,
            &settings.upstream,
            limits,
            Arc::clone(&built.auth),
            self.metrics.upstream.backend(&name),
            self.budget.of_backend(alone).decoding,
            move |serving| health.set_backend(&id, serving),
        );
        let upstream = upstream.map_err(io::Error::other)?;
        Ok(Prepared { settings: settings.clone(), built, upstream })
    }

    /// The backend as it is used from now on. It goes on with what an earlier one of its name has
    /// left, and keeps its state.
    pub(super) fn begin(&self, prepared: Prepared) -> Backend {
        let cache = self.cache(&prepared);
        self.begin_with(prepared, cache, None)
    }

    /// The same in the place of another one, whose calls end with what they have.
    pub(super) fn succeed(
        &self,
        prepared: Prepared,
        (before, old): (&Backend, &BackendSettings),
    ) -> Backend {
        let new = &prepared.settings;
        let (was, is) = (account(old), account(new));
        before.upstream().leave_in(&self.earlier, &was);
        let cache = match () {
            () if old.dialect != new.dialect => self.cache(&prepared),
            () if old.cache != new.cache => before.cache().successor(new.cache.clone()),
            () => before.cache().clone(),
        };
        if !was.is_same(&is) {
            cache.purge();
        }
        let shares_tokens = was.has_same_secrets(&is);
        let upstream = Some(before.upstream()).filter(|_| shares_tokens);
        self.begin_with(prepared, cache, upstream).succeeding(before)
    }

    /// A backend is not configured any more.
    pub(super) fn end(&self, before: &Arc<Backend>, old: &BackendSettings) {
        before.upstream().leave_in(&self.earlier, &account(old));
        self.running.remove(&old.name);
        self.health.remove_backend(&old.name);
    }

    fn begin_with(
        &self,
        prepared: Prepared,
        cache: Cache,
        shares_tokens_of: Option<&Arc<Upstream>>,
    ) -> Backend {
        let Prepared { settings, built, mut upstream } = prepared;
        if let Some(before) = shares_tokens_of {
            upstream = upstream.sharing_tokens(before);
        }
        upstream.keep_in(&self.earlier, &account(&settings));
        let over = CancellationToken::new();
        let keeps = over.clone().run_until_cancelled_owned(Arc::clone(&upstream).keep());
        self.background.spawn(keeps.map(drop));
        let parts =
            Parts { upstream: Arc::clone(&upstream), cache: cache.clone(), over: over.clone() };
        self.running.set(&settings.name, parts);
        let account = account(&settings).name();
        if let Some(replicas) = &self.replicas {
            self.share(replicas, &settings, (&upstream, &cache), over);
        }
        let display_name = settings.label.display_name;
        let name: Arc<str> = settings.name.as_str().into();
        Backend::new(&name, display_name, built.dialect, upstream, settings.write, cache)
            .under(self.levers.of_backend(&name))
            .known_as(account)
    }

    /// Has a backend agree with those of other replicas, until it is over.
    fn share(
        &self,
        replicas: &Replicas,
        settings: &BackendSettings,
        (upstream, cache): (&Arc<Upstream>, &Cache),
        over: CancellationToken,
    ) {
        let account = account(settings);
        let name = account.name();
        replicas.follow(&name, cache, settings.write.settle_time);
        let shared = SharedAccount::new(Arc::clone(&replicas.membership), &name);
        upstream.share_in(Arc::new(shared), &self.key, &account);
        let hears = over.run_until_cancelled_owned(Arc::clone(upstream).share());
        self.background.spawn(hears.map(drop));
    }

    fn cache(&self, of: &Prepared) -> Cache {
        let name: Arc<str> = of.settings.name.as_str().into();
        Cache::new(
            of.settings.cache.clone(),
            of.built.dialect.lists_are_complete(),
            self.metrics.cache.backend(&name),
            self.background.clone(),
            self.budget.of_backend(false).loads,
        )
    }

    /// Has a backend watched, in the place of one of its name.
    pub(super) fn watch(&self, watches: &Watches, backend: &BackendSettings) {
        let name: Arc<str> = backend.name.as_str().into();
        let account = account(backend);
        let account = (account.digest(&self.key), &account.name());
        watches.add(&name, account, backend.watch.clone(), self.metrics.watch.backend(&name));
    }
}

/// Sets up what changes of a backend that goes on.
pub(super) fn renewed(
    backend: &Backend,
    settings: &BackendSettings,
    (secrets, connections): (bool, bool),
) -> io::Result<Renewed> {
    let secrets = secrets.then(|| built(settings)).transpose()?.map(|(built, _)| built);
    let connections = connections.then(|| backend.upstream().connections(&settings.upstream));
    let connections = connections.transpose().map_err(io::Error::other)?;
    Ok(Renewed { secrets, connections })
}

impl Renewed {
    /// Puts it in force.
    pub(super) fn apply(self, backend: &Backend, settings: &BackendSettings) {
        if let Some(connections) = self.connections {
            backend.upstream().connect_over(connections);
        }
        if let Some(built) = self.secrets {
            backend.upstream().sign_in_with(built.auth, &account(settings));
        }
    }
}

fn built(backend: &BackendSettings) -> io::Result<(Built, Limits)> {
    let registration = dialect::REGISTRY.iter().find(|r| r.name == backend.dialect);
    let Some(registration) = registration else {
        return Err(io::Error::other(format!("unknown dialect {}", backend.dialect)));
    };
    let built = (registration.build)(&backend.dialect_settings()).map_err(|faults| {
        io::Error::other(format!("backend {}: {}", backend.name, faults.join("; ")))
    })?;
    Ok((built, registration.limits))
}

/// What tells the account of a backend from others.
pub(super) fn account(backend: &BackendSettings) -> Account {
    let (mut names, mut secrets) = (Vec::new(), Vec::new());
    for (key, value) in &backend.options {
        match value {
            OptionValue::Plain(text) => names.push(format!("{key}={text}")),
            OptionValue::Switch(_) => {}
            OptionValue::Secret(secret) => secrets.push(secret.clone()),
        }
    }
    let base_url = backend.upstream.base_url.as_str().to_owned();
    let upstream = vec![backend.dialect.to_owned(), base_url];
    Account { upstream, names, secrets, backend: backend.name.clone() }
}

/// Gives each cache less if they have more together than there is for them.
pub(super) fn fit_caches<'b>(
    backends: impl IntoIterator<Item = &'b mut BackendSettings>,
    limit: usize,
) {
    let mut backends: Vec<_> = backends.into_iter().collect();
    let sum = backends.iter().map(|backend| backend.cache.max_bytes).fold(0, usize::saturating_add);
    if sum <= limit {
        return;
    }
    for BackendSettings { name, cache, .. } in &mut backends {
        let bytes = &mut cache.max_bytes;
        let fitted = *bytes as u128 * limit as u128 / sum as u128;
        let fitted = usize::try_from(fitted).unwrap_or(limit);
        tracing::warn!(
            backend = name.as_str(),
            max_bytes = *bytes,
            fitted,
            "the caches have more bytes together than the memory for them: this one gets less; see \
             cache.max_bytes and memory.cache_percent"
        );
        *bytes = fitted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};

    /// The account of an endpoint API with these lines.
    fn endpoint(lines: &str) -> Account {
        let text = format!(
            "[backends.b]\ndialect = \"endpoint\"\nbase_url = \"https://endpoint.example\"\n\
             {lines}\n[store]\nkind = \"memory\""
        );
        let source = Source { file_name: "gateway.toml", text: &text };
        account(&load(Some(source), &[]).unwrap().backends["b"])
    }

    #[test]
    fn how_an_account_is_used_does_not_name_it() {
        let token = |token: &str| format!("application_token = \"{token}\"");
        let plain = endpoint(&token("one"));
        let used = ["on", "off"]
            .map(|word| endpoint(&format!("{}\ndata_limits = \"{word}\"", token("one"))));
        for other in &used {
            assert!(other.is_same(&plain));
            assert_eq!(other.name(), plain.name());
        }
        let [on, _] = used;
        let two = endpoint(&format!("{}\ndata_limits = \"on\"", token("two")));
        assert!(!two.is_same(&on), "that is another organization");
    }
}
