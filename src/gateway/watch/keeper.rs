//! Keeps the history of a watched backend for the next process.
//!
//! What a poll has found is kept at once and together, before streams are told: so a resume token
//! means the same to the next process. Where the disk is late, they are told all the same, and a
//! token of what was not kept is refused then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    history::{Bounds, Earlier, History, ProfileEvent, Profiles, Run},
    kept::{self, KeptHead, KeptHistory, KeptRun},
};
use crate::store::{Change, Entry, Kept, Outlives, Store, Table, forget_unreadable};

/// A history of more bytes is not kept.
const MOST_BYTES: usize = 32 << 20;
/// The bytes of a whole history that are kept at once: writes wait for the disk too.
const AT_ONCE: usize = 512 << 10;

/// What earlier processes have left of all backends.
pub struct EarlierHistories {
    store: Arc<dyn Store>,
    backends: BTreeMap<String, Vec<Entry>>,
}

/// Keeps the history of one backend.
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    backend: String,
    account: u32,
    /// Whether the store has all of it.
    is_kept: AtomicBool,
    /// What the store may have of it while it has not all.
    left: Mutex<Left>,
}

/// What was put of histories that do not count.
#[derive(Default)]
struct Left {
    positions: BTreeSet<String>,
    /// The changes from the first number to before the second.
    changes: Option<(u64, u64)>,
}

/// What keeps up with a poll.
pub(super) enum Follows {
    /// Nothing has changed, or nothing is kept.
    Nothing,
    /// A change of what is kept.
    Change(Kept),
    /// All is to be kept.
    All(Whole),
}

/// All of a history.
pub(super) struct Whole {
    profiles: Arc<Profiles>,
    changes: Vec<(u64, Arc<ProfileEvent>)>,
    head: Change,
}

impl EarlierHistories {
    /// What the store has. What this release cannot read is forgotten.
    #[must_use]
    pub fn load(store: Arc<dyn Store>) -> Self {
        let mut backends: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let mut unreadable = Vec::new();
        for entry in store.load(Table::History) {
            match kept::belongs(&entry).map(|(backend, _)| backend.to_owned()) {
                Ok(backend) => backends.entry(backend).or_default().push(entry),
                Err(_) => unreadable.push(entry.0),
            }
        }
        forget_unreadable(&*store, Table::History, unreadable);
        Self { store, backends }
    }

    /// Forgets what is left: that of backends that are not watched any more.
    pub(super) fn forget(&mut self) {
        let left = std::mem::take(&mut self.backends);
        self.store.note(left.into_values().flat_map(forgotten).collect());
    }

    /// What keeps the history of a backend, and what it begins with; `None` if nothing outlives the
    /// process. What is of another account, or is not whole, is forgotten.
    pub(super) fn of(&mut self, backend: &str, account: u32) -> Option<(Keeper, Option<Earlier>)> {
        if self.store.outlives() == Outlives::Nothing {
            return None;
        }
        let entries = self.backends.remove(backend).unwrap_or_default();
        let kept = kept::read(&entries);
        let is_readable = kept.is_ok();
        let earlier = kept.ok().and_then(|kept| whole(kept, account));
        if !is_readable {
            let keys = entries.into_iter().map(|(key, _)| key).collect();
            forget_unreadable(&*self.store, Table::History, keys);
        } else if earlier.is_none() && !entries.is_empty() {
            self.store.note(forgotten(entries).collect());
        }
        let keeper = Keeper {
            store: Arc::clone(&self.store),
            backend: backend.to_owned(),
            account,
            is_kept: AtomicBool::new(earlier.is_some()),
            left: Mutex::default(),
        };
        Some((keeper, earlier))
    }
}

fn forgotten(entries: Vec<Entry>) -> impl Iterator<Item = Change> {
    let forget = |(key, _): Entry| Change { table: Table::History, key, value: None };
    entries.into_iter().map(forget)
}

