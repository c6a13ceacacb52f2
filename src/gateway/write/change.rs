//! Writes on a profile: check, journal, send, reconcile, read back.
//!
//! Each runs in a task of its own (see `run`), so that a caller who leaves does not leave it half done.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    cache::Target,
    call::Call,
    dialect::{DialectClient, Edit, Item, ProfileUpdate},
    error::{Effect, Error, Reason, Result, violation::Violations},
    gateway::{
        Backend, Gateway,
        write::{
            audit::Journal,
            intent::{self, IntentKind, WriteIntent, beyond_telling, in_doubt},
            reconcile::{reconcile, search},
            run::{WriteAction, WriteRequest, identify},
        },
    },
    model::{check, mask::Update, method::Method, name::ProfileName},
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
        let order = self.order_update(call, request)?;
        self.carry_out(order).await.map(Option::unwrap_or_default)
    }

    /// A change that passes every check that needs no upstream.
    pub(crate) fn order_update(
        &self,
        call: &Call,
        mut request: UpdateProfileRequest,
    ) -> Result<WriteRequest> {
        const OPERATION: &str = Method::UpdateProfile.name();
        let mut violations = Violations::default();
        check::request_id(&request.request_id, &mut violations);
        let (request_id, identity) = identify(OPERATION, &mut request, |r| &mut r.request_id);
        let Some(profile) = request.profile else {
            violations.add("profile", "is required, with its name");
            violations.into_result()?;
            return Err(Error::new(Reason::ValidationFailed, "profile is required"));
        };
        let name = ProfileName::parse("profile.name", &profile.name)?;
        let backend = Arc::clone(self.backend(call, name.backend(), OPERATION)?);
        backend.require(Method::UpdateProfile)?;
        backend.require_id(OPERATION, &name)?;
        let dialect = backend.dialect();
        let mask = request.update_mask.as_ref();
        let capabilities = dialect.capabilities();
        let update = Update::parse(mask, &profile, capabilities, dialect.name(), &mut violations)?;
        check::values(&profile, &mut violations)?;
        if update.touches("display_name") {
            check::display_name(&profile, &mut violations);
        }
        dialect.check_fields(&profile, &|field| update.touches(field), &mut violations);
        violations.into_result().map_err(|e| backend.fail_profile(OPERATION, &name, e))?;
        Ok(WriteRequest {
            backend,
            call: call.clone(),
            method: OPERATION,
            name: Some(name),
            action: WriteAction::Update(update, profile),
            validate_only: request.validate_only,
            request_id,
            identity: identity.filter(|_| !request.validate_only),
        })
    }

    /// Deletes a profile.
    pub async fn delete_profile(&self, call: &Call, request: DeleteProfileRequest) -> Result<()> {
        match self.order_deletion(call, request)? {
            Some(order) => self.carry_out(order).await.map(drop),
            None => Ok(()),
        }
    }

    /// A deletion that passes every check that needs no upstream; `None` where there is surely nothing
    /// to delete, and that is fine.
    pub(crate) fn order_deletion(
        &self,
        call: &Call,
        mut request: DeleteProfileRequest,
    ) -> Result<Option<WriteRequest>> {
        const OPERATION: &str = Method::DeleteProfile.name();
        let name = ProfileName::parse("name", &request.name)?;
        let backend = Arc::clone(self.backend(call, name.backend(), OPERATION)?);
        backend.require(Method::DeleteProfile)?;
        let mut violations = Violations::default();
        check::request_id(&request.request_id, &mut violations);
        violations.into_result().map_err(|error| backend.fail(OPERATION, error))?;
        if let Err(error) = backend.require_id(OPERATION, &name) {
            let missing_is_fine =
                error.reason() == Reason::ProfileNotFound && request.allow_missing;
            return if missing_is_fine { Ok(None) } else { Err(error) };
        }
        let (request_id, identity) = identify(OPERATION, &mut request, |r| &mut r.request_id);
        Ok(Some(WriteRequest {
            backend,
            call: call.clone(),
            method: OPERATION,
            name: Some(name),
            action: WriteAction::Delete {
                etag: request.etag,
                allow_missing: request.allow_missing,
            },
            validate_only: request.validate_only,
            request_id,
            identity: identity.filter(|_| !request.validate_only),
        }))
    }
}

