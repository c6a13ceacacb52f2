//! A write from the moment its request is checked: recognized if it is a repeat, resolved if an earlier
//! attempt is in doubt, carried out in a task of its own, known to later repeats.

use std::sync::Arc;

use prost::Message;
use tokio::time::timeout_at;
use uuid::Uuid;

use crate::{
    call::Call,
    dialect::Edit,
    error::{Effect, Error, Kind, Reason, Result, violation::Violation},
    gateway::{
        Backend, Gateway,
        idempotency::{Attempt, Begin, End, RequestIdentity},
        write::{
            audit::{Audit, Journal},
            change::{Work, may_yet_happen},
            create,
            intent::{IntentKind, UnresolvedAttempt, WriteIntent},
            reconcile::unknown,
        },
    },
    model::{mask::Update, name::ProfileName},
    pb::Profile,
};

/// What a write answers: the profile, or nothing where it was deleted.
pub(crate) type Answer = Option<Profile>;

/// A checked request to write.
pub(crate) struct WriteRequest {
    pub(crate) backend: Arc<Backend>,
    pub(crate) call: Call,
    pub(crate) method: &'static str,
    /// The profile; a creation has none yet.
    pub(crate) name: Option<ProfileName>,
    pub(crate) action: WriteAction,
    pub(crate) validate_only: bool,
    /// In the usual form of a UUID; empty when there is none.
    pub(crate) request_id: String,
    /// What repeats are recognized by. Nothing is written for `validate_only`, so there are none.
    pub(crate) identity: Option<RequestIdentity>,
}

/// What to write.
pub(crate) enum WriteAction {
    Create(Profile),
    Update(Update, Profile),
    Delete { etag: String, allow_missing: bool },
    Edit(Edit),
}

/// Takes the `request_id` out of a request that is checked.
pub(crate) fn identify<R: Message>(
    method: &'static str,
    request: &mut R,
    request_id: impl FnOnce(&mut R) -> &mut String,
) -> (String, Option<RequestIdentity>) {
    let written = std::mem::take(request_id(request));
    let identity = RequestIdentity::of(method, &written, request);
    (identity.map_or(written, |identity| identity.id.to_string()), identity)
}

/// What a call has to do.
enum Begun {
    /// Nothing: it repeats one that is over, and shares its answer.
    Replay(Box<Result<Answer>>),
    /// Write, but first find out what became of an earlier attempt.
    Write(Option<Attempt>, Option<UnresolvedAttempt>),
}

impl Gateway {
    /// Carries a write out once, however often it is asked for under its `request_id`. It runs in a
    /// tracked task of its own, which ends with the call's deadline.
    pub(crate) async fn carry_out(&self, order: WriteRequest) -> Result<Answer> {
        let audit = Audit::begin(&order);
        let (attempt, doubt) = match self.begin(&order).await {
            Ok(Begun::Write(attempt, doubt)) => (attempt, doubt),
            Ok(Begun::Replay(answer)) => {
                audit.replayed(&answer);
                return *answer;
            }
            Err(error) => {
                let error = Err(error);
                audit.ended(&error);
                return error;
            }
        };
        let (mut journal, audit) = (Journal::new(&order, attempt), audit.detached());
        let write = async move {
            let result = order.carry_out(&mut journal, doubt).await;
            if !order.validate_only && (result.is_ok() || may_yet_happen(&result)) {
                order.backend.poller().written();
            }
            let result = result.map_err(|error| order.fail(error));
            journal.finish(order.end(&result)).await;
            audit.over(&result, &journal);
            result
        };
        self.writes.spawn(write).await.unwrap_or_else(|error| {
            // Without the panic's text, which may quote a request or a secret; its place is logged.
            let message = "the write ended in a fault of the gateway; it may or may not have taken \
                           effect; repeat it with the same request_id, or without one read before \
                           writing again";
            Err(Error::new(Reason::WriteOutcomeUnknown, message)
                .with_effect(Effect::Unknown)
                .with_internal(if error.is_panic() { "panicked" } else { "cancelled" }))
        })
    }

    /// Finds out whether the write is a repeat, and waits for one that is under way.
    async fn begin(&self, order: &WriteRequest) -> Result<Begun> {
        let Some(identity) = &order.identity else { return Ok(Begun::Write(None, None)) };
        let attempt = |number| Attempt::new(Arc::clone(&self.requests), identity.id, number);
        loop {
            let begin = self.requests.begin(identity).await;
            match begin.map_err(|error| order.fail(error))? {
                Begin::Fresh(number) => return Ok(Begun::Write(Some(attempt(number)), None)),
                Begin::Unknown { attempt: number, intent, ended } => {
                    order.call.record.set_repeats();
                    let attempt = attempt(number);
                    let what = WriteIntent::read(&intent).map_err(|error| order.fail(error))?;
                    return Ok(Begun::Write(
                        Some(attempt),
                        Some(UnresolvedAttempt::new(what, ended)),
                    ));
                }
                Begin::Done(result) => return replay(&result).map_err(|e| order.fail(e)),
                Begin::Reused => return Err(order.fail(reused(identity.id))),
                Begin::Running(ending) => {
                    order.call.record.set_repeats();
                    match timeout_at(order.call.deadline, ending).await {
                        Ok(Some(End::Done(result))) => {
                            return replay(&result).map_err(|e| order.fail(e));
                        }
                        // Explained where it arose.
                        Ok(Some(End::Failed(error))) => {
                            return Ok(Begun::Replay(Box::new(Err(error))));
                        }
                        Ok(Some(End::Unknown) | None) => {}
                        Err(_) => return Err(order.fail(still_running())),
                    }
                }
            }
        }
    }
}

