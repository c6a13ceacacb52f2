//! What processes have left that have ended.

use std::{sync::Arc, time::Duration};

use super::{Server, State};
use crate::shared::protocol::{Adopt, ENDED_AFTER, LeftRequest, Process, Token};

/// How long it is known that a process was heard of.
const HEARD: Duration = Duration::from_secs(1);

impl Server {
    pub(super) fn is_alive(&mut self, process: Process, now: Duration) {
        let last = self.data.alive.entry(process).or_insert(now);
        if now < *last || now - *last >= HEARD {
            *last = now;
        }
    }

    pub(super) fn count(&self, now: Duration) -> u64 {
        let has_ended =
            |process| self.data.alive.get(&process).is_none_or(|last| now >= *last + ENDED_AFTER);
        let members = self.data.members.keys();
        members.filter(|session| !has_ended(session.process())).count() as u64
    }

    /// The doubt about a request is one of this process from now on.
    pub(super) fn belongs(&mut self, request: &Arc<str>, process: Process, now: Duration) {
        let Some(record) = self.data.records.get_mut(request) else { return };
        let before = record.owner.replace(process);
        if before == Some(process) {
            return;
        }
        if let Some(before) = before {
            self.forgets(request, before);
        }
        self.data.sent.entry(process).or_default().insert(request.clone());
        self.data.alive.entry(process).or_insert(now);
    }

    pub(super) fn forgets(&mut self, request: &Arc<str>, process: Process) {
        self.data.sent.entry(process).or_default().remove(request);
    }

    /// An attempt at a request has ended.
    pub(super) fn has_ended(&mut self, request: &Arc<str>, process: Process, now: Duration) {
        let Some(record) = self.data.records.get_mut(request) else { return };
        match record.state {
            State::Unknown if record.owner.is_none() => self.belongs(request, process, now),
            State::Done | State::Nothing => {
                if let Some(owner) = record.owner.take() {
                    self.forgets(request, owner);
                }
            }
            State::Unknown | State::Running => {}
        }
    }

    pub(super) fn settled(&self, requests: &[(Arc<str>, Option<Token>)]) -> Vec<bool> {
        let is_settled = |(request, attempt): &(Arc<str>, Option<Token>)| {
            let record = self.data.records.get(request);
            record.is_some_and(|known| known.state == State::Done || known.is_denied(*attempt))
        };
        requests.iter().map(is_settled).collect()
    }

    pub(super) fn adopt(&mut self, adopt: &Adopt, now: Duration) -> Vec<LeftRequest> {
        let mut left = Vec::new();
        if self.grace_left(adopt.grace, now).is_some() {
            return left;
        }
        if adopt.also_own {
            self.take(adopt.process, adopt, now, &mut left);
        }
        for (owner, last) in self.data.alive.clone() {
            if owner != adopt.process && now >= last + ENDED_AFTER {
                self.take(owner, adopt, now, &mut left);
                if self.data.sent.get(&owner).is_none_or(|all| all.is_empty()) {
                    self.data.alive.remove(&owner);
                }
            }
        }
        left.sort_by(|one, other| one.request.cmp(&other.request));
        left
    }

    fn take(&mut self, owner: Process, adopt: &Adopt, now: Duration, left: &mut Vec<LeftRequest>) {
        for request in self.data.sent.get(&owner).cloned().unwrap_or_default() {
            let known = self.data.records.get(&request).cloned();
            let known = known.filter(|known| {
                let is_open = matches!(known.state, State::Running | State::Unknown);
                known.owner == Some(owner) && is_open && known.intent.is_some()
            });
            let Some(known) = known else {
                self.forgets(&request, owner);
                continue;
            };
            if known.state == State::Running && now < known.until {
                continue;
            }
            self.belongs(&request, adopt.process, now);
            left.push(LeftRequest {
                request,
                intent: known.intent.clone().unwrap_or_else(|| [].into()),
                ended: now.saturating_sub(known.ended.unwrap_or(known.until)),
                sender: known.last_sender(),
                was_running: known.state == State::Running,
            });
        }
    }
}
