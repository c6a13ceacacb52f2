//! A model of what a server does with a history.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::shared::{
    history::{
        Advance, Fill, HistoryId, HistoryRun, HistoryState, Looked, SharedChange, Standing, Turn,
        commands::Most,
    },
    protocol::{EpochId, Refused, Token},
};

/// A server with one history. Its clock is passed in.
#[derive(Default)]
pub(super) struct Model {
    /// The epoch that the server is in.
    pub(super) epoch: Option<EpochId>,
    pub(super) tail: u64,
    /// The end of the last write to the account, as a look has to begin.
    pub(super) ended: Looked,
    pub(super) history: History,
}

#[derive(Default)]
pub(super) struct History {
    id: Option<(HistoryId, EpochId)>,
    runs: Vec<HistoryRun>,
    pub(super) list: BTreeMap<String, Arc<[u8]>>,
    pub(super) changes: Vec<(u64, SharedChange)>,
    last: u64,
    looked: Looked,
    at: Option<Duration>,
    interval: Duration,
    failed: Option<(Looked, String)>,
    turn: Option<(Token, Duration)>,
    note: String,
}

impl History {
    /// In another epoch, it has another id.
    fn goes_on_in(&mut self, epoch: &EpochId, fresh: u64) {
        let Some((id, of)) = self.id.clone() else { return };
        if of != *epoch {
            self.runs.push(HistoryRun { id, end: self.last });
            self.id = Some((HistoryId(fresh), epoch.clone()));
            (self.looked, self.failed) = (0, None);
        }
    }
}

impl Model {
    fn is_refused(&self, epoch: &EpochId) -> bool {
        self.epoch.as_ref() != Some(epoch)
    }

    fn leads(&self, token: Token, now: Duration) -> bool {
        self.history.turn.is_some_and(|(holder, until)| holder == token && now < until)
    }

    pub(super) fn turn(
        &mut self,
        (epoch, fresh): (&EpochId, u64),
        turn: Turn<'_>,
        now: Duration,
    ) -> Result<HistoryState, Refused> {
        if self.is_refused(epoch) {
            return Err(Refused::Epoch);
        }
        self.history.goes_on_in(epoch, fresh);
        let history = &mut self.history;
        let mut has_turn = false;
        match turn {
            Turn::Ask => {}
            Turn::Leave(token) => {
                if history.turn.is_some_and(|(holder, _)| holder == token) {
                    (history.turn, history.note) = (None, String::new());
                    self.tail += 1;
                }
            }
            Turn::Take { token, lasts, note } => {
                if history.turn.is_none_or(|(holder, until)| holder == token || now >= until) {
                    history.turn = Some((token, now + lasts));
                    if history.note != note {
                        self.tail += 1;
                    }
                    history.note = note.to_owned();
                    has_turn = true;
                }
            }
        }
        let turn_left = history.turn.map_or(Duration::ZERO, |(_, end)| end.saturating_sub(now));
        let first = history.last + 1 - history.changes.len() as u64;
        let standing = history.id.as_ref().map(|(id, _)| Standing {
            id: *id,
            first,
            last: history.last,
            runs: history.runs.clone(),
        });
        Ok(HistoryState {
            standing,
            looked: history.looked,
            age: history.at.map_or(Duration::ZERO, |at| now - at),
            interval: history.interval,
            failed: history.failed.clone(),
            has_turn,
            turn_left,
            note: history.note.clone(),
            ended: self.ended,
            now: self.tail + 1,
        })
    }

    pub(super) fn fill(
        &mut self,
        (epoch, token): (&EpochId, Token),
        fill: &Fill,
        now: Duration,
    ) -> Result<bool, Refused> {
        if self.is_refused(epoch) {
            return Err(Refused::Epoch);
        }
        if !self.leads(token, now) {
            return Ok(false);
        }
        let before = std::mem::take(&mut self.history);
        let numbered = (fill.first..).zip(fill.changes.iter().cloned());
        let list = fill.list.iter().map(|entry| (entry.position.clone(), entry.value.clone()));
        let is_look = fill.looked > 0;
        self.history = History {
            id: Some((fill.id, epoch.clone())),
            runs: fill.runs.clone(),
            list: list.collect(),
            changes: numbered.collect(),
            last: fill.first - 1 + fill.changes.len() as u64,
            looked: fill.looked,
            at: is_look.then_some(now),
            interval: if is_look { fill.interval } else { before.interval },
            failed: None,
            turn: before.turn,
            note: before.note,
        };
        self.tail += 1;
        Ok(true)
    }

    pub(super) fn advance(
        &mut self,
        (epoch, token): (&EpochId, Token),
        advance: &Advance,
        (now, most): (Duration, Most),
    ) -> Result<bool, Refused> {
        if self.is_refused(epoch) {
            return Err(Refused::Epoch);
        }
        let is_it = self.history.id.as_ref() == Some(&(advance.id, epoch.clone()));
        if !self.leads(token, now) || !is_it || self.history.last != advance.after {
            return Ok(false);
        }
        let history = &mut self.history;
        for change in &advance.changes {
            history.last += 1;
            history.changes.push((history.last, change.clone()));
            match change.kind {
                'r' => drop(history.list.remove(&change.position)),
                _ => drop(history.list.insert(change.position.clone(), change.value.clone())),
            }
        }
        let bytes = |change: &SharedChange| {
            change.position.len() + change.fields.len() + change.value.len()
        };
        let list: usize = history.list.iter().map(|(at, value)| at.len() + value.len()).sum();
        let most_changes = most.changes + 2 * history.list.len();
        while history.changes[0..].first().is_some_and(|(first, _)| *first <= advance.after)
            && (history.changes.len() > most_changes
                || history.changes.iter().map(|(_, c)| bytes(c)).sum::<usize>()
                    > most.bytes + 2 * list)
        {
            history.changes.remove(0);
        }
        (history.looked, history.at) = (advance.looked, Some(now));
        (history.interval, history.failed) = (advance.interval, None);
        self.tail += 1;
        Ok(true)
    }

    pub(super) fn failed(
        &mut self,
        (epoch, token): (&EpochId, Token),
        (looked, why): (Looked, &str),
        now: Duration,
    ) -> Result<bool, Refused> {
        if self.is_refused(epoch) {
            return Err(Refused::Epoch);
        }
        let leads = self.leads(token, now);
        if leads {
            self.history.failed = Some((looked, why.to_owned()));
            self.tail += 1;
        }
        Ok(leads)
    }
}
