//! Writes: check, send, settle, read back.
//!
//! A write runs in a task of its own, so that a caller who leaves does not leave it half done; the
//! task ends with the call's deadline at the latest.

use std::{collections::HashSet, future::Future, sync::Arc};

use crate::{
    dialect::{Change, Dialect, Edit, Item},
    error::{Effect, Error, Reason, Result, reason_name},
    gateway::{Backend, Call, Gateway, Record, settle::settle},
    model::{
        capability::Method,
        check,
        mask::Update,
        name::{BackendName, ProfileName},
        violation::Violations,
    },
    pb::{CreateProfileRequest, DeleteProfileRequest, Profile, UpdateProfileRequest},
};

impl Gateway {
    /// Creates a profile.
    pub async fn create_profile(
        &self,
        call: &Call,
        request: CreateProfileRequest,
    ) -> Result<Profile> {
        const OPERATION: &str = Method::CreateProfile.name();
        let parent = BackendName::parse("parent", &request.parent)?;
        let backend = Arc::clone(self.backend(call, &parent, OPERATION)?);
        backend.require(Method::CreateProfile)?;
        let mut violations = Violations::default();
        check::request_id(&request.request_id, &mut violations);
        let profile = match request.profile {
            Some(profile) => check_new(&backend, profile, &mut violations)?,
            None => {
                violations.add("profile", "is required");
                Profile::default()
            }
        };
        violations.into_result().map_err(|error| backend.explain(OPERATION, error))?;

        let (call, validate_only) = (call.clone(), request.validate_only);
        let what = (OPERATION, parent.to_string(), request.request_id);
        self.detached(what, Arc::clone(&call.record), async move {
            let create = create(&backend, &call, profile, validate_only).await;
            create.map_err(|error| backend.explain(OPERATION, error))
        })
        .await
    }

    /// Changes a profile.
    pub async fn update_profile(
        &self,
        call: &Call,
        request: UpdateProfileRequest,
    ) -> Result<Profile> {
        const OPERATION: &str = Method::UpdateProfile.name();
        let Some(profile) = request.profile else {
            let mut violations = Violations::default();
            violations.add("profile", "is required, with its name");
            violations.into_result()?;
            return Err(Error::new(Reason::ValidationFailed, "profile is required"));
        };
        let name = ProfileName::parse("profile.name", &profile.name)?;
        let backend = Arc::clone(self.backend(call, name.backend(), OPERATION)?);
        backend.require(Method::UpdateProfile)?;
        backend.require_id(OPERATION, &name)?;
        let explained = {
            let (backend, name) = (Arc::clone(&backend), name.clone());
            move |error| backend.explain_profile(OPERATION, &name, error)
        };
        let dialect = backend.dialect();
        let mut violations = Violations::default();
        check::request_id(&request.request_id, &mut violations);
        let mask = request.update_mask.as_ref();
        let capabilities = dialect.capabilities();
        let update = Update::parse(mask, &profile, capabilities, dialect.name(), &mut violations)?;
        check::values(&profile, &mut violations)?;
        dialect.check_fields(&profile, &|field| update.touches(field), &mut violations);
        violations.into_result().map_err(&explained)?;

        let (call, validate_only) = (call.clone(), request.validate_only);
        let what = (OPERATION, name.to_string(), request.request_id);
        self.detached(what, Arc::clone(&call.record), async move {
            let work = Work { backend: &backend, call: &call, name: &name };
            work.update(&update, &profile, validate_only).await.map_err(explained)
        })
        .await
    }

    /// Deletes a profile.
    pub async fn delete_profile(&self, call: &Call, request: DeleteProfileRequest) -> Result<()> {
        const OPERATION: &str = Method::DeleteProfile.name();
        let name = ProfileName::parse("name", &request.name)?;
        let backend = Arc::clone(self.backend(call, name.backend(), OPERATION)?);
        backend.require(Method::DeleteProfile)?;
        let mut violations = Violations::default();
        check::request_id(&request.request_id, &mut violations);
        violations.into_result().map_err(|error| backend.explain(OPERATION, error))?;
        let missing_is_fine = |error: Error| match error.reason() {
            Reason::ProfileNotFound if request.allow_missing => Ok(()),
            _ => Err(error),
        };
        if let Err(error) = backend.require_id(OPERATION, &name) {
            return missing_is_fine(error);
        }
        let (call, etag, validate_only) = (call.clone(), request.etag, request.validate_only);
        let what = (OPERATION, name.to_string(), request.request_id);
        self.detached(what, Arc::clone(&call.record), async move {
            let work = Work { backend: &backend, call: &call, name: &name };
            let delete = work.delete(&etag, validate_only).await;
            delete.map_err(|error| backend.explain_profile(OPERATION, &name, error))
        })
        .await
        .or_else(missing_is_fine)
    }

