//! The profiles of a backend as they were last seen, and the latest changes among them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    caller::Held,
    error::{Error, Reason, Result},
    gateway::read::view::decoded,
    model::changes::changed_paths,
    pb::{ChangeKind, Encoded, Profile},
    resources::{Share, Work, coding},
};

/// About what it takes to find a profile in the other list, in nanoseconds.
const LOOKUP: usize = 500;
/// About what it takes to compare the fields of two, beside their bytes.
const COMPARED: usize = 30_000;

/// Profiles by their position in list order.
pub(super) type Profiles = BTreeMap<String, Encoded<Profile>>;

/// A change of one profile.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProfileEvent {
    /// The profile's position in list order.
    pub(super) position: String,
    pub(super) kind: ChangeKind,
    /// The profile after the change; only its name if it was removed.
    pub(super) profile: Encoded<Profile>,
    /// The paths that changed.
    pub(super) fields: Vec<&'static str>,
}

/// The numbers of the first and the latest change that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// A process that has numbered changes, and the latest number that was kept while it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) run: u64,
    pub(super) end: u64,
}

/// What earlier processes have left of a history.
pub(super) struct Earlier {
    pub(super) profiles: Profiles,
    pub(super) changes: Vec<Arc<ProfileEvent>>,
    pub(super) last: u64,
    pub(super) runs: Vec<Run>,
}

/// At most so many earlier processes are told apart.
const MOST_RUNS: usize = 256;

/// How much history is kept in addition to the size of the list itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) changes: usize,
    pub(super) bytes: usize,
}

/// The profiles of one backend as of the latest poll, and the changes that led there.
///
/// Changes are numbered from 1. Those of the latest poll are always kept, and as many older ones as
/// the limits and the list's own size allow. Otherwise a poll that finds all profiles changed would
/// cut off every stream, however fast it is read.
pub(super) struct History {
    profiles: Arc<Profiles>,
    kept: VecDeque<Arc<ProfileEvent>>,
    bytes: usize,
    /// The number of the latest change.
    last: u64,
    /// Whether there is a list.
    has_begun: bool,
    /// What tells this process from others that have numbered changes; zero if nothing outlives it.
    run: u64,
    /// Earlier processes, and which of their numbers are those of here.
    earlier: Vec<Run>,
    limits: Limits,
    memory: Share,
    /// The memory of all that is kept.
    taken: Option<Held>,
}

impl History {
    /// Nothing yet. What is kept is taken of `memory`.
    pub(super) fn new(limits: Limits, memory: Share) -> Self {
        Self {
            profiles: Arc::default(),
            kept: VecDeque::new(),
            bytes: 0,
            last: 0,
            has_begun: false,
            run: 0,
            earlier: Vec::new(),
            limits,
            memory,
            taken: None,
        }
    }

    /// Goes on under numbers that the next process knows too.
    pub(super) fn number_for_others(&mut self) {
        self.run = rand::random::<u64>() | 1;
    }

    /// Goes on where an earlier process ended.
    pub(super) fn go_on(&mut self, earlier: Earlier) {
        let Earlier { profiles, changes, last, runs } = earlier;
        self.bytes = changes.iter().map(|change| size(change)).sum();
        self.kept = changes.into();
        (self.last, self.earlier) = (last, runs);
        self.begin(profiles);
    }

    /// Follows a history that replicas share, from here on.
    pub(super) fn follow(&mut self, run: u64, shared: Earlier) {
        self.run = run;
        self.go_on(shared);
    }

    /// Follows the history that a shared one has become. All that is kept here is in it.
    pub(super) fn rename(&mut self, run: u64, earlier: Vec<Run>) {
        (self.run, self.earlier) = (run, earlier);
    }

    /// Takes in changes that a shared history has after the last one here.
    pub(super) fn apply(&mut self, changes: Vec<ProfileEvent>) {
        let mut profiles = Arc::unwrap_or_clone(std::mem::take(&mut self.profiles));
        apply(&mut profiles, &changes);
        self.advance(profiles, changes);
    }

    /// Whether there is a list to compare the next one with.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// What tells this process from others that have numbered changes.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// The processes whose numbers mean something to the next one, this one last.
    pub(super) fn runs(&self) -> Vec<Run> {
        let resumable = self.bounds().first - 1;
        let earlier = self.earlier.iter().filter(|run| run.end >= resumable).copied();
        let mut runs: Vec<Run> = earlier.collect();
        runs.push(Run { run: self.run, end: self.last });
        let many = runs.len().saturating_sub(MOST_RUNS);
        runs.split_off(many)
    }

    /// Whether a number that a process has given is that of the same change here. One that was not
    /// kept when its process died is not: the number may be that of another change by now.
    pub(super) fn knows(&self, run: u64, seq: u64) -> bool {
        run == self.run || self.earlier.iter().any(|known| known.run == run && seq <= known.end)
    }