/// About how many bytes it takes to keep what is new since then: each change and its profile.
fn new_bytes(history: &History, before: Bounds) -> usize {
    let new = history.all().filter(|(number, _)| *number > before.last);
    new.map(|(_, change)| 2 * change.profile.bytes().len()).sum()
}

impl Left {
    /// Adds what is about to be put, or what no longer counts.
    fn add(&mut self, profiles: Option<&Profiles>, (first, end): (u64, u64)) {
        let positions = profiles.into_iter().flat_map(BTreeMap::keys);
        self.positions.extend(positions.cloned());
        if first < end {
            let (left, left_end) = self.changes.unwrap_or((first, end));
            self.changes = Some((left.min(first), left_end.max(end)));
        }
    }
}

/// A history of this account, if all of it is there.
fn whole(kept: KeptHistory, account: u32) -> Option<Earlier> {
    let KeptHistory { head, profiles, changes } = kept;
    let head = head.filter(|head| head.account == account)?;
    let first = head.last.checked_sub(head.changes)? + 1;
    let is_whole = profiles.len() as u64 == head.profiles
        && changes.len() as u64 == head.changes
        && changes.iter().map(|(number, _)| *number).eq(first..=head.last);
    let changes = changes.into_iter().map(|(_, change)| change).collect();
    let runs = head.runs.iter().map(|kept| Run { run: kept.run, end: kept.end }).collect();
    is_whole.then_some(Earlier { profiles, changes, last: head.last, runs })
}

impl Keeper {
    /// Begins to keep a history, which goes on with an earlier one.
    pub(super) fn begin(self, history: &mut History, earlier: Option<Earlier>) -> Self {
        history.number_for_others();
        if let Some(earlier) = earlier {
            history.go_on(earlier);
            // The tokens of this process are known by that.
            self.store.note(vec![self.head(history)]);
        }
        self
    }

    /// Keeps up with a poll, after which the history is as it is now. `before` is how it was.
    pub(super) fn follow(
        &self,
        history: &History,
        bounds: Bounds,
        before: Option<&Profiles>,
    ) -> Follows {
        let fits = history.size() <= MOST_BYTES;
        match (self.is_kept.load(Ordering::Relaxed), fits) {
            (false, false) => Follows::Nothing,
            (false, true) => Follows::All(self.all(history)),
            (true, false) => {
                self.is_kept.store(false, Ordering::Relaxed);
                Follows::Change(self.store.end(self.forget(bounds, before)))
            }
            (true, true) if bounds == history.bounds() => Follows::Nothing,
            (true, true) if new_bytes(history, bounds) > AT_ONCE => {
                // Writes wait for one commit: it is kept in parts, as a new one is.
                self.is_kept.store(false, Ordering::Relaxed);
                self.left.lock().add(before, (bounds.first, bounds.last + 1));
                Follows::All(self.all(history))
            }
            (true, true) => Follows::Change(self.store.end(self.changes(history, bounds))),
        }
    }

    fn all(&self, history: &History) -> Whole {
        Whole {
            profiles: Arc::clone(history.profiles()),
            changes: history.all().map(|(n, change)| (n, Arc::clone(change))).collect(),
            head: self.head(history),
        }
    }

    /// Waits until it is kept, if it can be.
    pub(super) async fn finish(&self, follows: Follows) {
        match follows {
            Follows::Nothing => {}
            Follows::Change(keeps) => {
                // The store reports what fails, and keeps it later.
                let _ = keeps.soon().await;
            }
            Follows::All(whole) => self.keep(whole).await,
        }
    }

