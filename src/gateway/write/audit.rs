//! The audit record of each write, and its line in the journal before it is sent.
//!
//! A write with a `journal` line but no `audit` line was running when the process died: its outcome
//! is unknown. Both lines name the fields that were written, never their values.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    call::CallRecord,
    error::{Reason, Result, metadata::PROFILE_ID},
    gateway::{
        idempotency::{Attempt, End},
        write::{
            intent::{IntentKind, WriteIntent},
            request::{WriteRequest, Written},
        },
    },
};

/// What identifies a write in both records.
#[derive(Clone)]
struct Subject {
    method: &'static str,
    /// The profile, or the backend for a creation that has not made one.
    resource: String,
    request_id: String,
    caller: Option<Arc<str>>,
}

impl Subject {
    fn of(request: &WriteRequest) -> Self {
        Self {
            method: request.method.name(),
            resource: request.resource(),
            request_id: request.request_id.clone(),
            caller: request.call.record.peer().map(Into::into),
        }
    }
}

/// The audit record of a running write. It is logged when it is dropped, so a panic is logged as
/// well.
pub(crate) struct Audit {
    subject: Subject,
    record: Arc<CallRecord>,
    validate_only: bool,
    started: Instant,
    outcome: &'static str,
    replayed: bool,
    /// What the journal of the write knows.
    sent: Arc<Sent>,
    upstream_code: Option<String>,
}

/// What a write has sent so far.
#[derive(Default)]
struct Sent {
    attempts: AtomicU32,
    fields: Mutex<Vec<&'static str>>,
}

impl Audit {
    /// The record of a write that still depends on its caller.
    pub(crate) fn begin(request: &WriteRequest) -> Self {
        Self {
            subject: Subject::of(request),
            record: Arc::clone(&request.call.record),
            validate_only: request.validate_only,
            started: Instant::now(),
            outcome: Reason::CallerCancelled.name(),
            replayed: false,
            sent: Arc::default(),
            upstream_code: None,
        }
    }

    /// From here on, the write continues even if its caller leaves. If it does not come to its end,
    /// because it panics or the process ends, the record has what the journal knows by then.
    pub(crate) fn detached(mut self, journal: &Journal) -> Self {
        self.outcome = Reason::WriteOutcomeUnknown.name();
        self.sent = Arc::clone(&journal.sent);
        self
    }

    /// The call got the result of an earlier call.
    pub(crate) fn replayed(mut self, result: &Result<Written>) {
        self.replayed = true;
        self.ended(result);
    }

    /// The call is over.
    pub(crate) fn ended(mut self, result: &Result<Written>) {
        match result {
            Ok(written) => {
                self.outcome = "OK";
                let created = written.iter().filter(|profile| !profile.name.is_empty());
                created.for_each(|profile| self.subject.resource.clone_from(&profile.name));
            }
            Err(error) => {
                self.outcome = error.reason().name();
                // A creation that failed may have made a profile.
                if let Some(name) = error.metadatum(PROFILE_ID).and(error.resource()) {
                    name.clone_into(&mut self.subject.resource);
                }
                let upstream = error.upstream().cloned().unwrap_or_default();
                self.upstream_code = upstream.code;
                if let Some(id) = upstream.request_id.filter(|_| !self.replayed) {
                    self.record.add_upstream_request(id);
                }
            }
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let Subject { method, resource, request_id, caller } = &self.subject;
        tracing::info!(
            target: "audit",
            method,
            resource,
            caller = caller.as_deref(),
            request_id,
            fields = self.sent.fields.lock().join(","),
            outcome = self.outcome,
            replayed = self.replayed,
            validate_only = self.validate_only,
            attempts = self.sent.attempts(),
            upstream_calls = self.record.upstream_calls(),
            upstream_code = self.upstream_code,
            upstream_request_ids = self.record.upstream_requests().join(","),
            duration_ms = self.started.elapsed().as_secs_f64() * 1e3,
        );
    }
}

impl Sent {
    fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// Where a write records what it is about to do.
pub(crate) struct Journal {
    subject: Subject,
    /// The entry that repeats of the `request_id` find; `None` without a `request_id`.
    attempt: Option<Attempt>,
    sent: Arc<Sent>,
}

impl Journal {
    /// The journal of one call.
    pub(crate) fn new(request: &WriteRequest, attempt: Option<Attempt>) -> Self {
        Self { subject: Subject::of(request), attempt, sent: Arc::default() }
    }

    /// Whether a repeat of the call is recognized.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.attempt.is_some()
    }

    /// Whether anything was sent, or was about to be.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent.attempts() > 0
    }

    /// Records what is about to be sent. If this fails, it must not be sent.
    pub(crate) async fn intend(&mut self, intent: &WriteIntent) -> Result<()> {
        let fields = intent.fields()?;
        if let Some(attempt) = &self.attempt {
            attempt.intend(prost::Message::encode_to_vec(intent).into()).await?;
        }
        if fields.is_empty() && matches!(intent.kind, Some(IntentKind::Change(_))) {
            // Dialects send nothing if no field changes.
            return Ok(());
        }
        let Subject { method, resource, request_id, caller } = &self.subject;
        tracing::info!(
            target: "journal",
            method,
            resource,
            caller = caller.as_deref(),
            request_id,
            fields = fields.join(","),
            "about to write"
        );
        self.sent.attempts.fetch_add(1, Ordering::Relaxed);
        *self.sent.fields.lock() = fields;
        Ok(())
    }

    /// Updates what repeats will find, after a sent write has shown more.
    pub(crate) async fn amend(&mut self, intent: &WriteIntent) {
        let Some(attempt) = &self.attempt else { return };
        if let Err(error) = attempt.intend(prost::Message::encode_to_vec(intent).into()).await {
            tracing::warn!(target: "gateway", %error, "could not record the outcome of a write");
        }
    }

    /// Stores how the write ended, for repeats.
    pub(crate) async fn finish(&mut self, end: End) {
        if let Some(attempt) = self.attempt.take() {
            attempt.finish(end).await;
        }
    }
}
