//! One stream: its cursor in each backend, and what it sends next.
//!
//! It keeps nothing but its cursors. It takes what it sends out of the history when its caller has room
//! for it, so a caller who does not read costs no memory, but may fall behind what is kept.

use std::{ops::Bound, sync::Arc};

use futures_util::future::select_all;
use prost::Message;
use prost_types::FieldMask;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::coop,
    time::{Instant, timeout_at},
};

use super::{
    history::{ProfileEvent, fell_behind},
    poller::{Follower, Poller},
};
use crate::{
    error::{Error, Reason, Result},
    gateway::backend::Backend,
    model::method::Method,
    pb::{ChangeKind, Encoded, Profile, WatchProfilesResponse, encoded},
    query::resume::{self, Cursors, ResumeTokens, expired},
};

/// The method.
pub(super) const METHOD: Method = Method::WatchProfiles;

/// Changes in one answer.
const MOST: usize = 100;
/// Bytes of the profiles in one answer, after which no other is added: far below what clients take.
const MOST_BYTES: usize = 256 << 10;

/// A stream of changes. Ends when dropped.
pub struct ChangeStream {
    parent: String,
    sources: Vec<Source>,
    tokens: Arc<ResumeTokens>,
    /// It has told its caller that the initial list is complete.
    complete: bool,
    over: bool,
    /// One of the slots for streams of this process.
    _slot: OwnedSemaphorePermit,
}

/// A backend in a stream.
pub(super) struct Source {
    follower: Follower,
    /// The poll that it may begin with.
    first: u64,
    /// Its cursor; none before it has begun.
    at: Option<Cursor>,
}

/// A [`resume::Cursor`], which says what it means, of a known backend.
#[derive(Clone)]
struct Cursor {
    seq: u64,
    position: Option<String>,
}

/// An answer under way.
#[derive(Default)]
struct Taken {
    entries: Vec<encoded::ProfileChange>,
    /// Which source each is from, and the cursor of that source after it.
    cursors: Vec<(usize, Cursor)>,
    bytes: usize,
}

impl ChangeStream {
    pub(super) fn new(
        parent: &str,
        sources: Vec<Source>,
        tokens: Arc<ResumeTokens>,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let complete = sources.iter().all(Source::is_complete);
        let parent = parent.to_owned();
        Self { parent, sources, tokens, complete, over: false, _slot: slot }
    }

    /// Waits until every backend has been read that the stream begins with.
    pub(super) async fn begun(&mut self, deadline: Instant) -> Result<()> {
        for source in self.sources.iter_mut().filter(|source| source.at.is_none()) {
            loop {
                source.follower.listen();
                let outcome = source.follower.state().outcome(source.first);
                if let Some(outcome) = outcome {
                    outcome?;
                    break;
                }
                if timeout_at(deadline, source.follower.news()).await.is_err() {
                    let message = "the deadline passed before the backend was read";
                    return Err(Error::new(Reason::DeadlineExceeded, message));
                }
            }
        }
        Ok(())
    }

    /// The next answer, when there is one. After an error nothing comes.
    pub async fn next(&mut self) -> Option<Result<Encoded<WatchProfilesResponse>>> {
        // A long beginning must not keep the connection's thread to itself.
        coop::consume_budget().await;
        while !self.over {
            self.sources.iter_mut().for_each(|source| source.follower.listen());
            match self.take() {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    return Some(Ok(Encoded::from_bytes(answer.encode_to_vec())));
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
            let news = self.sources.iter_mut().map(|source| Box::pin(source.follower.news()));
            select_all(news).await;
        }
        None
    }

    fn take(&mut self) -> Result<Option<encoded::WatchProfilesResponse>> {
        let mut cursors = Cursors { cursors: self.sources.iter().map(Source::cursor).collect() };
        let mut taken = Taken::default();
        for (number, source) in self.sources.iter_mut().enumerate() {
            let backend = source.follower.backend().name().id().to_owned();
            source.take(number, &mut taken).map_err(|error| {
                error.with_metadata("backend", backend).with_metadata("operation", METHOD.name())
            })?;
        }
        let Taken { mut entries, cursors: behind, .. } = taken;
        for (entry, (source, behind)) in entries.iter_mut().zip(behind) {
            if let Some(cursor) = cursors.cursors.get_mut(source) {
                cursor.seq = behind.seq;
                cursor.position = behind.position;
            }
            entry.resume_token = self.tokens.seal(&self.parent, &begun(&cursors));
        }
        let complete = self.sources.iter().all(Source::is_complete);
        let news = !entries.is_empty() || complete != self.complete;
        self.complete = complete;
        Ok(news.then_some(encoded::WatchProfilesResponse {
            changes: entries,
            snapshot_complete: complete,
        }))
    }
}

/// Without the backends that the stream has not begun with.
fn begun(cursors: &Cursors) -> Cursors {
    let begun = |cursor: &&resume::Cursor| cursor.position.as_deref() != Some(NOWHERE);
    Cursors { cursors: cursors.cursors.iter().filter(begun).cloned().collect() }
}

/// Before all positions: they begin with a backend's name.
const NOWHERE: &str = "";

impl Source {
    /// A backend that is followed from its cursor on, or from its beginning.
    ///
    /// # Errors
    ///
    /// When changes since the cursor are not kept.
    pub(super) fn new(
        backend: &Arc<Backend>,
        poller: &Arc<Poller>,
        cursor: Option<&resume::Cursor>,
    ) -> Result<Self> {
        let (follower, first) = Follower::new(backend, poller);
        let at = cursor.map(|c| Cursor { seq: c.seq, position: c.position.clone() });
        if let Some(cursor) = &at
            && follower.state().history.since(cursor.seq).is_none()
        {
            return Err(expired("is too old"));
        }
        Ok(Self { follower, first, at })
    }

