//! Whether a history of calls is one that a truthful gateway can have made.
//!
//! It is judged only by what callers were told and by what the sandbox's journal says that
//! happened, and by nothing of the gateway's own. What records a history keeps to this: each
//! creation and each update has a display name of its own, [`display_name`], with versions that
//! rise; a profile has one writer at a time; and after a write of unknown outcome that profile is
//! not written again.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

const PREFIX: &str = "History";

/// What follows the numbers: what upstreams may store in another spelling.
const SUFFIX: &str = ", R&D's \"cafe\u{301}\"";

/// Under which name a version of a profile goes.
pub fn display_name(profile: u64, version: u64) -> String {
    format!("{PREFIX} {profile} {version}{SUFFIX}")
}

/// Which profile has the name, in whatever spelling, and in which version.
pub fn version(display_name: &str) -> Option<(u64, u64)> {
    let (prefix, rest) = display_name.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    let mut numbers = rest.split(',').next()?.split_whitespace();
    let profile = numbers.next()?.parse().ok()?;
    Some((profile, numbers.next()?.parse().ok()?))
}

/// Before or after a call: its position among all calls, and the journal's time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    pub tick: u64,
    pub ms: u64,
}

/// Gives moments.
#[derive(Default)]
pub struct Clock(AtomicU64);

impl Clock {
    pub fn now(&self) -> Moment {
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Moment { tick: self.0.fetch_add(1, SeqCst) + 1, ms: u64::try_from(ms).unwrap() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Create,
    Update,
    Delete,
    /// Attach or detach.
    Edit,
}

/// What a call that writes was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Ok,
    /// OK, but without having read it back: what the upstream acknowledged is believed.
    Unread,
    /// A definite failure: nothing was written.
    Failed(String),
    Unknown,
    /// Half of it is there, and the answer says so.
    Partial,
}

/// A call that writes.
#[derive(Clone, Debug)]
pub struct Call {
    pub kind: Kind,
    /// The same for all attempts at one write: those under one `request_id`, or this one alone.
    pub write: u64,
    pub profile: u64,
    /// The version that it makes.
    pub version: u64,
    pub start: Moment,
    pub end: Moment,
    pub said: Said,
}

/// What a reader saw of a profile: a version, or that it does not exist.
#[derive(Clone, Debug)]
pub struct Read {
    pub profile: u64,
    pub start: Moment,
    pub end: Moment,
    pub seen: Option<u64>,
    pub how: String,
}

/// What the upstream has done, by its journal.
#[derive(Clone, Debug)]
pub struct Effect {
    pub ms: u64,
    pub done: Done,
    /// The upstream's id.
    pub id: String,
    /// What the request called the profile.
    pub name: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Created,
    Modified,
    Deleted,
    /// A service or limit was attached or detached.
    Edited,
}

/// A way to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lie {
    /// A write was done more than once.
    DoneTwice,
    OkWithoutEffect,
    FailureWithEffect,
    /// A read older than a write that was acknowledged before it began.
    StaleRead,
    /// A read of something that was never written, or that is known not to have been.
    ReadOfNothing,
    /// A profile that was acknowledged, and that no call deletes, is not there.
    Lost,
    /// A deleted profile is there.
    BackFromTheDead,
}

/// All that was recorded.
#[derive(Default)]
pub struct History {
    pub calls: Vec<Call>,
    pub reads: Vec<Read>,
    /// In the journal's order.
    pub effects: Vec<Effect>,
}

/// When requests were acknowledged and ignored, by a journal's entries.
fn ignored(journal: &[Value]) -> Vec<u64> {
    let ignored = journal.iter().filter(|entry| entry["fault"] == "ignore");
    ignored.filter_map(|entry| entry["at_ms"].as_u64()).collect()
}

/// The effects among a journal's entries.
fn effects(journal: &[Value]) -> Vec<Effect> {
    let effect = |entry: &Value| {
        let mut members = entry["effect"].as_object()?.iter();
        let (what, id) = members.find(|(what, _)| *what != "cascaded")?;
        let done = match what.as_str() {
            "created" => Done::Created,
            "modified" => Done::Modified,
            "deleted" => Done::Deleted,
            _ => Done::Edited,
        };
        // Of `profile/service/limit` only the profile.
        let id = id.as_str()?.split('/').next()?.to_owned();
        let ms = entry["at_ms"].as_u64()?;
        Some(Effect { ms, done, id, name: named(&entry["body"]) })
    };
    journal.iter().filter_map(effect).collect()
}

