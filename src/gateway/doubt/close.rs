//! Ends a write in doubt as someone says who has found out how it ended.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;

use super::{
    Doubts,
    check::{Asked, Outcome},
    describe::name_of,
};
use crate::{
    call::Call,
    error::{Effect, Error, Reason, Result, Retry, violation::Violations, whole_seconds},
    gateway::{
        door::{Allowed, Operates},
        idempotency::{Closed, Closing, Doubt, SettledAs},
        write::{
            audit::Subject,
            claims::Claim,
            intent::{Creation, IntentKind, WriteIntent},
            session,
        },
    },
    model::{method::Method, name::ProfileName},
    pb::{DoubtfulWrite, Profile},
    store::SOON,
    telemetry::Record,
};

const METHOD: Method = Method::CloseDoubtfulWrite;

impl Doubts {
    /// Closes a write in doubt, and returns it as it was. It is closed, and its audit record is
    /// written, even if the caller leaves. Its backend may not be configured any more: that is the
    /// error if there is no such write.
    pub(crate) async fn close(
        self: &Arc<Self>,
        call: &Call,
        backend: Result<Allowed<Operates>>,
        asked: Asked,
    ) -> Result<DoubtfulWrite> {
        let place = self.writes.enter(call.record.caller());
        let decorated = |error: Error| match &backend {
            Ok(backend) => backend.decorate(METHOD, error),
            Err(_) => error,
        };
        let place = place.map_err(|full| decorated(full.into()))?;
        let closing = Closer {
            doubts: Arc::clone(self),
            call: call.clone(),
            backend: backend.clone(),
            asked,
        };
        let closed = self.writes.spawn(async move {
            let _place = place;
            closing.run().await
        });
        let closed = closed.await.unwrap_or_else(|error| {
            let message = "internal error; see with `ListDoubtfulWrites` whether it is closed";
            Err(Error::new(Reason::GatewayInternal, message).with_internal(error))
        });
        closed.map_err(decorated)
    }
}

/// One write in doubt that is about to be closed.
struct Closer {
    doubts: Arc<Doubts>,
    call: Call,
    backend: Result<Allowed<Operates>>,
    asked: Asked,
}

impl Closer {
    async fn run(self) -> Result<DoubtfulWrite> {
        let doubt = self.find().await?;
        let kind = WriteIntent::read(&doubt.intent).ok();
        let closing = self.closing(&doubt, kind.as_ref())?;
        let unread = self.read_profile().await?;
        let subject = Subject::new(
            &self.call.record,
            METHOD.name(),
            doubt.resource.clone(),
            doubt.request_id().map(|id| id.to_string()).unwrap_or_default(),
        );
        let log = &self.doubts.ends.log;
        let about = |target| {
            let record = self.said(subject.begin(log.record(target)));
            record.maybe("profile_unread", unread.map(Reason::name))
        };
        let end = self.call.deadline.min(Instant::now() + SOON);
        let journaled = log.journal(about("journal").text("message", "about to close"), end).await;
        journaled.map_err(|cause| unjournaled(&cause))?;

        let result = match self.doubts.store().close(&doubt, closing).await {
            Ok(Closed::Closed(doubt)) => {
                self.ended(&doubt, kind.as_ref());
                Ok(self.doubts.describe(&doubt))
            }
            Ok(Closed::Missing) => Err(self.missing()),
            Ok(Closed::Attended) => Err(attended()),
            Err(error) => Err(error),
        };
        let outcome = result.as_ref().map_or_else(|error| error.reason().name(), |_| "OK");
        log.audit(about("audit").text("outcome", outcome));
        result
    }

    /// What both lines of the audit log have of it.
    fn said(&self, record: Record) -> Record {
        let Asked { name, outcome, note } = &self.asked;
        let profile = outcome.profile().map(ToString::to_string);
        record
            .text("doubtful_write", &name.to_string())
            .text("closed_as", outcome.name())
            .maybe("profile", profile.as_deref())
            .text("note", note)
    }

    async fn find(&self) -> Result<Doubt> {
        let found = match self.asked.name.number() {
            Some(number) => self.doubts.store().doubts(number.saturating_sub(1), 1).await?.pop(),
            None => None,
        };
        let found = found.filter(|doubt| name_of(doubt) == self.asked.name);
        found.ok_or_else(|| self.backend.as_ref().err().cloned().unwrap_or_else(|| self.missing()))
    }

    fn missing(&self) -> Error {
        let name = self.asked.name.to_string();
        let message = format!(
            "there is no write in doubt {name}: its outcome is known by now, or it was forgotten, \
             or it never was in doubt"
        );
        Error::new(Reason::DoubtfulWriteNotFound, message).with_resource(name)
    }

