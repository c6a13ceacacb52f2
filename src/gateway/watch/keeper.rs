//! Keeps the history of a watched backend for the next process.
//!
//! What a poll has found is kept at once and together, before streams are told: so a resume token
//! means the same to the next process. Where the disk is late, they are told all the same, and a
//! token of what was not kept is refused then.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    history::{Bounds, Earlier, History, ProfileEvent, Profiles, Run},
    kept::{self, KeptHead, KeptHistory, KeptRun},
};
use crate::store::{Change, Entry, Kept, Outlives, Store, Table};

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
    /// What the store has.
    ///
    /// # Errors
    ///
    /// When it has what this release cannot read.
    pub fn load(store: Arc<dyn Store>) -> io::Result<Self> {
        let mut backends: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in store.load(Table::History) {
            let (backend, _) = kept::belongs(&entry)?;
            backends.entry(backend.to_owned()).or_default().push(entry);
        }
        Ok(Self { store, backends })
    }

    /// What keeps the history of a backend, and what it begins with; `None` if nothing outlives the
    /// process. What is of another account, or is not whole, is forgotten.
    pub(super) fn of(
        &mut self,
        backend: &str,
        account: u32,
    ) -> io::Result<Option<(Keeper, Option<Earlier>)>> {
        if self.store.outlives() == Outlives::Nothing {
            return Ok(None);
        }
        let entries = self.backends.remove(backend).unwrap_or_default();
        let earlier = whole(kept::read(&entries)?, account);
        if earlier.is_none() && !entries.is_empty() {
            let forget = |(key, _): Entry| Change { table: Table::History, key, value: None };
            self.store.note(entries.into_iter().map(forget).collect());
        }
        let keeper = Keeper {
            store: Arc::clone(&self.store),
            backend: backend.to_owned(),
            account,
            is_kept: AtomicBool::new(earlier.is_some()),
        };
        Ok(Some((keeper, earlier)))
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
            (false, true) => Follows::All(Whole {
                profiles: Arc::clone(history.profiles()),
                changes: history.all().map(|(n, change)| (n, Arc::clone(change))).collect(),
                head: self.head(history),
            }),
            (true, false) => {
                self.is_kept.store(false, Ordering::Relaxed);
                Follows::Change(self.store.end(self.forget(bounds, before)))
            }
            (true, true) if bounds == history.bounds() => Follows::Nothing,
            (true, true) => Follows::Change(self.store.end(self.changes(history, bounds))),
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
        let (mut part, mut bytes) = (vec![kept::no_head(backend)], 0);
        for change in profiles.chain(changes) {
            bytes += change.key.len() + change.value.as_ref().map_or(0, bytes::Bytes::len);
            part.push(change);
            if bytes >= AT_ONCE {
                bytes = 0;
                if self.store.end(std::mem::take(&mut part)).soon().await.is_err() {
                    // The store reports what fails. The next poll tries again.
                    return;
                }
            }
        }
        part.push(whole.head);
        let keeps = self.store.end(part).soon().await;
        self.is_kept.store(keeps.is_ok(), Ordering::Relaxed);
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
