//! The run of a checked write: recognized if it is a repeat, resolved if an earlier attempt has no known
//! outcome, carried out in a task of its own, known to later repeats.

use std::sync::Arc;

use prost::Message;
use tokio::time::timeout_at;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{
    error::{Effect, Error, Kind, Reason, Result, violation::Violation},
    gateway::{
        idempotency::{Attempt, Begin, End, IdempotencyStore},
        write::{
            audit::{Audit, Journal},
            change::ProfileWrite,
            create,
            intent::{IntentKind, UnresolvedAttempt, WriteIntent, unreadable},
            locks::ProfileLocks,
            outcome::{may_yet_happen, unknown},
            prepare::ExistingProfile,
            request::{WriteAction, WriteRequest, Written},
        },
    },
    pb::Profile,
};

/// Carries out writes.
pub(crate) struct Writer {
    /// Writes that go on when their caller has left; a drain waits for them.
    tasks: TaskTracker,
    /// Writes that callers have given an id.
    idempotency: Arc<dyn IdempotencyStore>,
    locks: Arc<ProfileLocks>,
}

/// What a call has to do.
enum Begun {
    /// Nothing: it repeats one that is over, and shares its result.
    Replay(Box<Result<Written>>),
    /// Write, but first find out what became of an earlier attempt.
    Write(Option<Attempt>, Option<UnresolvedAttempt>),
}

impl Writer {
    pub(crate) fn new(tasks: TaskTracker, idempotency: Arc<dyn IdempotencyStore>) -> Self {
        Self { tasks, idempotency, locks: Arc::default() }
    }

