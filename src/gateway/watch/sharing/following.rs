//! Has the history of this replica follow the shared one.

use std::sync::Arc;

use super::{Sharing, wire};
use crate::{
    gateway::watch::history::{Earlier, ProfileEvent, Profiles, apply},
    pb::Encoded,
    shared::{
        history::{Fill, HistoryId, HistoryState, Standing, Turn},
        membership::NoAnswer,
        protocol::EpochId,
    },
};

/// How the history of this replica goes on.
#[derive(Debug, PartialEq, Eq)]
enum Goes {
    /// With the changes after its last one.
    On,
    /// From the beginning.
    Over,
}

impl Sharing {
    /// Takes in the shared history. Returns false if it is not as it was said to be.
    pub(super) async fn follow(
        &mut self,
        epoch: &EpochId,
        state: &HistoryState,
    ) -> Result<bool, NoAnswer> {
        let Some(standing) = &state.standing else {
            let has_lost = state.has_turn && self.poller.lock().history.has_begun();
            if has_lost {
                self.restore(epoch).await?;
            }
            return Ok(!has_lost);
        };
        match self.goes(standing) {
            Goes::On => self.catch_up(epoch, standing).await,
            Goes::Over => self.load(epoch, standing).await,
        }
    }

    /// Whether what this replica has is a part of the shared history. Then it is of that.
    fn goes(&self, standing: &Standing) -> Goes {
        let history = &mut self.poller.lock().history;
        let last = history.last();
        let own = HistoryId(history.run());
        let earlier = standing.runs.iter().find(|run| run.id == own);
        let is_of_it = own == standing.id || earlier.is_some_and(|run| last <= run.end);
        let is_kept = last + 1 >= standing.first && last <= standing.last;
        if !(history.has_begun() && is_of_it && is_kept) {
            return Goes::Over;
        }
        history.rename(standing.id.0, wire::runs(&standing.runs));
        Goes::On
    }

    /// Takes in the changes after the last one here.
    async fn catch_up(&self, epoch: &EpochId, standing: &Standing) -> Result<bool, NoAnswer> {
        loop {
            let next = self.poller.lock().history.last() + 1;
            if next > standing.last {
                return Ok(true);
            }
            let read = self.read(epoch, standing.id, (next, standing.last)).await?;
            let Some(changes) = read else { return Ok(false) };
            self.poller.lock().history.apply(changes);
            self.poller.news.send_replace(());
        }
    }

    /// Takes in all that there is.
    async fn load(&self, epoch: &EpochId, standing: &Standing) -> Result<bool, NoAnswer> {
        let list = self.shared.list().await?;
        let list = list.into_iter().map(|(at, value)| (at, Encoded::from_bytes(value)));
        let mut profiles: Profiles = list.collect();
        // The list may have some of the changes that were made meanwhile, and not have others.
        let (now_in, after) = self.shared.turn(Turn::Ask).await?;
        let after = after.standing.filter(|after| after.id == standing.id && now_in == *epoch);
        let Some(after) = after else { return Ok(false) };
        let first = standing.first.max(after.first);
        let (mut changes, mut next) = (Vec::new(), first);
        while next <= after.last {
            let read = self.read(epoch, after.id, (next, after.last)).await?;
            let Some(read) = read else { return Ok(false) };
            next += read.len() as u64;
            changes.extend(read);
        }
        let known = usize::try_from((standing.last + 1).saturating_sub(first)).unwrap_or(0);
        if after.first > standing.last + 1 {
            return Ok(false);
        }
        apply(&mut profiles, changes.get(known..).unwrap_or_default());
        let (changes, runs) =
            (changes.into_iter().map(Arc::new).collect(), wire::runs(&after.runs));
        let shared = Earlier { profiles, changes, last: after.last, runs };
        self.poller.lock().history.follow(after.id.0, shared);
        self.poller.news.send_replace(());
        Ok(true)
    }

    /// Some changes from this number on, at least one; none if they are not there any more.
    async fn read(
        &self,
        epoch: &EpochId,
        id: HistoryId,
        (first, last): (u64, u64),
    ) -> Result<Option<Vec<ProfileEvent>>, NoAnswer> {
        let read = self.shared.changes((epoch, id), (first, last)).await?;
        let read = read.filter(|read| {
            let numbers = read.iter().map(|(number, _)| *number);
            !read.is_empty() && numbers.eq(first..first + read.len() as u64)
        });
        let events = |read: Vec<_>| read.into_iter().map(|(_, change)| wire::event(change));
        Ok(read.map(|read| events(read).collect()))
    }

    /// The server has lost all of it: begins with what this replica has, whose numbers stay true.
    async fn restore(&self, epoch: &EpochId) -> Result<(), NoAnswer> {
        let fill = {
            let history = &self.poller.lock().history;
            Fill {
                id: fresh(),
                runs: wire::shared_runs(&history.runs()),
                list: wire::entries(history.profiles()),
                first: history.bounds().first,
                changes: history.all().map(|(_, change)| wire::shared(change)).collect(),
                looked: 0,
                interval: self.poller.settings.interval,
            }
        };
        let backend = self.backend.name().id();
        tracing::info!(target: "gateway", backend, "restores the changes that replicas share");
        self.shared.fill((epoch, self.token), &fill).await.map(drop)
    }
}

/// The id of a new history: never zero.
pub(super) fn fresh() -> HistoryId {
    HistoryId(rand::random::<u64>() | 1)
}
