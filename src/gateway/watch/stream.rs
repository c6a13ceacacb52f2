//! One stream: its cursor in each backend, and what it sends next.
//!
//! A stream keeps only its cursors. It takes changes from the history when its caller is ready for
//! them, so a caller that does not read costs no memory, but may fall behind what the history
//! keeps.

use std::{future::pending, ops::Bound, sync::Arc, time::Duration};

use futures_util::future::select_all;
use prost::Message;
use prost_types::FieldMask;
use tokio::{
    task::coop,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    follower::Follower,
    history::{ProfileEvent, fell_behind, lost},
    poller::Poller,
};
use crate::{
    caller::Held,
    error::{DEADLINE_PASSED, Error, Reason, Result, metadata},
    gateway::backend::Backend,
    model::method::Method,
    pb::{ChangeKind, Encoded, Profile, WatchBookmark, WatchProfilesResponse, encoded},
    query::resume::{self, Cursors, ResumeTokens, expired},
};

/// The method that opens streams.
pub(super) const METHOD: Method = Method::WatchProfiles;

/// Most changes in one answer.
const MOST: usize = 100;
/// Once its profiles have this many bytes, an answer gets no more: far below what clients accept.
const MOST_BYTES: usize = 256 << 10;

/// A stream of profile changes. It ends when it is dropped.
pub struct ChangeStream {
    /// Who has opened it, and over what: its tokens belong to both.
    caller: String,
    parent: String,
    sources: Vec<Source>,
    tokens: Arc<ResumeTokens>,
    /// Whether it has told its caller that the initial list is complete.
    complete: bool,
    over: bool,
    ends: Ends,
    /// When its latest message was sent, or it began.
    sent: Instant,
    /// One of the slots for streams of this process.
    _slot: Held,
}

/// What makes a stream send a message without a change.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends {
    /// How long it may be without a message.
    pub(super) keep_alive: Option<Duration>,
    /// Cancelled when it has to end, after a last message.
    pub(super) leave: Option<CancellationToken>,
}

/// A backend in a stream.
pub(super) struct Source {
    follower: Follower,
    /// The number of the poll that it may begin with.
    first: u64,
    /// What tells this process from others that have numbered changes.
    run: u64,
    /// Its cursor; `None` before it has begun.
    at: Option<Cursor>,
}

/// The same as [`resume::Cursor`], without the backend, which the source knows.
#[derive(Clone)]
struct Cursor {
    seq: u64,
    position: Option<String>,
}

/// An answer that is being built.
#[derive(Default)]
struct Taken {
    entries: Vec<encoded::ProfileChange>,
    /// For each entry, its source and the cursor of that source after the entry.
    cursors: Vec<(usize, Cursor)>,
    bytes: usize,
}

impl ChangeStream {
    pub(super) fn new(
        (caller, parent): (String, &str),
        sources: Vec<Source>,
        tokens: Arc<ResumeTokens>,
        ends: Ends,
        slot: Held,
    ) -> Self {
        let complete = sources.iter().all(Source::is_complete);
        let parent = parent.to_owned();
        let sent = Instant::now();
        Self { caller, parent, sources, tokens, complete, over: false, ends, sent, _slot: slot }
    }

    /// Waits until every backend that has no cursor yet has been read, or until it is known that
    /// reading it waits for the vendor's limits: then the stream begins before it.
    pub(super) async fn begun(&mut self, deadline: Instant) -> Result<()> {
        for source in self.sources.iter_mut().filter(|source| source.at.is_none()) {
            loop {
                source.follower.listen();
                let outcome = source.follower.state().outcome(source.first);
                if let Some(outcome) = outcome {
                    outcome?;
                    break;
                }
                if source.follower.state().is_pacing() {
                    break;
                }
                if timeout_at(deadline, source.follower.news()).await.is_err() {
                    return Err(Error::new(Reason::DeadlineExceeded, DEADLINE_PASSED));
                }
            }
        }
        Ok(())
    }

    /// Waits for the next answer. After an error, the stream is over.
    pub async fn next(&mut self) -> Option<Result<Encoded<WatchProfilesResponse>>> {
        // Sending a long initial list must not monopolize the connection's thread.
        coop::consume_budget().await;
        while !self.over {
            self.sources.iter_mut().for_each(|source| source.follower.listen());
            match self.take() {
                Ok(None) => {}
                Ok(Some(answer)) => return Some(Ok(self.message(&answer))),
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
            if self.is_due().await {
                let bookmark = self.bookmark();
                self.over = bookmark.is_err();
                return Some(bookmark.map(|bookmark| self.message(&bookmark)));
            }
        }
        None
    }

    /// Waits until a poll has ended, or a message is due without one; returns whether it is.
    async fn is_due(&mut self) -> bool {
        let news = self.sources.iter_mut().map(|source| Box::pin(source.follower.news()));
        let due = self.ends.keep_alive.and_then(|longest| self.sent.checked_add(longest));
        let leave = self.ends.leave.as_ref();
        let leaving = async {
            match leave {
                Some(leave) => leave.cancelled().await,
                None => pending().await,
            }
        };
        let quiet = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = select_all(news) => false,
            () = quiet => true,
            () = leaving => {
                // Once: the stream is ended from outside.
                self.ends = Ends::default();
                true
            }
        }
    }