    /// How the store ends it, after what was said is held against what is known of it.
    fn closing(&self, doubt: &Doubt, kind: Option<&IntentKind>) -> Result<Closing> {
        match &self.asked.outcome {
            Outcome::HadNoEffect => {
                let left = Effect::SETTLES_WITHIN.saturating_sub(doubt.ended);
                if left.is_zero() { Ok(Closing::NoEffect) } else { Err(may_come(left)) }
            }
            Outcome::TookEffect(profile) => match (kind, profile) {
                (Some(IntentKind::Create(creation)), Some(profile)) => {
                    self.is_new(creation, profile)?;
                    Ok(Closing::TookEffect(self.result(creation.profile.clone(), profile)))
                }
                (Some(IntentKind::Change(_) | IntentKind::Delete(())), Some(_)) => {
                    let why = "must be empty: only a creation has made one";
                    Err(Error::invalid_field("profile", why))
                }
                (Some(IntentKind::Change(change)), None) => {
                    let name = ProfileName::parse("resource", &doubt.resource)?;
                    Ok(Closing::TookEffect(self.result(change.desired.clone(), &name)))
                }
                (Some(IntentKind::Delete(())), None) => Ok(Closing::TookEffect(Some(Bytes::new()))),
                (Some(IntentKind::Create(_)), None) | (None, _) => Ok(Closing::TookEffect(None)),
            },
        }
    }

    /// Refuses a profile that this creation cannot have made.
    fn is_new(&self, creation: &Creation, profile: &ProfileName) -> Result<()> {
        let mut violations = Violations::default();
        let claim = self.doubts.ends.claims.look_up(creation.number, &profile.to_string());
        let id = self.backend.as_ref().map_or(Ok(()), |backend| backend.check_id(profile));
        if let Err(error) = id {
            violations.add("profile", error.message());
        } else if creation.was_there(profile.id()) {
            violations.add("profile", "was there before this creation was sent");
        } else if matches!(claim, Ok(Claim::Other)) {
            violations.add("profile", "was made by another creation");
        }
        violations.into_result()
    }

    /// Refuses a profile that its upstream does not have: a repeat would be told of it. Where that
    /// cannot be found out, the one who closes the write is believed; returns why then.
    async fn read_profile(&self) -> Result<Option<Reason>> {
        let (Ok(backend), Some(profile)) = (&self.backend, self.asked.outcome.profile()) else {
            return Ok(None);
        };
        let left = self.call.deadline.saturating_duration_since(Instant::now());
        let session = session::for_reading_back(backend, &self.call);
        // The rest of the time is for what comes after it.
        let session = session.until(self.call.deadline - left / 2);
        match backend.dialect().get(&session, profile.id()).await {
            Err(error) if error.reason() == Reason::ProfileNotFound => {
                let why = "does not exist; name the profile that this creation has made, or leave \
                           this empty if it was deleted since";
                Err(Error::invalid_field("profile", why))
            }
            read => Ok(read.err().map(|error| error.reason())),
        }
    }

    /// What repeats get: the profile as it was to be. It has no etag, because it was not read. Only
    /// its backend can show it.
    fn result(&self, profile: Profile, name: &ProfileName) -> Option<Bytes> {
        let profile = self.backend.as_ref().ok()?.presented(name.id(), profile);
        Some(Profile { etag: String::new(), ..profile }.encode_to_vec().into())
    }

    /// It is closed: a creation leaves its profile to no other, and no other to it.
    fn ended(&self, doubt: &Doubt, kind: Option<&IntentKind>) {
        let (ends, by) = (&self.doubts.ends, format!("call {}", self.call.record.id()));
        if let (Some(IntentKind::Create(creation)), Some(profile)) =
            (kind, self.asked.outcome.profile())
        {
            ends.claims.claim(creation.number, &profile.to_string());
        }
        let ended = match self.asked.outcome {
            Outcome::TookEffect(_) => SettledAs::ClosedAsDone,
            Outcome::HadNoEffect => SettledAs::ClosedAsFailed,
        };
        ends.ended(doubt, ended.name(), Some(&by));
    }
}

/// The error while the outcome is being looked for.
fn attended() -> Error {
    let message = "a call is finding out the outcome of this write, or has just sent it again, or \
                   the gateway is completing what it has made; see with `ListDoubtfulWrites` \
                   whether it is still in doubt after that";
    Error::new(Reason::WriteInProgress, message)
}

/// The error for a write that may still take effect.
fn may_come(left: Duration) -> Error {
    let left = whole_seconds(left);
    let message = format!(
        "this write may still take effect within {}; before that, no one can know that it had none",
        humantime::format_duration(left)
    );
    Error::new(Reason::WriteInProgress, message).with_retry(Retry::After(Some(left)))
}

fn unjournaled(cause: &str) -> Error {
    let message = "this could not be journaled, and the write was not closed";
    Error::new(Reason::AuditUnavailable, message)
        .with_internal(format_args!("the audit log takes no lines: {cause}"))
}
