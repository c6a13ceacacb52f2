//! What acknowledged writes made, for as long as the upstream's reads may lag behind them.
//!
//! A value that contradicts an acknowledged write is served, but not kept: the next read asks
//! again. A profile that was deleted is not served at all.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

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
    /// It is there. Nothing is known of its content.
    Present,
    /// It is there, and some versions of it contradict the write.
    Written(Contradicts),
}

impl Acknowledged {
    fn is_there(&self) -> bool {
        !matches!(self, Self::Deleted)
    }
}

/// Whether a version of a profile contradicts a write.
pub type Contradicts = Arc<dyn Fn(&Encoded<Profile>) -> bool + Send + Sync>;

impl fmt::Debug for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deleted => "Deleted",
            Self::Present => "Present",
            Self::Written(_) => "Written",
        })
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
    /// How many own writes of each profile were acknowledged whose ends this replica has not read
    /// in the log yet; `None` if there are no others.
    unheard: Mutex<Option<HashMap<Id, u32, RandomState>>>,
}

/// The writes by profile.
type Writes = HashMap<Id, Remembered, RandomState>;

/// A write that reads may not show yet.
struct Remembered {
    write: Acknowledged,
    /// From then on they have to.
    over: Instant,
}

impl AcknowledgedWrites {
    /// Remembers a write. False if there are too many.
    pub(super) fn remember(&self, id: Id, write: Acknowledged, settle_time: Duration) -> bool {
        let now = Instant::now();
        let over = now + settle_time;
        self.expect(&id, &write, now, over);
        put(&mut self.writes.write(), id, Remembered { write, over }, now)
    }

    /// Writes of other replicas are heard of, in the order of the log, which has the own ones too.
    pub(super) fn has_others(&self) {
        self.unheard.lock().get_or_insert_default();
    }

    /// An own write is acknowledged: it may be later than what is heard before its end.
    pub(super) fn expects_to_hear(&self, id: &Id) -> bool {
        let mut unheard = self.unheard.lock();
        let Some(unheard) = &mut *unheard else { return true };
        if unheard.len() >= MAX && !unheard.contains_key(id) {
            return false;
        }
        *unheard.entry(id.clone()).or_default() += 1;
        true
    }

    /// The end of an own write was read.
    pub(super) fn has_heard(&self, id: &Id) {
        let mut unheard = self.unheard.lock();
        let Some(unheard) = &mut *unheard else { return };
        if let Some(count) = unheard.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                unheard.remove(id);
            }
        }
    }

    /// The log is read from a later place: what was not heard by now is not heard any more.
    pub(super) fn hears_no_more(&self) {
        self.unheard.lock().iter_mut().for_each(HashMap::clear);
    }

    /// Remembers a write of another replica, of which this one may hear late: false if one is
    /// remembered that may be a later one. `is_change`: it had the turn of the profile, so it is
    /// later than all of which was heard before.
    pub(super) fn remember_of_other(
        &self,
        id: Id,
        write: Acknowledged,
        settle_time: Duration,
        is_change: bool,
    ) -> bool {
        let now = Instant::now();
        let mut writes = self.writes.write();
        let is_unheard = self.unheard.lock().as_ref().is_some_and(|all| all.contains_key(&id));
        let is_known = writes.get(&id).is_some_and(|known| now < known.over);
        if is_unheard || (is_known && !is_change) {
            return false;
        }
        if write.is_there() {
            self.deletions.lock().remove(&id);
        }
        put(&mut writes, id, Remembered { write, over: now + settle_time }, now)
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

    /// Remembers that a profile is there, besides what is known of its content.
    pub(super) fn remember_present(&self, id: Id, settle_time: Duration) -> bool {
        let known = self.writes.read().get(&id).map(|known| known.write.clone());
        let known = known.filter(Acknowledged::is_there);
        self.remember(id, known.unwrap_or(Acknowledged::Present), settle_time)
    }

    /// Forgets what earlier writes made of profiles that are there, because a write has changed
    /// others too. That they are there stays true.
    pub(super) fn forget_contents(&self) {
        for known in self.writes.write().values_mut() {
            if known.write.is_there() {
                known.write = Acknowledged::Present;
            }
        }
    }

    /// The profiles that are there, although lists may not show them yet.
    pub(super) fn present(&self) -> HashSet<Id> {
        self.forget_settled();
        let writes = self.writes.read();
        writes
            .iter()
            .filter(|(_, known)| known.write.is_there())
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Whether a profile was deleted, although lists may still show it.
    pub(super) fn is_deleted(&self, id: &str) -> bool {
        self.forget_settled();
        is_deleted(&self.writes.read(), id)
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
                Some(known) => review_profile(&known.write, value),
                None => (value, true),
            },
            // Short entries lack what a write may have set, so such a list is not kept meanwhile.
            (Resource::Profiles | Resource::Brief, Value::Profiles(list)) => {
                let (list, keep) = review_list(&writes, list);
                (Value::Profiles(list), keep)
            }
            (Resource::Brief, Value::Fields(list, paths)) => {
                let (list, keep) = review_list(&writes, list);
                (Value::Fields(list, paths), keep)
            }
            (Resource::Profiles | Resource::Brief, Value::Partial(list, unreadable)) => {
                (Value::Partial(review_list(&writes, list).0, unreadable), false)
            }
            (_, value) => (value, true),
        }
    }

    fn forget_settled(&self) {
        let now = Instant::now();
        if self.writes.read().values().any(|known| known.over <= now) {
            self.writes.write().retain(|_, known| now < known.over);
        }
    }
}

/// False if there are too many.
fn put(writes: &mut Writes, id: Id, new: Remembered, now: Instant) -> bool {
    if writes.len() >= MAX {
        writes.retain(|_, known| now < known.over);
    }
    if writes.len() >= MAX && !writes.contains_key(&id) {
        return false;
    }
    writes.insert(id, new);
    true
}

fn is_deleted(writes: &Writes, id: &str) -> bool {
    matches!(writes.get(id), Some(Remembered { write: Acknowledged::Deleted, .. }))
}

fn review_profile(write: &Acknowledged, value: Value) -> (Value, bool) {
    match (write, value) {
        (Acknowledged::Deleted, Value::Profile(_)) => (Value::Absent(Arc::new(deleted())), false),
        (Acknowledged::Written(contradicts), Value::Profile(found)) => {
            let keep = !contradicts(&found);
            (Value::Profile(found), keep)
        }
        (Acknowledged::Deleted, absent) => (absent, true),
        (Acknowledged::Present, found @ Value::Profile(_)) => (found, true),
        (Acknowledged::Present | Acknowledged::Written(_), absent) => (absent, false),
    }
}

fn review_list(writes: &Writes, list: Arc<List>) -> (Arc<List>, bool) {
    let (mut there, mut outdated) = (0, false);
    for (id, found) in list.iter() {
        if let Some(Remembered { write, .. }) = writes.get(id) {
            there += usize::from(write.is_there());
            outdated |= match write {
                Acknowledged::Deleted => true,
                Acknowledged::Present => false,
                Acknowledged::Written(contradicts) => contradicts(found),
            };
        }
    }
    let written = writes.values().filter(|known| known.write.is_there()).count();
    let list = match outdated && list.iter().any(|(id, _)| is_deleted(writes, id)) {
        true => Arc::new(list.iter().filter(|(id, _)| !is_deleted(writes, id)).cloned().collect()),
        false => list,
    };
    (list, !outdated && there >= written)
}

fn deleted() -> Error {
    let message = "the profile was deleted a moment ago; the upstream still shows it";
    Error::new(Reason::ProfileNotFound, message)
}