    /// Carries a write out once, however often it is requested under its `request_id`. It runs in a
    /// tracked task of its own, which ends with the call's deadline.
    pub(crate) async fn run(&self, request: WriteRequest) -> Result<Written> {
        let audit = Audit::begin(&request);
        let (attempt, unresolved) = match self.begin(&request).await {
            Ok(Begun::Write(attempt, unresolved)) => (attempt, unresolved),
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
        let (mut journal, audit) = (Journal::new(&request, attempt), audit.detached());
        let locks = Arc::clone(&self.locks);
        let write = async move {
            let result = carry_out(&request, &locks, &mut journal, unresolved).await;
            if !request.validate_only && (result.is_ok() || may_yet_happen(&result)) {
                request.backend.announce_change();
            }
            let result = result.map_err(|error| request.fail(error));
            journal.finish(end(&request, &result)).await;
            audit.over(&result, &journal);
            result
        };
        self.tasks.spawn(write).await.unwrap_or_else(|error| {
            // Without the panic's text, which may quote a request or a secret; its place is logged.
            let message = "internal error during the write, which may or may not have taken effect; \
                           retry with the same request_id, or read the profile before you write it \
                           again";
            Err(Error::new(Reason::WriteOutcomeUnknown, message)
                .with_effect(Effect::Unknown)
                .with_internal(if error.is_panic() { "panicked" } else { "cancelled" }))
        })
    }

    /// Finds out whether the write is a repeat, and waits for one that is under way.
    async fn begin(&self, request: &WriteRequest) -> Result<Begun> {
        let Some(identity) = &request.identity else { return Ok(Begun::Write(None, None)) };
        let attempt = |number| Attempt::new(Arc::clone(&self.idempotency), identity.id, number);
        loop {
            let begin = self.idempotency.begin(identity).await;
            match begin.map_err(|error| request.fail(error))? {
                Begin::Fresh(number) => return Ok(Begun::Write(Some(attempt(number)), None)),
                Begin::Unknown { attempt: number, intent, ended } => {
                    request.call.record.set_repeats();
                    let attempt = attempt(number);
                    let intent = WriteIntent::read(&intent).map_err(|e| request.fail(e))?;
                    let unresolved = UnresolvedAttempt::new(intent, ended);
                    return Ok(Begun::Write(Some(attempt), Some(unresolved)));
                }
                Begin::Done(result) => return replay(&result).map_err(|e| request.fail(e)),
                Begin::Reused => return Err(request.fail(reused(identity.id))),
                Begin::Running(ending) => {
                    request.call.record.set_repeats();
                    match timeout_at(request.call.deadline, ending).await {
                        Ok(Some(End::Done(result))) => {
                            return replay(&result).map_err(|e| request.fail(e));
                        }
                        // Decorated where it arose.
                        Ok(Some(End::Failed(error))) => {
                            return Ok(Begun::Replay(Box::new(Err(error))));
                        }
                        Ok(Some(End::Unknown) | None) => {}
                        Err(_) => return Err(request.fail(still_running())),
                    }
                }
            }
        }
    }
}

async fn carry_out(
    request: &WriteRequest,
    locks: &ProfileLocks,
    journal: &mut Journal,
    unresolved: Option<UnresolvedAttempt>,
) -> Result<Written> {
    if let Some(earlier) = unresolved
        && let Some(written) =
            resolve(request, locks, journal, earlier).await.map_err(still_unresolved)?
    {
        return Ok(written);
    }
    let WriteRequest { backend, call, validate_only, .. } = request;
    let existing = |name| ExistingProfile { backend, call, name };
    match &request.action {
        WriteAction::Create(profile) => {
            create::create(backend, call, (**profile).clone(), *validate_only, journal)
                .await
                .map(Some)
        }
        WriteAction::Change(name, change) => {
            let write = ProfileWrite { profile: existing(name), locks, journal };
            write.change(change, *validate_only).await.map(Some)
        }
        WriteAction::Delete { name, etag, allow_missing } => {
            let write = ProfileWrite { profile: existing(name), locks, journal };
            match write.delete(etag, *validate_only).await {
                Err(e) if *allow_missing && e.reason() == Reason::ProfileNotFound => Ok(None),
                result => result.map(|()| None),
            }
        }
    }
}

/// Finds out what became of an earlier attempt. `None`: it certainly has no effect, so that it may be
/// written again.
async fn resolve(
    request: &WriteRequest,
    locks: &ProfileLocks,
    journal: &mut Journal,
    UnresolvedAttempt { intent, over }: UnresolvedAttempt,
) -> Result<Option<Written>> {
    let WriteRequest { backend, call, .. } = request;
    let existing = |name| ExistingProfile { backend, call, name };
    match (&request.action, &intent) {
        (WriteAction::Create(_), IntentKind::Create(creation)) => {
            Ok(create::resolve(backend, call, creation, over).await?.map(Some))
        }
        (WriteAction::Change(name, _), IntentKind::Change(change)) => {
            let write = ProfileWrite { profile: existing(name), locks, journal };
            Ok(write.resolve_change(change, over).await?.map(Some))
        }
        (WriteAction::Delete { name, .. }, IntentKind::Delete(())) => {
            let write = ProfileWrite { profile: existing(name), locks, journal };
            Ok(write.resolve_delete(over).await?.map(|()| None))
        }
        _ => Err(unreadable()),
    }
}

/// How the write ended, for repeats. What certainly wrote nothing may be tried again: a caller who
/// repeats after UNAVAILABLE, or after having removed an obstacle, does not want the old error back. A
/// creation that left something behind is not such a case: a repeat has to find it and complete it.
fn end(request: &WriteRequest, result: &Result<Written>) -> End {
    match result {
        Ok(written) => {
            End::Done(written.as_ref().map(Message::encode_to_vec).unwrap_or_default().into())
        }
        Err(error) if error.effect() != Effect::None => End::Unknown,
        Err(error)
            if error.reason() == Reason::PartiallyApplied
                && matches!(request.action, WriteAction::Create(_)) =>
        {
            End::Unknown
        }
        Err(error) => End::Failed(error.clone()),
    }
}

/// The error where the outcome of an earlier attempt was not found out, for whatever reason: its write may
/// have taken effect.
fn still_unresolved(error: Error) -> Error {
    match error.reason() {
        _ if error.facts().may_have_written => error,
        // Without the profile, the write cannot have changed anything, and never will.
        Reason::ProfileNotFound => error,
        _ => unknown(&error),
    }
}

fn replay(result: &[u8]) -> Result<Begun> {
    if result.is_empty() {
        return Ok(Begun::Replay(Box::new(Ok(None))));
    }
    let profile = Profile::decode(result).map_err(|error| {
        Error::new(
            Reason::WriteOutcomeUnknown,
            "the write is done, but its recorded result is unreadable",
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

fn still_running() -> Error {
    let message = "the deadline passed while an earlier call with this request_id was still running; \
                   retry with the same request_id to get its result";
    Error::new(Reason::WriteOutcomeUnknown, message)
        .with_kind(Kind::DeadlineExceeded)
        .with_effect(Effect::Unknown)
}