/// What was asked for, in place of what could not be read back: the write is done, whatever reading it
/// says. It has no etag, because the upstream may have added to it.
pub(crate) fn unread(asked: Profile, error: &Error) -> Profile {
    tracing::warn!(target: "gateway", name = %asked.name, %error, "could not read back a write");
    Profile { etag: String::new(), ..asked }
}

/// Whether a write that is over for the gateway may still take effect.
pub(crate) fn may_yet_happen<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| {
        // Of a write that is left half done, the step that failed may be the one without an answer.
        error.effect() != Effect::None || error.reason() == Reason::PartiallyApplied
    })
}

/// What the upstream would say to a name that another profile has, for a write that is not sent.
pub(crate) fn refuse_taken_name(
    dialect: &DialectClient,
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
pub(crate) struct Work<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) call: &'a Call,
    pub(crate) name: &'a ProfileName,
    pub(crate) journal: &'a mut Journal,
}

impl Work<'_> {
    async fn read(&self) -> Result<Profile> {
        self.read_through(&self.backend.session(self.call)).await
    }

    async fn read_through(&self, session: &Session) -> Result<Profile> {
        let item = self.backend.dialect().get(session, self.name.id()).await;
        Ok(self.backend.present(item?))
    }

    /// The profile, unless it is not the one that the caller has seen.
    pub(crate) async fn read_matching(&self, etag: &str) -> Result<Profile> {
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

    pub(crate) async fn update(
        self,
        update: &Update,
        request: &Profile,
        validate_only: bool,
    ) -> Result<Profile> {
        let _turn = self.backend.turn(self.call, self.name.id()).await?;
        let change = self.prepare(update, request).await?;
        if validate_only {
            self.check_name(&change).await?;
            return Ok(self.presented(change.desired));
        }
        self.change(change).await
    }

    /// Reads the profile and makes of it what the update asks for, checked and resolved.
    pub(crate) async fn prepare(
        &self,
        update: &Update,
        request: &Profile,
    ) -> Result<intent::IntendedChange> {
        let current = self.read_matching(&request.etag).await?;
        let dialect = self.backend.dialect();
        let mut violations = Violations::default();
        let desired = update.apply(&current, request, dialect.capabilities(), &mut violations)?;
        dialect.check_whole(&desired, Some(&current), &mut violations)?;
        violations.into_result()?;
        let session = self.backend.session(self.call);
        let desired = dialect.resolve(&session, desired, Some(&current)).await?;
        Ok(intent::IntendedChange { current, desired })
    }

    /// Refuses a change to a name that another profile has, for a change that is not sent.
    pub(crate) async fn check_name(&self, change: &intent::IntendedChange) -> Result<()> {
        let intent::IntendedChange { current, desired } = change;
        if desired.display_name == current.display_name {
            return Ok(());
        }
        let (dialect, session) = (self.backend.dialect(), self.backend.session(self.call));
        let named = dialect.find_by_name(&session, &desired.display_name).await?;
        refuse_taken_name(dialect, &named, Some(self.name.id()))
    }

    pub(crate) async fn edit(self, edit: &Edit) -> Result<Profile> {
        let _turn = self.backend.turn(self.call, self.name.id()).await?;
        let current = self.read().await?;
        let dialect = self.backend.dialect();
        let desired = dialect.edit(&self.backend.session(self.call), &current, edit).await?;
        let mut violations = Violations::default();
        dialect.check_whole(&desired, Some(&current), &mut violations)?;
        violations.into_result()?;
        self.change(intent::IntendedChange { current, desired }).await
    }

    /// Sends a checked change, and gives the profile as the upstream has it then.
    async fn change(self, change: intent::IntendedChange) -> Result<Profile> {
        self.journal
            .intend(&WriteIntent { what: Some(IntentKind::Change(Box::new(change.clone()))) })
            .await?;
        let write = self.backend.cache().write(self.target(&change));
        let result = self.send_change(&change).await;
        write.end(may_yet_happen(&result));
        result
    }

    async fn send_change(&self, change: &intent::IntendedChange) -> Result<Profile> {
        let (dialect, session) = (self.backend.dialect(), self.backend.write_session(self.call));
        match dialect.update(&session, self.seen(change)).await {
            Ok(()) => match self.read().await {
                Ok(profile) => Ok(profile),
                Err(error) => Ok(unread(self.presented(change.desired.clone()), &error)),
            },
            Err(failure) => {
                let look = || self.look_for_change(change);
                reconcile(failure, self.call.deadline, look).await
            }
        }
    }

    async fn look_for_change(&self, change: &intent::IntendedChange) -> Result<Option<Profile>> {
        let found = self.read_through(&self.backend.settling(self.call)).await?;
        let applied = self.backend.dialect().is_applied(self.seen(change), &found);
        Ok(applied.then_some(found))
    }

    pub(crate) async fn delete(self, etag: &str, validate_only: bool) -> Result<()> {
        let _turn = self.backend.turn(self.call, self.name.id()).await?;
        if validate_only || !etag.is_empty() {
            self.read_matching(etag).await?;
        }
        if validate_only {
            return Ok(());
        }
        self.journal.intend(&WriteIntent { what: Some(IntentKind::Delete(())) }).await?;
        let write = self.backend.cache().write(self.only_this());
        let result = self.send_delete().await;
        write.end(may_yet_happen(&result));
        result
    }

    async fn send_delete(&self) -> Result<()> {
        let dialect = self.backend.dialect();
        match dialect.delete(&self.backend.write_session(self.call), self.name.id()).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                let look = || self.look_for_absence();
                reconcile(failure, self.call.deadline, look).await
            }
        }
    }

    async fn look_for_absence(&self) -> Result<Option<()>> {
        match self.read_through(&self.backend.settling(self.call)).await {
            Ok(_) => Ok(None),
            Err(error) if error.reason() == Reason::ProfileNotFound => Ok(Some(())),
            Err(error) => Err(error),
        }
    }

    /// Finds out what became of a change that an earlier call has sent. `None`: it surely has no
    /// effect, and will not have any.
    pub(crate) async fn resolve_change(
        &self,
        change: &intent::IntendedChange,
        over: Instant,
    ) -> Result<Option<Profile>> {
        let _turn = self.backend.turn(self.call, self.name.id()).await?;
        let undone = intent::IntendedChange {
            current: change.desired.clone(),
            desired: change.current.clone(),
        };
        let look = || async {
            let found = self.read_through(&self.backend.settling(self.call)).await?;
            if self.backend.dialect().is_applied(self.seen(change), &found) {
                return Ok(Some(found));
            }
            match self.backend.dialect().is_applied(self.seen(&undone), &found) {
                true => Ok(None),
                false => Err(beyond_telling()),
            }
        };
        let write = self.backend.cache().write(self.target(change));
        let result = search(&in_doubt(), Some(over), self.call.deadline, look).await;
        write.end(may_yet_happen(&result));
        result
    }

    /// The same for a deletion.
    pub(crate) async fn resolve_delete(&self, over: Instant) -> Result<Option<()>> {
        let _turn = self.backend.turn(self.call, self.name.id()).await?;
        let write = self.backend.cache().write(self.only_this());
        let look = || self.look_for_absence();
        let result = search(&in_doubt(), Some(over), self.call.deadline, look).await;
        write.end(may_yet_happen(&result));
        result
    }

    fn only_this(&self) -> Target {
        Target::Profile(self.name.id().into())
    }

    /// What a change may change.
    fn target(&self, change: &intent::IntendedChange) -> Target {
        match self.backend.dialect().affects_other_profiles(Some(&change.current), &change.desired)
        {
            true => Target::Every,
            false => self.only_this(),
        }
    }

    /// The change as a dialect takes it.
    pub(crate) fn seen<'c>(&'c self, change: &'c intent::IntendedChange) -> ProfileUpdate<'c> {
        ProfileUpdate { id: self.name.id(), current: &change.current, desired: &change.desired }
    }

    pub(crate) fn presented(&self, profile: Profile) -> Profile {
        self.backend.presented(self.name.id(), profile)
    }
}
