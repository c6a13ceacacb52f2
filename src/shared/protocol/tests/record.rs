//! What the model of the server knows of a request id.

use std::{sync::Arc, time::Duration};

use crate::shared::protocol::{Outcome, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Done,
    Nothing,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) fingerprint: Arc<str>,
    pub(crate) state: State,
    pub(crate) attempt: Token,
    pub(crate) generation: u64,
    pub(crate) until: Duration,
    pub(crate) intent: Option<Arc<[u8]>>,
    pub(crate) ended: Option<Duration>,
    pub(crate) result: Option<Arc<[u8]>>,
    pub(crate) number: u64,
}

impl Record {
    pub(super) fn new(
        fingerprint: &Arc<str>,
        attempt: Token,
        generation: u64,
        until: Duration,
    ) -> Self {
        Self {
            fingerprint: fingerprint.clone(),
            state: State::Running,
            attempt,
            generation,
            until,
            intent: None,
            ended: None,
            result: None,
            number: 0,
        }
    }

    pub(super) fn end(&mut self, outcome: &Outcome, at: Duration, number: u64) {
        match outcome {
            Outcome::Done(result) => {
                (self.intent, self.ended) = (None, None);
                (self.state, self.result) = (State::Done, Some(result.clone()));
                self.number = number;
                // Nothing has to be found out any more.
                (self.intent, self.ended) = (None, None);
            }
            Outcome::Unknown if self.intent.is_some() => {
                self.state = State::Unknown;
                self.ended = self.ended.or(Some(at));
            }
            Outcome::Nothing | Outcome::NoEffect | Outcome::Unknown => {
                (self.intent, self.ended) = (None, None);
                self.state = State::Nothing;
            }
        }
    }
}
