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
    entry::{Clock, millis},
    generations::{Generations, Target},
};
use crate::{
    error::Effect,
    shared::{
        membership::Lease,
        protocol::{self, Memory, Process, WriteId},
    },
};

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
        let generations = Arc::downgrade(&store.generations);
        let new = Follower { generations, clock: store.clock, settle_time };
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

    fn outdate(&mut self, target: Option<&protocol::Target>) {
        let state = self.0.lock();
        match target {
            Some(target) => {
                let (caches, target) = state.of(target);
                caches.iter().for_each(|cache| cache.outdate(&target));
            }
            None => {
                state.caches.values().flatten().for_each(|cache| cache.outdate(&Target::Every));
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