    fn message(
        &mut self,
        answer: &encoded::WatchProfilesResponse,
    ) -> Encoded<WatchProfilesResponse> {
        self.sent = Instant::now();
        Encoded::from_bytes(answer.encode_to_vec())
    }

    fn token(&self, cursors: &Cursors) -> Result<String> {
        self.tokens.seal(&self.caller, &self.parent, &begun(cursors))
    }

    fn bookmark(&self) -> Result<encoded::WatchProfilesResponse> {
        let cursors = Cursors { cursors: self.sources.iter().map(Source::cursor).collect() };
        let blind = self.sources.iter().filter(|source| source.follower.is_blind());
        let bookmark = WatchBookmark {
            resume_token: self.token(&cursors)?,
            unreachable: blind.map(|source| source.follower.backend().name().to_string()).collect(),
        };
        Ok(encoded::WatchProfilesResponse {
            changes: Vec::new(),
            snapshot_complete: self.complete,
            bookmark: Some(bookmark),
        })
    }

    fn take(&mut self) -> Result<Option<encoded::WatchProfilesResponse>> {
        let mut cursors = Cursors { cursors: self.sources.iter().map(Source::cursor).collect() };
        let mut taken = Taken::default();
        for (number, source) in self.sources.iter_mut().enumerate() {
            let backend = source.follower.backend().name().id().to_owned();
            source.take(number, &mut taken).map_err(|error| {
                error
                    .with_metadata(metadata::BACKEND, backend)
                    .with_metadata(metadata::OPERATION, METHOD.name())
            })?;
        }
        for (cursor, source) in cursors.cursors.iter_mut().zip(&self.sources) {
            cursor.run = source.run;
        }
        let Taken { mut entries, cursors: behind, .. } = taken;
        for (entry, (source, behind)) in entries.iter_mut().zip(behind) {
            if let Some(cursor) = cursors.cursors.get_mut(source) {
                cursor.seq = behind.seq;
                cursor.position = behind.position;
            }
            entry.resume_token = self.token(&cursors)?;
        }
        let complete = self.sources.iter().all(Source::is_complete);
        let news = !entries.is_empty() || complete != self.complete;
        self.complete = complete;
        Ok(news.then_some(encoded::WatchProfilesResponse {
            changes: entries,
            snapshot_complete: complete,
            bookmark: None,
        }))
    }
}

/// The cursors without those of backends that have not begun yet.
fn begun(cursors: &Cursors) -> Cursors {
    let begun = |cursor: &&resume::Cursor| cursor.position.as_deref() != Some(NOWHERE);
    Cursors { cursors: cursors.cursors.iter().filter(begun).cloned().collect() }
}

/// Sorts before all positions, because these begin with a backend's name.
const NOWHERE: &str = "";

impl Source {
    /// A backend that is followed from its beginning.
    pub(super) fn new(backend: &Arc<Backend>, poller: &Arc<Poller>) -> Self {
        let (follower, first) = Follower::new(backend, poller);
        let run = follower.state().history.run();
        Self { follower, first, run, at: None }
    }

    /// Follows it from the cursor instead, once it is known what replicas share of it, if they do.
    ///
    /// # Errors
    ///
    /// If the changes since the cursor are no longer kept, or what replicas share cannot be read.
    pub(super) async fn resume(&mut self, cursor: &resume::Cursor, until: Instant) -> Result<()> {
        loop {
            self.follower.listen();
            if self.follower.state().follows(self.first)? {
                break;
            }
            if timeout_at(until, self.follower.news()).await.is_err() {
                return Err(Error::new(Reason::DeadlineExceeded, DEADLINE_PASSED));
            }
        }
        let history = &self.follower.state().history;
        if !history.knows(cursor.run, cursor.seq) {
            return Err(expired("is not of what an earlier process has kept"));
        }
        if history.since(cursor.seq).is_none() {
            return Err(expired("is too old"));
        }
        self.run = history.run();
        self.at = Some(Cursor { seq: cursor.seq, position: cursor.position.clone() });
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.at.as_ref().is_some_and(|cursor| cursor.position.is_none())
    }

    fn cursor(&self) -> resume::Cursor {
        let backend = self.follower.backend().name().id().to_owned();
        let nowhere = || Cursor { seq: 0, position: Some(NOWHERE.to_owned()) };
        let Cursor { seq, position } = self.at.clone().unwrap_or_else(nowhere);
        resume::Cursor { backend, seq, position, run: self.run }
    }

    /// Takes what is to be sent, as long as the answer has room.
    fn take(&mut self, number: usize, taken: &mut Taken) -> Result<()> {
        let state = self.follower.state();
        state.goes_on()?;
        let is_known = |at: &Cursor| state.history.knows(self.run, at.seq);
        if !self.at.as_ref().is_none_or(is_known) {
            return Err(lost());
        }
        self.run = state.history.run();
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
            // Profiles after the cursor's position are sent later, from the list as it is by then.
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
        // The last entry completes the list: a caller that resumes after it is not told so again.
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
