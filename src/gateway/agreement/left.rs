//! Doubts of replicas that have ended, and doubts that another replica has found out.

use std::sync::Arc;

use super::{Agreement, request::at_least};
use crate::shared::{
    membership::NoAnswer,
    protocol::{Adopt, Answer, Command, LeftRequest, Token},
};

/// How many doubts are taken over at a time.
const ADOPTED_AT_ONCE: u32 = 64;

impl Agreement {
    /// Takes over doubts of replicas that have ended, at most so many. `also_own`: tells those that
    /// are this one's already, too, because it may not know of all.
    pub(crate) async fn adopt(
        &self,
        room: usize,
        also_own: bool,
    ) -> Result<Vec<LeftRequest>, NoAnswer> {
        let timing = self.membership.timing();
        let adopt = Command::Adopt(Adopt {
            process: self.membership.process(),
            limit: ADOPTED_AT_ONCE.min(room.try_into().unwrap_or(u32::MAX)),
            also_own,
            grace: timing.grace,
        });
        let Answer::Adopted(mut left) = self.membership.call(&adopt).await? else {
            return Ok(Vec::new());
        };
        left.iter_mut().for_each(|left| left.ended = at_least(left.ended, timing));
        Ok(left)
    }

    /// Whether the outcome of each request is known to some replica.
    pub(crate) async fn settled(
        &self,
        requests: Vec<(Arc<str>, Option<Token>)>,
    ) -> Result<Vec<bool>, NoAnswer> {
        match self.membership.call(&Command::Settled { requests }).await? {
            Answer::Settled(settled) => Ok(settled),
            _ => Ok(Vec::new()),
        }
    }
}
