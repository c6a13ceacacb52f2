//! Runs a checked write.
//!
//! [`Writer::run`] first asks whether the write repeats an earlier one ([`Writer::begin`]). If so,
//! and if that one is over, its result is returned. Otherwise the write takes a place of its
//! caller, and runs in its own task ([`carry_out`]), which ends with the caller until it is about
//! to send something: if the outcome of an earlier attempt is unknown, it is found out first
//! ([`resolve`]); then the write is delegated to `create` or `change`, which send it. How it ended
//! is stored for later repeats ([`end`]).

use std::{sync::Arc, time::SystemTime};

use prost::Message;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    call::Writes,
    caller::Held,
    error::{
        Effect, Error, Kind, OUTCOME_UNKNOWN, Reason, Result, Retry, violation::Violation,
        whole_seconds,
    },
    gateway::{
        agreement::Agreement,
        backends::Backends,
        door::Checks,
        earlier::EarlierWrites,
        idempotency::{Attempt, Attempter, Begin, End, IdempotencyStore},
        write::{
            audit::{Audit, Journal},
            candidates::{Creating, Order},
            change::{EarlierWrite, ProfileWrite},
            completion::Completion,
            demand::Demand,
            disabled,
            doubts::Doubts,
            intent::{IntentKind, UnresolvedAttempt, WriteIntent, unreadable},
            locks::ProfileLocks,
            outcome::{may_yet_happen, unknown},
            prepare::ExistingProfile,
            reconcile::Until,
            request::{WriteAction, WriteRequest, Written},
            session,
            settler::Settler,
            validate,
        },
    },
    pb::Profile,
    telemetry::AuditLog,
};

/// Carries out writes.
pub(crate) struct Writer {
    /// The running writes, which continue after their callers have left; a drain waits for them.
    writes: Writes,
    /// The writes that are under way, in doubt, or remembered for their repeats.
    idempotency: Arc<dyn IdempotencyStore>,
    audit: AuditLog,
    order: Arc<Order>,
}

/// What a call has to do after it was compared with earlier calls.
enum Begun {
    /// Nothing: it repeats a write that is over, and gets the same result.
    Replay(Box<Result<Written>>),
    /// Write in this place, but first find out the outcome of an earlier attempt, if there was
    /// one.
    Write(Option<Attempt>, Option<UnresolvedAttempt>, Held),
}

impl Writer {
    pub(crate) fn new(writes: Writes, earlier: EarlierWrites, audit: AuditLog) -> Self {
        let EarlierWrites { requests: idempotency, claims, agreement } = earlier;
        let locks = ProfileLocks::among(agreement);
        let order = Order { locks, claims: Arc::new(claims) };
        Self { writes, idempotency, audit, order: Arc::new(order) }
    }

    /// What replicas agree on, if they share a store.
    pub(crate) fn agreement(&self) -> Option<&Arc<Agreement>> {
        self.order.locks.agreement()
    }

    /// Where writes are told of.
    pub(crate) fn log(&self) -> &AuditLog {
        &self.audit
    }

    /// The writes whose outcome is unknown.
    pub(crate) fn doubts(&self) -> Doubts {
        Doubts {
            store: Arc::clone(&self.idempotency),
            claims: Arc::clone(&self.order.claims),
            log: self.audit.clone(),
        }
    }

    /// What looks after the writes in doubt of these backends.
    pub(crate) fn settler(&self, backends: Arc<Backends>) -> Settler {
        Settler {
            backends,
            doubts: self.doubts(),
            order: Arc::clone(&self.order),
            writes: self.writes.clone(),
        }
    }

    /// What callers can rely on when they send a `request_id`.
    pub(crate) fn request_id_guarantee(&self) -> &str {
        self.idempotency.guarantee()
    }

    /// Checks a write as [`Self::run`] would before it is sent, and sends nothing.
    pub(crate) async fn check(&self, request: WriteRequest<Checks>) -> Result<Written> {
        validate::run(request, &self.writes, &self.audit, &self.order).await
    }

    /// Carries out a write once, however often it is requested under its `request_id`. It runs in
    /// its own tracked task, which ends by the call's deadline.
    pub(crate) async fn run(&self, request: WriteRequest) -> Result<Written> {
        let audit = Audit::begin(&request, &self.audit);
        let (attempt, unresolved, place) = match self.begin(&request).await {
            Ok(Begun::Write(attempt, unresolved, place)) => (attempt, unresolved, place),
            Ok(Begun::Replay(result)) => {
                audit.replayed(&result);
                return *result;
            }
            Err(error) => {
                let error = Err(error);
                audit.ended(&error);
                return error;
            }
        };
        let left = CancellationToken::new();
        let demand = Arc::new(Demand::new(left.clone(), self.writes.draining().clone()));
        let _caller = left.drop_guard();
        let resolves = unresolved.is_some();
        let mut journal = Journal::new(&request, &self.audit, attempt, Arc::clone(&demand));
        let audit = audit.detached(&journal, resolves);
        request.call.record.set_writing(request.method.name(), request.resource());
        let order = Arc::clone(&self.order);
        let advice = request.advice();
        let write = async move {
            let _place = place;
            let result = demand.bound(carry_out(&request, &order, &mut journal, unresolved)).await;
            let tried = journal.has_sent() || resolves;
            if tried && (result.is_ok() || may_yet_happen(&result)) {
                request.backend.announce_change();
            }
            let result = result.map_err(|error| request.fail(error));
            let settled = journal.take_settled();
            journal.finish(end(&request, &result, journal.wrote_nothing())).await;
            settled.into_iter().for_each(|creation| order.claims.settle(creation));
            audit.ended(&result);
            result
        };
        self.writes.spawn(write).await.unwrap_or_else(|error| {
            // Without the panic's text, which may quote a request or a secret; its location is
            // logged.
            let message = format!(
                "internal error during the write, which may or may not have taken effect; {advice}"
            );
            Err(Error::new(Reason::WriteOutcomeUnknown, message)
                .with_effect(Effect::Unknown)
                .with_internal(if error.is_panic() { "panicked" } else { "cancelled" }))
        })
    }

