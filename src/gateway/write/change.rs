//! Writes to an existing profile: updates, edits of its services, deletion.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    cache::{Acknowledged, Target, Write},
    dialect::ProfileUpdate,
    error::{Effect, Error, Reason, Result},
    gateway::{
        agreement::Permission,
        backend::Backend,
        idempotency::Attempt,
        write::{
            audit::Journal,
            intent::{IntendedChange, IntentKind, WriteIntent},
            locks::ProfileLocks,
            outcome::{
                claims_undone, conflicting, half_done, may_yet_happen, not_applied, not_shown,
                not_undone, still_there, unread, unresolved,
            },
            prepare::ExistingProfile,
            reconcile::{Until, announced, in_doubt, noting, reconcile, search},
            request::RequestedChange,
            session,
            settle::{Look, Settled, settle},
        },
    },
    pb::{Encoded, Profile},
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
    pub(crate) async fn change(self, change: &RequestedChange) -> Result<Profile> {
        let profile = self.profile;
        let lock = self.locks.lock(profile.backend, profile.name, profile.call).await?;
        let change = profile.prepare(change).await?;
        let intent = IntentKind::Change(Box::new(change.clone()));
        session::admit(profile.backend, profile.call, Some(profile.name.id()))?;
        let target = affected(&profile, &change);
        let permission = lock.about(profile.backend, &target);
        self.journal.intend(&WriteIntent::new(intent), permission).await?;
        self.locks.note_written(profile.name);
        let mut write = profile.backend.cache().write(target);
        let result = send_change(&profile, &change, permission).await;
        if let Ok(written) = &result {
            permission.made(profile.name.id(), Some(&written.etag));
            note_change(&mut write, &profile, change);
        }
        write.end(may_yet_happen(&result));
        result
    }

    /// Deletes the profile: takes its lock, compares the etag, journals the deletion and sends it.
    pub(crate) async fn delete(self, etag: &str) -> Result<()> {
        let profile = self.profile;
        profile.backend.check_id(profile.name)?;
        let lock = self.locks.lock(profile.backend, profile.name, profile.call).await?;
        if !etag.is_empty() {
            profile.read_matching(etag).await?;
        }
        session::admit(profile.backend, profile.call, Some(profile.name.id()))?;
        let permission = lock.about(profile.backend, &only(&profile));
        self.journal.intend(&WriteIntent::new(IntentKind::Delete(())), permission).await?;
        self.locks.note_written(profile.name);
        let mut write = profile.backend.cache().write(only(&profile));
        let result = send_delete(&profile, permission).await;
        if result.is_ok() {
            permission.made(profile.name.id(), None);
            note_deletion(&mut write, &profile);
        }
        write.end(may_yet_happen(&result));
        result
    }
}

/// A write to one profile that an earlier call sent.
pub(crate) struct EarlierWrite<'a> {
    pub(crate) profile: ExistingProfile<'a>,
    pub(crate) locks: &'a ProfileLocks,
    /// What finds it out.
    pub(crate) attempt: Option<&'a Attempt>,
}

impl EarlierWrite<'_> {
    /// Finds out the outcome of a change. `None` means that it has not taken effect and no longer
    /// can.
    pub(crate) async fn resolve_change(
        self,
        change: &IntendedChange,
        until: Until,
    ) -> Result<Option<Profile>> {
        let profile = self.profile;
        let dialect = profile.backend.dialect();
        let lock = self.locks.lock(profile.backend, profile.name, profile.call).await?;
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
        let (cache, target) = (profile.backend.cache(), affected(&profile, change));
        let doubt = unresolved();
        let search = search(&doubt, until, profile.call, look);
        let permission = lock.about(profile.backend, &target);
        let announced = announced(self.attempt, permission);
        let (result, write) = noting(cache, target, until, announced, search).await;
        if let Some(mut write) = write {
            if let Ok(Some(found)) = &result {
                permission.made(profile.name.id(), Some(&found.etag));
                self.locks.note_written(profile.name);
                note_change(&mut write, &profile, change.clone());
            }
            write.end(may_yet_happen(&result));
        }
        result
    }

    /// The same for a deletion.
    pub(crate) async fn resolve_delete(self, until: Until) -> Result<Option<()>> {
        let profile = self.profile;
        let lock = self.locks.lock(profile.backend, profile.name, profile.call).await?;
        let (doubt, look) = (unresolved(), || look_for_absence(&profile));
        let search = search(&doubt, until, profile.call, look);
        let (cache, target) = (profile.backend.cache(), only(&profile));
        let permission = lock.about(profile.backend, &target);
        let announced = announced(self.attempt, permission);
        let (result, write) = noting(cache, target, until, announced, search).await;
        if let Some(mut write) = write {
            if matches!(result, Ok(Some(()))) {
                permission.made(profile.name.id(), None);
                note_deletion(&mut write, &profile);
            }
            write.end(may_yet_happen(&result));
        }
        result
    }
}

async fn send_change(
    profile: &ExistingProfile<'_>,
    change: &IntendedChange,
    permission: &Permission,
) -> Result<Profile> {
    let backend: &Backend = profile.backend;
    let session = session::for_write(backend, profile.call, permission);
    match backend.dialect().update(&session, profile.as_update(change)).await {
        Ok(()) => acknowledged(profile, change).await,
        Err(failure) if claims_undone(&failure) => Err(undone(profile, change, failure).await),
        Err(failure) => {
            let half = half_done(&failure);
            let look = || look_for_change(profile, change, &half);
            reconcile(failure, backend.settle_time(), profile.call, look).await
        }
    }
}

