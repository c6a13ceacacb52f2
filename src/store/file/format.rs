//! What is in the tables of a database, and how: its format, and the steps from one to the next.

use bytes::Bytes;
use redb::{
    ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError, WriteTransaction,
};

use super::{
    super::{Entry, Table},
    fault::Fault,
    found::Found,
    values::{bytewise, unguarded},
};

/// What a release knows of formats.
#[derive(Clone, Copy)]
pub(super) struct Release {
    /// The one that it writes.
    pub(super) format: u64,
    /// The steps to it, beginning with the one from the first format.
    pub(super) migrations: &'static [Migration],
}

/// Makes a format of the one before.
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// This release.
pub(super) const RELEASE: Release = Release { format: 1, migrations: &[] };

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const FORMAT_KEY: &str = "format";

/// Makes the tables of a new database.
pub(super) fn begin(transaction: &WriteTransaction, release: Release) -> Result<(), Fault> {
    transaction.open_table(ABOUT)?.insert(FORMAT_KEY, release.format)?;
    for table in Table::ALL {
        transaction.open_table(bytewise(table))?;
    }
    Ok(())
}

/// Brings the tables to the format of this release, step by step, in one commit.
pub(super) fn migrate(database: &redb::Database, release: Release) -> Result<(), Fault> {
    let Release { format, migrations } = release;
    let transaction = database.begin_write()?;
    let had = transaction.open_table(ABOUT)?.get(FORMAT_KEY)?.map(|format| format.value());
    match had {
        None | Some(0) => return Err(Fault::Damaged("it has no format".to_owned())),
        Some(later) if later > format => return Err(Fault::Later(later, format)),
        Some(had) if had == format => return Ok(transaction.abort()?),
        Some(had) => {
            let steps = usize::try_from(had - 1).unwrap_or(usize::MAX);
            for step in migrations.iter().skip(steps) {
                step(&transaction)?;
            }
        }
    }
    transaction.open_table(ABOUT)?.insert(FORMAT_KEY, format)?;
    Ok(transaction.commit()?)
}

/// Every entry of every table.
pub(super) fn read(database: &redb::Database) -> Result<Found, Fault> {
    let transaction = database.begin_read()?;
    let mut found = Found::default();
    for table in Table::ALL {
        let mut entries: Vec<Entry> = Vec::new();
        let open = match transaction.open_table(bytewise(table)) {
            // An earlier release did not have it.
            Err(TableError::TableDoesNotExist(_)) => continue,
            open => open?,
        };
        for entry in open.iter()? {
            let (key, value) = entry?;
            let (key, value) = (key.value(), value.value());
            let Some(whole) = unguarded(table, key, value) else {
                let message = format!("an entry of {} is not what was written", table.name());
                return Err(Fault::Damaged(message));
            };
            found.stored += (key.len() + value.len()) as u64;
            entries.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(whole)));
        }
        found.tables.insert(table, entries);
    }
    Ok(found)
}
