//! Whether a profile that an earlier call has made half may be completed, and when: as it is then,
//! and not while another write to it is running.

use tokio::time::Instant;

use crate::{
    call::Call,
    dialect::Item,
    error::{Error, Reason, Result, metadata::PROFILE_ID},
    gateway::{
        idempotency::{Attempt, Doubt},
        write::{
            candidates::Creating,
            demand::Demand,
            disabled,
            doubts::Doubts,
            intent::Creation,
            locks::Locked,
            outcome::{left_behind, left_incomplete, not_yet_completed, unresolved},
            reconcile::Until,
            session,
        },
    },
    model::name::ProfileName,
    store::SOON,
};

/// Whether a profile that an earlier call has made may be completed.
#[derive(Clone, Copy)]
pub(crate) enum Completion<'a> {
    /// A caller asks for it.
    Wanted,
    /// No caller was told that it is in doubt: once nothing of the earlier call can be under way
    /// any more, if no call wants to do it instead, and none has changed the profile.
    Due(Completer<'a>),
    /// Its caller was told, and may have acted since.
    NotDue,
}

/// The gateway itself, which may complete a profile.
#[derive(Clone, Copy)]
pub(crate) struct Completer<'a> {
    pub(crate) doubts: &'a Doubts,
    pub(crate) doubt: &'a Doubt,
    pub(crate) attempt: &'a Attempt,
    pub(crate) demand: &'a Demand,
}

impl Completion<'_> {
    /// Begins to complete a profile that was `found`, if that is allowed and anything is missing.
    /// Returns the profile as it is now, and its lock.
    pub(super) async fn begin(
        self,
        creating: Creating<'_>,
        creation: &Creation,
        found: Item,
        until: Until,
    ) -> Result<(Item, Option<Locked>)> {
        let Creating { backend, call, locks, .. } = creating;
        let (dialect, asked, id) = (backend.dialect(), &creation.profile, found.id.clone());
        if dialect.is_finished(asked, &found.profile) {
            return Ok((found, None));
        }
        let named = |error: Error| error.with_metadata(PROFILE_ID, id.as_str());
        let may_write = || match self {
            Self::Wanted => disabled::check(backend.levers()).map_err(|e| left_behind(&id, &e)),
            Self::Due(_) | Self::NotDue => disabled::check(backend.levers()).map_err(named),
        };
        match self {
            Self::NotDue => return Err(named(left_incomplete())),
            Self::Due(_) if !until.is_over() => return Err(named(not_yet_completed())),
            Self::Due(_) | Self::Wanted => may_write()?,
        }
        let name = ProfileName::of(backend.name(), &id);
        let lock =
            locks.lock(backend, &name, call).await.map_err(|error| match error.reason() {
                Reason::CallerCancelled => error,
                _ => left_behind(&id, &error),
            })?;
        let session = session::for_reading_back(backend, call);
        let found = match dialect.get(&session, &id).await {
            Err(error) if error.reason() == Reason::ProfileNotFound => return Err(unresolved()),
            found => found?,
        };
        if !dialect.is_finished(asked, &found.profile) {
            // It may have waited for long.
            may_write()?;
        }
        let Self::Due(completer) = self else { return Ok((found, Some(lock))) };
        if !locks.is_unwritten(&name) || !dialect.is_created(asked, &found.profile) {
            return Err(named(left_incomplete()));
        }
        if !dialect.is_finished(asked, &found.profile) {
            completer.begin(call).await?;
        }
        Ok((found, Some(lock)))
    }
}

impl Completer<'_> {
    /// Journals that the rest is about to be sent. From here on, the gateway gives way to no one.
    async fn begin(self, call: &Call) -> Result<()> {
        let Self { doubts, doubt, attempt, demand } = self;
        let end = call.deadline.min(Instant::now() + SOON);
        doubts.journal(doubt, end).await?;
        let begun = match attempt.goes_on().await {
            Ok(()) => demand.goes_on(),
            refused => refused,
        };
        begun.inspect_err(|error| doubts.audit(doubt, error.reason().name(), None))
    }
}
