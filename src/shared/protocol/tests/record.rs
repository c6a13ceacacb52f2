//! What the model of the server knows of a request id.

use std::{sync::Arc, time::Duration};

use crate::shared::protocol::{Outcome, Process, Token};

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
    /// Whose the doubt is, if that process ends.
    pub(crate) owner: Option<Process>,
    /// The attempts that have announced what they send, as the script writes them.
    pub(crate) senders: String,
    /// Those of which this is known to have had no effect.
    pub(crate) denied: String,
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
            owner: None,
            senders: String::new(),
            denied: String::new(),
        }
    }

    /// An attempt has announced what it sends.
    pub(super) fn has_sender(&mut self, attempt: Token) {
        if !has(&self.senders, attempt) {
            let before = if self.senders.is_empty() { " " } else { &self.senders };
            self.senders = latest(format!("{before}{} ", attempt.0));
        }
    }

    /// Whether what an attempt has sent is known to have had no effect.
    pub(super) fn is_denied(&self, attempt: Option<Token>) -> bool {
        attempt.is_some_and(|attempt| has(&self.denied, attempt))
    }

    pub(super) fn last_sender(&self) -> Option<Token> {
        self.senders.split_whitespace().last()?.parse().ok().map(Token)
    }

    pub(super) fn end(&mut self, outcome: &Outcome, at: Duration, number: u64) {
        match outcome {
            Outcome::Done(result) => {
                (self.intent, self.ended) = (None, None);
                (self.state, self.result) = (State::Done, Some(result.clone()));
                self.number = number;
                // Nothing has to be found out any more.
                (self.intent, self.ended) = (None, None);
                self.senders.clear();
            }
            Outcome::Unknown if self.intent.is_some() => {
                self.state = State::Unknown;
                self.ended = self.ended.or(Some(at));
            }
            Outcome::Nothing | Outcome::NoEffect | Outcome::Unknown => {
                (self.intent, self.ended) = (None, None);
                self.state = State::Nothing;
                if *outcome == Outcome::NoEffect {
                    let senders = std::mem::take(&mut self.senders);
                    if !senders.is_empty() {
                        self.denied = latest(format!("{}{senders}", self.denied));
                    }
                }
            }
        }
    }
}

fn has(attempts: &str, attempt: Token) -> bool {
    attempts.contains(&format!(" {} ", attempt.0))
}

fn latest(attempts: String) -> String {
    attempts.split_at(attempts.len().saturating_sub(168)).1.to_owned()
}
