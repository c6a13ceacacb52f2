//! A write that is only checked (`validate_only`): what a write does before it is sent, and nothing
//! of the rest. It reads from the upstream, and has no journal, which all that writes demands.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    call::Writes,
    error::{Error, Reason, Result},
    gateway::{
        door::Checks,
        write::{
            audit::Audit,
            candidates::Order,
            demand::Demand,
            locks::ProfileLocks,
            prepare::{self, ExistingProfile},
            request::{WriteAction, WriteRequest, Written},
        },
    },
    pb::Profile,
    telemetry::AuditLog,
};

/// Checks a write. It takes a place of its caller and ends with it, and has a line in the audit
/// log.
pub(crate) async fn run(
    request: WriteRequest<Checks>,
    writes: &Writes,
    log: &AuditLog,
    order: &Arc<Order>,
) -> Result<Written> {
    let audit = Audit::begin(&request, log);
    let place = match writes.enter(request.call.record.caller()) {
        Ok(place) => place,
        Err(full) => {
            let full = Err(request.fail(full.into()));
            audit.ended(&full);
            return full;
        }
    };
    let left = CancellationToken::new();
    let demand = Demand::new(left.clone(), writes.draining().clone());
    let _caller = left.drop_guard();
    let (order, audit) = (Arc::clone(order), audit.checking());
    let checked = async move {
        let _place = place;
        let result = demand.bound(check(&request, &order.locks)).await;
        let result = result.map_err(|error| request.fail(error));
        audit.ended(&result);
        result
    };
    writes.spawn(checked).await.unwrap_or_else(|error| {
        let message = "internal error while the write was checked; nothing was sent";
        Err(Error::new(Reason::GatewayInternal, message).with_internal(if error.is_panic() {
            "panicked"
        } else {
            "cancelled"
        }))
    })
}

async fn check(request: &WriteRequest<Checks>, locks: &ProfileLocks) -> Result<Written> {
    let WriteRequest { backend, call, action, .. } = request;
    let existing = |name| ExistingProfile { backend, call, name };
    match action {
        WriteAction::Create(profile) => {
            let prepared = prepare::creation(backend, call, (**profile).clone()).await?;
            prepared.check_name(backend)?;
            let profile = backend.presented("", prepared.profile);
            Ok(Some(Profile { name: String::new(), ..profile }))
        }
        WriteAction::Change(name, change) => {
            let _lock = locks.lock_here(name, call).await?;
            let profile = existing(name);
            let change = profile.prepare(change).await?;
            profile.check_name(&change).await?;
            Ok(Some(profile.presented(change.desired)))
        }
        WriteAction::Delete { name, etag, allow_missing } => {
            match matching(existing(name), locks, etag).await {
                Err(e) if *allow_missing && e.reason() == Reason::ProfileNotFound => Ok(None),
                found => found.map(|()| None),
            }
        }
    }
}

/// Checks that the profile of a deletion is there, as its caller has seen it.
async fn matching(profile: ExistingProfile<'_>, locks: &ProfileLocks, etag: &str) -> Result<()> {
    profile.backend.check_id(profile.name)?;
    let _lock = locks.lock_here(profile.name, profile.call).await?;
    profile.read_matching(etag).await.map(drop)
}
