//! One effect for each write, none for one that failed, and none that no call has asked for.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
};

use super::{
    Call, Kind, Lie, Said, Suspicion,
    effects::{Change, Life, by_profile},
};

/// The attempts at one write, in order.
pub(super) struct Write<'c> {
    pub kind: Kind,
    pub profile: u64,
    /// When it began, in milliseconds.
    pub from: u64,
    attempts: Vec<&'c Call>,
}

/// All writes, by their calls.
pub(super) fn writes(calls: &[Call]) -> Vec<Write<'_>> {
    let mut attempts: BTreeMap<u64, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        attempts.entry(call.write).or_default().push(call);
    }
    attempts.into_values().map(Write::of).collect()
}

impl<'c> Write<'c> {
    fn of(mut attempts: Vec<&'c Call>) -> Self {
        attempts.sort_by_key(|call| call.start.tick);
        let first = attempts[0];
        let (kind, profile, from) = (first.kind.clone(), first.profile, first.start.ms);
        Self { kind, profile, from, attempts }
    }

    /// The first answer that says that it was done.
    pub(super) fn ok(&self) -> Option<&'c Call> {
        let ok = self.attempts.iter().filter(|call| call.said == Said::Ok);
        ok.min_by_key(|call| call.end.tick).copied()
    }

    /// Whether an attempt was told nothing certain.
    fn is_in_doubt(&self) -> bool {
        self.attempts.iter().any(|call| call.said == Said::Unknown)
    }

    /// By when it was done, if it may have been.
    fn until(&self) -> Option<u64> {
        match self.ok() {
            Some(ok) => Some(ok.end.ms),
            None => self.is_in_doubt().then_some(u64::MAX),
        }
    }

    fn suspicion(&self, lie: Lie, done: &[u64]) -> Suspicion {
        let last = self.attempts.iter().map(|call| call.end.ms).max().unwrap_or(self.from);
        let to = done.iter().copied().max().unwrap_or(last).max(last);
        let about = format!("{:#?} done at {done:?}", self.attempts);
        Suspicion { lie, about, profile: self.profile, from: self.from, to }
    }

    /// What is wrong with when it was done.
    fn judge(&self, done: &[u64], found: &mut Vec<Suspicion>) {
        let mut tell = |lie| found.push(self.suspicion(lie, done));
        if done.len() > 1 {
            tell(Lie::DoneTwice);
        }
        if self.ok().is_some_and(|ok| !done.iter().any(|ms| *ms <= ok.end.ms)) {
            tell(Lie::OkWithoutEffect);
        }
        // A profile that is gone does not tell what was done to it before.
        let tells = |why: &str| why != "PROFILE_NOT_FOUND" || !self.is_in_doubt();
        let failed = |call: &&&Call| matches!(&call.said, Said::Failed(why) if tells(why));
        let before = |call: &&Call| done.iter().any(|ms| *ms < call.end.ms);
        let in_between = self.attempts.iter().filter(failed).any(before);
        let at_last = self.ok().is_none()
            && (!self.is_in_doubt() || self.attempts.last().is_some_and(|call| failed(&call)));
        let refused = |call: &&Call| matches!(call.said, Said::Refused(_));
        if in_between || (at_last && !done.is_empty()) {
            tell(match self.attempts.iter().all(refused) {
                true => Lie::RefusedWithEffect,
                false => Lie::FailureWithEffect,
            });
        }
    }
}

