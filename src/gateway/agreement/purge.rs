//! Dropping what all replicas have in memory, because a caller asks for it.

use tokio::time::Instant;

use super::{
    Agreement,
    ask::{unexpected, untold},
};
use crate::{
    error::Result,
    shared::protocol::{Answer, Command, Target},
};

impl Agreement {
    /// Outdates what all replicas have read of a target. When it returns, none of them answers a
    /// read that begins later with it, unless the time of the call was over before that was known.
    ///
    /// # Errors
    ///
    /// `STORE_UNAVAILABLE` if the others cannot be told.
    pub(crate) async fn purge(&self, target: Target, deadline: Instant) -> Result<()> {
        let answers_by = Self::answers_by(deadline);
        let purge = Command::Purge { target: Some(target) };
        match self.ask(&purge, answers_by).await {
            Ok(Answer::Closed(closed)) => {
                self.waits(answers_by, self.acknowledged(&closed, false)).await;
                Ok(())
            }
            Ok(_) => Err(unexpected()),
            Err(why) if self.may_go_alone(&why) => Ok(()),
            Err(why) => Err(untold(&why)),
        }
    }
}
