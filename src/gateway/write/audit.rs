//! The audit record of each write, and its line in the journal before it is sent.
//!
//! A write with a `journal` line but no `audit` line was running when the process died: its outcome
//! is unknown. Both lines name the fields that were written, never their values; the journal line
//! of a creation has the display name too, because there is nothing else to look for the profile
//! by.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    auth::Right,
    call::CallRecord,
    error::{Error, Reason, Result, metadata::PROFILE_ID},
    gateway::{
        agreement::Permission,
        door::Usage,
        idempotency::{Attempt, End},
        write::{
            demand::Demand,
            disabled,
            intent::{Creation, IntentKind, WriteIntent},
            request::{WriteRequest, Written},
        },
    },
    levers::BackendLevers,
    store::{SOON, Unavailable},
    telemetry::{AuditLog, Record},
    text,
};

/// The longest display name, and the most ids, in a line.
const MAX_NAME_BYTES: usize = 512;
const MAX_IDS: usize = 32;

/// What identifies a write in both records.
#[derive(Clone)]
pub(crate) struct Subject {
    record: Arc<CallRecord>,
    method: &'static str,
    /// The profile, or the backend for a creation that has not made one.
    resource: String,
    request_id: String,
}

impl Subject {
    pub(crate) fn new(
        record: &Arc<CallRecord>,
        method: &'static str,
        resource: String,
        request_id: String,
    ) -> Self {
        Self { record: Arc::clone(record), method, resource, request_id }
    }

    /// Whether there may be one more line about what its caller does and nothing was sent for.
    pub(crate) fn caller_may_audit(&self) -> bool {
        self.record.caller().may_audit()
    }

    fn of<U>(request: &WriteRequest<U>) -> Self {
        let (method, request_id) = (request.method.name(), request.request_id.clone());
        Self::new(&request.call.record, method, request.resource(), request_id)
    }

    /// Adds who calls: by name, by what proves it, and by the role and the right that let it pass,
    /// where callers have to prove it.
    fn caller(&self, record: Record) -> Record {
        let Some(identity) = self.record.identity() else {
            return record.maybe("caller", self.record.peer());
        };
        let right = self.record.allowed();
        let roles = identity.roles(right.zip(self.record.backend()));
        identity
            .describe(record)
            .maybe("peer", self.record.peer())
            .text("role", &roles)
            .maybe("right", right.map(Right::name))
            .text("decision", "allowed")
    }

    pub(crate) fn begin(&self, record: Record) -> Record {
        let record = self.caller(record);
        record
            .text("call_id", self.record.id().shown().as_str())
            .maybe("caller_request_id", self.record.caller_ids().request_id())
            .maybe("trace_id", self.record.caller_ids().trace_id())
            .text("method", self.method)
            .text("resource", &self.resource)
            .text("request_id", &self.request_id)
    }
}

/// The audit record of a running write. It is logged when it is dropped, so a panic is logged as
/// well.
pub(crate) struct Audit {
    log: AuditLog,
    subject: Subject,
    validate_only: bool,
    started: Instant,
    outcome: &'static str,
    replayed: bool,
    /// What the journal of the write knows.
    sent: Arc<Sent>,
    /// It found out what an earlier call has sent.
    resolves: bool,
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
    pub(crate) fn begin<U: Usage>(request: &WriteRequest<U>, log: &AuditLog) -> Self {
        Self {
            log: log.clone(),
            subject: Subject::of(request),
            validate_only: !U::WRITES,
            started: Instant::now(),
            outcome: Reason::CallerCancelled.name(),
            replayed: false,
            sent: Arc::default(),
            resolves: false,
            upstream_code: None,
        }
    }

    /// From here on, the write runs apart from its call. If it does not come to its end, because it
    /// panics or the process ends, the record has what the journal knows by then.
    pub(crate) fn detached(mut self, journal: &Journal, resolves: bool) -> Self {
        self.outcome = Reason::WriteOutcomeUnknown.name();
        self.sent = Arc::clone(&journal.sent);
        self.resolves = resolves;
        self
    }

    /// From here on, a check runs apart from its call. If it does not come to its end, it panicked.
    pub(crate) fn checking(mut self) -> Self {
        self.outcome = Reason::GatewayInternal.name();
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
                    self.subject.record.add_upstream_request(id);
                }
            }
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let sent = self.sent.attempts() > 0 || self.resolves;
        if sent && self.outcome == Reason::WriteOutcomeUnknown.name() {
            self.log.count_unknown_outcome(self.subject.record.backend().unwrap_or_default());
        }
        if !sent && !self.subject.caller_may_audit() {
            return;
        }
        let record = self
            .subject
            .begin(self.log.record("audit"))
            .text("fields", &self.sent.fields.lock().join(","))
            .text("outcome", self.outcome)
            .flag("replayed", self.replayed)
            .flag("validate_only", self.validate_only)
            .number("attempts", self.sent.attempts().into())
            .number("upstream_calls", self.subject.record.upstream_calls().into())
            .maybe("upstream_code", self.upstream_code.as_deref())
            .text("upstream_request_ids", &self.subject.record.upstream_requests().join(","))
            .milliseconds("duration_ms", self.started.elapsed());
        self.log.audit(record);
    }
}

