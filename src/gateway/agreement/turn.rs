//! Turns: over all replicas, one write at a time on each profile, and one creation at a time of
//! each display name.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    Agreement,
    ask::{unavailable, unexpected},
    write::SharedWrite,
};
use crate::{
    error::{Error, Result},
    shared::{
        membership::NoAnswer,
        protocol::{Answer, Command, TakeTurn, Target, Token, TurnTaken},
    },
};

/// How long to wait before the first look whether a turn is free, if nothing tells of it, and the
/// longest. It doubles in between.
const FIRST_LOOK: Duration = Duration::from_millis(25);
/// How much longer than a request id a claim is kept: what has just begun may ask for a while.
const CLAIMED_LONGER: Duration = Duration::from_secs(60 * 60);
const RARE_LOOK: Duration = Duration::from_millis(250);
const LONGEST_LOOK: Duration = Duration::from_millis(250);

/// Why there is no turn.
#[derive(Debug)]
pub(crate) enum NoTurn {
    /// Another write has it.
    Held,
    /// The store does not give it.
    Refused(Error),
}

/// How long who waits looks again, if nothing wakes it before.
pub(crate) struct Looks(Duration);

impl Default for Looks {
    fn default() -> Self {
        Self(FIRST_LOOK)
    }
}

impl Looks {
    /// Of who is woken in nearly all cases.
    pub(crate) fn rare() -> Self {
        Self(RARE_LOOK)
    }

    /// The next pause, if what is waited for is over after this time at the latest.
    pub(super) fn next(&mut self, left: Duration, deadline: Instant) -> Duration {
        let pause = self.0.min(left);
        self.0 = (self.0 * 2).min(LONGEST_LOOK);
        pause.min(deadline.saturating_duration_since(Instant::now()))
    }
}

impl Agreement {
    /// Takes a turn, for a write that sends nothing after `until`. One that has no `deadline` to
    /// wait for it takes it now or not at all.
    pub(crate) async fn take_turn(
        self: &Arc<Self>,
        of: Target,
        until: Instant,
        deadline: Option<Instant>,
    ) -> Result<Arc<SharedWrite>, NoTurn> {
        let token = Token(rand::random());
        let write = Arc::new(SharedWrite::new(self, (of.clone(), token), until));
        let mut looks = Looks::default();
        loop {
            let mut closed = self.membership.when_closed(&of);
            let command = Command::TakeTurn(TakeTurn {
                profile: of.clone(),
                token,
                lasts: Self::lasts(until),
                grace: self.membership.timing().grace,
            });
            let epoch = self.membership.epoch();
            let end = deadline.unwrap_or(until);
            write.is_known(true);
            let (left, is_grace) = match self.ask(&command, end).await {
                Ok(Answer::TurnTaken(TurnTaken::Taken)) => {
                    write.has_turn(epoch);
                    return Ok(write);
                }
                Ok(Answer::TurnTaken(TurnTaken::Held { left })) => (left, false),
                Ok(Answer::TurnTaken(TurnTaken::Grace { left })) => (left, true),
                Ok(_) => return Err(NoTurn::Refused(unexpected())),
                Err(why) if self.may_go_alone(&why) => {
                    write.goes_alone();
                    return Ok(write);
                }
                Err(why) => {
                    write.is_known(matches!(why, NoAnswer::Lost(_)));
                    return Err(NoTurn::Refused(unavailable(&why)));
                }
            };
            write.is_known(false);
            let Some(deadline) = deadline.filter(|deadline| *deadline > Instant::now()) else {
                return Err(match is_grace && deadline.is_some() {
                    true => NoTurn::Refused(unavailable(&NoAnswer::Epoch)),
                    false => NoTurn::Held,
                });
            };
            let _ = timeout(looks.next(left, deadline), closed.wait()).await;
        }
    }
}

impl Agreement {
    /// Claims a profile for a creation of whichever replica, for as long as any may look for its
    /// own. False if another creation has claimed it: no profile belongs to two.
    ///
    /// # Errors
    ///
    /// `STORE_UNAVAILABLE` if that is not known.
    pub(crate) async fn claim(
        &self,
        profile: Target,
        creation: u64,
        deadline: Instant,
    ) -> Result<bool> {
        // A turn that is not given back, and that each attempt at one creation has.
        let command = Command::TakeTurn(TakeTurn {
            profile,
            token: Token(creation),
            lasts: self.membership.kept() + CLAIMED_LONGER,
            grace: self.membership.timing().grace,
        });
        let mut looks = Looks::default();
        loop {
            match self.ask(&command, deadline).await {
                Ok(Answer::TurnTaken(TurnTaken::Taken)) => return Ok(true),
                Ok(Answer::TurnTaken(TurnTaken::Held { .. })) => return Ok(false),
                Ok(Answer::TurnTaken(TurnTaken::Grace { left })) if Instant::now() < deadline => {
                    sleep(looks.next(left, deadline)).await;
                }
                Ok(Answer::TurnTaken(_)) => return Err(unavailable(&NoAnswer::Epoch)),
                Ok(_) => return Err(unexpected()),
                Err(why) => return Err(unavailable(&why)),
            }
        }
    }
}