/// The profile after a change that the upstream acknowledged, once its reads show the change.
async fn acknowledged(profile: &ExistingProfile<'_>, change: &IntendedChange) -> Result<Profile> {
    let settle_time = profile.backend.settle_time();
    match settle(settle_time, profile.call.deadline, || look_whether(profile, change)).await {
        Settled::Shown(found) => found,
        Settled::Unread(error) => Ok(unread(profile.presented(change.desired.clone()), &error)),
        Settled::NotShown(found) => {
            let others = found.map_or(Ok(Vec::new()), |found| profile.disagreeing(change, &found));
            Err(not_applied(&others?, settle_time))
        }
        Settled::Open => Err(not_shown()),
    }
}

/// The error for a change that failed half way and was undone, once reads show that. The step that
/// failed may still take effect: then it is looked for as well.
async fn undone(profile: &ExistingProfile<'_>, change: &IntendedChange, failure: Error) -> Error {
    let IntendedChange { current, desired } = change.clone();
    let back = IntendedChange { current: desired, desired: current };
    let settle_time = profile.backend.settle_time();
    // What cannot be read does not show it either.
    let look = || async {
        Ok(look_whether(profile, &back).await.unwrap_or_else(|error| Look::ShowsNot(Err(error))))
    };
    let mut settled = settle(settle_time, profile.call.deadline, look).await;
    if failure.effect() != Effect::None && matches!(settled, Settled::Shown(_)) {
        let late = || async {
            let found = look_whether(profile, &back).await?;
            Ok(matches!(found, Look::ShowsNot(_)).then_some(()))
        };
        let until = Until::Settled(Instant::now() + settle_time);
        match search(&failure, until, profile.call, late).await {
            Ok(None) => {}
            // A read may have been older than the one before.
            Ok(Some(())) => settled = settle(settle_time, profile.call.deadline, look).await,
            Err(error) => return error,
        }
    }
    match settled {
        Settled::Shown(_) => match failure.effect() {
            Effect::None => failure,
            _ => in_doubt(failure),
        },
        // Nothing is left of it.
        Settled::NotShown(Err(gone)) if gone.reason() == Reason::ProfileNotFound => gone,
        Settled::NotShown(_) | Settled::Unread(_) | Settled::Open => {
            not_undone(profile.name.id(), "partially changed", &failure)
        }
    }
}

/// Whether a read shows an acknowledged change. A profile that is not there does not.
async fn look_whether(
    profile: &ExistingProfile<'_>,
    change: &IntendedChange,
) -> Result<Look<Result<Profile>>> {
    let session = session::for_reading_back(profile.backend, profile.call);
    let found = match profile.read_through(&session).await {
        Ok(found) => found,
        Err(error) if error.reason() == Reason::ProfileNotFound => {
            return Ok(Look::ShowsNot(Err(error)));
        }
        Err(error) => return Err(error),
    };
    Ok(match profile.backend.dialect().agrees(profile.as_update(change), &found) {
        true => Look::Shows(Ok(found)),
        false => Look::ShowsNot(Ok(found)),
    })
}

/// Notes a change whose effect later reads may not show yet.
fn note_change(write: &mut Write, profile: &ExistingProfile<'_>, change: IntendedChange) {
    let (dialect, id) = (profile.backend.dialect().clone(), profile.name.id().to_owned());
    let contradicts = Arc::new(move |found: &Encoded<Profile>| {
        let IntendedChange { current, desired } = &change;
        let change = ProfileUpdate { id: &id, current, desired };
        found.message().is_ok_and(|found| !dialect.agrees(change, &found))
    });
    let written = Acknowledged::Written(contradicts);
    write.acknowledged(profile.name.id(), written, profile.backend.settle_time());
}

/// The same for a deletion.
fn note_deletion(write: &mut Write, profile: &ExistingProfile<'_>) {
    let settle_time = profile.backend.settle_time();
    write.acknowledged(profile.name.id(), Acknowledged::Deleted, settle_time);
}

async fn look_for_change(
    profile: &ExistingProfile<'_>,
    change: &IntendedChange,
    half: &Error,
) -> Result<Option<Profile>> {
    let (backend, IntendedChange { current, desired }) = (profile.backend, change);
    let session = session::for_reading_back(backend, profile.call);
    let found = profile.read_through(&session).await?;
    if backend.dialect().is_applied(profile.as_update(change), &found) {
        return Ok(Some(found));
    }
    let id = profile.name.id();
    let back = ProfileUpdate { id, current: desired, desired: current };
    match backend.dialect().agrees(back, &found) {
        true => Ok(None),
        false => Err(half.clone()),
    }
}

async fn send_delete(profile: &ExistingProfile<'_>, permission: &Permission) -> Result<()> {
    let backend: &Backend = profile.backend;
    let session = session::for_write(backend, profile.call, permission);
    match backend.dialect().delete(&session, profile.name.id()).await {
        Ok(()) if backend.confirms_deletions() => gone(profile).await,
        Ok(()) => Ok(()),
        Err(failure) => {
            let look = || look_for_absence(profile);
            reconcile(failure, backend.settle_time(), profile.call, look).await
        }
    }
}

/// Waits until reads show that an acknowledged deletion was carried out.
async fn gone(profile: &ExistingProfile<'_>) -> Result<()> {
    let settle_time = profile.backend.settle_time();
    let look = || async {
        Ok(match look_for_absence(profile).await? {
            Some(()) => Look::Shows(()),
            None => Look::ShowsNot(()),
        })
    };
    match settle(settle_time, profile.call.deadline, look).await {
        Settled::Shown(()) | Settled::Unread(_) => Ok(()),
        Settled::NotShown(()) => Err(still_there(settle_time)),
        Settled::Open => Err(not_shown()),
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
