//! Request ids: one attempt at a time of all replicas, and what it finds.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    Agreement,
    ask::{unavailable, unexpected},
    reference::RequestRef,
    turn::Looks,
    write::SharedWrite,
};
use crate::{
    error::Result,
    shared::{
        membership::{NoAnswer, Woken},
        protocol::{Answer, Begin, Begun, Closed, Command, Timing, Token},
    },
};

/// What all replicas know of an id.
pub(crate) enum RequestBegun {
    /// The attempt may go on.
    Granted {
        /// Holds the id for it.
        holds: SharedWrite,
        /// What an earlier attempt intended, and how long ago that ended, by any clock.
        earlier: Option<(Arc<[u8]>, Duration)>,
        /// What the attempt in doubt has sent is known to have had no effect.
        is_denied: bool,
    },
    /// It goes on without the store.
    Alone,
    /// Another attempt runs.
    Running(Running),
    /// It took effect, with this result; all replicas have to know of that before it is told.
    Done(Arc<[u8]>, Closed),
    /// It was used for another request.
    Reused,
}

/// Waits for an attempt of another replica.
pub(crate) struct Running {
    closed: Woken,
    left: Duration,
}

impl Running {
    /// Returns when it may have ended.
    pub(crate) async fn wait(mut self, looks: &mut Looks, deadline: Instant) {
        let _ = timeout(looks.next(self.left, deadline), self.closed.wait()).await;
    }
}

impl Agreement {
    /// Begins an attempt that sends nothing after `until`. One that has no `deadline` to wait for
    /// replicas that join again begins now or not at all. `doubted`: the attempt whose outcome it
    /// is to find out, if that is known.
    ///
    /// # Errors
    ///
    /// `STORE_UNAVAILABLE` if the store does not answer.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        request: RequestRef,
        until: Instant,
        deadline: Option<Instant>,
        doubted: Option<Token>,
    ) -> Result<RequestBegun> {
        let holds = SharedWrite::holding(self, request.clone(), until);
        let mut looks = Looks::default();
        loop {
            let closed = self.membership.when_closed(&request.name);
            let command = self.beginning(&request, until, doubted);
            let epoch = self.membership.epoch();
            holds.is_known(true);
            let begun = match self.ask_kept(&command, deadline.unwrap_or(until)).await {
                Ok(Answer::Begun(begun)) => begun,
                Ok(_) => return Err(unexpected()),
                Err(why) if self.may_go_alone(&why) => {
                    return Ok(holds.never_began(RequestBegun::Alone));
                }
                Err(why) => {
                    holds.is_known(matches!(why, NoAnswer::Lost(_)));
                    return Err(unavailable(&why));
                }
            };
            let (generation, earlier, is_denied) = match begun {
                Begun::Fresh { generation, is_denied } => (generation, None, is_denied),
                Begun::Unknown { generation, intent, ended } => {
                    (generation, Some((intent, ended)), false)
                }
                Begun::Grace { left } => {
                    holds.is_known(false);
                    let Some(deadline) = deadline else {
                        return Ok(RequestBegun::Running(Running { closed, left }));
                    };
                    if deadline <= Instant::now() {
                        return Err(unavailable(&NoAnswer::Epoch));
                    }
                    Running { closed, left }.wait(&mut looks, deadline).await;
                    continue;
                }
                Begun::Running { left } => {
                    return Ok(holds.never_began(RequestBegun::Running(Running { closed, left })));
                }
                Begun::Done { result, closed } => {
                    return Ok(holds.never_began(RequestBegun::Done(result, closed)));
                }
                Begun::Reused => return Ok(holds.never_began(RequestBegun::Reused)),
            };
            let earlier =
                earlier.map(|(intent, ended)| (intent, at_least(ended, self.membership.timing())));
            holds.is_granted(generation, earlier.clone(), epoch);
            return Ok(RequestBegun::Granted { holds, earlier, is_denied });
        }
    }

    fn beginning(&self, request: &RequestRef, until: Instant, doubted: Option<Token>) -> Command {
        Command::Begin(Begin {
            request: Arc::clone(&request.name),
            fingerprint: Arc::clone(&request.fingerprint),
            attempt: request.attempt,
            lasts: Self::lasts(until),
            grace: self.membership.timing().grace,
            doubted,
        })
    }
}

/// How long ago something was by any clock, which was so long ago by that of the server.
pub(super) fn at_least(ended: Duration, timing: Timing) -> Duration {
    ended.saturating_sub(Timing::waited(timing.settle).saturating_sub(timing.settle))
}