/// Judges each write by what happened of it, and what happened by the writes.
pub(super) fn judge(writes: &[Write<'_>], lives: &BTreeMap<String, Life>) -> Vec<Suspicion> {
    let by_profile = by_profile(lives);
    let mut found = Vec::new();
    let mut of: HashMap<u64, Vec<&Write<'_>>> = HashMap::new();
    for write in writes {
        of.entry(write.profile).or_default().push(write);
    }
    for (profile, writes) in &of {
        let lives = by_profile.get(profile).map_or(&[][..], Vec::as_slice);
        judge_creation(writes, lives, &mut found);
        judge_changes(writes, lives, &mut found);
    }
    found
}

/// A creation that was taken back by the gateway itself has not happened.
fn is_undone(life: &Life, create: &Write<'_>, deletes: bool) -> bool {
    let is_gone = life.states.last().is_some_and(|state| state.seen.is_none());
    is_gone && (create.ok().is_none() || !deletes)
}

fn judge_creation(writes: &[&Write<'_>], lives: &[&Life], found: &mut Vec<Suspicion>) {
    let Some(create) = writes.iter().find(|write| write.kind == Kind::Create) else { return };
    let deletes = writes.iter().any(|write| write.kind == Kind::Delete);
    let stays = lives.iter().filter(|life| !is_undone(life, create, deletes));
    let done: Vec<u64> = stays.map(|life| life.states[0].ms).collect();
    create.judge(&done, found);
}

fn judge_changes(writes: &[&Write<'_>], lives: &[&Life], found: &mut Vec<Suspicion>) {
    let mut done: HashMap<Change, Vec<u64>> = HashMap::new();
    let create = writes.iter().find(|write| write.kind == Kind::Create);
    let deletes = writes.iter().any(|write| write.kind == Kind::Delete);
    // The steps of a creation change the profile, too, until it is answered.
    let made_by = create.map_or(0, |create| create.until().unwrap_or(u64::MAX));
    for life in lives {
        let undone = create.is_some_and(|create| is_undone(life, create, deletes));
        for (change, at) in life.changes() {
            let ms = life.states[at].ms;
            if !(undone && change == Change::Deleted) {
                done.entry(change).or_default().push(ms);
            }
        }
    }
    let mut asked: HashMap<Change, Vec<&Write<'_>>> = HashMap::new();
    for write in writes {
        let change = match &write.kind {
            Kind::Create => continue,
            Kind::Rename(version, _) => {
                let done = done.remove(&Change::Renamed(*version)).unwrap_or_default();
                write.judge(&done, found);
                continue;
            }
            Kind::Attach(service) => Change::Service(service.clone(), true),
            Kind::Detach(service) => Change::Service(service.clone(), false),
            Kind::Delete => Change::Deleted,
        };
        asked.entry(change).or_default().push(write);
    }
    for (change, mut done) in done {
        done.sort_unstable();
        let asked = asked.remove(&change).unwrap_or_default();
        let profile = writes[0].profile;
        let made_by = if change == Change::Deleted { 0 } else { made_by };
        let lost = unasked(&asked, &done).into_iter().filter(|ms| *ms > made_by);
        found.extend(lost.map(|ms| {
            let all: Vec<_> = asked.iter().map(|write| &write.attempts).collect();
            let about = format!("{change:?} of {profile} at {ms}, by none of {all:#?}");
            Suspicion { lie: Lie::LostChange, about, profile, from: ms, to: ms }
        }));
        undone(&asked, &done, found);
    }
    for asked in asked.into_values() {
        undone(&asked, &[], found);
    }
}

/// Each change needs a write of its own that asked for it, and was under way then. The one that is
/// over first is taken: if there is an assignment at all, there is this one.
fn unasked(asked: &[&Write<'_>], done: &[u64]) -> Vec<u64> {
    let mut may: Vec<(u64, u64)> =
        asked.iter().filter_map(|write| Some((write.from, write.until()?))).collect();
    may.sort_unstable();
    let mut begun = BinaryHeap::new();
    let mut may = may.into_iter().peekable();
    let mut unasked = Vec::new();
    for ms in done {
        while let Some((_, until)) = may.next_if(|(from, _)| from <= ms) {
            begun.push(Reverse(until));
        }
        while begun.peek().is_some_and(|Reverse(until)| until < ms) {
            begun.pop();
        }
        if begun.pop().is_none() {
            unasked.push(*ms);
        }
    }
    unasked
}

/// Each write that says that it was done needs a change of its own. One that was in doubt may have
/// found what another has done, and so may a deletion whose answer was lost: the profile is gone.
fn undone(asked: &[&Write<'_>], done: &[u64], found: &mut Vec<Suspicion>) {
    let mut must: Vec<(u64, u64, &Write<'_>)> = asked
        .iter()
        .filter(|write| !write.is_in_doubt())
        .filter_map(|write| Some((write.from, write.ok()?.end.ms, *write)))
        .filter(|(_, until, write)| {
            write.kind != Kind::Delete || !done.iter().any(|ms| ms <= until)
        })
        .collect();
    must.sort_by_key(|(from, until, _)| (*from, *until));
    let mut must = must.into_iter().enumerate().peekable();
    let mut begun = BinaryHeap::new();
    let mut waiting = HashMap::new();
    let mut missed = Vec::new();
    for ms in done.iter().copied().chain([u64::MAX]) {
        while let Some((number, (_, until, write))) = must.next_if(|(_, (from, ..))| *from <= ms) {
            begun.push(Reverse((until, number)));
            waiting.insert(number, write);
        }
        while let Some(Reverse((until, number))) = begun.peek().copied() {
            if until < ms {
                missed.extend(waiting.remove(&number));
            }
            begun.pop();
            if until >= ms {
                break;
            }
        }
    }
    found.extend(missed.into_iter().map(|write| write.suspicion(Lie::OkWithoutEffect, done)));
}

/// What one caller writes over is not what another one has seen.
pub(super) fn judge_etags(writes: &[Write<'_>]) -> Vec<Suspicion> {
    let mut seen: HashMap<(u64, &str), &Write<'_>> = HashMap::new();
    let mut found = Vec::new();
    for write in writes {
        let Kind::Rename(_, Some(etag)) = &write.kind else { continue };
        if write.ok().is_none() {
            continue;
        }
        if let Some(other) = seen.insert((write.profile, etag), write) {
            let mut suspicion = write.suspicion(Lie::SameEtagTwice, &[]);
            suspicion.about += &format!(" after {:#?}", other.attempts);
            suspicion.from = suspicion.from.min(other.from);
            found.push(suspicion);
        }
    }
    found
}
