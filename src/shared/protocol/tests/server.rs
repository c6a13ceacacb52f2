//! A model of the server: the same as the scripts, in Rust.

mod left;
mod restore;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::record::{Record, State};
use crate::shared::protocol::{
    Answer, Begin, Begun, Close, Closed, Command, Entry, EntryKind, EpochId, Join, Joined,
    LeftOpen, Members, Open, Opened, Outcome, Process, Refused, Renewal, TakeTurn, Target, Token,
    TurnTaken, WriteId,
};

/// The rules that a server holds, to be taken out one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerRules {
    pub(crate) epoch_names_history: bool,
    pub(crate) open_needs_turn: bool,
    pub(crate) evicts_only_who_lags: bool,
    pub(crate) nothing_says_nothing_of_others: bool,
    pub(crate) close_has_intent: bool,
}

impl Default for ServerRules {
    fn default() -> Self {
        Self {
            epoch_names_history: true,
            open_needs_turn: true,
            evicts_only_who_lags: true,
            nothing_says_nothing_of_others: true,
            close_has_intent: true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) id: EpochId,
    pub(crate) history: u64,
    pub(crate) at: Duration,
    /// The epochs since which others cannot have taken what was lost.
    pub(crate) before: Vec<EpochId>,
}

/// What a server keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Data {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) tail: u64,
    pub(crate) log: Vec<Entry>,
    pub(crate) members: Members,
    pub(crate) open: BTreeMap<WriteId, (Target, Duration)>,
    pub(crate) records: BTreeMap<Arc<str>, Record>,
    pub(crate) turns: BTreeMap<Target, (Token, Duration)>,
    /// When each process was last heard of.
    pub(crate) alive: BTreeMap<Process, Duration>,
    /// The doubts that each has.
    pub(crate) sent: BTreeMap<Process, BTreeSet<Arc<str>>>,
}

/// A server. Its clock is passed in, since any fixed point.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) data: Data,
    pub(crate) history: u64,
    pub(crate) rules: ServerRules,
}

impl Server {
    /// Carries out a command that was sent in this epoch.
    pub(crate) fn answer(
        &mut self,
        epoch: Option<&EpochId>,
        command: &Command,
        now: Duration,
    ) -> Result<Answer, Refused> {
        if let Command::Join(join) = command {
            return Ok(Answer::Joined(self.join(join, now)));
        }
        let epoch = match command {
            Command::Members { epoch } | Command::Evict { epoch, .. } => Some(epoch),
            _ => epoch,
        };
        let current = self.data.epoch.as_ref().filter(|current| self.is_valid(current));
        if current.is_none_or(|current| Some(&current.id) != epoch) {
            return Err(Refused::Epoch);
        }
        Ok(match command {
            Command::Join(join) => Answer::Joined(self.join(join, now)),
            Command::Renew { session, applied } => {
                if self.data.members.contains_key(session) {
                    self.is_alive(session.process(), now);
                }
                let (tail, members) = (self.data.tail, &mut self.data.members);
                Answer::Renewal(match members.get_mut(session) {
                    None => Renewal::Gone,
                    Some(known) => {
                        if *applied <= tail {
                            *known = (*known).max(*applied);
                        }
                        if *applied == tail { Renewal::Valid } else { Renewal::Behind { tail } }
                    }
                })
            }
            Command::Members { .. } => Answer::Members(self.data.members.clone()),
            Command::Count => Answer::Counted { alive: self.count(now) },
            Command::Evict { sessions, below, .. } => {
                let conditional = self.rules.evicts_only_who_lags;
                self.data.members.retain(|session, applied| {
                    !sessions.contains(session) || (conditional && *applied >= *below)
                });
                Answer::Evicted
            }
            Command::Begin(begin) => Answer::Begun(self.begin(begin, now)),
            Command::TakeTurn(turn) => Answer::TurnTaken(self.take_turn(turn, now)),
            Command::Open(open) => Answer::Opened(self.open(open, now)),
            Command::Close(close) => Answer::Closed(self.close(close, now)),
            Command::Purge { target } => {
                self.append(EntryKind::Purged { target: target.clone() });
                let (number, members) = (self.data.tail, self.data.members.clone());
                Answer::Closed(Closed { epoch: self.epoch(), number, members, was_mine: true })
            }
            Command::Restore(restore) => Answer::Restored(self.restore(restore, now)),
            Command::Adopt(adopt) => Answer::Adopted(self.adopt(adopt, now)),
            Command::Settled { requests } => Answer::Settled(self.settled(requests)),
        })
    }