    /// Finds out whether the write is a repeat. If the write that it repeats is still running,
    /// waits for it. One that is not a repeat takes a place.
    async fn begin(&self, request: &WriteRequest) -> Result<Begun> {
        let write = |attempt, unresolved: Option<UnresolvedAttempt>| {
            // What an earlier attempt did is found out also then.
            if unresolved.is_none() {
                disabled::check(request.backend.levers()).map_err(|error| request.fail(error))?;
            }
            let place = self.writes.enter(request.call.record.caller());
            let place = place.map_err(|full| request.fail(full.into()))?;
            Ok(Begun::Write(attempt, unresolved, place))
        };
        let Some(identity) = &request.identity else { return write(None, None) };
        let attempt = |number| Attempt::new(Arc::clone(&self.idempotency), identity.key, number);
        loop {
            let begin = self.idempotency.begin(identity, attempter(request)).await;
            match begin.map_err(|error| request.fail(error))? {
                Begin::Fresh(number) => return write(Some(attempt(number)), None),
                Begin::Unknown { attempt: number, intent, ended } => {
                    request.call.record.set_repeats();
                    let attempt = attempt(number);
                    let intent = WriteIntent::read(&intent).map_err(|e| request.fail(e))?;
                    let unresolved = UnresolvedAttempt::new(intent, ended);
                    return write(Some(attempt), Some(unresolved));
                }
                Begin::Done(result) => return replay(&result).map_err(|e| request.fail(e)),
                Begin::Reused => return Err(request.fail(reused(identity.key.id))),
                Begin::Closed => return Err(request.fail(closed(identity.key.id))),
                Begin::Running(ending) => {
                    request.call.record.set_repeats();
                    match timeout_at(request.call.deadline, ending).await {
                        Ok(Some(End::Done(result) | End::Nothing(result))) => {
                            return replay(&result).map_err(|e| request.fail(e));
                        }
                        // The call that failed has already decorated it.
                        Ok(Some(End::Failed(error))) => {
                            return Ok(Begun::Replay(Box::new(Err(error))));
                        }
                        Ok(Some(End::Unknown | End::NoEffect) | None) => {}
                        Err(_) => return Err(request.fail(still_running())),
                    }
                }
            }
        }
    }
}

fn attempter(request: &WriteRequest) -> Attempter {
    let WriteRequest { call, .. } = request;
    let (deadline, until) = (call.deadline, session::end_of_cleanup(call));
    Attempter { call: call.record.id(), resource: request.resource(), deadline, until }
}

/// Resolves an earlier attempt, if there was one, and then writes unless that attempt already did.
async fn carry_out(
    request: &WriteRequest,
    order: &Order,
    journal: &mut Journal,
    unresolved: Option<UnresolvedAttempt>,
) -> Result<Written> {
    if let Some(earlier) = unresolved {
        journal.goes_on().map_err(|error| still_unresolved(error, earlier.over))?;
        let creation = match &earlier.intent {
            IntentKind::Create(creation) => Some(creation.number),
            IntentKind::Change(_) | IntentKind::Delete(()) => None,
        };
        let resolved = resolve(request, order, earlier, journal.attempt()).await?;
        creation.into_iter().for_each(|number| journal.settles(number));
        if let Some(written) = resolved {
            return Ok(written);
        }
        journal.let_go().await;
        journal.depends()?;
        disabled::check(request.backend.levers())?;
    }
    let Order { locks, claims } = order;
    let WriteRequest { backend, call, .. } = request;
    let existing = |name| ExistingProfile { backend, call, name };
    match &request.action {
        WriteAction::Create(profile) => {
            let profile = (**profile).clone();
            let creating = Creating { backend, call, locks, claims };
            creating.create(profile, journal).await.map(Some)
        }
        WriteAction::Change(name, change) => {
            let write = ProfileWrite { profile: existing(name), locks, journal };
            write.change(change).await.map(Some)
        }
        WriteAction::Delete { name, etag, allow_missing } => {
            let write = ProfileWrite { profile: existing(name), locks, journal };
            match write.delete(etag).await {
                Err(e) if *allow_missing && e.reason() == Reason::ProfileNotFound => {
                    journal.note_nothing_written();
                    Ok(None)
                }
                result => result.map(|()| None),
            }
        }
    }
}

