//! What must hold, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use super::{PROFILES, REQUESTS, World};
use crate::shared::{
    protocol::tests::server::Data,
    protocol::{Begin, Command, TakeTurn, Target, Token},
};

/// What was promised and does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A read was answered from memory with an older version than one that was acknowledged before.
    Stale { replica: usize, profile: usize, served: u64, acknowledged: u64 },
    /// The write of a request id took effect again.
    Twice { request: usize },
    /// A write was sent while another one to the same profile was under way.
    Together { profile: usize },
}

/// An effect in the upstream.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub(crate) task: u64,
    pub(crate) request: Option<usize>,
    pub(crate) profile: usize,
    pub(crate) version: u64,
}

/// How often what the checks are about has happened.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Reached {
    pub(crate) served: u32,
    pub(crate) acknowledged: u32,
    pub(crate) evicted: u32,
    pub(crate) restored: u32,
    pub(crate) repeated: u32,
    pub(crate) taken_over: u32,
}

impl Reached {
    pub(crate) fn add(&mut self, more: Self) {
        self.served += more.served;
        self.acknowledged += more.acknowledged;
        self.evicted += more.evicted;
        self.restored += more.restored;
        self.repeated += more.repeated;
        self.taken_over += more.taken_over;
    }
}

#[derive(Debug, Default)]
pub(crate) struct Check {
    pub(crate) reached: Reached,
    pub(crate) effects: Vec<Effect>,
    pub(crate) acknowledged: [u64; PROFILES],
    pub(crate) violation: Option<Violation>,
    /// Attempts and turns that the server has lost, until they are restored.
    lost_attempts: BTreeMap<usize, Token>,
    lost_turns: BTreeMap<Target, Token>,
    /// Those for which nothing is promised: their process has not restored them in time.
    not_promised: BTreeSet<usize>,
    pub(crate) given_up_turns: BTreeSet<Token>,
}

pub(crate) fn request_name(request: usize) -> std::sync::Arc<str> {
    format!("r{request}").into()
}

impl Check {
    pub(crate) fn violated(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn version(&self, profile: usize) -> u64 {
        self.effects.iter().filter(|effect| effect.profile == profile).count() as u64
    }

    pub(crate) fn effect_of(&self, request: usize) -> Option<&Effect> {
        self.effects.iter().find(|effect| effect.request == Some(request))
    }

    pub(crate) fn takes_effect(&mut self, task: u64, profile: usize, request: Option<usize>) {
        if let Some(request) = request
            && !self.not_promised.contains(&request)
            && self.effect_of(request).is_some()
        {
            self.violated(Violation::Twice { request });
        }
        let version = self.version(profile) + 1;
        self.effects.push(Effect { task, request, profile, version });
    }

    pub(crate) fn acknowledges(&mut self, profile: usize, version: u64) {
        self.reached.acknowledged += 1;
        let acknowledged = &mut self.acknowledged[profile];
        *acknowledged = version.max(*acknowledged);
    }

    /// The server has lost its last changes.
    pub(crate) fn lost(&mut self, before: &Data, after: &Data) {
        for request in 0..REQUESTS {
            let name = request_name(request);
            let known = before.records.get(&name);
            if let Some(known) = known.filter(|known| after.records.get(&name) != Some(known)) {
                self.lost_attempts.insert(request, known.attempt);
            }
        }
        for (target, turn) in &before.turns {
            if after.turns.get(target) != Some(turn) {
                self.lost_turns.insert(target.clone(), turn.0);
            }
        }
    }

    pub(crate) fn restored(&mut self, attempt: Option<Token>, turn: Option<Token>) {
        self.reached.restored += 1;
        self.lost_attempts.retain(|_, lost| Some(*lost) != attempt);
        self.lost_turns.retain(|_, lost| Some(*lost) != turn);
    }
}

impl World {
    /// Nothing is promised for what is asked of a server after the grace of its epoch, as long as
    /// what it has lost is not restored.
    pub(crate) fn note_promises(&mut self, command: &Command) {
        let history = self.server.history;
        let epoch = self.server.data.epoch.as_ref().filter(|epoch| epoch.history == history);
        let Some(began) = epoch.map(|epoch| epoch.at) else { return };
        if self.server_clock() < began + super::TIMING.grace {
            return;
        }
        let check = &mut self.check;
        match command {
            Command::Begin(Begin { request, .. }) => {
                let lost = (0..REQUESTS).find(|number| request_name(*number) == *request);
                let lost = lost.filter(|number| check.lost_attempts.contains_key(number));
                check.not_promised.extend(lost);
            }
            Command::TakeTurn(TakeTurn { profile, .. }) => {
                check.given_up_turns.extend(check.lost_turns.get(profile).copied());
            }
            _ => {}
        }
    }
}
