//! The writes in doubt, and their ends, apart from those that a repeat brings.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    error::Result,
    gateway::{
        idempotency::{Doubt, IdempotencyStore},
        write::{
            audit::unjournaled,
            claims::Claims,
            intent::{IntentKind, WriteIntent},
        },
    },
    telemetry::{AuditLog, Record},
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
        let record = self.log.record("audit").text("message", "a write of unknown outcome");
        self.log.audit(about(doubt, record).text("outcome", outcome).maybe("by", by));
    }

    /// Writes into the journal that the rest of a creation is about to be sent.
    pub(crate) async fn journal(&self, doubt: &Doubt, end: Instant) -> Result<()> {
        let record = self.log.record("journal").text("message", "about to complete a profile");
        let journaled = self.log.journal(about(doubt, record), end).await;
        journaled.map_err(|cause| unjournaled(&cause))
    }
}

/// What all lines about a doubt have.
fn about(doubt: &Doubt, record: Record) -> Record {
    let Doubt { number, method, resource, call_id, .. } = doubt;
    let request_id = doubt.key.id.to_string();
    record
        .number("doubt", *number)
        .text("call_id", call_id)
        .text("method", method)
        .text("resource", resource)
        .text("caller", &doubt.key.caller.to_string())
        .maybe("request_id", doubt.has_request_id().then_some(&request_id))
}
