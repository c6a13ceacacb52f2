//! What a write is about to do, as it is journaled before it is sent: enough to find out later what
//! became of it.
//!
//! It is kept as bytes, so that any idempotency store can hold it. Only a process of the same release
//! reads them: fields may be added, but never change their meaning.

use std::time::Duration;

use prost::Message;
use tokio::time::Instant;

use crate::{
    dialect::Item,
    error::{Effect, Error, Reason, Result},
    model::{changes::changed_settable, etag::normalize, fields::Fields},
    pb::Profile,
};

/// What a write is about to do.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteIntent {
    #[prost(oneof = "IntentKind", tags = "1, 2, 3")]
    pub(crate) kind: Option<IntentKind>,
}

/// The three ways in which a profile is written.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum IntentKind {
    #[prost(message, boxed, tag = "1")]
    Create(Box<Creation>),
    #[prost(message, boxed, tag = "2")]
    Change(Box<IntendedChange>),
    /// The request has the name of the profile to delete.
    #[prost(message, tag = "3")]
    Delete(()),
}

/// A profile to create.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Creation {
    /// Checked and resolved.
    #[prost(message, required, tag = "1")]
    pub(crate) profile: Profile,
    /// The ids of the profiles that had its name before: none of them is this one. Without this list, a
    /// profile of that name cannot be recognized as the new one.
    #[prost(message, optional, tag = "2")]
    pub(crate) before: Option<Ids>,
    /// It was left half done, and its removal may yet take effect.
    #[prost(bool, tag = "3")]
    pub(crate) removal_pending: bool,
}

/// Upstream ids.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ids {
    #[prost(string, repeated, tag = "1")]
    ids: Vec<String>,
}

/// A profile to change, as it was read and as it is to be.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct IntendedChange {
    #[prost(message, required, tag = "1")]
    pub(crate) current: Profile,
    #[prost(message, required, tag = "2")]
    pub(crate) desired: Profile,
}

impl Creation {
    /// The intent to create a profile.
    pub(crate) fn new(profile: Profile, namesakes: Option<Vec<Item>>) -> Self {
        let ids = |items: Vec<Item>| items.into_iter().map(|item| item.id).collect();
        let before = namesakes.map(|items| Ids { ids: ids(items) });
        Self { profile, before, removal_pending: false }
    }

    /// Whether a profile of this id was there before; fails where that is not known.
    pub(crate) fn was_there(&self, id: &str) -> Result<bool> {
        let unknown = || {
            Error::new(Reason::UpstreamUnavailable, "unknown which profiles had this name before")
        };
        let before = self.before.as_ref().ok_or_else(unknown)?;
        Ok(before.ids.iter().any(|other| other == id))
    }
}

impl WriteIntent {
    pub(crate) fn new(kind: IntentKind) -> Self {
        Self { kind: Some(kind) }
    }

    /// The intent in the journal's bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<IntentKind> {
        let kind = Self::decode(bytes).ok().and_then(|intent| intent.kind);
        kind.ok_or_else(unreadable)
    }

    /// The paths that the write changes, in the order of the model.
    pub(crate) fn fields(&self) -> Result<Vec<&'static str>> {
        let (before, after) = match &self.kind {
            Some(IntentKind::Create(creation)) => {
                (Fields::empty()?, Fields::of(&creation.profile)?)
            }
            Some(IntentKind::Change(change)) => {
                (in_order(&change.current)?, in_order(&change.desired)?)
            }
            Some(IntentKind::Delete(())) | None => return Ok(Vec::new()),
        };
        Ok(changed_settable(&before, &after).collect())
    }
}

/// The error for an intent that does not fit the write that repeats it.
pub(crate) fn unreadable() -> Error {
    Error::new(Reason::WriteOutcomeUnknown, "the journal entry of an earlier attempt is unreadable")
        .with_effect(Effect::Unknown)
}

/// The fields of a profile, with sets in canonical order: another order is not a change.
fn in_order(profile: &Profile) -> Result<Fields> {
    let mut profile = profile.clone();
    normalize(&mut profile);
    Fields::of(&profile)
}

/// An earlier attempt under the same `request_id` of which nothing is known.
pub(crate) struct UnresolvedAttempt {
    /// What it was about to do.
    pub(crate) intent: IntentKind,
    /// From when on it cannot take effect any more.
    pub(crate) over: Instant,
}

impl UnresolvedAttempt {
    /// The doubt about an attempt that ended so long ago.
    pub(crate) fn new(intent: IntentKind, ended: Duration) -> Self {
        Self { intent, over: Instant::now() + Effect::SETTLES_WITHIN.saturating_sub(ended) }
    }
}
