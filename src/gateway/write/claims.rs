//! Which new profile belongs to which creation of this process.
//!
//! A creation whose outcome is unknown is recognized later, by the profile of its name that was not
//! there before. Several such creations of one name could all take the same profile for their own,
//! and one whose profile never came could take that of another that succeeded. So a creation claims
//! its profile, and what one has claimed is out of reach of all that began before.
//!
//! Entries have a fixed size. A creation that has been dropped, for room or because its
//! time is over, can no longer be told apart from others: its outcome stays unknown.
//!
//! The store keeps all of this ([`kept`]), because it is looked for after a restart too: a creation
//! before it is sent, and a claim before its creation is answered.

mod creation;
mod kept;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    io, mem,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use prost::Message;
use sha2::{Digest, Sha256};

use self::creation::{Creation, Digested};
use crate::{
    error::{Effect, Result},
    gateway::{backend::Backend, idempotency::LONGEST_KEPT, write::outcome::ambiguous},
    pb::Profile,
    store::{Change, Clock, Entry, Moment, Store, Table},
};

/// The most creations that are running or in doubt.
const MAX_CREATIONS: usize = 4_096;
/// The most claims. They are kept only as long as a creation that began before may ask.
const MAX_CLAIMS: usize = 16_384;
/// A repeat that begins just before its `request_id` is over still runs for a while.
const KEPT_IN_DOUBT: Duration = LONGEST_KEPT.saturating_add(Duration::from_secs(60 * 60));

/// The creations that are running or in doubt, and the profiles that creations have claimed.
pub(crate) struct Claims {
    record: Mutex<Record>,
    store: Arc<dyn Store>,
}

struct Record {
    clock: Clock,
    /// Counts creations and claims, so that their numbers are their order.
    last: u64,
    /// The number before the first of this process, where replicas share a store.
    first: u64,
    creations: BTreeMap<u64, Creation>,
    /// Who has claimed a profile, and the number of the claim.
    claims: HashMap<Digested, (u64, u64)>,
    /// The numbers here of creations of other replicas, by theirs; unset if none share a store.
    adopted: Option<HashMap<u64, u64>>,
    /// The claimed profiles by the numbers of the claims.
    order: BTreeMap<u64, Digested>,
    /// What the store does not have yet.
    changes: Vec<Change>,
}

/// A creation that is running. Once it is marked as sent, it is in doubt when this is dropped.
pub(crate) struct Running<'a> {
    claims: &'a Claims,
    number: u64,
    is_sent: bool,
}

impl Claims {
    /// Reads creations and claims as a store has them.
    pub(crate) fn check(creations: &[Entry], claims: &[Entry]) -> io::Result<()> {
        let clock = Clock::default();
        creations.iter().try_for_each(|entry| kept::read_creation(entry, clock).map(drop))?;
        claims.iter().try_for_each(|entry| kept::read_claim(entry).map(drop))
    }

    /// With what the store has of earlier processes.
    pub(crate) fn load(store: Arc<dyn Store>) -> io::Result<Self> {
        let clock = Clock::default();
        let creations = store.load(Table::Creations);
        let creations = creations.iter().map(|entry| kept::read_creation(entry, clock));
        let claims = store.load(Table::Claims);
        let claims = claims.iter().map(kept::read_claim);
        let mut record = Record {
            clock,
            last: 0,
            first: 0,
            creations: creations.collect::<io::Result<_>>()?,
            claims: claims.collect::<io::Result<_>>()?,
            adopted: None,
            order: BTreeMap::new(),
            changes: Vec::new(),
        };
        record.order = record.claims.iter().map(|(profile, (_, at))| (*at, *profile)).collect();
        // No number of an earlier process comes again, also none that is no longer kept here.
        let numbers = record.creations.keys().chain(record.order.keys()).copied();
        record.last = numbers.max().unwrap_or(0).max(clock.to_kept(clock.now()) << 20);
        // A creation that was running has ended by now, also for the process after this one.
        for (number, creation) in &record.creations {
            record.changes.push(kept::creation(*number, creation, clock));
        }
        record.forget_claims();
        store.note(mem::take(&mut record.changes));
        Ok(Self { record: Mutex::new(record), store })
    }

