//! What a new configuration changes, set up before anything of it is in force.

use std::{collections::BTreeMap, io, sync::Arc};

use crate::{
    app::{
        backends::{Maker, Prepared, Renewed, fit_caches, renewed},
        replicas::Replicas,
    },
    auth::{InForce, PreparedRules},
    caller::Callers,
    config::{BackendChange, BackendSettings, Changes, Config},
    gateway::{Backend, ByName, Gateway},
    server::{CurrentTls, ServerTlsSettings, Tls},
    shared::{SharedSettings, connection::Proof},
    telemetry::{LogSettings, logs},
};

/// What serves, as far as a reload can change it.
pub(in crate::app) struct Serving {
    pub(in crate::app) gateway: Arc<Gateway>,
    pub(in crate::app) maker: Maker,
    pub(in crate::app) callers: Callers,
    pub(in crate::app) rules: Arc<InForce>,
    /// That of the gRPC port, if it has any.
    pub(in crate::app) tls: Option<CurrentTls>,
    /// Whether an embedded sandbox has the backends.
    pub(in crate::app) sandbox: bool,
}

/// What is about to change. Nothing of it can fail any more.
pub(super) struct Plan {
    /// With whether the same proof may be of someone else.
    rules: Option<(PreparedRules, bool)>,
    /// With whether other clients are accepted.
    tls: Option<(Tls, bool)>,
    log: Option<logs::Reconfigured>,
    /// How the next connections to the shared store are opened.
    shared: Option<Proof>,
    backends: BTreeMap<String, Step>,
}

/// What happens to one backend.
enum Step {
    Add(Box<Prepared>),
    /// It goes on, with other secrets or over other connections.
    Renew(Box<Renewed>),
    /// Another one takes its place. Whether its streams end: they would be told of other profiles.
    Replace(Box<Prepared>, bool),
    Remove,
}

const TLS: &str = "server.tls.";
const LOG: &str = "log.";
const STORE: &str = "store.";

/// What is put in force while the process runs; all else needs a restart.
pub(super) fn is_live(key: &str) -> bool {
    if let Some(key) = key.strip_prefix(TLS) {
        return ServerTlsSettings::is_live(key);
    }
    if let Some(key) = key.strip_prefix(LOG) {
        return LogSettings::is_live(key);
    }
    if let Some(key) = key.strip_prefix(STORE) {
        return SharedSettings::is_live(key);
    }
    let section = key.split_once('.').map_or(key, |(section, _)| section);
    ["auth", "backends", "reload", "strict_permissions"].contains(&section)
}

/// The keys that have other values than at the start, and need a restart.
pub(super) fn for_restart(since_start: &Changes) -> Vec<String> {
    since_start.keys.iter().filter(|key| !is_live(key)).cloned().collect()
}

/// Takes over what a reload puts in force.
pub(super) fn adopt(in_force: &mut Config, new: &Config) {
    in_force.auth = new.auth.clone();
    in_force.log = in_force.log.followed_by(&new.log);
    in_force.tls = in_force.tls.followed_by(&new.tls);
    in_force.secured.clone_from(&new.secured);
    in_force.reload = new.reload.clone();
    in_force.permissions = new.permissions.clone();
    in_force.shared.clone_from(&new.shared);
    in_force.backends = new.backends.clone();
    in_force.warnings = new.warnings.clone();
}

/// New credentials may be those of another server: they are used where the server is still the
/// same. Returns the keys that would have changed.
pub(super) fn keep_shared(before: &Config, new: &mut Config) -> Vec<String> {
    let is_of_store = |key: &String| key.starts_with(STORE);
    let keys: Vec<String> = before.changes(new).keys.into_iter().filter(is_of_store).collect();
    let (held, live): (Vec<String>, Vec<String>) = keys.into_iter().partition(|key| !is_live(key));
    if held.is_empty() && before.shared.is_some() == new.shared.is_some() {
        return Vec::new();
    }
    new.shared.clone_from(&before.shared);
    live
}

impl Serving {
    /// Whether the process is ending.
    pub(super) fn is_draining(&self) -> bool {
        self.maker.health.is_draining()
    }

    /// Reads the keys of issuers again.
    pub(super) fn read_keys_again(&self) {
        let rules = self.rules.for_long();
        if rules.has_files() && rules.read_files_again() {
            self.rules.keys_changed();
        }
    }

