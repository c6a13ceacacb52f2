//! What writes of other replicas mean to the caches of this process.
//!
//! A target is a text in the log that all replicas read: the account, and what a write may change
//! of it. The own writes of this process outdate the cache of their backend by themselves, at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    Cache,
    acknowledged::{Acknowledged, AcknowledgedWrites},
    entry::{Clock, millis},
    generations::{Generations, Target},
    value::Id,
};
use crate::{
    error::Effect,
    pb::{Encoded, Profile},
    shared::{
        membership::Lease,
        protocol::{self, Memory, Process, WriteId},
    },
};

/// In place of an etag.
const GONE: &str = "-";
const UNREAD: &str = "?";

/// The name of an account, which all replicas have for it.
pub type AccountName = Arc<str>;

/// The caches of this process. Clones share them.
#[derive(Clone)]
pub struct Followers(Arc<Mutex<State>>);

struct State {
    process: Process,
    caches: HashMap<AccountName, Vec<Follower>>,
    /// The writes of other replicas that are under way.
    open: BTreeMap<WriteId, OpenWrite>,
}

/// A cache that outlives its settings.
#[derive(Clone)]
struct Follower {
    generations: Weak<Generations>,
    acknowledged: Weak<AcknowledgedWrites>,
    clock: Clock,
    /// How long reads may lag behind a write.
    settle_time: Duration,
}

struct OpenWrite {
    target: protocol::Target,
    /// The caches in which it has begun.
    begun: Vec<(Follower, Target)>,
}

impl Target {
    /// What a write to this may change, as the log has it.
    #[must_use]
    pub fn shared(&self, account: &AccountName) -> protocol::Target {
        match self {
            Self::Profile(id) => format!("{account}/p/{id}"),
            Self::New => format!("{account}/new"),
            Self::Every => format!("{account}/every"),
        }
        .into()
    }

    /// The account and the target of a text in the log; what a later release has written there may
    /// be anything of the account.
    fn read(text: &str) -> (&str, Self) {
        let (account, rest) = text.split_once('/').unwrap_or((text, ""));
        let target = match rest.split_once('/') {
            Some(("p", id)) => Self::Profile(id.into()),
            None if rest == "new" => Self::New,
            _ => Self::Every,
        };
        (account, target)
    }
}

impl Followers {
    /// Without caches, in this process.
    #[must_use]
    pub fn new(process: Process) -> Self {
        let (caches, open) = (HashMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(State { process, caches, open })))
    }

    /// Has a cache follow the writes to an account, and answer only under the lease.
    pub fn follow(
        &self,
        account: &AccountName,
        cache: &Cache,
        settle_time: Duration,
        lease: &Arc<Lease>,
    ) {
        let store = &cache.0;
        store.generations.lease_from(lease);
        store.acknowledged.has_others();
        let generations = Arc::downgrade(&store.generations);
        let acknowledged = Arc::downgrade(&store.acknowledged);
        let new = Follower { generations, acknowledged, clock: store.clock, settle_time };
        let mut state = self.0.lock();
        let State { caches, open, .. } = &mut *state;
        let all = caches.entry(account.clone()).or_default();
        let same = |known: &&mut Follower| known.generations.ptr_eq(&new.generations);
        if let Some(known) = all.iter_mut().find(same) {
            known.settle_time = settle_time;
            return;
        }
        all.push(new.clone());
        for write in open.values_mut() {
            let (of, target) = Target::read(&write.target);
            if of == &**account {
                new.begin(&target);
                write.begun.push((new.clone(), target));
            }
        }
        // Those of backends that are gone.
        caches.retain(|_, all| {
            all.retain(|cache| cache.generations.strong_count() > 0);
            !all.is_empty()
        });
    }
}

/// What a write has made of a profile, as the log has it: its etag, or that it is gone. One that
/// could not be read has no etag.
#[must_use]
pub fn made(id: &str, etag: Option<&str>) -> Arc<str> {
    let etag = if etag == Some("") { Some(UNREAD) } else { etag };
    format!("{} {id}", etag.unwrap_or(GONE)).into()
}

fn id_of(made: &str) -> Option<Id> {
    made.split_once(' ').map(|(_, id)| id.into())
}

