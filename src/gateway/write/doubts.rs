//! Writes in doubt as an operator sees them, who may end a doubt by hand.

use std::sync::Arc;

use crate::{
    error::Result,
    gateway::{
        idempotency::{Closed, Closing, Doubt, IdempotencyStore, SettledAs},
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

    /// Ends a doubt as an operator says. A repeat of a write without effect may write. One of a
    /// write that took effect writes nothing: a deletion succeeds, and a creation or a change is
    /// told that it is closed, because its result is not known. `by` is who says it.
    pub(crate) async fn close(&self, number: u64, took_effect: bool, by: &str) -> Result<Closed> {
        let Some(last) = number.checked_sub(1) else { return Ok(Closed::Missing) };
        let found = self.store.doubts(last, 1).await?;
        let Some(doubt) = found.into_iter().find(|doubt| doubt.number == number) else {
            return Ok(Closed::Missing);
        };
        let intent = WriteIntent::read(&doubt.intent);
        let closing = match (took_effect, &intent) {
            (false, _) => Closing::NoEffect,
            (true, Ok(IntentKind::Delete(()))) => Closing::TookEffect(Some(bytes::Bytes::new())),
            (true, _) => Closing::TookEffect(None),
        };
        let closed = self.store.close(number, closing).await?;
        if let Closed::Closed(doubt) = &closed {
            let ended = match took_effect {
                true => SettledAs::ClosedAsDone,
                false => SettledAs::ClosedAsFailed,
            };
            self.ended(doubt, ended.name(), Some(by));
        }
        Ok(closed)
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
