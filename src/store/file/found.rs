//! What is in a database.

use std::collections::BTreeMap;

use super::super::{Entry, Table};

/// What a database holds.
#[derive(Debug, Default)]
pub struct Found {
    /// The size of its file.
    pub bytes: u64,
    /// The bytes of all keys and values in it.
    pub stored: u64,
    /// Every entry.
    pub tables: BTreeMap<Table, Vec<Entry>>,
}

impl Found {
    /// Whether most of a large file is empty.
    pub(super) fn is_wasteful(&self) -> bool {
        const SMALL: u64 = 64 << 20;
        self.bytes > SMALL && self.stored < self.bytes / 4
    }
}