/// Finds out the outcome of an earlier attempt. `None` means that it has no effect and will not
/// have any, so the write may be sent again.
async fn resolve(
    request: &WriteRequest,
    Order { locks, claims }: &Order,
    UnresolvedAttempt { intent, over }: UnresolvedAttempt,
    attempt: Option<&Attempt>,
) -> Result<Option<Written>> {
    let WriteRequest { backend, call, .. } = request;
    let earlier = |name| {
        let profile = ExistingProfile { backend, call, name };
        EarlierWrite { profile, locks, attempt }
    };
    let until = Until::Over(over);
    let resolved = match (&request.action, &intent) {
        (WriteAction::Create(_), IntentKind::Create(creation)) => {
            let creating = Creating { backend, call, locks, claims };
            let found = creating.resolve(creation, until, Completion::Wanted, attempt).await;
            found.map(|found| found.map(Some))
        }
        (WriteAction::Change(name, _), IntentKind::Change(change)) => {
            earlier(name).resolve_change(change, until).await.map(|found| found.map(Some))
        }
        (WriteAction::Delete { name, .. }, IntentKind::Delete(())) => {
            earlier(name).resolve_delete(until).await.map(|found| found.map(|()| None))
        }
        _ => Err(unreadable()),
    };
    resolved.map_err(|error| still_unresolved(error, over))
}

/// How the write ended, for repeats. A write that had no effect may be tried again: a caller that
/// repeats it after UNAVAILABLE, or after removing an obstacle, does not want the old error back. A
/// creation that was partly applied is different: a repeat has to find the profile and complete it.
fn end(request: &WriteRequest, result: &Result<Written>, wrote_nothing: bool) -> End {
    match result {
        Ok(written) => {
            let result = written.as_ref().map(Message::encode_to_vec).unwrap_or_default().into();
            if wrote_nothing { End::Nothing(result) } else { End::Done(result) }
        }
        Err(error) if error.effect() != Effect::None => End::Unknown,
        // Who waits for it has not left, and writes in its place.
        Err(error) if error.reason() == Reason::CallerCancelled => End::Unknown,
        Err(error)
            if error.reason() == Reason::PartiallyApplied
                && matches!(request.action, WriteAction::Create(_)) =>
        {
            End::Unknown
        }
        Err(error) => End::Failed(error.clone()),
    }
}

/// The error if the outcome of an earlier attempt could not be found out, for whatever reason: that
/// attempt may have taken effect. It says when it is `over`, and a repeat can write again.
fn still_unresolved(error: Error, over: Instant) -> Error {
    let error = match error.reason() {
        _ if error.facts().may_have_written => error,
        // If the profile does not exist, the write changed nothing and never will.
        Reason::ProfileNotFound => error,
        _ => unknown(&error),
    };
    let wait = over.saturating_duration_since(Instant::now());
    match error.message().strip_prefix(OUTCOME_UNKNOWN) {
        Some(rest) if !wait.is_zero() => {
            let wait = whole_seconds(wait);
            let message = format!(
                "{OUTCOME_UNKNOWN}; a repeat with the same request_id looks for its effect first, \
                 and from {}, in {}, sends it again if that does not show{rest}",
                humantime::format_rfc3339_seconds(SystemTime::now() + wait),
                humantime::format_duration(wait)
            );
            error.with_message(message).with_retry(Retry::After(Some(wait)))
        }
        _ => error,
    }
}

/// Returns the recorded result of a write that succeeded.
fn replay(result: &[u8]) -> Result<Begun> {
    if result.is_empty() {
        return Ok(Begun::Replay(Box::new(Ok(None))));
    }
    let profile = Profile::decode(result).map_err(|error| {
        Error::new(
            Reason::WriteOutcomeUnknown,
            "the write succeeded, but its recorded result is unreadable",
        )
        .with_effect(Effect::Unknown)
        .with_internal(error)
    })?;
    Ok(Begun::Replay(Box::new(Ok(Some(profile)))))
}

fn reused(id: Uuid) -> Error {
    let message =
        format!("invalid request: request_id: {id} was already used for a different request");
    Error::new(Reason::RequestIdReused, message).with_violation(Violation {
        field: "request_id".to_owned(),
        description: "was already used for a different request; use a new id for each request"
            .to_owned(),
        reason: Reason::RequestIdReused,
    })
}

/// The error for a write that an operator has closed as done.
fn closed(id: Uuid) -> Error {
    let message = format!(
        "request_id {id}: the outcome of this write was unknown, and an operator has found that it \
         took effect; its result is not known, and nothing is written again; read the profile, and \
         use a new request_id for another write"
    );
    Error::new(Reason::RequestIdReused, message)
}

fn still_running() -> Error {
    let message = "the deadline passed while an earlier call with this request_id was still \
                   running; retry with the same request_id to get its result";
    Error::new(Reason::WriteOutcomeUnknown, message)
        .with_kind(Kind::DeadlineExceeded)
        .with_effect(Effect::Unknown)
}
