//! What outlives the process: the store, and the request ids in it.

use std::{io, path::Path, sync::Arc};

use super::metrics::Metrics;
use crate::{
    caller::Callers,
    config::Config,
    gateway::idempotency::{self, Ledger},
    resources::{Budget, Part},
    store::{self, Store, StoreKey, StoreKind, StoreMetrics, StoreSettings},
    telemetry::Registry,
};

/// What outlives the process, with the secret of it.
pub(super) fn open_store(
    config: &Config,
    metrics: &StoreMetrics,
) -> io::Result<(Arc<dyn Store>, Arc<StoreKey>)> {
    let settings = &config.store;
    let store: Arc<dyn Store> = match (settings.kind, &settings.path) {
        (StoreKind::File, Some(path)) => {
            Arc::new(store::File::open(Path::new(path), metrics.clone())?)
        }
        // A file without a path is refused before.
        (StoreKind::Memory | StoreKind::Shared, _) | (StoreKind::File, None) => {
            Arc::new(store::Memory::default())
        }
    };
    let key = match (settings.kind, &config.page_tokens.page_token_key) {
        // The same on all replicas.
        (StoreKind::Shared, Some(secret)) => StoreKey::of(secret),
        _ => StoreKey::load(&*store).map_err(|error| explained(settings, error))?,
    };
    Ok((store, Arc::new(key)))
}

/// The error of what the store has and this release cannot read.
pub(super) fn explained(settings: &StoreSettings, error: io::Error) -> io::Error {
    match &settings.path {
        Some(path) => store::unreadable_at(Path::new(path), &error),
        None => error,
    }
}

/// The request ids, within their memory.
pub(super) fn request_ids(
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
