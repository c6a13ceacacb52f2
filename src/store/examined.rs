//! What a store had when it was looked at: it can be read as a store, and changes nothing of it.

use super::{Change, Entry, Found, Kept, Outlives, Store, Table, Unavailable};

impl Store for Found {
    fn outlives(&self) -> Outlives {
        Outlives::Nothing
    }

    fn load(&self, table: Table) -> Vec<Entry> {
        self.tables.get(&table).cloned().unwrap_or_default()
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