    /// TLS is not turned on or off while the port serves: what it is made of stays, and so does
    /// `[auth]`, which was held against the other. Returns the keys that would have changed.
    pub(super) fn keep_tls(&self, before: &Config, new: &mut Config) -> Vec<String> {
        if self.tls.is_some() == new.secured.is_some() {
            return Vec::new();
        }
        let all = before.changes(new).keys.into_iter();
        let held = all.filter(|key| is_live(key) && (key.starts_with(TLS) || is_of_callers(key)));
        let held = held.collect();
        new.tls = before.tls.clone();
        new.secured.clone_from(&before.secured);
        new.auth = before.auth.clone();
        held
    }

    /// The backends of an embedded sandbox stay: no file has them.
    pub(super) fn keep_sandbox(&self, before: &Config, new: &mut Config) {
        if self.sandbox {
            new.backends = before.backends.clone();
        }
    }
}

impl Plan {
    /// Sets up all that changes from `old` to `new`, which is fitted to the memory.
    pub(super) fn make(
        serving: &Serving,
        changes: &Changes,
        old: &Config,
        new: &mut Config,
    ) -> io::Result<Self> {
        fit(&changes.backends, &old.backends, &mut new.backends, serving.maker.budget.cache);
        let running = serving.gateway.backends();
        let step = |(name, change): (&String, &BackendChange)| {
            let (was, is) = (old.backends.get(name), new.backends.get(name));
            let prepare = |settings| serving.maker.prepare(settings, false).map(Box::new);
            let step = match (change, was, is, running.get(name)) {
                (BackendChange::Changed(keys), Some(was), Some(is), Some(backend)) => {
                    match renews(keys, was, is) {
                        Some(parts) => Step::Renew(renewed(backend, is, parts)?.into()),
                        None => Step::Replace(prepare(is)?, ends_streams(keys, was, is)),
                    }
                }
                (_, _, Some(is), _) => Step::Add(prepare(is)?),
                (_, _, None, _) => Step::Remove,
            };
            Ok((name.clone(), step))
        };
        let backends = changes.backends.iter().map(step).collect::<io::Result<_>>()?;
        let is_about_log = changes.keys.iter().any(|key| key.starts_with(LOG));
        let LogSettings { level, buffer_bytes, .. } = &new.log;
        let log = is_about_log.then(|| logs::Reconfigured::new(level, *buffer_bytes)).transpose();
        let shared = changes.keys.iter().any(|key| key.starts_with(STORE));
        let shared = new.shared.as_ref().filter(|_| shared).map(Replicas::proof).transpose()?;
        let log = log.map_err(|why| io::Error::other(format!("log.level: {why}")))?;
        let other_clients = new.tls.accepts_others_than(&old.tls);
        let tls = new.secured.clone().filter(|_| new.tls != old.tls);
        let tls = tls.map(|tls| (tls, other_clients));
        let is_about_callers = changes.keys.iter().any(|key| is_of_callers(key));
        let prepare = || PreparedRules::after(&serving.rules.now(), &new.auth);
        let rules = is_about_callers.then(prepare).transpose()?;
        let rules = rules.map(|rules| (rules, changes.keys.iter().any(|key| is_proof(key))));
        Ok(Self { rules, tls, log, shared, backends })
    }

    /// Puts all of it in force.
    pub(super) fn put_in_force(self, serving: &Serving, old: &Config, new: &Config) {
        let Self { rules, tls, log, shared, backends } = self;
        if let Some((replicas, proof)) = serving.maker.replicas.as_ref().zip(shared) {
            replicas.prove_with(proof);
        }
        if let Some(log) = log {
            log.put_in_force();
        }
        let tls = serving.tls.as_ref().zip(tls);
        // First: no client that is not accepted any more is known by the new rules.
        if let Some((current, (tls, true))) = &tls {
            current.demand(tls);
        }
        if let Some((rules, proofs_changed)) = rules {
            let rules = rules.configure(&serving.callers);
            serving.gateway.deny_fresh(rules.denies_fresh());
            serving.rules.replace(rules, proofs_changed);
        }
        // Last: no client that was not accepted before is known by the old ones.
        if let Some((current, (tls, _))) = &tls {
            current.replace(tls);
        }
        if backends.is_empty() {
            return;
        }
        let mut running = ByName::clone(&serving.gateway.backends());
        let mut watched = Vec::new();
        for (name, step) in backends {
            let (was, is) = (old.backends.get(&name), new.backends.get(&name));
            match (step, was, is, running.get(&name).cloned()) {
                (Step::Renew(renewed), _, Some(is), Some(backend)) => renewed.apply(&backend, is),
                (Step::Replace(prepared, ends_streams), Some(was), Some(_), Some(before)) => {
                    let next = serving.maker.succeed(*prepared, (&before, was));
                    watched.push((name.clone(), ends_streams));
                    running.insert(name, Arc::new(next));
                }
                (Step::Add(prepared), ..) => {
                    serving.maker.health.add_backend(&name);
                    let added = serving.maker.begin(*prepared);
                    watched.push((name.clone(), true));
                    running.insert(name, Arc::new(added));
                }
                (Step::Remove, Some(was), _, Some(before)) => {
                    running.remove(&name);
                    serving.maker.end(&before, was);
                    watched.push((name, true));
                }
                _ => {}
            }
        }
        serve(serving, running, watched, &new.backends);
    }
}

