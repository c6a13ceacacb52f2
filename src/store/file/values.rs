//! What is stored of an entry: its value behind a checksum of its own, so that what is loaded is
//! what was kept, whatever read it.

use redb::TableDefinition;
use sha2::{Digest as _, Sha256};

use super::super::Table;

/// How much of a SHA-256 guards a value.
const CHECKSUM: usize = 8;

/// A table of the database.
pub(super) type Bytewise = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) fn bytewise(table: Table) -> Bytewise {
    TableDefinition::new(table.name())
}

/// A value behind its checksum.
pub(super) fn guarded_value(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
    [checksum(table, key, value).as_slice(), value].concat()
}

pub(super) fn unguarded<'v>(table: Table, key: &[u8], guarded: &'v [u8]) -> Option<&'v [u8]> {
    let (checksum_of, value) = guarded.split_at_checked(CHECKSUM)?;
    (checksum(table, key, value) == checksum_of).then_some(value)
}

fn checksum(table: Table, key: &[u8], value: &[u8]) -> [u8; CHECKSUM] {
    let mut hash = Sha256::new();
    for part in [table.name().as_bytes(), key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(value);
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_its_table_and_key() {
        let guarded = guarded_value(Table::Claims, b"key", b"value");
        assert_eq!(unguarded(Table::Claims, b"key", &guarded), Some(&b"value"[..]));
        assert_eq!(unguarded(Table::Creations, b"key", &guarded), None);
        assert_eq!(unguarded(Table::Claims, b"kex", &guarded), None);
        assert_eq!(unguarded(Table::Claims, b"key", &guarded[..7]), None);
    }
}
