//! Entries that this release cannot read: a later release has written them, or they are damaged.

use std::{io, path::Path};

use bytes::Bytes;

use super::{Change, Store, Table};

/// What to do about a store that is lost.
pub(super) const START_OVER: &str = "put back a copy of the directory. Without one, move it away \
    to start with an empty store: an earlier write whose `request_id` is repeated is then sent \
    again, so look first whether it has taken effect";

/// The error of an entry that the gateway cannot do without.
#[must_use]
pub fn unreadable(table: Table) -> io::Error {
    let message = format!("an entry of its table `{}` cannot be read", table.name());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Such an error with where the store is, and what to do.
#[must_use]
pub fn unreadable_at(directory: &Path, error: &io::Error) -> io::Error {
    let message = format!(
        "the store at {} has what this release cannot read: {error}. Start the release that has \
         written it, or one that is newer. Otherwise, {START_OVER}",
        directory.display()
    );
    io::Error::new(error.kind(), message)
}

/// Forgets entries that the gateway can do without.
pub fn forget_unreadable(store: &dyn Store, table: Table, keys: Vec<Bytes>) {
    if keys.is_empty() {
        return;
    }
    tracing::warn!(
        target: "store", table = table.name(), entries = keys.len(),
        "the store has entries that this release cannot read: they are forgotten"
    );
    store.note(keys.into_iter().map(|key| Change { table, key, value: None }).collect());
}