    /// Keeps a whole history. It counts only once all of it is there.
    async fn keep(&self, whole: Whole) {
        let backend = self.backend.as_str();
        let profiles = whole.profiles.iter();
        let profiles = profiles.map(|(at, profile)| kept::profile(backend, at, Some(profile)));
        let changes = whole.changes.iter().map(|(n, change)| kept::change(backend, *n, change));
        let (mut part, mut bytes) = (self.before(&whole), 0);
        for change in profiles.chain(changes) {
            bytes += change.key.len() + change.value.as_ref().map_or(0, bytes::Bytes::len);
            part.push(change);
            if bytes >= AT_ONCE {
                bytes = 0;
                if self.store.put(std::mem::take(&mut part)).soon().await.is_err() {
                    // The store reports what fails. The next poll tries again, with all.
                    return;
                }
            }
        }
        part.push(whole.head);
        let is_kept = self.store.put(part).soon().await.is_ok();
        if is_kept {
            *self.left.lock() = Left::default();
        }
        self.is_kept.store(is_kept, Ordering::Relaxed);
    }

    /// What comes before a whole history: that nothing counts until its end, and that what was put
    /// before and is not in it is gone.
    fn before(&self, whole: &Whole) -> Vec<Change> {
        let backend = self.backend.as_str();
        let mut changes = vec![kept::no_head(backend)];
        let mut left = self.left.lock();
        let gone = left.positions.iter().filter(|position| !whole.profiles.contains_key(*position));
        changes.extend(gone.map(|position| kept::profile(backend, position, None)));
        let first = whole.changes.first().map_or(u64::MAX, |(number, _)| *number);
        let end = whole.changes.last().map_or(0, |(number, _)| number + 1);
        let (old, old_end) = left.changes.unwrap_or_default();
        let is_gone = |number: &u64| *number < first || *number >= end;
        changes.extend((old..old_end).filter(is_gone).map(|n| kept::no_change(backend, n)));
        left.add(Some(&whole.profiles), (first, end));
        changes
    }

    fn head(&self, history: &History) -> Change {
        let runs = history.runs().into_iter();
        let head = KeptHead {
            account: self.account,
            last: history.last(),
            changes: history.all().len() as u64,
            profiles: history.profiles().len() as u64,
            runs: runs.map(|known| KeptRun { run: known.run, end: known.end }).collect(),
        };
        kept::head(&self.backend, &head)
    }

    /// What a poll has changed.
    fn changes(&self, history: &History, before: Bounds) -> Vec<Change> {
        let (backend, mut all) = (self.backend.as_str(), Vec::new());
        for (number, change) in history.all().filter(|(number, _)| *number > before.last) {
            let profile = history.profiles().get(&change.position);
            all.push(kept::profile(backend, &change.position, profile));
            all.push(kept::change(backend, number, change));
        }
        let gone = before.first..history.bounds().first.min(before.last + 1);
        all.extend(gone.map(|number| kept::no_change(backend, number)));
        all.push(self.head(history));
        all
    }

    /// Forgets all that was kept: it goes on nowhere.
    pub(super) fn give_up(&self, history: &History) {
        let is_kept = self.is_kept.swap(false, Ordering::Relaxed);
        let profiles = Some(&**history.profiles()).filter(|_| is_kept);
        let mut changes = match is_kept {
            true => self.forget(history.bounds(), profiles),
            false => vec![kept::no_head(&self.backend)],
        };
        let left = std::mem::take(&mut *self.left.lock());
        let backend = self.backend.as_str();
        changes.extend(left.positions.iter().map(|at| kept::profile(backend, at, None)));
        let (first, end) = left.changes.unwrap_or_default();
        changes.extend((first..end).map(|number| kept::no_change(backend, number)));
        self.store.note(changes);
    }

    /// Nothing of it counts any more.
    fn forget(&self, bounds: Bounds, profiles: Option<&Profiles>) -> Vec<Change> {
        let backend = self.backend.as_str();
        let positions = profiles.into_iter().flat_map(BTreeMap::keys);
        let profiles = positions.map(|position| kept::profile(backend, position, None));
        let changes = (bounds.first..=bounds.last).map(|n| kept::no_change(backend, n));
        profiles.chain(changes).chain([kept::no_head(backend)]).collect()
    }
}

#[cfg(test)]
mod tests;