    /// The entries after this one.
    pub(crate) fn read(&self, after: u64) -> Vec<Entry> {
        self.data.log.iter().filter(|entry| entry.number > after).cloned().collect()
    }

    fn epoch(&self) -> EpochId {
        self.data.epoch.as_ref().map_or_else(|| "".into(), |epoch| epoch.id.clone())
    }

    fn is_valid(&self, epoch: &Epoch) -> bool {
        !self.rules.epoch_names_history || epoch.history == self.history
    }

    fn grace_left(&self, grace: Duration, now: Duration) -> Option<Duration> {
        let began = self.data.epoch.as_ref().map_or(now, |epoch| epoch.at);
        Some((began + grace).saturating_sub(now)).filter(|left| !left.is_zero())
    }

    fn append(&mut self, kind: EntryKind) {
        let Some(epoch) = self.data.epoch.as_ref().map(|epoch| epoch.id.clone()) else { return };
        self.data.tail += 1;
        self.data.log.push(Entry { number: self.data.tail, epoch, kind });
    }

    fn join(&mut self, join: &Join, now: Duration) -> Joined {
        let valid = self.data.epoch.clone().filter(|epoch| self.is_valid(epoch));
        let epoch = valid.unwrap_or_else(|| {
            let id = format!("{}-{}", join.token.0, now.as_millis()).into();
            self.data.members.clear();
            self.data.log.clear();
            let mut before = Vec::new();
            if let Some(last) = self.data.epoch.take() {
                if now < last.at + join.grace {
                    before.extend(last.before);
                }
                before.push(last.id);
            }
            Epoch { id, history: self.history, at: now, before }
        });
        self.data.epoch = Some(epoch.clone());
        self.data.open.retain(|_, (_, until)| *until + join.settle > now);
        if let Some(leaves) = join.leaves {
            self.data.members.remove(&leaves);
        }
        let tail = self.data.tail;
        self.data.members.entry(join.session).or_insert(tail);
        self.data.alive.insert(join.session.process(), now);
        let open = self.data.open.iter().map(|(write, (target, until))| LeftOpen {
            write: *write,
            target: target.clone(),
            left: until.saturating_sub(now),
        });
        Joined { epoch: epoch.id, tail, open: open.collect() }
    }

    fn begin(&mut self, begin: &Begin, now: Duration) -> Begun {
        let grace = self.grace_left(begin.grace, now);
        let (tail, members) = (self.data.tail, self.data.members.clone());
        let epoch = self.epoch();
        let until = now + begin.lasts;
        let Some(record) = self.data.records.get_mut(&begin.request) else {
            if let Some(left) = grace {
                return Begun::Grace { left };
            }
            let record = Record::new(&begin.fingerprint, begin.attempt, 1, until);
            self.data.records.insert(begin.request.clone(), record);
            return Begun::Fresh { generation: 1, is_denied: false };
        };
        if record.fingerprint != begin.fingerprint {
            return Begun::Reused;
        }
        if record.state == State::Done {
            let number = record.number.min(tail);
            let result = record.result.clone().unwrap_or_else(|| [].into());
            return Begun::Done {
                result,
                closed: Closed { epoch, number, members, was_mine: true },
            };
        }
        let is_running = record.state == State::Running && now < record.until;
        let is_mine = is_running && record.attempt == begin.attempt;
        if is_running && !is_mine {
            return Begun::Running { left: record.until - now };
        }
        if let Some(left) = grace.filter(|_| !is_mine) {
            return Begun::Grace { left };
        }
        if !is_mine {
            if record.state == State::Nothing || record.intent.is_none() {
                (record.intent, record.ended) = (None, None);
            } else {
                record.ended = record.ended.or(Some(record.until));
            }
            record.generation += 1;
        }
        (record.state, record.attempt, record.until) = (State::Running, begin.attempt, until);
        let generation = record.generation;
        match (&record.intent, record.ended) {
            (Some(intent), Some(ended)) => {
                let (intent, ended) = (intent.clone(), now.saturating_sub(ended));
                Begun::Unknown { generation, intent, ended }
            }
            _ => Begun::Fresh { generation, is_denied: record.is_denied(begin.doubted) },
        }
    }