/// The name of a profile anywhere in a request.
pub fn named(body: &Value) -> Option<(u64, u64)> {
    match body {
        Value::String(text) => version(text),
        Value::Array(items) => items.iter().find_map(named),
        Value::Object(members) => members.values().find_map(named),
        _ => None,
    }
}

/// The attempts at one write, in order, with what happened of it.
struct Write<'a> {
    attempts: Vec<&'a Call>,
    /// When it happened, for each time that it did.
    done: Vec<u64>,
}

impl History {
    /// What happened, by a journal. What was believed without a look stays unknown if requests were
    /// ignored since the first attempt at that write, and has to be true otherwise.
    pub fn happened(&mut self, journal: &[Value]) {
        self.effects = effects(journal);
        let ignored = ignored(journal);
        let mut began: HashMap<u64, u64> = HashMap::new();
        for call in &self.calls {
            let first = began.entry(call.write).or_insert(call.start.ms);
            *first = call.start.ms.min(*first);
        }
        for call in self.calls.iter_mut().filter(|call| call.said == Said::Unread) {
            let meanwhile = began[&call.write]..=call.end.ms;
            let may_be_ignored = ignored.iter().any(|ms| meanwhile.contains(ms));
            call.said = if may_be_ignored { Said::Unknown } else { Said::Ok };
        }
    }

    /// All lies in it, each with what it is about.
    pub fn lies(&self) -> Vec<(Lie, String)> {
        let ids = self.ids();
        let mut lies = Vec::new();
        for write in self.writes(&ids) {
            write.judge(&mut lies);
        }
        self.judge_creations(&mut lies);
        self.judge_reads(&mut lies);
        lies
    }

    /// The profile of each upstream id.
    fn ids(&self) -> HashMap<&str, u64> {
        let created = self.effects.iter().filter(|effect| effect.done == Done::Created);
        created.filter_map(|effect| Some((effect.id.as_str(), effect.name?.0))).collect()
    }

    fn writes(&self, ids: &HashMap<&str, u64>) -> Vec<Write<'_>> {
        let mut attempts: HashMap<u64, Vec<&Call>> = HashMap::new();
        for call in &self.calls {
            attempts.entry(call.write).or_default().push(call);
        }
        let edited: HashSet<u64> =
            self.calls.iter().filter(|c| c.kind == Kind::Edit).map(|c| c.profile).collect();
        let mut writes = Vec::new();
        for mut attempts in attempts.into_values() {
            attempts.sort_by_key(|call| call.start.tick);
            let done = self.done(&attempts, ids, &edited);
            writes.push(Write { attempts, done });
        }
        writes
    }

    /// When the effect of a write happened.
    fn done(
        &self,
        attempts: &[&Call],
        ids: &HashMap<&str, u64>,
        edited: &HashSet<u64>,
    ) -> Vec<u64> {
        let (call, last) = (attempts[0], attempts[attempts.len() - 1]);
        let next = self
            .calls
            .iter()
            .filter(|other| other.profile == call.profile && other.start.tick > last.end.tick);
        // A profile is not written after a write of unknown outcome, so what comes later is of this
        // one.
        let over = next.map(|other| other.start.ms).min().unwrap_or(u64::MAX);
        let is_ours = |effect: &&Effect| {
            let of_it = ids.get(effect.id.as_str()) == Some(&call.profile);
            match (call.kind, effect.done) {
                (Kind::Create, Done::Created) => effect.name == Some((call.profile, call.version)),
                (Kind::Update, Done::Modified) => {
                    of_it
                        && !edited.contains(&call.profile)
                        && effect.name == Some((call.profile, call.version))
                }
                // A creation is undone by a deletion that no call asked for.
                // After one that failed there may be another.
                (Kind::Delete, Done::Deleted) => {
                    of_it && (call.start.ms..over).contains(&effect.ms)
                }
                (Kind::Edit, Done::Edited | Done::Modified) => {
                    of_it && (call.start.ms..=over).contains(&effect.ms)
                }
                _ => false,
            }
        };
        let survives = |effect: &Effect| match call.kind {
            Kind::Create => !self.is_undone(effect, last.end),
            _ => true,
        };
        let ours = self.effects.iter().filter(is_ours).filter(|effect| survives(effect));
        ours.map(|effect| effect.ms).collect()
    }

    /// Whether a creation was taken back by the gateway: deleted, though no call had asked for that
    /// yet.
    fn is_undone(&self, created: &Effect, end: Moment) -> bool {
        let asked = |effect: &Effect| {
            let (profile, _) = created.name.unwrap_or_default();
            let deletes = |call: &&Call| call.kind == Kind::Delete && call.profile == profile;
            self.calls.iter().filter(deletes).any(|call| call.start.ms <= effect.ms)
        };
        let gone = |effect: &&Effect| {
            effect.done == Done::Deleted && effect.id == created.id && effect.ms <= end.ms
        };
        self.effects.iter().find(gone).is_some_and(|effect| !asked(effect))
    }

    /// No two profiles of one creation at a time.
    fn judge_creations(&self, lies: &mut Vec<(Lie, String)>) {
        let mut alive: HashMap<u64, HashSet<&str>> = HashMap::new();
        for effect in &self.effects {
            match (effect.done, effect.name) {
                (Done::Created, Some((profile, 0))) => {
                    let alive = alive.entry(profile).or_default();
                    alive.insert(&effect.id);
                    if alive.len() > 1 {
                        lies.push((Lie::DoneTwice, format!("creation of {profile}: {alive:?}")));
                    }
                }
                (Done::Deleted, _) => {
                    for alive in alive.values_mut() {
                        alive.remove(effect.id.as_str());
                    }
                }
                _ => {}
            }
        }
    }

    fn judge_reads(&self, lies: &mut Vec<(Lie, String)>) {
        let mut by_profile: HashMap<u64, Vec<&Call>> = HashMap::new();
        for call in &self.calls {
            by_profile.entry(call.profile).or_default().push(call);
        }
        for read in &self.reads {
            let calls = by_profile.get(&read.profile).map_or(&[][..], Vec::as_slice);
            if let Some(lie) = judge_read(read, calls) {
                lies.push((lie, format!("{}: {read:?} of {calls:#?}", read.how)));
            }
        }
    }
}

