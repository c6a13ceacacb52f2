//! Which new profile belongs to which creation of this process.
//!
//! A creation whose outcome is unknown is recognized later, by the profile of its name that was not
//! there before. Several such creations of one name could all take the same profile for their own,
//! and one whose profile never came could take that of another that succeeded. So a creation claims
//! its profile, and what one has claimed is out of reach of all that began before.
//!
//! Entries have a fixed size. A creation that has been dropped, for room or because its
//! `request_id` is over, can no longer be told apart from others: its outcome stays unknown.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use parking_lot::Mutex;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    error::{Effect, Result},
    gateway::{backend::Backend, idempotency::LONGEST_KEPT, write::outcome::ambiguous},
    pb::Profile,
};

/// The most creations that are running or in doubt.
const MAX_CREATIONS: usize = 4_096;
/// The most claims. They are kept only as long as a creation that began before may ask.
const MAX_CLAIMS: usize = 16_384;
/// A repeat that begins just before its `request_id` is over still runs for a while.
const KEPT_IN_DOUBT: Duration = LONGEST_KEPT.saturating_add(Duration::from_secs(60 * 60));

type Digested = [u8; 32];

/// The creations that are running or in doubt, and the profiles that creations have claimed.
pub(crate) struct Claims(Mutex<Record>);

struct Record {
    /// Counts creations and claims, so that their numbers are their order.
    last: u64,
    creations: BTreeMap<u64, Creation>,
    /// Who has claimed a profile, and the number of the claim.
    claims: HashMap<Digested, (u64, u64)>,
    /// The claimed profiles by the numbers of the claims.
    order: BTreeMap<u64, Digested>,
}

/// A creation that may have made a profile.
struct Creation {
    began: Instant,
    /// What it asked for, once it is about to be sent.
    asked: Option<Digested>,
    /// When it ended in doubt; `None` while it runs.
    ended: Option<Instant>,
    /// Whether a repeat may look for its profile.
    is_repeatable: bool,
    has_claimed: bool,
}

/// A creation that is running. Once it is marked as sent, it is in doubt when this is dropped.
pub(crate) struct Running<'a> {
    claims: &'a Claims,
    number: u64,
    is_sent: bool,
}

impl Default for Claims {
    fn default() -> Self {
        // Numbers of another process are not found here.
        let last = Uuid::new_v4().as_u64_pair().0 >> 1;
        Self(Mutex::new(Record {
            last,
            creations: BTreeMap::new(),
            claims: HashMap::new(),
            order: BTreeMap::new(),
        }))
    }
}

