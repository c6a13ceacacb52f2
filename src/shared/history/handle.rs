//! One history, over the connections of this replica.

use std::{collections::BTreeMap, fmt, sync::Arc};

use redis::{RedisError, ScriptInvocation};

use super::{
    answers::Answered,
    commands::{By, HistoryScripts, Named, read_list, sent},
    state::{Advance, Fill, HistoryId, HistoryState, Looked, SharedChange, Turn},
};
use crate::shared::{
    connection::{COMMAND, Link},
    membership::{Membership, NoAnswer, Woken},
    protocol::{EpochId, Token},
};

/// One history, over the connections of this replica. Each command is sent once.
pub struct SharedHistory {
    membership: Arc<Membership>,
    scripts: HistoryScripts,
    of: Named,
}

impl fmt::Debug for SharedHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedHistory").field("name", &self.of.name).finish_non_exhaustive()
    }
}

impl SharedHistory {
    /// The history of what an account has, by a name that tells it from others of the account.
    #[must_use]
    pub fn new(membership: Arc<Membership>, account: &str, name: &str) -> Self {
        let (keys, account) = (membership.keys.clone(), account.to_owned());
        let of = Named { keys, name: format!("{account}/history/{name}"), account };
        Self { membership, scripts: HistoryScripts::default(), of }
    }

    /// Wakes when there is news, or may be. To be asked for before the server is.
    #[must_use]
    pub fn news(&self) -> Woken {
        self.membership.when_closed(&self.of.name)
    }

    /// Wakes when a write to the account has ended, or may have. To be asked for before the server
    /// is.
    #[must_use]
    pub fn writes(&self) -> Woken {
        self.membership.when_closed(&self.of.account)
    }

    /// Says what there is, and in which epoch, and takes or leaves the turn.
    ///
    /// # Errors
    ///
    /// If there is no answer in time.
    pub async fn turn(&self, turn: Turn<'_>) -> Result<(EpochId, HistoryState), NoAnswer> {
        let epoch = self.epoch()?;
        // Never zero, which names no history.
        let fresh = rand::random::<u64>() | 1;
        let link = self.link()?;
        let mut connection = link.connection();
        let asked = self.scripts.turn(&mut connection, &self.of, (&epoch, fresh), turn);
        let state = within(&link, asked).await?;
        Ok((epoch, state))
    }

    /// Begins a history. Gives whether it has; only the one with the turn can.
    ///
    /// # Errors
    ///
    /// If there is no answer in time. It may have begun.
    pub async fn fill(
        &self,
        (epoch, token): (&EpochId, Token),
        fill: &Fill,
    ) -> Result<bool, NoAnswer> {
        self.send_all(self.scripts.fill(&self.of, By { epoch, token }, fill)).await
    }

    /// Adds what a look has found. Gives whether all of it is there; only the one with the turn
    /// can add, and only after the last change.
    ///
    /// # Errors
    ///
    /// If there is no answer in time. A part of it may be there.
    pub async fn advance(
        &self,
        (epoch, token): (&EpochId, Token),
        advance: &Advance,
    ) -> Result<bool, NoAnswer> {
        self.send_all(self.scripts.advance(&self.of, By { epoch, token }, advance)).await
    }

    /// Says that a look has failed.
    ///
    /// # Errors
    ///
    /// If there is no answer in time.
    pub async fn failed(
        &self,
        (epoch, token): (&EpochId, Token),
        (looked, why): (Looked, &str),
    ) -> Result<bool, NoAnswer> {
        let (link, by) = (self.link()?, By { epoch, token });
        let mut connection = link.connection();
        within(&link, self.scripts.failed(&mut connection, &self.of, by, (looked, why))).await
    }

    /// The list by position. What changes meanwhile may be in it or not.
    ///
    /// # Errors
    ///
    /// If there is no answer in time.
    pub async fn list(&self) -> Result<BTreeMap<String, Arc<[u8]>>, NoAnswer> {
        let (mut list, mut at) = (BTreeMap::new(), 0);
        loop {
            let link = self.link()?;
            let mut connection = link.connection();
            let part = async { read_list(&mut connection, &self.of, at).await.map(Ok) };
            let (next, entries) = within(&link, part).await?;
            list.extend(entries.into_iter().map(|entry| (entry.position, entry.value)));
            if next == 0 {
                return Ok(list);
            }
            at = next;
        }
    }

    /// Some changes with their numbers, the earliest first; none if it is another history by now.
    ///
    /// # Errors
    ///
    /// If there is no answer in time.
    pub async fn changes(
        &self,
        (epoch, id): (&EpochId, HistoryId),
        (first, last): (u64, u64),
    ) -> Result<Option<Vec<(u64, SharedChange)>>, NoAnswer> {
        let link = self.link()?;
        let mut connection = link.connection();
        let read = self.scripts.read(&mut connection, &self.of, (epoch, id), (first, last));
        within(&link, read).await
    }

    async fn send_all<'a>(
        &self,
        parts: impl Iterator<Item = ScriptInvocation<'a>>,
    ) -> Result<bool, NoAnswer> {
        for part in parts {
            let link = self.link()?;
            let mut connection = link.connection();
            if !within(&link, sent(&mut connection, &part)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn epoch(&self) -> Result<EpochId, NoAnswer> {
        self.membership.epoch().ok_or(NoAnswer::Epoch)
    }

    fn link(&self) -> Result<Arc<Link>, NoAnswer> {
        self.membership.link().ok_or(NoAnswer::Down)
    }
}

async fn within<T>(
    link: &Link,
    asked: impl Future<Output = Result<Answered<T>, RedisError>>,
) -> Result<T, NoAnswer> {
    match link.within(COMMAND, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        // The next heartbeat sees it, too.
        Ok(Err(_)) => Err(NoAnswer::Epoch),
        Err(why) => Err(NoAnswer::Lost(why)),
    }
}
