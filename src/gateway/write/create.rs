//! Creation: look which profiles are there, send, find out which profile is the new one, complete
//! it, read back.
//!
//! Nothing is added to a profile, and none is removed, before it is certain that this creation made
//! it: it was not there before, and a read shows the requested name. What the answer says is not
//! enough, because answers get mixed up and replayed.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    cache::Target,
    dialect::{Item, Named},
    error::{
        Error, Reason, Result,
        metadata::{PROFILE_ID, REMOVAL},
    },
    gateway::{
        agreement::{Agreement, Permission},
        backend::Backend,
        idempotency::Attempt,
        write::{
            audit::Journal,
            candidates::{Creating, Seen},
            completion::Completion,
            confirm::{confirmed, note, removed},
            intent::{Creation, IntentKind, WriteIntent},
            locks::Locked,
            outcome::{
                ambiguous, claims_undone, left_behind, may_be_removed, may_yet_happen, not_applied,
                not_shown, unidentified, unproven, unread, unresolved,
            },
            prepare,
            reconcile::{Until, announced, noting, reconcile, search},
            session::{self, AuditedSession},
            settle::{Look, Settled, settle},
        },
    },
    model::{name::ProfileName, spelling::likeness},
    pb::Profile,
};

/// The pause between the reads of an acknowledged profile until it shows.
const PAUSE: Duration = Duration::from_millis(200);