    /// The same where replicas share a store: one may find out what a creation of another has done.
    pub(crate) fn among_replicas(self) -> Self {
        let mut record = self.record.into_inner();
        record.adopted = Some(HashMap::new());
        // No number is that of another replica, and those of the next restart are others too.
        record.last = u64::from(rand::random::<u32>() | 1) << 32;
        record.first = record.last;
        Self { record: Mutex::new(record), store: self.store }
    }

    /// Notes a creation that another replica may have sent, and that is found out here.
    pub(crate) fn adopt(&self, number: u64, backend: &str, profile: &Profile) {
        let asked = Some(asked_for(backend, profile));
        self.change(|record| {
            let is_own = record.first < number && number <= record.last;
            let is_known = |adopted: &HashMap<u64, u64>| adopted.contains_key(&number);
            if is_own || record.adopted.as_ref().is_none_or(is_known) {
                return;
            }
            let now = record.clock.now();
            record.forget_old(now);
            let here = record.number();
            let creation = Creation { began: now, asked, ended: Some(now), has_claimed: false };
            record.creations.insert(here, creation);
            record.adopted.iter_mut().for_each(|adopted| {
                adopted.insert(number, here);
            });
        });
    }

    /// Changes the record, and lets the store note what has changed.
    fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut record = self.record.lock();
        let result = change(&mut record);
        if !record.changes.is_empty() {
            self.store.note(mem::take(&mut record.changes));
        }
        result
    }

    /// Notes a creation, before it lists which profiles are there.
    pub(crate) fn begin(&self) -> Running<'_> {
        self.change(|record| {
            let began = record.clock.now();
            record.forget_old(began);
            let number = record.number();
            let creation = Creation { began, asked: None, ended: None, has_claimed: false };
            record.creations.insert(number, creation);
            Running { claims: self, number, is_sent: false }
        })
    }

    /// Ends the doubt about a creation.
    pub(crate) fn settle(&self, number: u64) {
        self.change(|record| {
            record.forget(record.here(number));
            record.forget_claims();
        });
    }

    /// Claims a profile for a creation; false if another creation has done so since this one began.
    pub(crate) fn claim(&self, number: u64, profile: &str) -> bool {
        let profile = digest(&[profile.as_bytes()]);
        self.change(|record| {
            let number = record.here(number);
            if record.is_claimed(number, &profile) {
                return false;
            }
            record.claim(number, profile);
            if let Some(creation) = record.creations.get_mut(&number) {
                creation.has_claimed = true;
            }
            record.keep(number);
            record.forget_claims();
            while record.claims.len() > MAX_CLAIMS
                && let Some(number) = record.creations.keys().next().copied()
            {
                record.forget(number);
                record.forget_claims();
            }
            true
        })
    }

    /// Waits until the claims of a creation without a `request_id` are kept, before it is answered.
    /// The end of one that has an id waits for that by itself.
    pub(crate) async fn kept(&self) {
        if self.record.lock().claims.is_empty() {
            return;
        }
        // What fails is logged there, and made good later; the creation was sent.
        let _ = self.store.end(Vec::new()).soon().await;
    }

    /// The claim on a profile, as a creation sees it.
    ///
    /// # Errors
    ///
    /// `WRITE_OUTCOME_UNKNOWN` if not all claims since the creation began are known.
    pub(crate) fn look_up(&self, number: u64, profile: &str) -> Result<Claim> {
        let name = profile;
        let profile = digest(&[name.as_bytes()]);
        let record = self.record.lock();
        let number = record.here(number);
        if !record.creations.contains_key(&number) {
            return Err(ambiguous(&[name.to_owned()]));
        }
        Ok(match record.claims.get(&profile) {
            Some((by, _)) if *by == number => Claim::Own,
            _ if record.is_claimed(number, &profile) => Claim::Other,
            _ => Claim::None,
        })
    }

    /// How many creations, this one included, asked for the same, may have made a profile since
    /// this one began, and have claimed none.
    pub(crate) fn count_alike(&self, number: u64) -> usize {
        let record = self.record.lock();
        let number = record.here(number);
        let Some(own) = record.creations.get(&number) else { return 0 };
        let may_have_made = |other: &&Creation| {
            let late = |ended: Moment| ended + settles_within() >= own.began;
            other.asked == own.asked && !other.has_claimed && other.ended.is_none_or(late)
        };
        record.creations.values().filter(may_have_made).count()
    }
}

/// Who has claimed a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    None,
    /// The creation that asks.
    Own,
    /// Another creation, since the one that asks began.
    Other,
}