impl Sent {
    fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// Where a write records what it is about to do.
pub(crate) struct Journal {
    log: AuditLog,
    deadline: Instant,
    subject: Subject,
    levers: Arc<BackendLevers>,
    /// Its entry, which repeats of the `request_id` find; `None` if it writes nothing.
    attempt: Option<Attempt>,
    demand: Arc<Demand>,
    sent: Arc<Sent>,
    wrote_nothing: bool,
    /// The creations whose outcome is known.
    settled: Vec<u64>,
}

impl Journal {
    /// The journal of one call. What writes to a backend demands one, and a request that is only
    /// checked or shown gets none.
    pub(crate) fn new(
        request: &WriteRequest,
        log: &AuditLog,
        attempt: Option<Attempt>,
        demand: Arc<Demand>,
    ) -> Self {
        Self {
            log: log.clone(),
            deadline: request.call.deadline,
            levers: Arc::clone(request.backend.levers()),
            subject: Subject::of(request),
            attempt,
            demand,
            sent: Arc::default(),
            wrote_nothing: false,
            settled: Vec::new(),
        }
    }

    /// The outcome of a creation is known. What its profile is recognized by is needed until that
    /// is kept: the next process would have to find it out again.
    pub(crate) fn settles(&mut self, creation: u64) {
        self.settled.push(creation);
    }

    /// Those that [`Self::settles`] was told of.
    pub(crate) fn take_settled(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.settled)
    }

    /// Notes that the write succeeds because there was nothing to do.
    pub(crate) fn note_nothing_written(&mut self) {
        self.wrote_nothing = true;
    }

    /// Whether it has succeeded without writing anything.
    pub(crate) fn wrote_nothing(&self) -> bool {
        self.wrote_nothing
    }

    /// Whether a repeat of the call is recognized.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.attempt.as_ref().is_some_and(Attempt::is_named)
    }

    /// Whether anything was sent, or was about to be.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent.attempts() > 0
    }

    /// From here on, the write goes on even if its caller leaves; fails if it should have ended.
    pub(crate) fn goes_on(&self) -> Result<()> {
        self.demand.goes_on()
    }

    /// What an earlier call has sent is over: the write depends on its caller again.
    pub(crate) fn depends(&self) -> Result<()> {
        self.demand.depends()
    }

    /// Records what is about to be sent. If this fails, it must not be sent.
    pub(crate) async fn intend(
        &mut self,
        intent: &WriteIntent,
        permission: &Permission,
    ) -> Result<()> {
        let fields = intent.fields()?;
        disabled::check(&self.levers)?;
        self.goes_on()?;
        let end = self.deadline.min(Instant::now() + SOON);
        if let Some(attempt) = &self.attempt {
            permission.write().into_iter().for_each(|write| attempt.under(write));
            let intended = attempt.intend(prost::Message::encode_to_vec(intent).into());
            timeout_at(end, intended).await.map_err(|_| Unavailable::late().nothing_sent())??;
        }
        if fields.is_empty() && matches!(intent.kind, Some(IntentKind::Change(_))) {
            // Dialects send nothing if no field changes.
            return Ok(());
        }
        let record = self.log.record("journal").text("message", "about to write");
        let record = self.subject.begin(record).text("fields", &fields.join(","));
        let record = match &intent.kind {
            Some(IntentKind::Create(creation)) => sought(record, creation),
            _ => record,
        };
        self.log.journal(record, end).await.map_err(|cause| unjournaled(&cause))?;
        self.sent.attempts.fetch_add(1, Ordering::Relaxed);
        *self.sent.fields.lock() = fields;
        Ok(())
    }

    /// Updates what repeats will find, after a sent write has shown more.
    pub(crate) async fn amend(&mut self, intent: &WriteIntent) {
        let Some(attempt) = &self.attempt else { return };
        let amended = timeout(SOON, attempt.intend(prost::Message::encode_to_vec(intent).into()));
        if let Err(error) =
            amended.await.unwrap_or_else(|_| Err(Unavailable::late().nothing_sent()))
        {
            tracing::warn!(target: "gateway", %error, "could not record the outcome of a write");
        }
    }

    /// What repeats of the write find.
    pub(crate) fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// What an earlier call has sent is known: what was announced to find that out is over.
    pub(crate) async fn let_go(&self) {
        if let Some(attempt) = &self.attempt {
            attempt.let_go().await;
        }
    }

    /// Stores how the write ended, for repeats, and waits until all replicas know of it. A disk
    /// that does not answer is not waited for: a repeat then looks for what was done.
    pub(crate) async fn finish(&mut self, end: End) {
        let Some(attempt) = self.attempt.take() else { return };
        let Some(patience) = attempt.patience() else {
            attempt.finish(end).await;
            return;
        };
        if timeout(patience, attempt.finish(end)).await.is_err() {
            tracing::warn!(target: "gateway", "the end of a write is not in the store in time");
        }
    }
}

/// Adds what a creation can be looked for by: its name, and which profiles had it before.
fn sought(record: Record, creation: &Creation) -> Record {
    let Creation { profile, before, namesakes, .. } = creation;
    let record = record.text("display_name", &text::cut(&profile.display_name, MAX_NAME_BYTES));
    let record = match before {
        Some(before) => record.number("profiles_before", before.len() as u64),
        None => record,
    };
    let shown: Vec<&str> = namesakes.iter().take(MAX_IDS).map(String::as_str).collect();
    record
        .text("same_name_before", &shown.join(","))
        .number("same_name_before_count", namesakes.len() as u64)
}

/// The error for a write that is not sent because its journal line is not written.
pub(crate) fn unjournaled(cause: &str) -> Error {
    let message = "the write could not be journaled, and was not sent";
    Error::new(Reason::AuditUnavailable, message)
        .with_internal(format_args!("the audit log takes no lines: {cause}"))
}