/// What the log has said; nothing if a later release has written it.
fn read_made(made: &str) -> Option<(Id, Acknowledged)> {
    let (etag, id) = made.split_once(' ')?;
    let written = match etag {
        GONE => Acknowledged::Deleted,
        etag if etag.starts_with('"') => {
            let etag = etag.to_owned();
            Acknowledged::Written(Arc::new(move |found: &Encoded<Profile>| {
                found.message().map_or(true, |found| found.etag != etag)
            }))
        }
        _ => return None,
    };
    Some((id.into(), written))
}

impl State {
    /// The caches of a target.
    fn of(&self, target: &protocol::Target) -> (&[Follower], Target) {
        let (account, target) = Target::read(target);
        (self.caches.get(account).map_or(&[], Vec::as_slice), target)
    }
}

impl Memory for Followers {
    fn opened(&mut self, write: WriteId, target: &protocol::Target) {
        let mut state = self.0.lock();
        let (caches, local) = state.of(target);
        // Another cache of the same account is told here.
        if state.process.has_begun(write) && caches.len() < 2 {
            return;
        }
        let begun: Vec<_> = caches.iter().map(|cache| (cache.clone(), local.clone())).collect();
        begun.iter().for_each(|(cache, target)| cache.begin(target));
        state.open.insert(write, OpenWrite { target: target.clone(), begun });
    }

    fn closed(&mut self, write: WriteId, _: &protocol::Target, is_unsettled: bool) {
        let open = self.0.lock().open.remove(&write);
        for (cache, target) in open.into_iter().flat_map(|write| write.begun) {
            cache.end(&target, is_unsettled);
        }
    }

    fn closed_with(&mut self, write: WriteId, target: &protocol::Target, made: &str) {
        let open = {
            let mut state = self.0.lock();
            let own = state.process.has_begun(write).then(|| id_of(made)).flatten();
            if let Some(id) = own {
                state.of(target).0.iter().for_each(|cache| cache.has_heard(&id));
            }
            state.open.remove(&write)
        };
        for (cache, target) in open.into_iter().flat_map(|write| write.begun) {
            cache.end_with(&target, made);
        }
    }

    fn outdate(&mut self, target: Option<&protocol::Target>) {
        let state = self.0.lock();
        match target {
            Some(target) => {
                let (caches, target) = state.of(target);
                caches.iter().for_each(|cache| cache.outdate(&target));
            }
            None => {
                for cache in state.caches.values().flatten() {
                    cache.outdate(&Target::Every);
                    cache.acknowledged.upgrade().iter().for_each(|all| all.hears_no_more());
                }
            }
        }
    }
}

impl Follower {
    fn begin(&self, target: &Target) {
        if let Some(generations) = self.generations.upgrade() {
            generations.begin(target);
        }
    }

    /// Until reads have to show what the write has made, nothing is kept that contradicts it.
    fn end_with(&self, target: &Target, made: &str) {
        let is_known = match (target, read_made(made)) {
            (Target::Profile(id), Some((of, made))) if *id == of => self.remembers(of, made, true),
            (Target::New, Some((id, made))) => self.remembers(id, made, false),
            // Of all else that it may have changed, nothing is known.
            _ => false,
        };
        match self.generations.upgrade() {
            Some(generations) if is_known => generations.end(target, None),
            _ => self.end(target, false),
        }
    }

    /// The end of an own write was read in the log.
    fn has_heard(&self, id: &Id) {
        self.acknowledged.upgrade().iter().for_each(|all| all.has_heard(id));
    }

    fn remembers(&self, id: Id, made: Acknowledged, is_change: bool) -> bool {
        let all = self.acknowledged.upgrade();
        all.is_some_and(|all| all.remember_of_other(id, made, self.settle_time, is_change))
    }

    /// Reads may lag behind the write, and what this process would know it by is known to the one
    /// that wrote.
    fn end(&self, target: &Target, is_unsettled: bool) {
        let Some(generations) = self.generations.upgrade() else { return };
        let wait = if is_unsettled { Effect::SETTLES_WITHIN } else { self.settle_time };
        generations.end(target, Some(self.clock.now() + millis(wait)));
    }

    fn outdate(&self, target: &Target) {
        if let Some(generations) = self.generations.upgrade() {
            generations.outdate_target(target);
        }
    }
}
