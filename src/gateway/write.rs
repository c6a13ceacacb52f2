//! Writes: check, send, settle, read back.
//!
//! A write runs in a task of its own, so that a caller who leaves does not leave it half done; the
//! task ends with the call's deadline at the latest.

use std::{future::Future, sync::Arc};

use crate::{
    cache::Target,
    dialect::{Change, Dialect, Edit, Item},
    error::{Effect, Error, Reason, Result, reason_name},
    gateway::{Backend, Call, Gateway, Record, settle::settle},
    model::{capability::Method, check, mask::Update, name::ProfileName, violation::Violations},
    pb::{DeleteProfileRequest, Profile, UpdateProfileRequest},
    upstream::Session,
};

impl Gateway {
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

/// What was asked for, in place of what could not be read back: the write is done, whatever reading it
/// says. It has no etag, because the upstream may have added to it.
pub(super) fn unread(asked: Profile, error: &Error) -> Profile {
    tracing::warn!(target: "gateway", name = %asked.name, %error, "could not read back a write");
    Profile { etag: String::new(), ..asked }
}

/// Whether a write that is over for the gateway may still take effect.
pub(super) fn may_yet_happen<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| {
        // Of a write that is left half done, the step that failed may be the one without an answer.
        error.effect() != Effect::None || error.reason() == Reason::PartiallyApplied
    })
}

/// What the upstream would say to a name that another profile has, for a write that is not sent.
pub(super) fn refuse_taken_name(
    dialect: &dyn Dialect,
    named: &[Item],
    own: Option<&str>,
) -> Result<()> {
    if dialect.has_unique_names() && named.iter().any(|item| Some(item.id.as_str()) != own) {
        return Err(Error::new(
            Reason::ProfileAlreadyExists,
            "another profile of the account has this display name",
        ));
    }
    Ok(())
}

/// A write on one profile.
pub(super) struct Work<'a> {
    pub(super) backend: &'a Backend,
    pub(super) call: &'a Call,
    pub(super) name: &'a ProfileName,
}

impl Work<'_> {
    async fn read(&self) -> Result<Profile> {
        self.read_through(&self.backend.session(self.call)).await
    }

    async fn read_through(&self, session: &Session) -> Result<Profile> {
        let item = self.backend.dialect().get(session, self.name.id()).await;
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
        let target = match self.backend.dialect().touches_others(Some(current), &desired) {
            true => Target::Every,
            false => Target::Profile(self.name.id().into()),
        };
        let write = self.backend.cache().write(target);
        let result = self.send_change(current, desired).await;
        write.end(may_yet_happen(&result));
        result
    }

    async fn send_change(&self, current: &Profile, desired: Profile) -> Result<Profile> {
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
                    let found = self.read_through(&self.backend.settling(self.call)).await?;
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
        let write = self.backend.cache().write(Target::Profile(self.name.id().into()));
        let result = self.send_delete().await;
        write.end(may_yet_happen(&result));
        result
    }

    async fn send_delete(&self) -> Result<()> {
        let dialect = self.backend.dialect();
        match dialect.delete(&self.backend.write_session(self.call), self.name.id()).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                let look = || async {
                    match self.read_through(&self.backend.settling(self.call)).await {
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
