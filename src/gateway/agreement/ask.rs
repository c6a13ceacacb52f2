//! Asking the server again and again, for as long as that helps.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Agreement;
use crate::{
    error::{Error, Reason},
    shared::{
        membership::NoAnswer,
        protocol::{Answer, Command},
    },
};

/// How long a write that has sent nothing waits for an answer of the store.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long replicas of the server have for a record.
const KEPT_WITHIN: Duration = Duration::from_millis(100);
/// The pause between two tries. It doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

impl Agreement {
    /// The answer to a command, for a write that was not sent: within a short time, and at once if
    /// it has not answered for longer than that.
    pub(super) async fn ask(&self, command: &Command, end: Instant) -> Result<Answer, NoAnswer> {
        self.ask_on(command, self.patience(end), 0).await
    }

    /// The same of what has to be kept by replicas of the server before anything is sent.
    pub(super) async fn ask_kept(
        &self,
        command: &Command,
        end: Instant,
    ) -> Result<Answer, NoAnswer> {
        self.ask_on(command, self.patience(end), self.rules.durable_replicas).await
    }

    /// The answer to a command, asked for until then.
    pub(super) async fn ask_until(
        &self,
        command: &Command,
        end: Instant,
    ) -> Result<Answer, NoAnswer> {
        self.ask_on(command, end, 0).await
    }

    /// Waits for the lease of a replica that has just joined: nothing is sent without it.
    pub(super) async fn has_lease(&self, end: Instant) {
        let end = self.patience(end);
        while !self.membership.may_serve() && Instant::now() < end {
            sleep(FIRST_PAUSE).await;
        }
    }

    fn patience(&self, end: Instant) -> Instant {
        let now = Instant::now();
        let is_down = self.down_since.lock().is_some_and(|since| now >= since + PATIENCE);
        if is_down { now } else { end.min(now + PATIENCE) }
    }

    async fn ask_on(
        &self,
        command: &Command,
        end: Instant,
        replicas: u8,
    ) -> Result<Answer, NoAnswer> {
        let (mut pause, mut lost) = (FIRST_PAUSE, None);
        loop {
            let asked = match replicas {
                0 => self.membership.call(command).await,
                _ => self.membership.call_kept(command, replicas, KEPT_WITHIN).await,
            };
            let why = match asked {
                Ok(answer) => {
                    *self.down_since.lock() = None;
                    return Ok(answer);
                }
                Err(why) => why,
            };
            self.down_since.lock().get_or_insert_with(Instant::now);
            if matches!(why, NoAnswer::Lost(_)) {
                lost = Some(why.clone());
            }
            if Instant::now() + pause >= end {
                // One that was carried out once has been, whatever came later.
                return Err(lost.unwrap_or(why));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The error of a write that is not sent, because the store has not said that it may be.
pub(crate) fn unavailable(why: &NoAnswer) -> Error {
    const WHAT: &str = "the write could not be recorded in the store that replicas share";
    error(why, WHAT, "it was not sent")
}

/// The error of a purge that other replicas could not be told of.
pub(super) fn untold(why: &NoAnswer) -> Error {
    const WHAT: &str = "the other replicas could not be told, through the store that they share";
    error(why, WHAT, "only this replica has dropped what it had")
}

fn error(why: &NoAnswer, what: &str, so: &str) -> Error {
    let because = match why {
        NoAnswer::Lost(failure) => return failure.error(what, so),
        NoAnswer::Down => "this replica is not connected to it",
        NoAnswer::Epoch => "it has lost what it knew, and replicas are joining it again",
    };
    Error::new(Reason::StoreUnavailable, format!("{what}, because {because}; {so}"))
}

/// An answer that cannot be: that of another script.
pub(super) fn unexpected() -> Error {
    let message = "the store that replicas share gave an unexpected answer; nothing was sent";
    Error::new(Reason::StoreUnavailable, message)
}
