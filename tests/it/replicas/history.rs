//! Whether a history of calls to several replicas is one that replicas which agree can have made.
//!
//! It is judged only by what callers were told, by the sandbox's journal, which is what happened
//! and in which order, and by a tap in front of it, which saw what was sent, and when. Unlike
//! `kit::history`, many callers write one profile at once, over any replica, and go on after an
//! unknown outcome. Each creation and each renaming has a display name of its own; services are
//! attached and detached again and again.
//!
//! The journal gives the order of what happened, so that no order has to be searched for: all rules
//! together take O(n log n).

mod account;
mod effects;
mod excuses;
mod memory;
mod reads;
#[cfg(test)]
mod tests;
mod together;
mod writes;

use std::collections::BTreeSet;

pub(super) use self::{
    account::Rate,
    effects::{Effect, What, effects, lives},
    excuses::{Trouble, Troubles},
};
use crate::kit::{history::Moment, tap::Passed};

/// The ids of a profile's services.
pub(super) type Services = BTreeSet<String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    /// To this version, by a caller that has seen this etag.
    Rename(u64, Option<String>),
    Attach(String),
    Detach(String),
    Delete,
}

/// What a call that writes was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ok,
    /// This call has sent nothing, and another may: that says nothing of those before it.
    Refused(String),
    /// The write has not happened, and never will.
    Failed(String),
    /// It may have happened. So it is if there was no answer.
    Unknown,
}

/// A call that writes.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub kind: Kind,
    /// The same for all attempts at one write: those under one `request_id`, or this one alone.
    pub write: u64,
    /// The number of the profile.
    pub profile: u64,
    pub replica: usize,
    pub start: Moment,
    pub end: Moment,
    pub said: Said,
}

/// What a reader saw of the profile with an id of the upstream.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub id: String,
    pub start: Moment,
    pub end: Moment,
    /// The version and the services, if the answer shows them. Nothing if it says that there is no
    /// such profile.
    pub seen: Option<(u64, Option<Services>)>,
    /// How it was read, and from which replica.
    pub how: String,
    /// Whether it was answered from memory.
    pub is_remembered: bool,
}

/// A way to break the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lie {
    /// A write was done more than once.
    DoneTwice,
    OkWithoutEffect,
    FailureWithEffect,
    /// A write that was refused, each time that it was asked for, was sent all the same.
    RefusedWithEffect,
    /// A change that no call asked for: one write has taken back what another one has written.
    LostChange,
    /// A read older than a write that was acknowledged before it began.
    StaleRead,
    /// A read of something that was never written, or not yet.
    ReadOfNothing,
    /// An answer from memory when no lease can have been left.
    ReadWithoutLease,
    /// A login with a password that was refused a moment before.
    RefusedAgain,
    /// More requests than the rate of an account.
    TooOften,
    /// A stream that does not tell what the list shows.
    Untold,
    /// Two requests that write one profile were under way at once.
    AtOnce,
    /// Two writes went through that had seen the same etag.
    SameEtagTwice,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub lie: Lie,
    pub about: String,
    /// The store lost its record and the replica that wrote it could not restore it, or the store
    /// had two primaries: that is not promised.
    pub is_excused: bool,
}

/// All that was recorded.
#[derive(Default)]
pub(super) struct History {
    pub calls: Vec<Call>,
    pub reads: Vec<Read>,
    /// In the journal's order.
    pub effects: Vec<Effect>,
    /// What all replicas have sent.
    pub passed: Vec<Passed>,
    pub troubles: Troubles,
    /// Streams that have not told what the list shows in the end.
    pub untold: Vec<String>,
    /// When logins were refused, in milliseconds.
    pub refused: Vec<u64>,
    /// What came at the account with a rate.
    pub rate: Rate,
    /// A write whose call took at least so many milliseconds was answered because its time was up,
    /// and replicas may not have known of it yet. Zero if there was time for all.
    pub cut: u64,
}

impl History {
    /// All broken promises.
    pub(super) fn lies(&self) -> Vec<Found> {
        let lives = lives(&self.effects);
        let writes = writes::writes(&self.calls);
        let mut found = writes::judge(&writes, &lives);
        found.extend(writes::judge_etags(&writes));
        found.extend(reads::judge(self, &writes, &lives));
        found.extend(memory::judge(self, &lives));
        found.extend(account::judge(self));
        found.extend(together::judge(&self.passed, &lives));
        let found = found.into_iter().map(|found| self.weighed(found));
        let untold = self.untold.iter().cloned();
        found
            .chain(untold.map(|about| Found { lie: Lie::Untold, about, is_excused: false }))
            .collect()
    }

    /// How many reads were answered from memory while the store did not answer.
    pub(super) fn remembered_alone(&self) -> usize {
        memory::while_away(self).count()
    }

    fn weighed(&self, suspicion: Suspicion) -> Found {
        let Suspicion { lie, about, profile, from, to } = suspicion;
        // A read is never excused: replicas acknowledge writes themselves, not the store.
        let may_be = !matches!(lie, Lie::StaleRead | Lie::ReadOfNothing | Lie::ReadWithoutLease);
        let is_excused = self.troubles.has_two_primaries((from, to))
            || may_be && self.troubles.excuse(&self.calls, profile, (from, to));
        Found { lie, about, is_excused }
    }
}

/// What looks like a broken promise about a profile, and when it came about, in milliseconds.
struct Suspicion {
    lie: Lie,
    about: String,
    profile: u64,
    from: u64,
    to: u64,
}