impl Claims {
    /// Notes a creation, before it lists which profiles are there.
    pub(crate) fn begin(&self, is_repeatable: bool) -> Running<'_> {
        let now = Instant::now();
        let mut record = self.0.lock();
        record.forget_old(now);
        let number = record.number();
        let creation =
            Creation { began: now, asked: None, ended: None, is_repeatable, has_claimed: false };
        record.creations.insert(number, creation);
        Running { claims: self, number, is_sent: false }
    }

    /// Ends the doubt about a creation.
    pub(crate) fn settle(&self, number: u64) {
        let mut record = self.0.lock();
        record.creations.remove(&number);
        record.forget_claims();
    }

    /// Claims a profile for a creation; false if another creation has done so since this one began.
    pub(crate) fn claim(&self, number: u64, profile: &str) -> bool {
        let profile = digest(&[profile.as_bytes()]);
        let mut record = self.0.lock();
        if record.is_claimed(number, &profile) {
            return false;
        }
        let at = record.number();
        if let Some((_, earlier)) = record.claims.insert(profile, (number, at)) {
            record.order.remove(&earlier);
        }
        record.order.insert(at, profile);
        if let Some(creation) = record.creations.get_mut(&number) {
            creation.has_claimed = true;
        }
        record.forget_claims();
        while record.claims.len() > MAX_CLAIMS && record.creations.pop_first().is_some() {
            record.forget_claims();
        }
        true
    }

    /// The claim on a profile, as a creation sees it.
    ///
    /// # Errors
    ///
    /// `WRITE_OUTCOME_UNKNOWN` if not all claims since the creation began are known.
    pub(crate) fn look_up(&self, number: u64, profile: &str) -> Result<Claim> {
        let name = profile;
        let profile = digest(&[name.as_bytes()]);
        let record = self.0.lock();
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
        let record = self.0.lock();
        let Some(own) = record.creations.get(&number) else { return 0 };
        let may_have_made = |other: &&Creation| {
            let late = |ended: Instant| ended + Effect::SETTLES_WITHIN >= own.began;
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

    /// The creation is about to be sent.
    pub(crate) fn sends(&mut self, backend: &Backend, profile: &Profile) {
        self.asks(digest(&[backend.name().id().as_bytes(), &profile.encode_to_vec()]));
    }

    fn asks(&mut self, asked: Digested) {
        self.is_sent = true;
        if let Some(creation) = self.claims.0.lock().creations.get_mut(&self.number) {
            creation.asked = Some(asked);
        }
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
        let mut record = self.claims.0.lock();
        if let Some(creation) = record.creations.get_mut(&self.number) {
            creation.ended = Some(Instant::now());
        }
        record.forget_claims();
    }
}

impl Record {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn is_claimed(&self, number: u64, profile: &Digested) -> bool {
        self.claims.get(profile).is_some_and(|(by, at)| *by != number && *at > number)
    }

    /// Drops creations whose repeats are no longer recognized, and makes room for one more.
    fn forget_old(&mut self, now: Instant) {
        self.creations
            .retain(|_, creation| creation.ended.is_none_or(|ended| now < ended + KEPT_IN_DOUBT));
        while self.creations.len() >= MAX_CREATIONS {
            let ended = self.creations.iter().find(|(_, creation)| creation.ended.is_some());
            match ended.map(|(number, _)| *number) {
                Some(number) => drop(self.creations.remove(&number)),
                None => drop(self.creations.pop_first()),
            }
        }
        self.forget_claims();
    }

    /// Drops the claims from before each creation that may still look for its profile.
    fn forget_claims(&mut self) {
        let may_look = |creation: &Creation| creation.ended.is_none() || creation.is_repeatable;
        let first = self.creations.iter().find(|(_, creation)| may_look(creation));
        let first = first.map_or(u64::MAX, |(number, _)| *number);
        while let Some(claim) = self.order.first_entry()
            && *claim.key() < first
        {
            self.claims.remove(&claim.remove());
        }
    }
}

fn digest(parts: &[&[u8]]) -> Digested {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::error::Reason;

    const SECOND: Duration = Duration::from_secs(1);

    /// A creation that ends in doubt. `asked` stands for what it asked for.
    fn in_doubt(claims: &Claims, asked: u8, is_repeatable: bool) -> u64 {
        let mut running = claims.begin(is_repeatable);
        running.asks([asked; 32]);
        running.number()
    }

    fn size(claims: &Claims) -> (usize, usize) {
        let record = claims.0.lock();
        assert_eq!(record.claims.len(), record.order.len());
        (record.creations.len(), record.claims.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_holds_against_all_that_began_before() {
        let claims = Claims::default();
        let (first, second) = (in_doubt(&claims, 1, true), in_doubt(&claims, 1, true));
        assert!(claims.claim(first, "40"));
        assert!(claims.claim(first, "40"), "again, after it was not completed");
        assert!(!claims.claim(second, "40"));
        assert_eq!(claims.look_up(first, "40").unwrap(), Claim::Own);
        assert_eq!(claims.look_up(second, "40").unwrap(), Claim::Other);
        assert_eq!(claims.look_up(second, "41").unwrap(), Claim::None);
        // An upstream may give the id of a profile that is gone to a new one.
        let third = in_doubt(&claims, 1, true);
        assert!(claims.claim(third, "40"));
        assert_eq!(claims.look_up(second, "40").unwrap(), Claim::Other);
    }

    #[tokio::test(start_paused = true)]
    async fn only_creations_that_may_have_made_a_profile_count() {
        let claims = Claims::default();
        let long_ago = in_doubt(&claims, 1, true);
        advance(Effect::SETTLES_WITHIN + SECOND).await;
        let first = in_doubt(&claims, 1, true);
        assert_eq!(claims.count_alike(first), 1);
        let (_other, without_id) = (in_doubt(&claims, 2, true), in_doubt(&claims, 1, false));
        assert_eq!(claims.count_alike(first), 2);
        let _not_sent = claims.begin(true);
        assert_eq!(claims.count_alike(first), 2);
        let mut running = claims.begin(true);
        running.asks([1; 32]);
        assert_eq!(claims.count_alike(first), 3);
        running.settled();
        claims.claim(without_id, "40");
        assert_eq!(claims.count_alike(first), 1);
        assert_eq!(claims.count_alike(long_ago), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_without_a_creation_that_may_ask_for_it() {
        let claims = Claims::default();
        let running = claims.begin(true);
        assert!(claims.claim(running.number(), "1"));
        drop(running);
        assert_eq!(size(&claims), (0, 0), "it was not sent");
        let doubt = in_doubt(&claims, 1, true);
        for profile in ["2", "3"] {
            let mut running = claims.begin(false);
            running.asks([1; 32]);
            assert!(claims.claim(running.number(), profile));
            running.settled();
        }
        assert_eq!(size(&claims), (1, 2));
        claims.settle(doubt);
        assert_eq!(size(&claims), (0, 0));
        let without_id = in_doubt(&claims, 1, false);
        assert!(claims.claim(without_id, "4"));
        assert_eq!(size(&claims), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubt_ends_after_its_request_id() {
        let claims = Claims::default();
        let doubt = in_doubt(&claims, 1, true);
        advance(LONGEST_KEPT + SECOND).await;
        drop(claims.begin(true));
        assert_eq!(claims.look_up(doubt, "40").unwrap(), Claim::None);
        advance(KEPT_IN_DOUBT - LONGEST_KEPT).await;
        drop(claims.begin(true));
        let over = claims.look_up(doubt, "40").unwrap_err();
        assert_eq!(over.reason(), Reason::WriteOutcomeUnknown);
        assert_eq!(size(&claims), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_bounded_and_what_is_dropped_stays_unknown() {
        let claims = Claims::default();
        let first = in_doubt(&claims, 1, true);
        for _ in 1..MAX_CREATIONS {
            in_doubt(&claims, 1, true);
        }
        assert!(claims.look_up(first, "40").is_ok());
        in_doubt(&claims, 1, true);
        assert!(claims.look_up(first, "40").is_err());
        assert_eq!(size(&claims).0, MAX_CREATIONS);

        let claims = Claims::default();
        let (first, second) = (in_doubt(&claims, 1, true), in_doubt(&claims, 1, true));
        for profile in 0..=MAX_CLAIMS {
            assert!(claims.claim(second, &profile.to_string()));
        }
        assert!(claims.look_up(first, "40").is_err());
        assert!(size(&claims).1 <= MAX_CLAIMS);
    }
}
