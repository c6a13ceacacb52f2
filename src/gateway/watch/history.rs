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
            limits,
            memory,
            taken: None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Resource;

    const LIMITS: Limits = Limits { changes: 3, bytes: 1 << 20 };

    fn boundless() -> Share {
        Share::boundless(Resource::HistoryBytes)
    }

    fn profiles(list: &[(&str, &str)]) -> Profiles {
        let profile = |name: &str, display_name: &str| {
            Encoded::of(&Profile {
                name: name.into(),
                display_name: display_name.into(),
                ..Profile::default()
            })
        };
        list.iter().map(|(id, name)| ((*id).to_owned(), profile(id, name))).collect()
    }

    async fn poll(history: &mut History, list: &[(&str, &str)]) {
        let seen = profiles(list);
        let changes = differences(history.profiles(), &seen).await.unwrap();
        history.advance(seen, changes);
    }

    /// The numbers, kinds and positions of the changes after this one.
    fn since(history: &History, seq: u64) -> Option<String> {
        let changes = history.since(seq)?.map(|(seq, change)| {
            format!("{seq}{:?}{}", change.kind, change.position).replace("Changed", "~")
        });
        Some(changes.collect::<Vec<_>>().join(" ").replace("Added", "+").replace("Removed", "-"))
    }

    #[tokio::test]
    async fn tells_what_changed() {
        let mut history = History::new(LIMITS, boundless());
        history.begin(profiles(&[("a", "1"), ("b", "1"), ("c", "1")]));
        assert_eq!((history.last(), since(&history, 0).as_deref()), (0, Some("")));
        poll(&mut history, &[("0", "1"), ("a", "1"), ("c", "2")]).await;
        assert_eq!(since(&history, 0).as_deref(), Some("1+0 2-b 3~c"));
        let (_, gone) = history.since(1).unwrap().next().unwrap();
        let bare = Profile { name: "b".into(), ..Profile::default() };
        assert_eq!(gone.profile.message().unwrap(), bare);
        let (_, changed) = history.since(2).unwrap().next().unwrap();
        assert_eq!(changed.fields, ["display_name"]);
        poll(&mut history, &[("0", "1"), ("a", "1"), ("c", "2")]).await;
        assert_eq!((history.last(), since(&history, 3).as_deref()), (3, Some("")));
        assert_eq!(since(&history, 4), None, "a number that was not reached yet");
    }

    #[tokio::test]
    async fn keeps_changes_up_to_the_limit_and_always_those_of_the_latest_poll() {
        let mut history = History::new(LIMITS, boundless());
        for n in 0..10 {
            poll(&mut history, &[("a", &n.to_string())]).await;
        }
        // Three, and one more because the list has one profile.
        assert_eq!(history.last(), 10);
        assert_eq!(since(&history, 5), None);
        assert_eq!(since(&history, 6).as_deref(), Some("7~a 8~a 9~a 10~a"));
        let many: Vec<String> = (100..150).map(|n| n.to_string()).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|id| (id.as_str(), "1")).collect();
        poll(&mut history, &many).await;
        poll(&mut history, &[]).await;
        assert_eq!(history.since(61).unwrap().count(), 50);
        assert!(history.since(60).is_none());
        poll(&mut history, &[("a", "1")]).await;
        assert_eq!(history.since(108).unwrap().count(), 4);
        assert!(history.since(107).is_none());
    }

    #[tokio::test]
    async fn keeps_no_more_bytes_than_allowed() {
        let mut history = History::new(Limits { changes: 1000, bytes: 10_000 }, boundless());
        let long = "x".repeat(3000);
        for n in 0..10 {
            poll(&mut history, &[("a", &format!("{n}{long}"))]).await;
        }
        // Three of 3 kB fit in 10 kB, and one more for the list.
        assert_eq!(history.since(6).unwrap().count(), 4);
        assert!(history.since(5).is_none());
        poll(&mut history, &[]).await;
        assert!(history.bytes <= 10_000, "{}", history.bytes);
        let counted: usize = history.kept.iter().map(|change| size(change)).sum();
        assert_eq!(history.bytes, counted);
    }

    #[tokio::test]
    async fn where_the_memory_of_all_ends_old_changes_go_and_the_latest_stay() {
        let memory = Share::limited(Resource::HistoryBytes, 10_000);
        let mut history = History::new(Limits { changes: 1000, bytes: 1 << 20 }, memory.clone());
        let long = "x".repeat(1000);
        for n in 0..20 {
            poll(&mut history, &[("a", &format!("{n}{long}"))]).await;
            assert!(memory.used() <= 10_000, "{}", memory.used());
        }
        assert_eq!(memory.used(), history.bytes + size_of(history.profiles()));
        // Seven of them and the list fit, or eight.
        assert!(history.since(13).is_some() && history.since(11).is_none());
        let other = memory.take(memory.limit() - memory.used()).unwrap();
        poll(&mut history, &[("a", &long), ("b", &long)]).await;
        assert_eq!(history.since(20).unwrap().count(), 2, "those of the latest poll stay");
        drop((history, other));
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test]
    async fn lists_are_compared_in_turns() {
        use futures_util::poll;
        let list = |name: &str| -> Profiles {
            let profile = Encoded::of(&Profile { display_name: name.into(), ..<_>::default() });
            (0..10_000).map(|n| (format!("{n:05}"), profile.clone())).collect()
        };
        for (after, least) in [(list("a"), 5), (Profiles::new(), 5), (list("b"), 300)] {
            let before = list("a");
            let mut compared = std::pin::pin!(differences(&before, &after));
            let mut polls = 0;
            while poll!(compared.as_mut()).is_pending() {
                polls += 1;
            }
            assert!(polls >= least, "{polls}");
        }
    }
}