    /// Runs a write in a tracked task of its own, and leaves a record of how it ended: the access log
    /// of a caller who left cannot say it.
    pub(super) async fn detached<T: Send + 'static>(
        &self,
        (method, resource, request_id): (&'static str, String, String),
        record: Arc<Record>,
        write: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let audited = async move {
            let result = write.await;
            tracing::info!(
                target: "audit",
                method,
                resource,
                request_id,
                outcome = result.as_ref().err().map_or("OK", |e| reason_name(e.reason())),
                upstream_calls = record.upstream_calls(),
            );
            result
        };
        self.writes.spawn(audited).await.unwrap_or_else(|error| {
            // Without the panic's text, which may quote a request or a secret; its place is logged.
            let message = "the write ended in a fault of the gateway; it may or may not have taken \
                           effect, read before writing again";
            Err(Error::new(Reason::WriteOutcomeUnknown, message)
                .with_effect(Effect::Unknown)
                .with_internal(if error.is_panic() { "panicked" } else { "cancelled" }))
        })
    }
}

/// Checks a profile to create, and gives it without what only the gateway sets.
fn check_new(backend: &Backend, profile: Profile, violations: &mut Violations) -> Result<Profile> {
    let dialect = backend.dialect();
    let profile = Profile {
        name: String::new(),
        dialect: 0,
        endpoint_count: None,
        etag: String::new(),
        unmapped: None,
        ..profile
    };
    check::create(&profile, dialect.capabilities(), dialect.name(), violations)?;
    dialect.check_fields(&profile, &|_| true, violations);
    dialect.check_whole(&profile, None, violations)?;
    Ok(profile)
}

async fn create(
    backend: &Backend,
    call: &Call,
    profile: Profile,
    validate_only: bool,
) -> Result<Profile> {
    let (dialect, session) = (backend.dialect(), backend.session(call));
    let profile = dialect.resolve(&session, profile, None).await?;
    let named_alike = async || dialect.named(&session, &profile.display_name).await;
    // Whose name it was before: should the answer get lost, those are surely not ours.
    let before = named_alike().await;
    if validate_only {
        refuse_taken_name(dialect, &before?, None)?;
        let preview = backend.present(Item { id: String::new(), profile });
        return Ok(Profile { name: String::new(), ..preview });
    }
    let before: Option<HashSet<String>> = match before {
        Ok(items) => Some(items.into_iter().map(|item| item.id).collect()),
        Err(error) if is_out_of_reach(&error) => return Err(error),
        // The account may create without being able to list: then a lost answer stays unknown.
        Err(_) => None,
    };

    let (port, cleanup) = (backend.write_session(call), backend.cleanup_session(call));
    let item = match dialect.create(&port, &cleanup, &profile).await {
        Ok(id) => match dialect.get(&session, &id).await {
            Ok(item) => item,
            Err(error) => {
                let error = backend.without_secrets(error);
                return Ok(unread(backend.present(Item { id, profile }), &error));
            }
        },
        Err(failure) => {
            let look = || async {
                let before = before.as_ref().ok_or_else(|| {
                    Error::new(Reason::UpstreamUnavailable, "not known what was there before")
                })?;
                let found = named_alike().await.map_err(|e| backend.without_secrets(e))?;
                Ok(found.into_iter().find(|item| {
                    !before.contains(&item.id) && dialect.is_created(&profile, &item.profile)
                }))
            };
            let found = settle(backend.without_secrets(failure), call.deadline, look).await?;
            complete(backend, call, found, &profile).await?
        }
    };
    Ok(backend.present(item))
}

/// What the upstream would say to a name that another profile has, for a write that is not sent.
fn refuse_taken_name(dialect: &dyn Dialect, named: &[Item], own: Option<&str>) -> Result<()> {
    if dialect.has_unique_names() && named.iter().any(|item| Some(item.id.as_str()) != own) {
        return Err(Error::new(
            Reason::ProfileAlreadyExists,
            "another profile of the account has this display name",
        ));
    }
    Ok(())
}

/// Does what remains of a creation whose first step got no answer. What the caller left unsaid stays
/// as the upstream has set it: that is no difference.
async fn complete(backend: &Backend, call: &Call, found: Item, asked: &Profile) -> Result<Item> {
    let dialect = backend.dialect();
    let (capabilities, mut ignored) = (dialect.capabilities(), Violations::default());
    let update = Update::parse(None, asked, capabilities, dialect.name(), &mut ignored)?;
    let desired = update.apply(&found.profile, asked, capabilities, &mut ignored)?;
    let change = Change { id: &found.id, current: &found.profile, desired: &desired };
    if dialect.is_applied(change, &found.profile) {
        return Ok(found);
    }
    let session = backend.session(call);
    if let Err(failure) = dialect.update(&session, change).await {
        return Err(left_behind(&found.id, &failure));
    }
    // The write is done, whatever reading it says.
    let written = Item { id: found.id, profile: desired };
    Ok(dialect.get(&session, &written.id).await.unwrap_or(written))
}

