//! A way to the upstream that remembers what the upstream calls each write, for the audit record: with
//! that id its operators find the write, whatever became of it.

use async_trait::async_trait;

use crate::{
    call::CallRecord,
    error::Result,
    gateway::Backend,
    upstream::{Port, Reply, Request, Safety, Session},
};

/// A session for writes.
pub(crate) struct AuditedSession<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) session: Session,
    pub(crate) record: &'a CallRecord,
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
