//! Lists: the upstream's own list shows a part of each profile, so each is read on its own.

use std::{collections::HashSet, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{
    Endpoint, NAME, catalog, data_limits, decode, encode,
    fault::{self, Operation},
};
use crate::{
    dialect::adapter::{Item, ListPart, Listing, SoFar},
    error::{Error, Reason, Result, Retry},
    upstream::{Port, is_unanswered},
};

/// With more profiles than this that cannot be read, it is the account that cannot be read.
const MAX_UNREADABLE: usize = 100;
/// The same of those that were asked for without an answer.
const MAX_UNANSWERED: usize = 2;
/// The shortest time between two parts of a list.
const PAUSE: Duration = Duration::from_secs(1);

impl Endpoint {
    /// One profile.
    pub(super) async fn one(&self, port: &dyn Port, id: &str) -> Result<Item> {
        let reply = port.send(encode::get(id)).await?;
        let mut item = fault::read(Operation::Get, &reply, |reply| decode::one(reply, id))?;
        if self.data_limits {
            item.profile.data_limits = data_limits::read(port, id).await?;
        }
        Ok(item)
    }

    /// The ids and names of all profiles.
    pub(super) async fn short(&self, port: &dyn Port) -> Result<Vec<decode::Short>> {
        let reply = port.send(encode::list()).await?;
        let listed = fault::read(Operation::List, &reply, decode::list)?;
        Ok(listed.or_logged(NAME))
    }

    /// Reads full profiles by their ids; those that no longer exist are left out. Reads none if
    /// there is no time for all.
    pub(super) async fn full(&self, port: &dyn Port, ids: Vec<String>) -> Result<Listing> {
        port.foresee(ids.len() * self.requests_each())?;
        let mut reads = self.reads(port, ids.into_iter());
        let mut found = Found::default();
        while let Some((id, item)) = reads.next().await {
            found.add(id, item)?;
        }
        found.listing()
    }

    /// Reads as many full profiles as the vendor's limits have room for now, apart from those that
    /// were read before.
    pub(super) async fn part(
        &self,
        port: &dyn Port,
        short: Vec<decode::Short>,
        so_far: &mut SoFar,
    ) -> Result<ListPart> {
        let ids: Vec<String> = short.into_iter().map(|short| short.id).collect();
        let there: HashSet<&String> = ids.iter().collect();
        so_far.retain(|id, _| there.contains(id));
        let missing = ids.iter().filter(|id| !so_far.contains_key(*id)).cloned();
        let missing: Vec<String> = missing.collect();
        // At least one, which may wait: each part has to come further.
        let room = (port.room() / self.requests_each()).max(1);
        let before = so_far.len();
        let mut limit = None;
        let mut reads = self.reads(port, missing.iter().take(room).cloned());
        while let Some((id, item)) = reads.next().await {
            match item {
                Err(error) if is_a_limit(&error) => {
                    limit = Some(error);
                    break;
                }
                Err(error) if !is_of_the_profile(&error) => return Err(error),
                item => so_far.insert(id, item),
            };
        }
        drop(reads);
        let rest = missing.len() - (so_far.len() - before);
        if rest > 0 {
            let pause = match limit {
                Some(error) if so_far.is_empty() => return Err(error),
                Some(error) => retry_after(&error),
                None => Duration::ZERO,
            };
            // With the upstream's own list.
            let free = port.room_in(1 + rest.saturating_mul(self.requests_each()));
            return Ok(ListPart::Rest(pause.max(free).max(PAUSE)));
        }
        let mut found = Found::default();
        for id in ids {
            if let Some(item) = so_far.remove(&id) {
                found.add(id, item)?;
            }
        }
        found.listing().map(ListPart::Complete)
    }

    /// How many requests a read of one profile takes.
    fn requests_each(&self) -> usize {
        1 + usize::from(self.data_limits)
    }

    /// Reads profiles, a few at a time, in their order.
    fn reads<'a>(
        &'a self,
        port: &'a dyn Port,
        ids: impl Iterator<Item = String> + Send + 'a,
    ) -> BoxStream<'a, (String, Result<Item>)> {
        let read = move |id: String| async move {
            let item = self.one(port, &id).await;
            (id, item)
        };
        stream::iter(ids.map(read)).buffered(catalog::PARALLEL).boxed()
    }
}

/// Whether a failed read says something about that profile only, and nothing about the account.
fn is_of_the_profile(error: &Error) -> bool {
    error.reason() == Reason::ProfileNotFound
        || is_unanswered(error)
        || fault::is_of_one_profile(error)
}

/// Whether a request came too early, or too late for the time that it had.
fn is_a_limit(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::UpstreamThrottled | Reason::Overloaded | Reason::DeadlineExceeded
    )
}

fn retry_after(error: &Error) -> Duration {
    match error.retry() {
        Retry::After(after) => after.unwrap_or_default(),
        Retry::No => Duration::ZERO,
    }
}

/// The profiles of a list, as they are read.
#[derive(Default)]
struct Found {
    listing: Listing,
    unanswered: Vec<Error>,
}

impl Found {
    /// Adds a profile that was read, or notes that it cannot be. Fails if it is the account that
    /// cannot be read.
    fn add(&mut self, id: String, item: Result<Item>) -> Result<()> {
        let error = match item {
            Ok(item) => {
                self.listing.items.push(item);
                return Ok(());
            }
            Err(error) if error.reason() == Reason::ProfileNotFound => return Ok(()),
            Err(error) => error,
        };
        let silent = is_unanswered(&error);
        let too_many = self.listing.unreadable.len() == MAX_UNREADABLE
            || (silent && self.unanswered.len() == MAX_UNANSWERED);
        if too_many || !is_of_the_profile(&error) {
            return Err(error);
        }
        self.unanswered.extend(silent.then(|| error.clone()));
        self.listing.unreadable.push((id, error));
        Ok(())
    }

    fn listing(mut self) -> Result<Listing> {
        // If nothing was read, nothing shows that it is only these.
        let nothing_else = self.listing.items.is_empty() && self.unanswered.len() > 1;
        match self.unanswered.pop().filter(|_| nothing_else) {
            Some(error) => Err(error),
            None => Ok(self.listing),
        }
    }
}
