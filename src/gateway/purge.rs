//! Drops what the cache of a backend holds, of the backend or of one profile.

use std::sync::Arc;

use super::{
    agreement::Agreement,
    door::{Allowed, Door, Operates},
    read::cached,
    write::{audit::Subject, run::Writer},
};
use crate::{
    cache::Target,
    call::Call,
    error::{Reason, Result},
    model::{
        method::Method,
        name::{BackendName, ProfileName},
    },
    telemetry::AuditLog,
};

/// What dropping all of a backend takes of a caller's allowance, at least: what comes back in a
/// minute, and what may be used at once.
const PURGED_BACKEND: u64 = 700;

const METHOD: Method = Method::PurgeCache;

/// Drops the cache entries of the backend or the profile of this name, on all replicas that share a
/// store. Returns how many were dropped here. The audit log has a line about it, also if its caller
/// leaves meanwhile.
pub(super) async fn run(door: &Door, writer: &Writer, call: &Call, name: &str) -> Result<u64> {
    let profile = ProfileName::parse("name", name).ok();
    let backend = match &profile {
        Some(profile) => profile.backend().clone(),
        None => BackendName::parse("name", name)?,
    };
    let backend = door.backend::<Operates>(call, &backend, METHOD)?;
    let mut told = Told::new(writer.log(), call, name);
    let purged = purge(&backend, call, profile.as_ref(), writer.agreement()).await;
    told.outcome = purged.as_ref().map_or_else(|error| error.reason().name(), |_| "OK");
    told.dropped = purged.as_ref().ok().copied();
    purged
}

async fn purge(
    backend: &Allowed<Operates>,
    call: &Call,
    profile: Option<&ProfileName>,
    agreement: Option<&Arc<Agreement>>,
) -> Result<u64> {
    let requests = match profile {
        Some(name) => {
            backend.require_id(METHOD, name)?;
            backend.cache().profile_requests()
        }
        None => backend.cache().all_requests().max(PURGED_BACKEND),
    };
    let allowed = call.record.caller().purge(requests);
    allowed.map_err(|error| backend.decorate(METHOD, error))?;
    let (dropped, target) = match profile {
        Some(name) => {
            let id = name.id();
            (backend.cache().purge_profile(id), Target::Profile(id.into()))
        }
        None => (cached::purge(backend).await?, Target::Every),
    };
    if let Some(agreement) = agreement {
        let told = agreement.purge(target.shared(backend.account()), call.deadline).await;
        told.map_err(|error| backend.decorate(METHOD, error))?;
    }
    Ok(dropped)
}

/// The line of the audit log, written when it is dropped.
struct Told {
    log: AuditLog,
    subject: Subject,
    outcome: &'static str,
    dropped: Option<u64>,
}

impl Told {
    fn new(log: &AuditLog, call: &Call, name: &str) -> Self {
        let subject = Subject::new(&call.record, METHOD.name(), name.to_owned(), String::new());
        let outcome = Reason::CallerCancelled.name();
        Self { log: log.clone(), subject, outcome, dropped: None }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if self.dropped.is_none() && !self.subject.caller_may_audit() {
            return;
        }
        let record = self.subject.begin(self.log.record("audit")).text("outcome", self.outcome);
        self.log.audit(match self.dropped {
            Some(dropped) => record.number("dropped", dropped),
            None => record,
        });
    }
}