    fn is_complete(&self) -> bool {
        self.at.as_ref().is_some_and(|cursor| cursor.position.is_none())
    }

    fn cursor(&self) -> resume::Cursor {
        let backend = self.follower.backend().name().id().to_owned();
        let nowhere = || Cursor { seq: 0, position: Some(NOWHERE.to_owned()) };
        let Cursor { seq, position } = self.at.clone().unwrap_or_else(nowhere);
        resume::Cursor { backend, seq, position }
    }

    /// Takes what there is to send, as far as there is room.
    fn take(&mut self, number: usize, taken: &mut Taken) -> Result<()> {
        let state = self.follower.state();
        let cursor = match &mut self.at {
            Some(cursor) => cursor,
            None if state.outcome(self.first).is_some_and(|outcome| outcome.is_ok()) => {
                let position = Some(NOWHERE.to_owned());
                self.at.insert(Cursor { seq: state.history.last(), position })
            }
            None => return Ok(()),
        };
        let Some(changes) = state.history.since(cursor.seq) else {
            self.follower.dropped();
            return Err(fell_behind());
        };
        for (seq, change) in changes {
            if taken.is_full() {
                return Ok(());
            }
            cursor.seq = seq;
            // Profiles after its position will be sent from the list, as they are by then.
            if cursor
                .position
                .as_deref()
                .is_none_or(|position| change.position.as_str() <= position)
            {
                taken.add(number, cursor, entry(change));
            }
        }
        let Some(position) = cursor.position.clone() else { return Ok(()) };
        let rest = (Bound::Excluded(position.as_str()), Bound::Unbounded);
        for (position, profile) in state.history.profiles().range::<str, _>(rest) {
            if taken.is_full() {
                return Ok(());
            }
            cursor.position = Some(position.clone());
            taken.add(number, cursor, added(profile));
        }
        cursor.position = None;
        // With the last one the list is complete: a caller who resumes there is not told again.
        if let Some((source, last)) = taken.cursors.last_mut()
            && *source == number
        {
            *last = cursor.clone();
        }
        Ok(())
    }
}

impl Taken {
    fn is_full(&self) -> bool {
        self.entries.len() >= MOST || self.bytes >= MOST_BYTES
    }

    fn add(&mut self, source: usize, cursor: &Cursor, entry: encoded::ProfileChange) {
        self.bytes += entry.profile.as_ref().map_or(0, |profile| profile.bytes().len());
        self.entries.push(entry);
        self.cursors.push((source, cursor.clone()));
    }
}

fn entry(change: &ProfileEvent) -> encoded::ProfileChange {
    let paths: Vec<String> = change.fields.iter().map(|path| (*path).to_owned()).collect();
    encoded::ProfileChange {
        kind: change.kind.into(),
        profile: Some(change.profile.clone()),
        changed_fields: (!paths.is_empty()).then_some(FieldMask { paths }),
        resume_token: String::new(),
    }
}

fn added(profile: &Encoded<Profile>) -> encoded::ProfileChange {
    encoded::ProfileChange {
        kind: ChangeKind::Added.into(),
        profile: Some(profile.clone()),
        changed_fields: None,
        resume_token: String::new(),
    }
}
