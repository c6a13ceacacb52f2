//! Ways to the upstream for writes, and for reading and undoing what they did.
//!
//! Writes go through an [`AuditedSession`], which keeps the upstream's own id of each for the audit record:
//! with it the upstream's operators can find the write, whatever became of it.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    call::{Call, CallRecord},
    error::Result,
    gateway::backend::Backend,
    upstream::{Port, Reply, Request, Safety, Session},
};

/// Longest part of a write's deadline that is kept back for reading its outcome.
const MAX_READ_BACK: Duration = Duration::from_secs(5);

/// How long undoing may go on after the caller's deadline.
const CLEANUP: Duration = Duration::from_secs(10);

/// A session for writes.
pub(crate) struct AuditedSession<'a> {
    backend: &'a Backend,
    session: Session,
    record: &'a CallRecord,
}

/// A session for a write. It ends while there is time to read back the outcome.
pub(crate) fn for_write<'a>(backend: &'a Backend, call: &'a Call) -> AuditedSession<'a> {
    let left = call.deadline.saturating_duration_since(Instant::now());
    let session = backend.session(call).until(call.deadline - (left / 4).min(MAX_READ_BACK));
    audited(backend, call, session)
}

/// A session for what remains of a write that is done in part.
pub(crate) fn for_completion<'a>(backend: &'a Backend, call: &'a Call) -> AuditedSession<'a> {
    audited(backend, call, backend.session(call))
}

/// A session to undo what a write of several steps has done. It has time of its own, because the write may
/// have failed for lack of time, and passes an open circuit.
pub(crate) fn for_cleanup<'a>(backend: &'a Backend, call: &'a Call) -> AuditedSession<'a> {
    let session = backend.session_until(call, call.deadline + CLEANUP);
    audited(backend, call, session.bypass_breaker())
}

/// A session to find out what a failed write did. It passes an open circuit.
pub(crate) fn for_reading_back(backend: &Backend, call: &Call) -> Session {
    backend.session(call).bypass_breaker()
}

fn audited<'a>(backend: &'a Backend, call: &'a Call, session: Session) -> AuditedSession<'a> {
    AuditedSession { backend, session, record: &call.record }
}

#[async_trait]
impl Port for AuditedSession<'_> {
    async fn send(&self, request: Request) -> Result<Reply> {
        let safety = request.safety;
        let reply = self.session.send(request).await?;
        if safety == Safety::Write
            && let Some(id) = self.backend.dialect().request_id(&reply)
        {
            self.record.add_upstream_request(self.redact(&id).unwrap_or(id));
        }
        Ok(reply)
    }

    fn redact(&self, text: &str) -> Option<String> {
        self.session.redact(text)
    }
}
