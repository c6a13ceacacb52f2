//! What acknowledged writes made, for as long as the upstream's reads may lag behind them.
//!
//! A value that contradicts an acknowledged write is served, but not kept: the next read asks
//! again. A profile that was deleted is not served at all.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use foldhash::quality::RandomState;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::value::{Id, List, Resource, Value};
use crate::{
    error::{Error, Reason},
    pb::{Encoded, Profile},
};

/// The most writes that are remembered. At the vendors' rates, fewer end within a minute.
const MAX: usize = 16_384;

/// What an acknowledged write made of a profile.
#[derive(Clone)]
pub enum Acknowledged {
    /// It is gone.
    Deleted,
    /// It is there. `is_new`: it was not there before.
    Written {
        /// Whether the write created it.
        is_new: bool,
        /// Whether a version of it contradicts the write.
        contradicts: Contradicts,
    },
}

/// Whether a version of a profile contradicts a write.
pub type Contradicts = Arc<dyn Fn(&Encoded<Profile>) -> bool + Send + Sync>;

impl fmt::Debug for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Deleted) { "Deleted" } else { "Written" })
    }
}

/// How long after that a deletion is remembered, to notice that it was not carried out.
const NOTICED: Duration = Duration::from_secs(60 * 60);

/// The acknowledged writes of one backend that its reads may not show yet, and the deletions that
/// no later read has confirmed.
#[derive(Default)]
pub(super) struct AcknowledgedWrites {
    writes: RwLock<Writes>,
    /// From when on reads have to show each.
    deletions: Mutex<HashMap<Id, Instant, RandomState>>,
}

/// The writes by profile, and until when reads may not show them.
type Writes = HashMap<Id, (Acknowledged, Instant), RandomState>;

impl AcknowledgedWrites {
    /// Remembers a write. False if there are too many.
    pub(super) fn remember(&self, id: Id, write: Acknowledged, settle_time: Duration) -> bool {
        let now = Instant::now();
        let over = now + settle_time;
        self.expect(&id, &write, now, over);
        let mut writes = self.writes.write();
        if writes.len() >= MAX {
            writes.retain(|_, (_, over)| now < *over);
        }
        if writes.len() >= MAX && !writes.contains_key(&id) {
            return false;
        }
        writes.insert(id, (write, over));
        true
    }

    fn expect(&self, id: &Id, write: &Acknowledged, now: Instant, over: Instant) {
        let mut deletions = self.deletions.lock();
        if !matches!(write, Acknowledged::Deleted) {
            deletions.remove(id);
            return;
        }
        if deletions.len() >= MAX {
            deletions.retain(|_, due| now < *due + NOTICED);
        }
        // One that finds no room is only not noticed.
        if deletions.len() < MAX {
            deletions.insert(id.clone(), over);
        }
    }

    /// The profiles in what a read found whose deletions had to show when it began. Each deletion
    /// is reported once.
    pub(super) fn undeleted(&self, resource: &Resource, value: &Value, began: Instant) -> Vec<Id> {
        let mut deletions = self.deletions.lock();
        if deletions.is_empty() {
            return Vec::new();
        }
        let mut ends = |id: &Id| {
            let due = deletions.get(id).copied().filter(|due| *due <= began);
            due.is_some_and(|due| {
                deletions.remove(id);
                began < due + NOTICED
            })
        };
        match (resource, value) {
            (Resource::Profile(id), Value::Profile(_)) if ends(id) => vec![id.clone()],
            (Resource::Profile(id), Value::Absent(_)) => {
                ends(id);
                Vec::new()
            }
            (_, Value::Profiles(list) | Value::Partial(list, _)) => {
                list.iter().map(|(id, _)| id).filter(|id| ends(id)).cloned().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Forgets what earlier writes made of profiles that are there, because a write has changed
    /// others too.
    pub(super) fn forget_written(&self) {
        self.writes.write().retain(|_, (write, _)| matches!(write, Acknowledged::Deleted));
    }

    /// What to serve for a value that was loaded, and whether it may be kept.
    pub(super) fn review(&self, resource: &Resource, value: Value) -> (Value, bool) {
        if self.writes.read().is_empty() {
            return (value, true);
        }
        self.forget_settled();
        let writes = self.writes.read();
        match (resource, value) {
            (Resource::Profile(id), value) => match writes.get(id) {
                Some((write, _)) => review_profile(write, value),
                None => (value, true),
            },
            // Short entries lack what a write may have set, so such a list is not kept meanwhile.
            (Resource::Profiles | Resource::Brief, Value::Profiles(list)) => {
                let (list, keep) = review_list(&writes, list);
                (Value::Profiles(list), keep)
            }
            (Resource::Profiles | Resource::Brief, Value::Partial(list, unreadable)) => {
                (Value::Partial(review_list(&writes, list).0, unreadable), false)
            }
            (_, value) => (value, true),
        }
    }

    fn forget_settled(&self) {
        let now = Instant::now();
        if self.writes.read().values().any(|(_, over)| *over <= now) {
            self.writes.write().retain(|_, (_, over)| now < *over);
        }
    }
}

fn review_profile(write: &Acknowledged, value: Value) -> (Value, bool) {
    match (write, value) {
        (Acknowledged::Deleted, Value::Profile(_)) => (Value::Absent(Arc::new(deleted())), false),
        (Acknowledged::Written { contradicts, .. }, Value::Profile(found)) => {
            let keep = !contradicts(&found);
            (Value::Profile(found), keep)
        }
        (Acknowledged::Written { is_new: true, .. }, absent) => (absent, false),
        (_, value) => (value, true),
    }
}

fn review_list(writes: &Writes, list: Arc<List>) -> (Arc<List>, bool) {
    let is_new = |write: &Acknowledged| matches!(write, Acknowledged::Written { is_new: true, .. });
    let is_deleted = |id: &Id| matches!(writes.get(id), Some((Acknowledged::Deleted, _)));
    let (mut there, mut outdated) = (0, false);
    for (id, found) in list.iter() {
        if let Some((write, _)) = writes.get(id) {
            there += usize::from(is_new(write));
            outdated |= match write {
                Acknowledged::Deleted => true,
                Acknowledged::Written { contradicts, .. } => contradicts(found),
            };
        }
    }
    let new = writes.values().filter(|(write, _)| is_new(write)).count();
    let list = match outdated && list.iter().any(|(id, _)| is_deleted(id)) {
        true => Arc::new(list.iter().filter(|(id, _)| !is_deleted(id)).cloned().collect()),
        false => list,
    };
    (list, !outdated && there >= new)
}

fn deleted() -> Error {
    let message = "the profile was deleted a moment ago; the upstream still shows it";
    Error::new(Reason::ProfileNotFound, message)
}
