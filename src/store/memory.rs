//! Keeps nothing: what the rooms above hold in memory ends with the process.

use std::collections::BTreeMap;

use super::{Change, Entry, Found, Kept, Outlives, Store, Table, Unavailable};

/// The store of trials and tests, and of gateways that may forget. It may begin with what another
/// store had when it was looked at, of which it changes nothing.
#[derive(Debug, Default)]
pub struct Memory(BTreeMap<Table, Vec<Entry>>);

impl From<Found> for Memory {
    fn from(found: Found) -> Self {
        Self(found.tables)
    }
}

impl Store for Memory {
    fn outlives(&self) -> Outlives {
        Outlives::Nothing
    }

    fn load(&self, table: Table) -> Vec<Entry> {
        self.0.get(&table).cloned().unwrap_or_default()
    }

    fn put(&self, _: Vec<Change>) -> Kept {
        Kept::known(Ok(()))
    }

    fn trouble(&self) -> Option<Unavailable> {
        None
    }

    fn end(&self, _: Vec<Change>) -> Kept {
        Kept::known(Ok(()))
    }

    fn note(&self, _: Vec<Change>) {}

    fn close(&self) {}
}
