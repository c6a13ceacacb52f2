//! The writes in doubt, and their ends, apart from those that a repeat brings.

use std::sync::Arc;

use crate::{
    error::Result,
    gateway::{
        idempotency::{Doubt, IdempotencyStore},
        write::{
            claims::Claims,
            intent::{IntentKind, WriteIntent},
        },
    },
    telemetry::AuditLog,
};

/// What ends doubts, apart from repeats.
#[derive(Clone)]
pub(crate) struct Doubts {
    pub(crate) store: Arc<dyn IdempotencyStore>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) log: AuditLog,
}

impl Doubts {
    /// Those with a number above this one, at most so many, by number.
    pub(crate) async fn list(&self, after: u64, limit: usize) -> Result<Vec<Doubt>> {
        self.store.doubts(after, limit).await
    }

    /// A doubt has ended: no look for what the write did comes any more.
    pub(crate) fn ended(&self, doubt: &Doubt, outcome: &str, by: Option<&str>) {
        if let Ok(IntentKind::Create(creation)) = WriteIntent::read(&doubt.intent) {
            self.claims.settle(creation.number);
        }
        let Doubt { number, method, resource, call_id, .. } = doubt;
        tracing::info!(
            target: "gateway", doubt = number, method, resource, call_id, outcome, by,
            "a write of unknown outcome is settled"
        );
        self.audit(doubt, outcome, by);
    }

    /// Writes its audit record.
    pub(crate) fn audit(&self, doubt: &Doubt, outcome: &str, by: Option<&str>) {
        let Doubt { number, method, resource, call_id, .. } = doubt;
        let request_id = doubt.key.id.to_string();
        let record = self
            .log
            .record("audit")
            .text("message", "a write of unknown outcome")
            .number("doubt", *number)
            .text("call_id", call_id)
            .text("method", method)
            .text("resource", resource)
            .text("caller", &doubt.key.caller.to_string())
            .maybe("request_id", doubt.has_request_id().then_some(&request_id))
            .text("outcome", outcome)
            .maybe("by", by);
        self.log.audit(record);
    }
}
