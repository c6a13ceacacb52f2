//! Upstream sessions for writes, for reading back what they did, and for undoing it.
//!
//! Writes go through an [`AuditedSession`], which keeps the upstream's own id of each request for
//! the audit record. With that id, the upstream's operators can find the write, whatever its
//! outcome.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    call::{Call, CallRecord},
    caller::{CallerId, Resource},
    error::Result,
    gateway::{agreement::Permission, backend::Backend},
    upstream::{Class, Port, PortLayer, Reply, Request, Safety, Session},
};

/// The longest part of a write's deadline that is reserved for reading back its outcome.
const MAX_READ_BACK: Duration = Duration::from_secs(5);

/// How long undoing may take after the caller's deadline.
const CLEANUP: Duration = Duration::from_secs(10);

/// So many writes of a caller may be read back before the calls of others.
const FEW_WRITES: usize = 4;

/// A session for writes.
pub(crate) struct AuditedSession<'a> {
    backend: &'a Backend,
    session: Session,
    record: &'a CallRecord,
}

/// A session for a write. It ends early enough to read back the outcome before the deadline.
pub(crate) fn for_write<'a>(
    backend: &'a Backend,
    call: &'a Call,
    permission: &Permission,
) -> AuditedSession<'a> {
    audited(backend, call, permission.guard(before_reading_back(backend, call)))
}

fn before_reading_back(backend: &Backend, call: &Call) -> Session {
    let left = call.deadline.saturating_duration_since(Instant::now());
    backend.session(call).until(call.deadline - (left / 4).min(MAX_READ_BACK))
}

/// Refuses a write to a profile that would be refused before it is sent, so that it is not
/// journaled.
pub(crate) fn admit(backend: &Backend, call: &Call, profile: Option<&str>) -> Result<()> {
    before_reading_back(backend, call).admits(profile)
}

/// A session for the rest of a write that was partly applied.
pub(crate) fn for_completion<'a>(
    backend: &'a Backend,
    call: &'a Call,
    permission: &Permission,
) -> AuditedSession<'a> {
    let class = if is_by_itself(call) { Class::Watch } else { Class::Settling };
    audited(backend, call, permission.guard(backend.session(call).of(class)))
}

/// Whether no caller waits for what is done: the gateway looks after a write in doubt.
fn is_by_itself(call: &Call) -> bool {
    call.record.caller().id() == CallerId::Gateway
}

/// A session to undo the steps of a write that failed halfway. It has extra time, because the write
/// may have failed for lack of time, and it bypasses an open circuit breaker.
pub(crate) fn for_cleanup<'a>(
    backend: &'a Backend,
    call: &'a Call,
    permission: &Permission,
) -> AuditedSession<'a> {
    audited(backend, call, permission.guard(for_undoing(backend, call)))
}

/// The same without the audit, to find out whether the steps are undone.
pub(crate) fn for_undoing(backend: &Backend, call: &Call) -> Session {
    backend.session_until(call, end_of_cleanup(call)).bypass_breaker()
}

/// When undoing has to be over.
pub(crate) fn end_of_cleanup(call: &Call) -> Instant {
    call.deadline + CLEANUP
}

/// A session to find out what a write did. It bypasses an open circuit breaker. It goes before the
/// calls of others only for a caller with few writes: the reads of one with many take turns. Those
/// of the gateway itself come after all calls, and an open circuit stops them.
pub(crate) fn for_reading_back(backend: &Backend, call: &Call) -> Session {
    if is_by_itself(call) {
        return backend.session(call).of(Class::Watch);
    }
    let session = backend.session(call).bypass_breaker();
    match call.record.caller().holds(Resource::Writes) {
        ..=FEW_WRITES => session,
        _ => session.of(Class::Call),
    }
}

fn audited<'a>(backend: &'a Backend, call: &'a Call, session: Session) -> AuditedSession<'a> {
    AuditedSession { backend, session, record: &call.record }
}

impl AuditedSession<'_> {
    /// The same for a part of the write that has to be permitted, too.
    pub(crate) fn under(&self, permission: &Permission) -> Self {
        // Only to ask for the same once more.
        let session = permission.guard(self.session.until(self.session.deadline()));
        Self { backend: self.backend, session, record: self.record }
    }
}

#[async_trait]
impl PortLayer for AuditedSession<'_> {
    fn inner(&self) -> &dyn Port {
        &self.session
    }

    async fn pass(&self, request: Request) -> Result<Reply> {
        let safety = request.safety;
        let reply = self.session.send(request).await?;
        if safety == Safety::Write
            && let Some(id) = self.backend.dialect().request_id(&reply)
        {
            self.record.add_upstream_request(self.redact(&id).unwrap_or(id));
        }
        Ok(reply)
    }
}