    fn take_turn(&mut self, turn: &TakeTurn, now: Duration) -> TurnTaken {
        let held = self.data.turns.get(&turn.profile).filter(|(_, until)| now < *until);
        let is_mine = held.is_some_and(|(token, _)| *token == turn.token);
        if !is_mine {
            if let Some(left) = self.grace_left(turn.grace, now) {
                return TurnTaken::Grace { left };
            }
            if let Some((_, until)) = held {
                return TurnTaken::Held { left: *until - now };
            }
        }
        self.data.turns.insert(turn.profile.clone(), (turn.token, now + turn.lasts));
        TurnTaken::Taken
    }

    fn has_turn(&self, turn: &(Target, Token), now: Duration) -> bool {
        let held = self.data.turns.get(&turn.0);
        held.is_some_and(|(token, until)| *token == turn.1 && now < *until)
    }

    fn open(&mut self, open: &Open, now: Duration) -> Opened {
        if let (Some((request, attempt)), Some(unnamed)) = (&open.request, &open.unnamed)
            && open.turn.as_ref().is_none_or(|turn| self.has_turn(turn, now))
            && !self.data.records.contains_key(request)
        {
            let record = Record::new(unnamed, *attempt, 1, now + open.lasts);
            self.data.records.insert(request.clone(), record);
        }
        let is_running = |(request, attempt): &(Arc<str>, Token)| {
            self.data.records.get(request).is_some_and(|record| {
                let is_running = record.state == State::Running && now < record.until;
                is_running && record.attempt == *attempt
            })
        };
        let needs_turn = self.rules.open_needs_turn;
        let lost = open.request.as_ref().is_some_and(|own| !is_running(own))
            || open.turn.as_ref().is_some_and(|turn| needs_turn && !self.has_turn(turn, now));
        if lost {
            return Opened::Lost;
        }
        if let (Some((request, attempt)), Some(intent)) = (&open.request, &open.intent)
            && let Some(record) = self.data.records.get_mut(request)
        {
            (record.intent, record.ended) = (Some(intent.clone()), None);
            record.has_sender(*attempt);
            self.belongs(request, open.write.process(), now);
        }
        self.announce(open.write, &open.target, open.lasts, now);
        Opened::Opened
    }

    fn announce(&mut self, write: WriteId, target: &Target, lasts: Duration, now: Duration) {
        if self.data.open.contains_key(&write) {
            return;
        }
        self.append(EntryKind::Opened { write, target: target.clone(), lasts });
        self.data.open.insert(write, (target.clone(), now + lasts));
    }

    fn close(&mut self, close: &Close, now: Duration) -> Closed {
        let (Close { write, target, request, outcome, .. }, rules) = (close, self.rules);
        let was_open = self.data.open.remove(write).is_some();
        let may_have_changed = matches!(outcome, Outcome::Done(_) | Outcome::Unknown);
        if was_open || may_have_changed {
            self.append(EntryKind::Closed {
                write: *write,
                target: target.clone(),
                is_unsettled: *outcome == Outcome::Unknown,
                request: request.as_ref().map(|(request, _)| request.clone()),
                made: close.made.clone(),
            });
        }
        if let Some((profile, token)) = &close.turn
            && self.data.turns.get(profile).is_some_and(|(holder, _)| holder == token)
        {
            self.data.turns.remove(profile);
        }
        let number = self.data.tail;
        let mut was_mine = true;
        if let Some((request, attempt)) = request {
            let record = self.data.records.get_mut(request);
            let mine = record.filter(|record| record.attempt == *attempt);
            was_mine = mine.is_some();
            if let Some(record) = mine.filter(|record| record.state == State::Running) {
                let intent = close.intent.clone().filter(|_| rules.close_has_intent);
                if intent.is_some() && *outcome == Outcome::Unknown {
                    (record.intent, record.ended) = (intent, None);
                    record.has_sender(*attempt);
                }
                let keeps = rules.nothing_says_nothing_of_others && record.ended.is_some();
                match outcome {
                    Outcome::Nothing if keeps => record.end(&Outcome::Unknown, now, number),
                    outcome => record.end(outcome, now, number),
                }
                let is_over = record.state != State::Unknown;
                let is_forgotten = is_over && close.kept.is_zero() && record.generation == 1;
                self.has_ended(request, write.process(), now);
                if is_forgotten {
                    self.data.records.remove(request);
                }
            }
        }
        Closed { epoch: self.epoch(), number, members: self.data.members.clone(), was_mine }
    }
}