impl Running<'_> {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The creation is about to be sent. The store has noted that when its intent is kept; if
    /// nothing comes of it, [`Self::settled`] says so.
    ///
    /// # Errors
    ///
    /// When the store would refuse the intent: then nothing is noted.
    pub(crate) fn sends(&mut self, backend: &Backend, profile: &Profile) -> Result<()> {
        if let Some(cause) = self.claims.store.trouble() {
            return Err(cause.nothing_sent());
        }
        self.asks(asked_for(backend.name().id(), profile));
        Ok(())
    }

    fn asks(&mut self, asked: Digested) {
        self.is_sent = true;
        self.claims.change(|record| {
            if let Some(creation) = record.creations.get_mut(&self.number) {
                creation.asked = Some(asked);
            }
            record.keep(self.number);
        });
    }

    /// The outcome is known.
    pub(crate) fn settled(mut self) {
        self.is_sent = false;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_sent {
            return self.claims.settle(self.number);
        }
        self.claims.change(|record| {
            let now = record.clock.now();
            if let Some(creation) = record.creations.get_mut(&self.number) {
                creation.ended = Some(now);
            }
            record.keep(self.number);
            record.forget_claims();
        });
    }
}

impl Record {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The number here of a creation.
    fn here(&self, number: u64) -> u64 {
        let adopted = self.adopted.as_ref().and_then(|adopted| adopted.get(&number));
        adopted.copied().unwrap_or(number)
    }

    fn is_claimed(&self, number: u64, profile: &Digested) -> bool {
        // When another replica began its creation is not known here.
        let is_adopted = self.adopted.iter().flatten().any(|(_, here)| *here == number);
        let claim = self.claims.get(profile);
        claim.is_some_and(|(by, at)| *by != number && (*at > number || is_adopted))
    }

    fn claim(&mut self, number: u64, profile: Digested) {
        let at = self.number();
        if let Some((_, earlier)) = self.claims.insert(profile, (number, at)) {
            self.order.remove(&earlier);
        }
        self.order.insert(at, profile);
        self.changes.push(kept::claim(&profile, (number, at)));
    }

    /// Keeps a creation as it is now, if it is about to be sent or was.
    fn keep(&mut self, number: u64) {
        let creation = self.creations.get(&number).filter(|creation| creation.asked.is_some());
        self.changes.extend(creation.map(|creation| kept::creation(number, creation, self.clock)));
    }

    fn forget(&mut self, number: u64) {
        if self.creations.remove(&number).is_some_and(|creation| creation.asked.is_some()) {
            self.changes.push(kept::no_creation(number));
        }
        self.adopted.iter_mut().for_each(|adopted| adopted.retain(|_, here| *here != number));
    }

    /// Drops creations whose repeats are no longer recognized, and makes room for one more.
    fn forget_old(&mut self, now: Moment) {
        let is_old = |creation: &Creation| {
            creation.ended.is_some_and(|ended| now >= ended + milliseconds(KEPT_IN_DOUBT))
        };
        let old = self.creations.iter().filter(|(_, creation)| is_old(creation));
        for number in old.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.forget(number);
        }
        while self.creations.len() >= MAX_CREATIONS {
            let ended = self.creations.iter().find(|(_, creation)| creation.ended.is_some());
            match ended.or(self.creations.first_key_value()).map(|(number, _)| *number) {
                Some(number) => self.forget(number),
                None => break,
            }
        }
        self.forget_claims();
    }

    /// Drops the claims from before each creation: it may still look for its profile.
    fn forget_claims(&mut self) {
        let first = self.creations.keys().next().map_or(u64::MAX, |number| *number);
        while let Some(claim) = self.order.first_entry()
            && *claim.key() < first
        {
            let profile = claim.remove();
            self.claims.remove(&profile);
            self.changes.push(kept::no_claim(&profile));
        }
    }
}

fn asked_for(backend: &str, profile: &Profile) -> Digested {
    digest(&[backend.as_bytes(), &profile.encode_to_vec()])
}

fn settles_within() -> Moment {
    milliseconds(Effect::SETTLES_WITHIN)
}

fn milliseconds(time: Duration) -> Moment {
    Moment::try_from(time.as_millis()).unwrap_or(Moment::MAX)
}

fn digest(parts: &[&[u8]]) -> Digested {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
