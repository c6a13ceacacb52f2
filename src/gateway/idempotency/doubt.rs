//! Writes whose outcome is unknown, as those see them who look after them.

use std::{
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    key::RequestKey,
    metrics::SettledAs,
    record::{self, KeptRequest, KeptState},
};
use crate::{
    error::{Error, Reason, metadata},
    model::name::{BackendName, ProfileName},
    store::{self, Entry},
};

/// A write whose outcome is unknown.
#[derive(Debug, Clone)]
pub struct Doubt {
    /// Its number. No other write has it, also none of another process on the same store.
    pub number: u64,
    /// Who asked for it, and under which id.
    pub key: RequestKey,
    /// The gateway's method.
    pub method: String,
    /// The profile, or the backend of a creation.
    pub resource: String,
    /// The gateway's id of the call that has sent it last.
    pub call_id: String,
    /// How often it was sent.
    pub sent: u32,
    /// When it was first about to be sent, if that is known. So with the other times: what a clock
    /// showed, if a clock can show it.
    pub first_sent_at: Option<SystemTime>,
    /// When it was last about to be sent.
    pub sent_at: Option<SystemTime>,
    /// After this time, the call that sent it sends no more.
    pub until: Option<SystemTime>,
    /// When the last attempt that sent it ended.
    pub ended_at: Option<SystemTime>,
    /// How long ago that is: it has sent nothing since.
    pub ended: Duration,
    /// What it was about to do.
    pub intent: Bytes,
    /// The process died before its caller was told that the outcome is unknown.
    pub interrupted: bool,
    /// That was a short time before this process has started, so that it may complete the profile
    /// that a creation has made half.
    pub may_complete: bool,
    /// A call, or the gateway itself, is finding out the outcome.
    pub is_attended: bool,
    /// What the gateway has found out by itself.
    pub looks: Looks,
}

/// How the gateway looks after a write in doubt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looks {
    /// How often it has looked.
    pub count: u32,
    /// When it did last.
    pub last_at: Option<SystemTime>,
    /// Why that did not settle it: the name of a [`Reason`], as one of a later release may be, and
    /// a message. Empty if it has not looked.
    pub reason: String,
    /// See `reason`.
    pub message: String,
    /// The names of profiles that may be what it has made.
    pub candidates: Vec<String>,
}

impl Doubt {
    /// Whether its caller gave it a `request_id`: then a repeat finds it out too.
    #[must_use]
    pub fn has_request_id(&self) -> bool {
        self.key.is_named
    }

    /// The id that its caller gave it.
    #[must_use]
    pub fn request_id(&self) -> Option<Uuid> {
        self.key.is_named.then_some(self.key.id)
    }

    /// A doubt as a process that has ended has left it; `None` of a write whose outcome is known.
    ///
    /// # Errors
    ///
    /// When this release cannot read it.
    pub fn read(entry: &Entry) -> io::Result<Option<Self>> {
        let (number, key, mut kept) = record::read(entry)?;
        match kept.state() {
            KeptState::Done | KeptState::Closed => return Ok(None),
            KeptState::Unknown => {}
            KeptState::Sent => kept.ended_at = kept.until,
        }
        let ended = store::time(kept.ended_at).and_then(|time| time.elapsed().ok());
        let ended = ended.unwrap_or_default();
        Ok(Some(Self::of(number, key, &kept, ended)))
    }

    /// A doubt as it is kept. `ended`: how long ago its last attempt ended.
    pub(super) fn of(number: u64, key: RequestKey, kept: &KeptRequest, ended: Duration) -> Self {
        Self {
            number,
            key,
            method: kept.method.clone(),
            resource: kept.resource.clone(),
            call_id: kept.call_id.clone(),
            sent: kept.sent,
            first_sent_at: store::time(kept.first_sent_at),
            sent_at: store::time(kept.sent_at),
            until: store::time(kept.until),
            ended_at: store::time(kept.ended_at),
            ended,
            intent: kept.intent.clone(),
            interrupted: kept.interrupted,
            may_complete: false,
            is_attended: false,
            looks: Looks {
                count: kept.looks,
                last_at: store::time(kept.looked_at),
                reason: kept.unsettled_reason.clone(),
                message: kept.unsettled_message.clone(),
                candidates: kept.candidates.clone(),
            },
        }
    }
}

/// What has become of an attempt of the gateway itself to settle a doubt.
#[derive(Debug)]
pub enum Settling {
    /// It has begun. What it is to find out, and the number of the attempt.
    Begun(Box<Doubt>, u64),
    /// The doubt has ended: another replica has found out how the write ended.
    Ended(Box<Doubt>, SettledAs),
    /// Someone else is at it, or nothing is in doubt any more.
    NotNow,
}

#[cfg(test)]
impl Settling {
    pub(crate) fn begun(self) -> Option<(Doubt, u64)> {
        match self {
            Self::Begun(doubt, attempt) => Some((*doubt, attempt)),
            Self::Ended(..) | Self::NotNow => None,
        }
    }
}

/// Why a look did not settle a doubt.
#[derive(Debug, Clone)]
pub struct Unsettled {
    /// A reason for people and their programs.
    pub reason: Reason,
    /// The same in words.
    pub message: String,
    /// The names of profiles that may be what the write has made.
    pub candidates: Vec<String>,
}

impl Unsettled {
    /// What a look after a doubt has failed with. A creation may be known to have made a profile.
    #[must_use]
    pub fn of(error: &Error, doubt: &Doubt) -> Self {
        let candidates = error.metadatum(metadata::CANDIDATES).unwrap_or_default();
        let candidates = candidates.split(", ").filter(|name| !name.is_empty());
        let backend = BackendName::parse("resource", &doubt.resource).ok();
        let made = error.metadatum(metadata::PROFILE_ID).zip(backend);
        let made = made.map(|(id, backend)| ProfileName::of(&backend, id).to_string());
        Self {
            reason: error.reason(),
            message: error.message().to_owned(),
            candidates: candidates.map(str::to_owned).chain(made).collect(),
        }
    }
}

/// How an operator ends a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// The write had no effect, and will not have any: a repeat may write.
    NoEffect,
    /// It took effect. With its result if there is nothing else that it can be, as of a deletion;
    /// repeats get that. Without it, repeats are told that it is closed, and write nothing.
    TookEffect(Option<Bytes>),
}

/// What has become of an operator's request to end a doubt.
#[derive(Debug, Clone)]
pub enum Closed {
    /// It is ended. The doubt as it was.
    Closed(Box<Doubt>),
    /// There is no doubt of this number, or none any more.
    Missing,
    /// A call is finding it out at this moment, and will be told, or has sent it again since it was
    /// seen; or the gateway is completing what it has made.
    Attended,
}