fn judge_read(read: &Read, calls: &[&Call]) -> Option<Lie> {
    let acknowledged = |call: &Call| call.said == Said::Ok && call.end.tick < read.start.tick;
    let begun = |call: &Call| call.start.tick < read.end.tick;
    let of = |kind: Kind| calls.iter().filter(move |call| call.kind == kind);
    let versions = || of(Kind::Create).chain(of(Kind::Update));
    let Some(seen) = read.seen else {
        let there = of(Kind::Create).any(|call| acknowledged(call));
        let going = of(Kind::Delete).any(|call| begun(call));
        return (there && !going).then_some(Lie::Lost);
    };
    if of(Kind::Delete).any(|call| acknowledged(call)) {
        return Some(Lie::BackFromTheDead);
    }
    let least = versions().filter(|call| acknowledged(call)).map(|call| call.version).max();
    if least.is_some_and(|least| seen < least) {
        return Some(Lie::StaleRead);
    }
    let mut makers = versions().filter(|call| call.version == seen && begun(call)).peekable();
    // A report that nothing was written must be true before it is made, too.
    let never = makers.all(|call| matches!(call.said, Said::Failed(_)));
    never.then_some(Lie::ReadOfNothing)
}

impl Write<'_> {
    fn judge(&self, lies: &mut Vec<(Lie, String)>) {
        let mut tell =
            |lie| lies.push((lie, format!("{:#?} done at {:?}", self.attempts, self.done)));
        if self.done.len() > 1 {
            tell(Lie::DoneTwice);
        }
        let done_by = |moment: Moment| self.done.iter().any(|ms| *ms <= moment.ms);
        let told = |call: &Call| matches!(call.said, Said::Failed(_));
        let ok = self.attempts.iter().find(|call| call.said == Said::Ok);
        if ok.is_some_and(|call| !done_by(call.end)) {
            tell(Lie::OkWithoutEffect);
        }
        // Told in between that nothing was written, and it was already; or told so at last.
        let before = |call: &Call| self.done.iter().any(|ms| *ms < call.end.ms);
        let in_between = self.attempts.iter().any(|call| told(call) && before(call));
        let at_last = self.attempts.last().is_some_and(|call| told(call));
        if in_between || (at_last && !self.done.is_empty()) {
            tell(Lie::FailureWithEffect);
        }
    }
}
