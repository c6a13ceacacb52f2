//! Keeps nothing: what the rooms above hold in memory ends with the process.

use super::{Change, Entry, Kept, Outlives, Store, Table, Unavailable};

/// The store of trials and tests, and of gateways that may forget.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory;

impl Store for Memory {
    fn outlives(&self) -> Outlives {
        Outlives::Nothing
    }

    fn load(&self, _: Table) -> Vec<Entry> {
        Vec::new()
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