impl WriteRequest {
    /// The resource that the write is about: the profile, or the backend of one to create.
    pub(crate) fn resource(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => self.backend.name().to_string(),
        }
    }

    pub(crate) fn fail(&self, error: Error) -> Error {
        match &self.name {
            Some(name) => self.backend.fail_profile(self.method, name, error),
            None => self.backend.fail(self.method, error),
        }
    }

    async fn carry_out(
        &self,
        journal: &mut Journal,
        doubt: Option<UnresolvedAttempt>,
    ) -> Result<Answer> {
        if let Some(doubt) = doubt
            && let Some(answer) = self.resolve(doubt, journal).await.map_err(still_in_doubt)?
        {
            return Ok(answer);
        }
        let Some(name) = &self.name else {
            let WriteAction::Create(profile) = &self.action else { return Err(nameless()) };
            let create = create::create(self, journal, profile.clone()).await?;
            return Ok(Some(create));
        };
        let work = Work { backend: &self.backend, call: &self.call, name, journal };
        match &self.action {
            WriteAction::Create(_) => Err(nameless()),
            WriteAction::Update(update, request) => {
                work.update(update, request, self.validate_only).await.map(Some)
            }
            WriteAction::Edit(edit) => work.edit(edit).await.map(Some),
            WriteAction::Delete { etag, allow_missing } => {
                match work.delete(etag, self.validate_only).await {
                    Err(e) if *allow_missing && e.reason() == Reason::ProfileNotFound => Ok(None),
                    result => result.map(|()| None),
                }
            }
        }
    }

    /// Finds out what became of an earlier attempt. `None`: it surely has no effect, so that it may be
    /// written again.
    async fn resolve(
        &self,
        doubt: UnresolvedAttempt,
        journal: &mut Journal,
    ) -> Result<Option<Answer>> {
        let Some(name) = &self.name else {
            let IntentKind::Create(creation) = &doubt.what else { return Err(nameless()) };
            let found = create::resolve(&self.backend, &self.call, creation, doubt.over).await?;
            return Ok(found.map(Some));
        };
        let work = Work { backend: &self.backend, call: &self.call, name, journal };
        match &doubt.what {
            IntentKind::Create(_) => Err(nameless()),
            IntentKind::Change(change) => {
                Ok(work.resolve_change(change, doubt.over).await?.map(Some))
            }
            IntentKind::Delete(()) => Ok(work.resolve_delete(doubt.over).await?.map(|()| None)),
        }
    }

    /// How the write ended, for repeats. What surely wrote nothing may be tried again: a caller who
    /// repeats after UNAVAILABLE, or after having removed what stood in the way, does not want the
    /// old error back. A creation that left something behind is not such a case: a repeat has to find
    /// it and complete it.
    fn end(&self, result: &Result<Answer>) -> End {
        match result {
            Ok(answer) => {
                End::Done(answer.as_ref().map(Message::encode_to_vec).unwrap_or_default().into())
            }
            Err(error) if error.effect() != Effect::None => End::Unknown,
            Err(error)
                if error.reason() == Reason::PartiallyApplied
                    && matches!(self.action, WriteAction::Create(_)) =>
            {
                End::Unknown
            }
            Err(error) => End::Failed(error.clone()),
        }
    }
}

/// The error of a resolution that did not come to an end, in whatever way: the write may have happened.
fn still_in_doubt(error: Error) -> Error {
    match error.reason() {
        Reason::WriteOutcomeUnknown | Reason::PartiallyApplied => error,
        // Without the profile there is nothing that it could have changed, or could still change.
        Reason::ProfileNotFound => error,
        _ => unknown(&error),
    }
}

fn replay(result: &[u8]) -> Result<Begun> {
    if result.is_empty() {
        return Ok(Begun::Replay(Box::new(Ok(None))));
    }
    let profile = Profile::decode(result).map_err(|error| {
        Error::new(Reason::WriteOutcomeUnknown, "the write is done, but its result cannot be read")
            .with_effect(Effect::Unknown)
            .with_internal(error)
    })?;
    Ok(Begun::Replay(Box::new(Ok(Some(profile)))))
}

fn reused(id: Uuid) -> Error {
    let message = format!("invalid request: request_id: {id} was used with another request");
    Error::new(Reason::RequestIdReused, message).with_violation(Violation {
        field: "request_id".to_owned(),
        description: "was used with another request; each request takes an id of its own"
            .to_owned(),
        reason: Reason::RequestIdReused,
    })
}

fn still_running() -> Error {
    let message = "the deadline passed while an earlier call with this request_id was still writing; \
                   repeat it to learn what became of it";
    Error::new(Reason::WriteOutcomeUnknown, message)
        .with_kind(Kind::DeadlineExceeded)
        .with_effect(Effect::Unknown)
}

/// A write without the name of a profile that is no creation: a fault of this program.
fn nameless() -> Error {
    Error::new(Reason::GatewayInternal, "a fault in the gateway").with_internal("a nameless write")
}