/// The error for a profile that is there, but not, or not surely, all of what was asked for.
fn left_behind(id: &str, failure: &Error) -> Error {
    let message = format!(
        "the profile was created with id {id}, but not surely completed; update or delete it: {}",
        failure.message()
    );
    let error = Error::new(Reason::PartiallyApplied, message).with_metadata("profile_id", id);
    match failure.upstream() {
        Some(facts) => error.with_upstream(facts.clone()),
        None => error,
    }
}

/// What was asked for, in place of what could not be read back: the write is done, whatever reading it
/// says. It has no etag, because the upstream may have added to it.
fn unread(asked: Profile, error: &Error) -> Profile {
    tracing::warn!(target: "gateway", name = %asked.name, %error, "could not read back a write");
    Profile { etag: String::new(), ..asked }
}

/// Whether a read failed in a way in which a write would fail too, or would find no time.
fn is_out_of_reach(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::DeadlineExceeded
            | Reason::Overloaded
            | Reason::UpstreamAccountLocked
            | Reason::UpstreamAuthFailed
            | Reason::UpstreamThrottled
            | Reason::UpstreamUnavailable
    )
}

/// A write on one profile.
pub(super) struct Work<'a> {
    pub(super) backend: &'a Backend,
    pub(super) call: &'a Call,
    pub(super) name: &'a ProfileName,
}

impl Work<'_> {
    async fn read(&self) -> Result<Profile> {
        let session = self.backend.session(self.call);
        let item = self.backend.dialect().get(&session, self.name.id()).await;
        Ok(self.backend.present(item.map_err(|error| self.backend.without_secrets(error))?))
    }

    /// The profile, unless it is not the one that the caller has seen.
    async fn read_matching(&self, etag: &str) -> Result<Profile> {
        let current = self.read().await?;
        if etag.is_empty() || etag == current.etag {
            return Ok(current);
        }
        Err(Error::new(
            Reason::EtagMismatch,
            "the profile has changed since this etag was read; read it again and decide anew",
        )
        .with_metadata("current_etag", current.etag))
    }

    async fn update(
        &self,
        update: &Update,
        request: &Profile,
        validate_only: bool,
    ) -> Result<Profile> {
        let _turn = self.backend.turn(self.call, self.name.id()).await?;
        let current = self.read_matching(&request.etag).await?;
        let dialect = self.backend.dialect();
        let mut violations = Violations::default();
        let desired = update.apply(&current, request, dialect.capabilities(), &mut violations)?;
        dialect.check_whole(&desired, Some(&current), &mut violations)?;
        violations.into_result()?;
        let session = self.backend.session(self.call);
        let desired = dialect.resolve(&session, desired, Some(&current)).await?;
        if validate_only {
            if desired.display_name != current.display_name {
                let named = dialect.named(&session, &desired.display_name).await?;
                refuse_taken_name(dialect, &named, Some(self.name.id()))?;
            }
            return Ok(self.presented(desired));
        }
        self.change(&current, desired).await
    }

    pub(super) async fn edit(&self, edit: &Edit) -> Result<Profile> {
        let _turn = self.backend.turn(self.call, self.name.id()).await?;
        let current = self.read().await?;
        let dialect = self.backend.dialect();
        let desired = dialect.edit(&self.backend.session(self.call), &current, edit).await?;
        let mut violations = Violations::default();
        dialect.check_whole(&desired, Some(&current), &mut violations)?;
        violations.into_result()?;
        self.change(&current, desired).await
    }

    /// Sends a checked change, and gives the profile as the upstream has it then.
    async fn change(&self, current: &Profile, desired: Profile) -> Result<Profile> {
        let dialect = self.backend.dialect();
        let change = Change { id: self.name.id(), current, desired: &desired };
        match dialect.update(&self.backend.write_session(self.call), change).await {
            Ok(()) => match self.read().await {
                Ok(profile) => Ok(profile),
                Err(error) => {
                    let error = self.backend.without_secrets(error);
                    Ok(unread(self.presented(desired.clone()), &error))
                }
            },
            Err(failure) => {
                let look = || async {
                    let found = self.read().await?;
                    Ok(dialect.is_applied(change, &found).then_some(found))
                };
                settle(self.backend.without_secrets(failure), self.call.deadline, look).await
            }
        }
    }

    async fn delete(&self, etag: &str, validate_only: bool) -> Result<()> {
        let _turn = self.backend.turn(self.call, self.name.id()).await?;
        if validate_only || !etag.is_empty() {
            self.read_matching(etag).await?;
        }
        if validate_only {
            return Ok(());
        }
        let dialect = self.backend.dialect();
        match dialect.delete(&self.backend.write_session(self.call), self.name.id()).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                let look = || async {
                    match self.read().await {
                        Ok(_) => Ok(None),
                        Err(error) if error.reason() == Reason::ProfileNotFound => Ok(Some(())),
                        Err(error) => Err(error),
                    }
                };
                settle(self.backend.without_secrets(failure), self.call.deadline, look).await
            }
        }
    }

    fn presented(&self, profile: Profile) -> Profile {
        self.backend.present(Item { id: self.name.id().to_owned(), profile })
    }
}
