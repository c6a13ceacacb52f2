//! What a write and its preview both do before anything is written: read the current state, apply
//! the request to it, then check and complete the result.

use crate::{
    call::Call,
    dialect::{Named, ProfileUpdate},
    error::{
        Error, Reason, Result,
        metadata::{CURRENT_ETAG, EXISTING_PROFILE},
        violation::Violations,
    },
    gateway::{
        backend::Backend,
        write::{intent::IntendedChange, request::RequestedChange},
    },
    model::{changes::changed_settable, fields::Fields, name::ProfileName},
    pb::Profile,
    upstream::Session,
};

/// A creation that is ready to be sent.
pub(crate) struct PreparedCreation {
    /// Checked and resolved.
    pub(crate) profile: Profile,
    /// The profiles that were there before; `None` if the account may not list profiles.
    pub(crate) before: Option<Named>,
}

/// Resolves a checked profile, and finds which profiles are there before it.
pub(crate) async fn creation(
    backend: &Backend,
    call: &Call,
    profile: Profile,
) -> Result<PreparedCreation> {
    let (dialect, session) = (backend.dialect(), backend.session(call));
    let profile = dialect.resolve(&session, profile, None).await?;
    // If the answer to the creation gets lost, none of these is the new profile. Lists may lag
    // behind what this process has written a moment ago.
    let mut written = backend.cache().present();
    let before = match dialect.find_by_name(&session, &profile.display_name).await {
        Ok(mut named) => {
            written.extend(backend.cache().present());
            for listed in &named.all {
                written.remove(listed.as_str());
            }
            named.all.extend(written.into_iter().map(String::from));
            Some(named)
        }
        // An account that may create but not list: if an answer gets lost, the outcome stays
        // unknown.
        Err(error) if error.reason() == Reason::UpstreamPermissionDenied => None,
        Err(error) => return Err(error),
    };
    Ok(PreparedCreation { profile, before })
}

impl PreparedCreation {
    /// Refuses a name that another profile already has, as the upstream would.
    pub(crate) fn check_name(&self, backend: &Backend) -> Result<()> {
        refuse_taken_name(backend, self.namesake(backend))
    }

    /// The profile that had the requested display name before.
    pub(crate) fn namesake(&self, backend: &Backend) -> Option<ProfileName> {
        let named = self.before.as_ref()?;
        namesake(backend, &self.profile.display_name, named, None)
    }
}

/// The existing profile that a write is about.
#[derive(Clone, Copy)]
pub(crate) struct ExistingProfile<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) call: &'a Call,
    pub(crate) name: &'a ProfileName,
}

impl ExistingProfile<'_> {
    /// The profile as the upstream has it now.
    pub(crate) async fn read(&self) -> Result<Profile> {
        self.read_through(&self.backend.session(self.call)).await
    }

    pub(crate) async fn read_through(&self, session: &Session) -> Result<Profile> {
        let item = self.backend.dialect().get(session, self.name.id()).await;
        Ok(self.backend.present(item?))
    }

    /// The same, but fails if it is no longer the version that the caller has seen.
    pub(crate) async fn read_matching(&self, etag: &str) -> Result<Profile> {
        let current = self.read().await?;
        if etag.is_empty() || etag == current.etag {
            return Ok(current);
        }
        let message = "the profile has changed since this etag was read; re-read it and retry";
        Err(Error::new(Reason::EtagMismatch, message).with_metadata(CURRENT_ETAG, current.etag))
    }

    /// Reads the profile and applies the requested change to it, checked and resolved.
    pub(crate) async fn prepare(&self, change: &RequestedChange) -> Result<IntendedChange> {
        let dialect = self.backend.dialect();
        let session = self.backend.session(self.call);
        let mut violations = Violations::default();
        match change {
            RequestedChange::Update(update, request) => {
                let current = self.read_matching(&request.etag).await?;
                let capabilities = dialect.capabilities();
                let desired = update.apply(&current, request, capabilities, &mut violations)?;
                dialect.check_whole(&desired, Some(&current), &mut violations)?;
                violations.into_result()?;
                let desired = dialect.resolve(&session, desired, Some(&current)).await?;
                Ok(IntendedChange { current, desired })
            }
            RequestedChange::Edit(edit) => {
                let current = self.read().await?;
                let desired = dialect.edit(&session, &current, edit).await?;
                dialect.check_whole(&desired, Some(&current), &mut violations)?;
                violations.into_result()?;
                Ok(IntendedChange { current, desired })
            }
        }
    }

    /// Refuses to change the name to one that another profile already has, as the upstream would.
    pub(crate) async fn check_name(&self, change: &IntendedChange) -> Result<()> {
        let IntendedChange { current, desired } = change;
        if desired.display_name == current.display_name {
            return Ok(());
        }
        let (backend, session) = (self.backend, self.backend.session(self.call));
        let named = backend.dialect().find_by_name(&session, &desired.display_name).await?;
        let own = Some(self.name.id());
        refuse_taken_name(backend, namesake(backend, &desired.display_name, &named, own))
    }

    /// The change in the form that dialects take.
    pub(crate) fn as_update<'c>(&'c self, change: &'c IntendedChange) -> ProfileUpdate<'c> {
        ProfileUpdate { id: self.name.id(), current: &change.current, desired: &change.desired }
    }

    /// The fields of an acknowledged change that a later read shows with other values.
    pub(crate) fn disagreeing(
        &self,
        change: &IntendedChange,
        found: &Profile,
    ) -> Result<Vec<&'static str>> {
        let (current, desired) = (Fields::of(&change.current)?, Fields::of(&change.desired)?);
        let changed: Vec<&'static str> = changed_settable(&current, &desired).collect();
        let agrees = |path: &&'static str| -> Result<bool> {
            let mut fields = Fields::of(&change.current)?;
            fields.copy(path, &desired);
            let desired = fields.into_profile()?;
            let part = IntendedChange { current: change.current.clone(), desired };
            Ok(self.backend.dialect().agrees(self.as_update(&part), found))
        };
        let others: Vec<&'static str> =
            changed.iter().filter(|path| !agrees(path).unwrap_or_default()).copied().collect();
        // Each may agree by itself where only all of them together do not.
        Ok(if others.is_empty() { changed } else { others })
    }

    /// A version of the profile as callers would see it.
    pub(crate) fn presented(&self, profile: Profile) -> Profile {
        self.backend.presented(self.name.id(), profile)
    }
}

/// The profile that has a display name, apart from the `own` one.
fn namesake(
    backend: &Backend,
    display_name: &str,
    named: &Named,
    own: Option<&str>,
) -> Option<ProfileName> {
    let mut others = named.items.iter().filter(|item| Some(item.id.as_str()) != own);
    let other = others.find(|item| item.profile.display_name == display_name)?;
    Some(ProfileName::of(backend.name(), &other.id))
}

fn refuse_taken_name(backend: &Backend, namesake: Option<ProfileName>) -> Result<()> {
    if !backend.dialect().has_unique_names() || namesake.is_none() {
        return Ok(());
    }
    let message = "another profile of the account has this display name";
    Err(naming(Error::new(Reason::ProfileAlreadyExists, message), namesake.as_ref()))
}

/// The error for a display name that is taken, with the profile that has it, if that is known.
pub(crate) fn naming(error: Error, namesake: Option<&ProfileName>) -> Error {
    match namesake {
        Some(name) if error.reason() == Reason::ProfileAlreadyExists => {
            let message = format!("{}; it is {name}", error.message());
            error.with_message(message).with_metadata(EXISTING_PROFILE, name.to_string())
        }
        _ => error,
    }
}