    /// The numbers of the changes that are kept.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { first: self.last - self.kept.len() as u64 + 1, last: self.last }
    }

    /// All changes that are kept, with their numbers.
    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = (u64, &Arc<ProfileEvent>)> {
        let first = self.bounds().first;
        self.kept.iter().enumerate().map(move |(n, change)| (first + n as u64, change))
    }

    /// The bytes of all that is kept.
    pub(super) fn size(&self) -> usize {
        self.bytes + size_of(&self.profiles)
    }

    /// The profiles as of the latest change.
    pub(super) fn profiles(&self) -> &Arc<Profiles> {
        &self.profiles
    }

    /// The number of the latest change.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The changes after this number, oldest first, with their numbers; `None` if not all are kept.
    pub(super) fn since(
        &self,
        seq: u64,
    ) -> Option<impl Iterator<Item = (u64, &Arc<ProfileEvent>)>> {
        let missing = usize::try_from(self.last.checked_sub(seq)?).ok()?;
        let skipped = self.kept.len().checked_sub(missing)?;
        Some((seq + 1..).zip(self.kept.range(skipped..)))
    }

    /// Stores the profiles of the first poll, which are not changes.
    pub(super) fn begin(&mut self, profiles: Profiles) {
        let bytes = self.bytes + size_of(&profiles);
        self.profiles = Arc::new(profiles);
        self.has_begun = true;
        // The last list always stays.
        self.taken = Some(self.memory.take_anyway(bytes));
    }

    /// Stores the profiles of a later poll and the changes since the one before it.
    pub(super) fn advance(&mut self, profiles: Profiles, changes: Vec<ProfileEvent>) {
        let latest = changes.len();
        self.last += latest as u64;
        self.bytes += changes.iter().map(size).sum::<usize>();
        self.kept.extend(changes.into_iter().map(Arc::new));
        let list_bytes = size_of(&profiles);
        let (most, most_bytes) =
            (self.limits.changes + profiles.len(), self.limits.bytes + list_bytes);
        while self.kept.len() > latest && (self.kept.len() > most || self.bytes > most_bytes) {
            self.drop_oldest();
        }
        // The memory is of all backends: where it ends, old changes go first.
        drop(self.taken.take());
        let taken = loop {
            match self.memory.take(self.bytes + list_bytes) {
                Ok(taken) => break taken,
                Err(_) if self.kept.len() > latest => self.drop_oldest(),
                Err(_) => break self.memory.take_anyway(self.bytes + list_bytes),
            }
        };
        self.taken = Some(taken);
        self.profiles = Arc::new(profiles);
    }

    fn drop_oldest(&mut self) {
        self.bytes -= self.kept.pop_front().map_or(0, |change| size(&change));
    }
}

/// Makes changes of a list.
pub(super) fn apply(profiles: &mut Profiles, changes: &[ProfileEvent]) {
    for change in changes {
        if change.kind == ChangeKind::Removed {
            profiles.remove(&change.position);
        } else {
            profiles.insert(change.position.clone(), change.profile.clone());
        }
    }
}

/// The bytes that a list takes, including the overhead of its allocations.
fn size_of(profiles: &Profiles) -> usize {
    profiles.iter().map(|(key, profile)| key.len() + profile.bytes().len() + 96).sum()
}

/// The bytes that a change takes, including the overhead of its allocations.
fn size(change: &ProfileEvent) -> usize {
    change.profile.bytes().len() + change.position.len() + 128
}

/// What changed between two polls, ordered by position.
pub(super) async fn differences(before: &Profiles, after: &Profiles) -> Result<Vec<ProfileEvent>> {
    let (mut changes, mut work) = (Vec::new(), Work::default());
    for (position, profile) in before {
        work.done(LOOKUP).await;
        if !after.contains_key(position) {
            work.done(coding(profile.bytes().len())).await;
            let profile = Profile { name: decoded(profile)?.name, ..Profile::default() };
            let profile = Encoded::of(&profile);
            changes.push(change(position, ChangeKind::Removed, profile, Vec::new()));
        }
    }
    for (position, profile) in after {
        work.done(LOOKUP).await;
        match before.get(position) {
            None => changes.push(change(position, ChangeKind::Added, profile.clone(), Vec::new())),
            Some(old) if old == profile => {}
            Some(old) => {
                // Both are decoded, and compared field by field.
                work.done(COMPARED + 4 * coding(old.bytes().len().max(profile.bytes().len())))
                    .await;
                let fields = changed_paths(&decoded(old)?, &decoded(profile)?)?;
                changes.push(change(position, ChangeKind::Changed, profile.clone(), fields));
            }
        }
    }
    changes.sort_by(|a, b| a.position.cmp(&b.position));
    Ok(changes)
}

fn change(
    position: &str,
    kind: ChangeKind,
    profile: Encoded<Profile>,
    fields: Vec<&'static str>,
) -> ProfileEvent {
    ProfileEvent { position: position.to_owned(), kind, profile, fields }
}

/// The error for a stream whose next changes are no longer kept.
pub(super) fn fell_behind() -> Error {
    Error::new(
        Reason::WatchFellBehind,
        "the stream was read too slowly: changes that it has not sent yet are no longer kept; open \
         a new stream without a resume_token, which begins with all profiles",
    )
}

/// The error for a stream of whose last changes no replica knows any more.
pub(super) fn lost() -> Error {
    Error::new(
        Reason::WatchFellBehind,
        "what replicas share was lost, and the latest changes with it; open a new stream without a \
         resume_token, which begins with all profiles",
    )
}

#[cfg(test)]
mod tests;