impl Creating<'_> {
    /// Creates a checked profile: looks which profiles are there, journals the creation, sends it,
    /// and returns the profile as read back from the upstream.
    pub(crate) async fn create(self, profile: Profile, journal: &mut Journal) -> Result<Profile> {
        let Self { backend, call, .. } = self;
        let name = &profile.display_name;
        let lock = self.locks.lock_creation(backend, name, call).await?;
        let mut running = self.claims.begin();
        let prepared = prepare::creation(backend, call, profile).await?;
        let namesake = prepared.namesake(backend);
        let (before, namesakes) = match prepared.before {
            Some(Named { all, items, .. }) => {
                (Some(all), items.into_iter().map(|item| item.id).collect())
            }
            None => (None, Vec::new()),
        };
        let creation = Creation::new(running.number(), prepared.profile, before);
        let creation = Creation { namesakes, ..creation };
        let intent = IntentKind::Create(Box::new(creation.clone()));
        session::admit(backend, call, None)?;
        running.sends(backend, &creation.profile)?;
        let permission = lock.about(backend, &affected(backend, &creation));
        if let Err(error) = journal.intend(&WriteIntent::new(intent), permission).await {
            running.settled();
            return Err(error);
        }
        let mut write = backend.cache().write(affected(backend, &creation));
        let result = self.send(&creation, permission).await;
        let result = result.map_err(|error| prepare::naming(error, namesake.as_ref()));
        note((&mut write, permission), backend, &creation, result.as_ref().ok());
        write.end(may_yet_happen(&result));
        if let Some(creation) = result.as_ref().err().and_then(|error| amended(creation, error)) {
            journal.amend(&WriteIntent::new(IntentKind::Create(Box::new(creation)))).await;
        }
        if !may_yet_happen(&result) {
            journal.settles(running.number());
        }
        if !journal.is_repeatable() {
            self.claims.kept().await;
        }
        result
    }

    /// Finds out the outcome of a creation that an earlier call sent, and completes the profile if
    /// it exists and that is `allowed`. `None` means that it does not exist, and that the earlier
    /// call can no longer create it. Who asks settles its claim once the outcome is kept.
    pub(crate) async fn resolve(
        self,
        creation: &Creation,
        until: Until,
        allowed: Completion<'_>,
        attempt: Option<&Attempt>,
    ) -> Result<Option<Profile>> {
        let Self { backend, call, .. } = self;
        let name = &creation.profile.display_name;
        let lock = self.locks.lock_creation(backend, name, call).await?;
        self.claims.adopt(creation.number, backend.name().id(), &creation.profile);
        let look = || async {
            match self.look_for_certain(creation).await? {
                Some(_) if creation.removal_pending && !until.is_over() => Err(may_be_removed()),
                found => Ok(found),
            }
        };
        let doubt = if creation.removal_pending { may_be_removed() } else { unresolved() };
        let search = search(&doubt, until, call, look);
        let target = affected(backend, creation);
        let permission = lock.about(backend, &target);
        let announced = announced(attempt, permission);
        let (found, write) = noting(backend.cache(), target, until, announced, search).await;
        let result = match found {
            Ok(Some(found)) => match allowed.begin(self, creation, found, until).await {
                Ok((found, lock)) => match self.claim(creation, &found.id).await {
                    Ok(()) => self.add_rest(found, creation, None, lock.as_ref()).await.map(Some),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            },
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if let Some(mut write) = write {
            let created = result.as_ref().ok().and_then(Option::as_ref);
            note((&mut write, permission), backend, creation, created);
            write.end(may_yet_happen(&result));
        }
        result
    }

    /// Sends a checked creation, and returns the profile as read back from the upstream.
    async fn send(self, creation: &Creation, permission: &Permission) -> Result<Profile> {
        let Self { backend, call, .. } = self;
        let port = session::for_write(backend, call, permission);
        match backend.dialect().create(&port, &creation.profile).await {
            Ok(id) => self.acknowledged(creation, &port, id).await,
            Err(failure) => {
                let look = || self.look_for_certain(creation);
                let settle_time = backend.settle_time();
                let found = reconcile(failure, settle_time, call, look).await?;
                self.complete(found, creation, None).await
            }
        }
    }

    /// Finds the profile of a creation that the upstream acknowledged with this id, or without one.
    async fn acknowledged(
        self,
        creation: &Creation,
        port: &AuditedSession<'_>,
        id: Option<String>,
    ) -> Result<Profile> {
        let (Self { backend, .. }, Creation { profile, before, .. }) = (self, creation);
        let (mut settle_time, named) = (backend.settle_time(), id.is_some());
        // An answer that names a profile that was there before, or that another creation has made,
        // is not about the new one.
        let id = id.filter(|id| !self.is_of_another(creation, id));
        if let Some(id) = id {
            let is_whole = backend.dialect().is_finished(profile, &Profile::default());
            match self.shown(creation, &id, is_whole).await {
                Ok(Some(_)) if before.is_none() && !is_whole => return Err(unproven(&id)),
                Ok(Some(found)) => return self.complete(found, creation, Some(port)).await,
                Ok(None) => {}
                // It has been waited for; a list may show it under another id.
                Err(error) if error.reason() == Reason::ProfileNotFound => {
                    settle_time = Duration::ZERO
                }
                Err(error) if is_whole => {
                    self.claim_new(creation, &id).await?;
                    let asked = Item { id, profile: profile.clone() };
                    return Ok(unread(backend.present(asked), &error));
                }
                Err(error) => {
                    self.claim_new(creation, &id).await?;
                    return Err(left_behind(&id, &error));
                }
            }
        }
        let found = self.found(creation, settle_time, named).await?;
        self.complete(found, creation, None).await
    }

    /// Finds the profile of an acknowledged creation in lists. One that only resembles it counts
    /// after the time that lists may lag behind, in which the new one would have shown, and only if
    /// nothing has to be added to it and the answer has not `named` another.
    async fn found(self, creation: &Creation, settle_time: Duration, named: bool) -> Result<Item> {
        let Self { backend, call, .. } = self;
        let shows = || async {
            Ok(match self.look(creation).await? {
                Seen::Certain(item) => Look::Shows(Seen::Certain(item)),
                other => Look::ShowsNot(other),
            })
        };
        let is_whole = || backend.dialect().is_finished(&creation.profile, &Profile::default());
        match settle(settle_time, call.deadline, shows).await {
            Settled::Shown(seen) | Settled::NotShown(seen) => match seen {
                Seen::Certain(item) => Ok(item),
                Seen::Resembling(item) if !named && is_whole() => Ok(item),
                Seen::Resembling(item) => Err(ambiguous(&[self.name_of(&item.id)])),
                Seen::Unclear(names) => Err(ambiguous(&names)),
                Seen::Nothing => Err(not_applied(&[], backend.settle_time())),
            },
            Settled::Open => Err(not_shown()),
            Settled::Unread(_) => {
                let look = || self.look_for_certain(creation);
                search(&unidentified(), Until::Deadline, call, look).await?.ok_or_else(unidentified)
            }
        }
    }

    /// The profile of this id, once a read shows it under the name of the creation; `None` if it
    /// has another name. If the creating request carried the `whole` profile, nothing depends on
    /// the read, and only a profile that does not show yet is read again.
    async fn shown(self, creation: &Creation, id: &str, whole: bool) -> Result<Option<Item>> {
        let Self { backend, call, .. } = self;
        let (session, asked) = (session::for_reading_back(backend, call), &creation.profile);
        let until = call.deadline.min(Instant::now() + backend.settle_time());
        // A read that fails does not outweigh one that showed no such profile.
        let mut missing = None;
        loop {
            let error = match backend.dialect().get(&session, id).await {
                Ok(item) => {
                    let name = item.profile.display_name.as_str();
                    let is_own = likeness(&asked.display_name, name).is_some();
                    // A profile without a name may be any.
                    return Ok((is_own || (whole && name.is_empty())).then_some(item));
                }
                Err(error) if error.reason() == Reason::ProfileNotFound => {
                    missing.insert(error).clone()
                }
                Err(error) => error,
            };
            let may_lag = !whole || missing.is_some();
            if !may_lag || Instant::now() + PAUSE >= until {
                return Err(missing.unwrap_or(error));
            }
            sleep(PAUSE).await;
        }
    }

    /// Claims a profile that is known to be the new one, and adds what the creating request could
    /// not carry, while no other write to it is running.
    /// `port`: with one, what fails is undone; without one, the profile is left as it is.
    async fn complete(
        self,
        found: Item,
        creation: &Creation,
        port: Option<&AuditedSession<'_>>,
    ) -> Result<Profile> {
        self.claim_new(creation, &found.id).await?;
        let mut lock = None;
        if !self.backend.dialect().is_finished(&creation.profile, &found.profile) {
            let name = ProfileName::of(self.backend.name(), &found.id);
            let locked = self.locks.lock(self.backend, &name, self.call).await;
            lock = Some(locked.map_err(|error| left_behind(&found.id, &error))?);
        }
        self.add_rest(found, creation, port, lock.as_ref()).await
    }

    /// The same, once it is claimed and its lock is held if anything is missing.
    async fn add_rest(
        self,
        found: Item,
        creation: &Creation,
        port: Option<&AuditedSession<'_>>,
        lock: Option<&Locked>,
    ) -> Result<Profile> {
        let Self { backend, call, .. } = self;
        let (dialect, asked) = (backend.dialect(), &creation.profile);
        if dialect.is_finished(asked, &found.profile) {
            let id = found.id.clone();
            return confirmed(backend, call, &id, asked, Some(found)).await;
        }
        // The creation's cache target does not cover the new id, and a step without an answer may
        // still change that profile.
        let target = Target::Profile(found.id.as_str().into());
        let permission = lock.ok_or_else(unlocked)?.about(backend, &target);
        permission.open(call.deadline).await.map_err(|error| left_behind(&found.id, &error))?;
        if port.is_some() {
            permission.goes_on();
        }
        let cleanup = session::for_cleanup(backend, call, permission);
        let mut write = backend.cache().write(target);
        let finished = match port {
            Some(port) => {
                match dialect.finish(&port.under(permission), Some(&cleanup), &found, asked).await {
                    Err(failure) if claims_undone(&failure) => {
                        let error = removed(backend, call, &found.id, failure).await;
                        if claims_undone(&error) {
                            write.undone(&found.id, backend.settle_time());
                        }
                        Err(error)
                    }
                    finished => finished,
                }
            }
            None => {
                let rest = session::for_completion(backend, call, permission);
                let finished = dialect.finish(&rest, None, &found, asked).await;
                finished.map_err(|failure| left_behind(&found.id, &failure))
            }
        };
        write.end(finished.is_err());
        permission.close(finished.is_err(), Agreement::answers_by(call.deadline)).await;
        finished?;
        confirmed(backend, call, &found.id, asked, None).await
    }
}

/// What a retry has to know of a creation that failed this way, if anything: that the gateway's own
/// removal of the profile may still take effect, or which profile is the new one.
fn amended(creation: Creation, error: &Error) -> Option<Creation> {
    if error.metadatum(REMOVAL).is_some() {
        return Some(Creation { removal_pending: true, ..creation });
    }
    let id = error.metadatum(PROFILE_ID).filter(|_| error.reason() == Reason::WriteNotApplied)?;
    Some(Creation { id: id.to_owned(), ..creation })
}

/// An error that cannot be: what is missing is only sent by who has the lock of the profile.
fn unlocked() -> Error {
    Error::new(Reason::GatewayInternal, "the new profile is not locked")
}

/// What a creation may affect.
fn affected(backend: &Backend, creation: &Creation) -> Target {
    match backend.dialect().affects_other_profiles(None, &creation.profile) {
        true => Target::Every,
        false => Target::New,
    }
}
