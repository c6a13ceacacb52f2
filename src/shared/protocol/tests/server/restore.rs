//! What a server with a new epoch is told again.

use std::time::Duration;

use super::{Record, Server, State};
use crate::shared::protocol::{Outcome, Process, RecordState, RequestRecord, Restore, Restored};

impl Server {
    pub(super) fn restore(&mut self, restore: &Restore, now: Duration) -> Restored {
        let before = self.data.epoch.as_ref().map_or(&[][..], |epoch| &epoch.before);
        let follows = before.is_empty() || before.contains(&restore.known_in);
        let is_new = follows && self.grace_left(restore.grace, now).is_some();
        if let (Some(left), true) = (restore.left, restore.is_open) {
            self.announce(restore.write, &restore.target, left, now);
        }
        let mut has_turn = true;
        if let Some((profile, token)) = &restore.turn {
            let left = restore.left.unwrap_or_default();
            let is_mine = self.has_turn(&(profile.clone(), *token), now);
            has_turn = !left.is_zero() && (is_new || is_mine);
            if has_turn {
                self.data.turns.insert(profile.clone(), (*token, now + left));
            }
        }
        let record = restore.record.as_ref();
        let has_record = record
            .is_none_or(|own| self.restore_record(own, restore.write.process(), follows, now));
        Restored { has_turn, has_record }
    }

    fn restore_record(
        &mut self,
        own: &RequestRecord,
        process: Process,
        follows: bool,
        now: Duration,
    ) -> bool {
        if let Some(known) = self.data.records.get(&own.request) {
            let is_same = known.attempt == own.attempt && known.generation == own.generation;
            if known.fingerprint != own.fingerprint
                || (!is_same && (!follows || known.generation >= own.generation))
            {
                return false;
            }
            if is_same && known.state != State::Running {
                return true;
            }
        }
        let mut record = Record::new(&own.fingerprint, own.attempt, own.generation, now);
        record.intent.clone_from(&own.intent);
        record.ended = own.ended.map(|ago| now.saturating_sub(ago));
        if record.intent.is_some() && record.ended.is_none() {
            record.has_sender(own.attempt);
        }
        let has_intent = record.intent.is_some();
        match &own.state {
            RecordState::Running { left } => record.until = now + *left,
            RecordState::Ended(outcome, ago) => {
                let at = now.saturating_sub(*ago);
                match outcome {
                    Outcome::Nothing if own.ended.is_some() => record.end(&Outcome::Unknown, at, 0),
                    outcome => record.end(outcome, at, 0),
                }
            }
        }
        let is_running = record.state == State::Running;
        let before = self.data.records.insert(own.request.clone(), record);
        if let Some(owner) = before.and_then(|before| before.owner) {
            self.forgets(&own.request, owner);
        }
        if has_intent {
            self.belongs(&own.request, process, now);
        }
        if !is_running {
            self.has_ended(&own.request, process, now);
        }
        true
    }
}
