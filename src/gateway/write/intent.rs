//! What a write is about to do. It is journaled before the write is sent, and is enough to find out
//! the outcome later.
//!
//! It is stored as bytes, so that any idempotency store can hold it. Later releases read them, so
//! fields may be added, but must never change their meaning.

use std::{collections::HashSet, time::Duration};

use prost::Message;
use tokio::time::Instant;

use crate::{
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
    /// The request itself names the profile to delete.
    #[prost(message, tag = "3")]
    Delete(()),
}

/// A profile to create.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Creation {
    /// Checked and resolved.
    #[prost(message, required, tag = "1")]
    pub(crate) profile: Profile,
    /// The ids of all profiles that were there before, so none of them is the new one. Without this
    /// list, no profile can be recognized as the new one.
    #[prost(message, optional, tag = "2")]
    pub(crate) before: Option<Ids>,
    /// Whether it was partly created and its removal may still take effect.
    #[prost(bool, tag = "3")]
    pub(crate) removal_pending: bool,
    /// The id of the new profile, if it is known and the profile is not as requested.
    #[prost(string, tag = "4")]
    pub(crate) id: String,
    /// Its number among the creations of this process.
    #[prost(uint64, tag = "5")]
    pub(crate) number: u64,
    /// The ids of those profiles that had its display name before, however it was spelled.
    #[prost(string, repeated, tag = "6")]
    pub(crate) namesakes: Vec<String>,
}

/// Upstream ids.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ids {
    #[prost(string, repeated, tag = "1")]
    ids: Vec<String>,
}

impl Ids {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// A profile to change: as it was read, and as it should become.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct IntendedChange {
    #[prost(message, required, tag = "1")]
    pub(crate) current: Profile,
    #[prost(message, required, tag = "2")]
    pub(crate) desired: Profile,
}

impl Creation {
    /// The intent to create a profile.
    pub(crate) fn new(number: u64, profile: Profile, before: Option<Vec<String>>) -> Self {
        let before = before.map(|ids| Ids { ids });
        Self {
            profile,
            before,
            removal_pending: false,
            id: String::new(),
            number,
            namesakes: Vec::new(),
        }
    }

    /// The ids of the profiles that already existed; fails if that is unknown.
    pub(crate) fn before(&self) -> Result<HashSet<&str>> {
        let unknown = || {
            let message = "it is unknown which profiles existed before";
            Error::new(Reason::UpstreamUnavailable, message)
        };
        let before = self.before.as_ref().ok_or_else(unknown)?;
        Ok(before.ids.iter().map(String::as_str).collect())
    }

    /// Whether a profile of this id is known to have existed.
    pub(crate) fn was_there(&self, id: &str) -> bool {
        self.before.as_ref().is_some_and(|before| before.ids.iter().any(|other| other == id))
    }
}

impl WriteIntent {
    pub(crate) fn new(kind: IntentKind) -> Self {
        Self { kind: Some(kind) }
    }

    /// Decodes an intent from the bytes that the journal stored.
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

/// The error for a journaled intent that cannot be decoded or is not of the repeated write's kind.
pub(crate) fn unreadable() -> Error {
    Error::new(Reason::WriteOutcomeUnknown, "the journal entry of an earlier attempt is unreadable")
        .with_effect(Effect::Unknown)
}

/// The fields of a profile, with sets in canonical order: a different order is not a change.
fn in_order(profile: &Profile) -> Result<Fields> {
    let mut profile = profile.clone();
    normalize(&mut profile);
    Fields::of(&profile)
}

/// An earlier attempt under the same `request_id` whose outcome is unknown.
pub(crate) struct UnresolvedAttempt {
    /// What it was about to do.
    pub(crate) intent: IntentKind,
    /// The time after which it can no longer take effect.
    pub(crate) over: Instant,
}

impl UnresolvedAttempt {
    /// An unresolved attempt that ended this long ago.
    pub(crate) fn new(intent: IntentKind, ended: Duration) -> Self {
        Self { intent, over: Instant::now() + Effect::SETTLES_WITHIN.saturating_sub(ended) }
    }
}
