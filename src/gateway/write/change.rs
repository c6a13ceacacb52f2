//! Writes to an existing profile: updates, edits of its services, deletion.

use tokio::time::Instant;

use crate::{
    cache::Target,
    error::{Reason, Result},
    gateway::{
        backend::Backend,
        write::{
            audit::Journal,
            intent::{IntendedChange, IntentKind, WriteIntent},
            locks::ProfileLocks,
            outcome::{conflicting, may_yet_happen, unread, unresolved},
            prepare::ExistingProfile,
            reconcile::{reconcile, search},
            request::RequestedChange,
            session,
        },
    },
    pb::Profile,
};

/// A write to one profile. Its lock lets only one write at a time run on each profile.
pub(crate) struct ProfileWrite<'a> {
    pub(crate) profile: ExistingProfile<'a>,
    pub(crate) locks: &'a ProfileLocks,
    pub(crate) journal: &'a mut Journal,
}

impl ProfileWrite<'_> {
    /// Changes the profile: takes its lock, reads it, journals the change, sends it, and returns
    /// the profile as read back from the upstream.
    pub(crate) async fn change(
        self,
        change: &RequestedChange,
        validate_only: bool,
    ) -> Result<Profile> {
        let profile = self.profile;
        let _lock = self.locks.lock(profile.name, profile.call.deadline).await?;
        let change = profile.prepare(change).await?;
        if validate_only {
            profile.check_name(&change).await?;
            return Ok(profile.presented(change.desired));
        }
        let intent = IntentKind::Change(Box::new(change.clone()));
        self.journal.intend(&WriteIntent::new(intent)).await?;
        let write = profile.backend.cache().write(affected(&profile, &change));
        let result = send_change(&profile, &change).await;
        write.end(may_yet_happen(&result));
        result
    }

    /// Deletes the profile: takes its lock, compares the etag, journals the deletion and sends it.
    pub(crate) async fn delete(self, etag: &str, validate_only: bool) -> Result<()> {
        let profile = self.profile;
        profile.backend.check_id(profile.name)?;
        let _lock = self.locks.lock(profile.name, profile.call.deadline).await?;
        if validate_only || !etag.is_empty() {
            profile.read_matching(etag).await?;
        }
        if validate_only {
            return Ok(());
        }
        self.journal.intend(&WriteIntent::new(IntentKind::Delete(()))).await?;
        let write = profile.backend.cache().write(only(&profile));
        let result = send_delete(&profile).await;
        write.end(may_yet_happen(&result));
        result
    }

    /// Finds out the outcome of a change that an earlier call sent. `None` means that it has not
    /// taken effect and no longer can.
    pub(crate) async fn resolve_change(
        self,
        change: &IntendedChange,
        over: Instant,
    ) -> Result<Option<Profile>> {
        let profile = self.profile;
        let dialect = profile.backend.dialect();
        let _lock = self.locks.lock(profile.name, profile.call.deadline).await?;
        let IntendedChange { current, desired } = change.clone();
        let undone = IntendedChange { current: desired, desired: current };
        let look = || async {
            let session = session::for_reading_back(profile.backend, profile.call);
            let found = profile.read_through(&session).await?;
            if dialect.is_applied(profile.as_update(change), &found) {
                return Ok(Some(found));
            }
            match dialect.is_applied(profile.as_update(&undone), &found) {
                true => Ok(None),
                false => Err(conflicting()),
            }
        };
        let write = profile.backend.cache().write(affected(&profile, change));
        let result = search(&unresolved(), Some(over), profile.call.deadline, look).await;
        write.end(may_yet_happen(&result));
        result
    }

    /// The same for a deletion.
    pub(crate) async fn resolve_delete(self, over: Instant) -> Result<Option<()>> {
        let profile = self.profile;
        let _lock = self.locks.lock(profile.name, profile.call.deadline).await?;
        let write = profile.backend.cache().write(only(&profile));
        let look = || look_for_absence(&profile);
        let result = search(&unresolved(), Some(over), profile.call.deadline, look).await;
        write.end(may_yet_happen(&result));
        result
    }
}

async fn send_change(profile: &ExistingProfile<'_>, change: &IntendedChange) -> Result<Profile> {
    let backend: &Backend = profile.backend;
    let session = session::for_write(backend, profile.call);
    match backend.dialect().update(&session, profile.as_update(change)).await {
        Ok(()) => match profile.read().await {
            Ok(found) => Ok(found),
            Err(error) => Ok(unread(profile.presented(change.desired.clone()), &error)),
        },
        Err(failure) => {
            let look = || look_for_change(profile, change);
            reconcile(failure, profile.call.deadline, look).await
        }
    }
}

async fn look_for_change(
    profile: &ExistingProfile<'_>,
    change: &IntendedChange,
) -> Result<Option<Profile>> {
    let session = session::for_reading_back(profile.backend, profile.call);
    let found = profile.read_through(&session).await?;
    let applied = profile.backend.dialect().is_applied(profile.as_update(change), &found);
    Ok(applied.then_some(found))
}

async fn send_delete(profile: &ExistingProfile<'_>) -> Result<()> {
    let backend: &Backend = profile.backend;
    let session = session::for_write(backend, profile.call);
    match backend.dialect().delete(&session, profile.name.id()).await {
        Ok(()) => Ok(()),
        Err(failure) => {
            let look = || look_for_absence(profile);
            reconcile(failure, profile.call.deadline, look).await
        }
    }
}

async fn look_for_absence(profile: &ExistingProfile<'_>) -> Result<Option<()>> {
    let session = session::for_reading_back(profile.backend, profile.call);
    match profile.read_through(&session).await {
        Ok(_) => Ok(None),
        Err(error) if error.reason() == Reason::ProfileNotFound => Ok(Some(())),
        Err(error) => Err(error),
    }
}

fn only(profile: &ExistingProfile<'_>) -> Target {
    Target::Profile(profile.name.id().into())
}

/// What a change may affect.
fn affected(profile: &ExistingProfile<'_>, change: &IntendedChange) -> Target {
    match profile.backend.dialect().affects_other_profiles(Some(&change.current), &change.desired) {
        true => Target::Every,
        false => only(profile),
    }
}
