//! When the gateway looks after each write in doubt.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    error::{Effect, Error, Reason},
    gateway::idempotency::Doubt,
};

/// How often new doubts are looked for. It takes longer if there are many: one more for each of
/// these.
const SCAN: Duration = Duration::from_secs(1);
const MANY: usize = 1_000;
/// The pause after a call has ended in doubt: its caller is told, and may repeat it at once.
const AFTER_CALL: Duration = Duration::from_secs(30);
/// The pause after a look has given way to a call.
const AFTER_OTHER: Duration = Duration::from_secs(5);
/// The first pause between looks, and the longest one as long as an upstream cannot be asked.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// The longest one when looks show a state that tells nothing, which time alone does not change.
const UNCLEAR: Duration = Duration::from_secs(30 * 60);

/// How a look ended.
pub(super) enum Looked {
    /// The outcome is known.
    Settled,
    /// A call is at it, or was, and the look gave way.
    GaveWay,
    /// It did not show the outcome.
    Unsettled(Error, Tried),
}

/// What a look has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// Nothing but looking.
    Looking,
    /// It began to complete a profile.
    Completing,
}

/// When to look after one write.
pub(super) struct Plan {
    backend: String,
    next: Instant,
    /// From then on, it can no longer take effect.
    over: Instant,
    looks: u32,
    completions: u32,
    /// Its line is in the log.
    is_logged: bool,
    /// It was said that its outcome is known elsewhere.
    is_known_elsewhere: bool,
    subject: (String, String),
}

/// When to look after each.
#[derive(Default)]
pub(super) struct Plans {
    all: BTreeMap<u64, Plan>,
    /// The backends that are being asked.
    busy: BTreeSet<String>,
}

impl Plan {
    /// The plan for a doubt that was not seen before.
    pub(super) fn of(doubt: &Doubt) -> Self {
        let now = Instant::now();
        let pause = match doubt.interrupted {
            true => Duration::ZERO,
            false => AFTER_CALL.saturating_sub(doubt.ended),
        };
        Self {
            backend: doubt.resource.split('/').nth(1).unwrap_or_default().to_owned(),
            next: now + jittered(pause + FIRST / 4),
            over: now + Effect::SETTLES_WITHIN.saturating_sub(doubt.ended),
            looks: 0,
            completions: 0,
            is_logged: false,
            is_known_elsewhere: false,
            subject: (doubt.method.clone(), doubt.resource.clone()),
        }
    }

    /// The next look comes after a pause, and as soon as it can settle the doubt.
    fn unsettled(&mut self, number: u64, error: &Error, tried: Tried) {
        let (now, is_unclear) = (Instant::now(), error.facts().may_have_written);
        self.completions += u32::from(tried == Tried::Completing);
        let is_gone = error.reason() == Reason::BackendNotFound;
        let is_unclear_for_long = is_gone || (is_unclear && self.over <= now);
        let longest = if is_unclear_for_long { UNCLEAR } else { LONGEST };
        let pause = FIRST.saturating_mul(1 << self.looks.min(16)).min(longest);
        self.looks = self.looks.saturating_add(1);
        self.next = now + jittered(pause);
        if self.over > now {
            self.next = self.next.min(self.over);
        }
        if self.is_logged || (is_unclear && self.over > now) {
            return;
        }
        self.is_logged = true;
        let (method, resource) = &self.subject;
        tracing::warn!(
            target: "gateway", doubt = number, method, resource, reason = error.reason().name(),
            %error, "a write of unknown outcome cannot be settled yet"
        );
    }
}

impl Plans {
    /// Adds plans for doubts that are new, and, if `all` were read, drops those of doubts that have
    /// ended. Returns when to do that again.
    pub(super) fn update(&mut self, found: BTreeMap<u64, Plan>, all: bool) -> Duration {
        self.all.retain(|number, _| !all || found.contains_key(number));
        for (number, plan) in found {
            self.all.entry(number).or_insert(plan);
        }
        SCAN * u32::try_from(1 + self.all.len() / MANY).unwrap_or(u32::MAX)
    }

    /// The outcome of these is known elsewhere: looking after them takes no look. If it was of no
    /// use once, it is not done early again.
    pub(super) fn look_now(&mut self, numbers: &[u64]) {
        for number in numbers {
            if let Some(plan) = self.all.get_mut(number)
                && !std::mem::replace(&mut plan.is_known_elsewhere, true)
            {
                plan.next = Instant::now();
            }
        }
    }

    /// Takes what is due: for each backend that is not being asked, the one that waits longest.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(u64, String)> {
        let mut due: BTreeMap<&str, (Instant, u64)> = BTreeMap::new();
        for (number, plan) in &self.all {
            let is_free = !self.busy.contains(&plan.backend);
            if plan.next <= now && is_free {
                let first = due.entry(&plan.backend).or_insert((plan.next, *number));
                *first = (*first).min((plan.next, *number));
            }
        }
        let due: Vec<_> = due.iter().map(|(name, (_, n))| (*n, (*name).to_owned())).collect();
        for (_, backend) in &due {
            self.busy.insert(backend.clone());
        }
        due
    }

    /// When the next look of a backend that is not being asked is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let free = self.all.values().filter(|plan| !self.busy.contains(&plan.backend));
        free.map(|plan| plan.next).min()
    }

    /// How often a profile was to be completed, and was not.
    pub(super) fn completions(&self, number: u64) -> u32 {
        self.all.get(&number).map_or(0, |plan| plan.completions)
    }

    /// Plans the next look.
    pub(super) fn looked(&mut self, number: u64, backend: &str, looked: &Looked) {
        self.busy.remove(backend);
        match looked {
            Looked::Settled => drop(self.all.remove(&number)),
            Looked::GaveWay => {
                if let Some(plan) = self.all.get_mut(&number) {
                    plan.next = Instant::now() + jittered(AFTER_OTHER);
                }
            }
            Looked::Unsettled(error, tried) => {
                if let Some(plan) = self.all.get_mut(&number) {
                    plan.unsettled(number, error, *tried);
                }
            }
        }
    }
}

/// A pause that is up to a quarter shorter or longer, so that replicas and backends do not keep in
/// step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.75..1.25))
}
