//! Lists: the upstream's own list shows a part of each profile, so each is read on its own.

use futures_util::{StreamExt, stream};

use super::{
    Endpoint, NAME, catalog, decode, encode,
    fault::{self, Operation},
};
use crate::{
    dialect::adapter::{Listing, Operations as _},
    error::{Error, Reason, Result},
    upstream::{Port, is_unanswered},
};

/// With more profiles than this that cannot be read, it is the account that cannot be read.
const MAX_UNREADABLE: usize = 100;
/// The same of those that were asked for without an answer.
const MAX_UNANSWERED: usize = 2;

impl Endpoint {
    /// Reads the full profiles of a list; those that no longer exist are left out.
    pub(super) async fn full(&self, port: &dyn Port, short: Vec<decode::Short>) -> Result<Listing> {
        let read = |short: decode::Short| async move {
            let item = self.get(port, &short.id).await;
            (short.id, item)
        };
        let mut reads = stream::iter(short.into_iter().map(read)).buffered(catalog::PARALLEL);
        let mut listing = Listing::default();
        let mut unanswered: Vec<Error> = Vec::new();
        while let Some((id, item)) = reads.next().await {
            let error = match item {
                Ok(item) => {
                    listing.items.push(item);
                    continue;
                }
                Err(error) => error,
            };
            let silent = is_unanswered(&error);
            if error.reason() == Reason::ProfileNotFound {
                continue;
            }
            if !silent && !fault::is_of_one_profile(&error)
                || silent && unanswered.len() == MAX_UNANSWERED
                || listing.unreadable.len() == MAX_UNREADABLE
            {
                return Err(error);
            }
            unanswered.extend(silent.then(|| error.clone()));
            listing.unreadable.push((id, error));
        }
        // Nothing shows that it is only these.
        let nothing_else = listing.items.is_empty() && unanswered.len() > 1;
        match unanswered.pop().filter(|_| nothing_else) {
            Some(error) => Err(error),
            None => Ok(listing),
        }
    }

    /// The ids and names of all profiles.
    pub(super) async fn short(&self, port: &dyn Port) -> Result<Vec<decode::Short>> {
        let reply = port.send(encode::list()).await?;
        let listed = fault::read(Operation::List, &reply, decode::list)?;
        Ok(listed.or_logged(NAME))
    }
}
