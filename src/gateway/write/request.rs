//! A checked write request.

use crate::{
    call::Call,
    dialect::Edit,
    error::{
        Error, OUTCOME_UNKNOWN,
        metadata::{DISPLAY_NAME, PROFILE_ID},
    },
    gateway::{
        door::{Allowed, Writes},
        idempotency::RequestIdentity,
    },
    model::{mask::Update, method::Method, name::ProfileName},
    pb::Profile,
    text,
};

/// What a write returns: the profile, or `None` for a deletion.
pub(crate) type Written = Option<Profile>;

/// A write request that has passed every check that needs no upstream call.
///
/// `U` says what its caller may have done with it: it is carried out, only checked, or shown.
pub(crate) struct WriteRequest<U = Writes> {
    pub(crate) backend: Allowed<U>,
    pub(crate) call: Call,
    pub(crate) method: Method,
    pub(crate) action: WriteAction,
    /// In the canonical form of a UUID; empty without one.
    pub(crate) request_id: String,
    /// What it is kept under; `None` unless it is carried out. Repeats of one with a `request_id`
    /// are recognized.
    pub(crate) identity: Option<RequestIdentity>,
}

/// What to write.
pub(crate) enum WriteAction {
    /// Create this profile.
    Create(Box<Profile>),
    /// Change the profile of this name.
    Change(ProfileName, RequestedChange),
    /// Delete the profile of this name.
    Delete { name: ProfileName, etag: String, allow_missing: bool },
}

/// How to change a profile.
pub(crate) enum RequestedChange {
    /// Set the fields of the mask to those of the profile.
    Update(Update, Box<Profile>),
    /// Attach or detach one service or traffic limit.
    Edit(Box<Edit>),
}

impl<U> WriteRequest<U> {
    /// The name of the profile; a profile to create has no name yet.
    pub(crate) fn name(&self) -> Option<&ProfileName> {
        match &self.action {
            WriteAction::Create(_) => None,
            WriteAction::Change(name, _) | WriteAction::Delete { name, .. } => Some(name),
        }
    }

    /// The resource that the write is about: the profile, or the backend for a creation.
    pub(crate) fn resource(&self) -> String {
        match self.name() {
            Some(name) => name.to_string(),
            None => self.backend.name().to_string(),
        }
    }

    /// Whether a repeat of it is recognized.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.identity.is_some_and(|identity| identity.key.is_named)
    }

    /// What the caller can do about a write that may or may not have taken effect.
    pub(crate) fn advice(&self) -> String {
        match &self.action {
            _ if self.is_repeatable() => "retry with the same request_id".to_owned(),
            WriteAction::Create(profile) => format!(
                "look for the display name {} in {} before you create it again",
                text::quoted(&profile.display_name),
                self.backend.name()
            ),
            _ => "read the profile before you write it again".to_owned(),
        }
    }

    /// The error as callers see it, recorded as a failure of the backend.
    pub(crate) fn fail(&self, error: Error) -> Error {
        let error = match error.message().strip_prefix(OUTCOME_UNKNOWN) {
            // Other advice is there already.
            Some(rest) if !rest.starts_with(';') => {
                let message = format!("{OUTCOME_UNKNOWN}; {}{rest}", self.advice());
                error.with_message(message)
            }
            _ => error,
        };
        let error = match &self.action {
            WriteAction::Create(profile) if error.facts().may_have_written => {
                self.creating(profile, error)
            }
            _ => error,
        };
        match self.name() {
            Some(name) => self.backend.fail_profile(self.method, name, error),
            None => self.backend.fail(self.method, error),
        }
    }

    /// The error of a creation that is, or may be, carried out in part or in full: it names the
    /// new profile, or at least what was to be created.
    fn creating(&self, profile: &Profile, error: Error) -> Error {
        let error = error.with_metadata(DISPLAY_NAME, &profile.display_name);
        if let Some(id) = error.metadatum(PROFILE_ID) {
            let name = ProfileName::of(self.backend.name(), id).to_string();
            return error.about(&name);
        }
        let what = text::quoted(&profile.display_name);
        let message = format!("creating {what}: {}", error.message());
        error.with_message(message)
    }
}