/// Serves these backends, and has those watched that are new.
fn serve(
    serving: &Serving,
    running: ByName,
    watched: Vec<(String, bool)>,
    settings: &BTreeMap<String, BackendSettings>,
) {
    let watches = serving.gateway.watches();
    let backend = |name: &String| running.get(name).cloned();
    let bind: Vec<(String, bool, Option<Arc<Backend>>)> =
        watched.into_iter().map(|(name, ends)| (name.clone(), ends, backend(&name))).collect();
    serving.gateway.replace_backends(running);
    for (name, ends_streams, backend) in bind {
        match (backend, settings.get(&name)) {
            (Some(backend), Some(settings)) => {
                if ends_streams {
                    serving.maker.watch(watches, settings);
                }
                watches.bind(&backend);
            }
            _ => watches.remove(&name),
        }
    }
}

fn is_of_callers(key: &str) -> bool {
    key.starts_with("auth.")
}

/// Whether a key is about what proves callers, and not only about what they may do.
fn is_proof(key: &str) -> bool {
    let of_roles = key.starts_with("auth.roles.");
    let is_of_rights = key.ends_with(".roles") || key.contains(".quota.");
    let of_caller = key.starts_with("auth.callers.") && is_of_rights;
    is_of_callers(key) && !of_roles && !of_caller
}

/// What changes of a backend that can go on: its secrets, its connections, or both; `None` if other
/// keys change too, or if it may be another account.
fn renews(keys: &[String], was: &BackendSettings, is: &BackendSettings) -> Option<(bool, bool)> {
    let is_secret = |key: &str| was.is_secret(key) && is.is_secret(key);
    let is_connection = |key: &str| key.starts_with("tls.") || key.starts_with("proxy");
    let fits = keys.iter().all(|key| is_secret(key) || is_connection(key));
    let secrets = keys.iter().any(|key| is_secret(key));
    let connections = keys.iter().any(|key| is_connection(key));
    (fits && is_same_account(was, is)).then_some((secrets, connections))
}

fn is_same_account(was: &BackendSettings, is: &BackendSettings) -> bool {
    use crate::app::backends::account;
    account(was).is_same(&account(is))
}

/// Whether streams over a backend end with it: those after it are told otherwise.
fn ends_streams(keys: &[String], was: &BackendSettings, is: &BackendSettings) -> bool {
    !is_same_account(was, is) || keys.iter().any(|key| key.starts_with("watch_"))
}

/// Fits the caches that are new into what those that go on leave of the memory for them. Those keep
/// what they have.
fn fit(
    changes: &BTreeMap<String, BackendChange>,
    old: &BTreeMap<String, BackendSettings>,
    new: &mut BTreeMap<String, BackendSettings>,
    limit: usize,
) {
    let mut left = limit;
    let mut fresh = Vec::new();
    for (name, settings) in new {
        let begins = match changes.get(name) {
            None => false,
            Some(BackendChange::Changed(keys)) => {
                keys.iter().any(|key| key.starts_with("cache.") || key == "dialect")
            }
            Some(_) => true,
        };
        match old.get(name).filter(|_| !begins) {
            Some(old) => {
                settings.cache = old.cache.clone();
                left = left.saturating_sub(old.cache.max_bytes);
            }
            None => fresh.push(settings),
        }
    }
    fit_caches(fresh, left);
}
