//! The use cases: what a call means, whatever the dialect.
//!
//! Joins `dialect` and `upstream`; knows no gRPC (`rpc` translates) and no wire format.

mod backend;
pub mod idempotency;
mod plan;
mod read;
#[cfg(test)]
mod tests;
pub mod watch;
mod write;

use std::{collections::BTreeMap, sync::Arc};

use tokio_util::task::TaskTracker;

pub use backend::Backend;
use idempotency::IdempotencyStore;
use watch::Watches;

use crate::{
    call::Call,
    error::{Error, Reason, Result},
    model::name::{BackendName, Parent},
    pb,
    query::page::PageTokens,
    text,
};

/// Everything that calls are answered from. Lives as long as the process.
pub struct Gateway {
    backends: BTreeMap<String, Arc<Backend>>,
    /// Writes that go on when their caller has left; a drain waits for them.
    writes: TaskTracker,
    /// Writes that callers have given an id.
    requests: Arc<dyn IdempotencyStore>,
    page_tokens: PageTokens,
    watches: Watches,
}

impl Gateway {
    /// A gateway over these backends. `writes` tracks the writes under way, `requests` knows repeats.
    #[must_use]
    pub fn new(
        backends: impl IntoIterator<Item = Backend>,
        writes: TaskTracker,
        requests: Arc<dyn IdempotencyStore>,
        page_tokens: PageTokens,
        watches: Watches,
    ) -> Self {
        let backends =
            backends.into_iter().map(|b| (b.name().id().to_owned(), Arc::new(b))).collect();
        Self { backends, writes, requests, page_tokens, watches }
    }

    /// The configured backends, ordered by name.
    #[must_use]
    pub fn list_backends(&self) -> Vec<pb::Backend> {
        self.backends.values().map(|backend| backend.describe()).collect()
    }

    /// Describes one backend.
    pub fn get_backend(&self, call: &Call, name: &str) -> Result<pb::Backend> {
        let name = BackendName::parse("name", name)?;
        Ok(self.backend(call, &name, "GetBackend")?.describe())
    }

    /// The backends that a parent names.
    fn backends_of(
        &self,
        call: &Call,
        parent: &Parent,
        operation: &'static str,
    ) -> Result<Vec<&Arc<Backend>>> {
        match parent {
            Parent::All => {
                call.record.set_backend("-");
                Ok(self.backends.values().collect())
            }
            Parent::One(name) => Ok(vec![self.backend(call, name, operation)?]),
        }
    }

    fn backend(
        &self,
        call: &Call,
        name: &BackendName,
        operation: &'static str,
    ) -> Result<&Arc<Backend>> {
        let Some(backend) = self.backends.get(name.id()) else {
            let known: Vec<&str> = self.backends.keys().take(10).map(String::as_str).collect();
            let message = format!(
                "no backend {} is configured; there are {}",
                text::quoted(name.id()),
                known.join(", ")
            );
            return Err(Error::new(Reason::BackendNotFound, message)
                .with_resource(name.to_string())
                .with_metadata("backend", text::cut(name.id(), 64))
                .with_metadata("operation", operation));
        };
        call.record.set_backend(name.id());
        Ok(backend)
    }
}
