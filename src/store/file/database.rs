//! The database: its file, its format, and what is checked of it.
//!
//! redb writes a commit to free pages and then makes it the current one with a flip of its header,
//! so that a file is at all times at one commit. Each value has a checksum of its own, so that what
//! is loaded is what was kept, whatever read it.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use redb::{
    Builder, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError,
    WriteTransaction,
};
use sha2::{Digest as _, Sha256};

use super::{
    super::{Change, Entry, Table},
    found::Found,
    place::{unusable, within},
};

const NAME: &str = "store.redb";
/// Under this name a new database is made.
const UNFINISHED: &str = "store.redb.new";

/// What is in the tables, and how. Each step of [`MIGRATIONS`] leads to the next one.
const FORMAT: u64 = 1;
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const FORMAT_KEY: &str = "format";

/// What makes a format of the one before, beginning with the first.
type Migration = fn(&WriteTransaction) -> Result<(), redb::Error>;
const MIGRATIONS: &[Migration] = &[];

/// Each page is read once, when the file is opened.
const CACHE_BYTES: usize = 4 << 20;
/// How much of a SHA-256 guards a value.
const CHECKSUM: usize = 8;

type Bytewise = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// An open database.
pub(super) struct Database {
    directory: PathBuf,
    /// `None` after a failure: it is opened again before the next commit.
    open: Option<redb::Database>,
}

/// Why a database cannot be used.
enum Fault {
    /// What is in the file is not what was written.
    Damaged(String),
    /// It is of a later release.
    Later(u64),
    /// The disk.
    Disk(String),
}

impl Database {
    pub(super) fn exists(directory: &Path) -> bool {
        within(directory, NAME).exists()
    }

    /// Opens the database of a directory with all that it holds; makes it if it does not exist.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Found)> {
        let opened = opened(directory, MIGRATIONS, FORMAT);
        let (open, found) = opened.map_err(|fault| fault.shown(directory))?;
        Ok((Self { directory: directory.to_owned(), open: Some(open) }, found))
    }

    /// Whether the last commit succeeded.
    pub(super) fn is_well(&self) -> bool {
        self.open.is_some()
    }

    /// The size of the file.
    pub(super) fn bytes(&self) -> u64 {
        fs::metadata(within(&self.directory, NAME)).map_or(0, |file| file.len())
    }

    /// Makes changes, which are on the disk when it returns.
    pub(super) fn commit(&mut self, changes: &[&Change]) -> Result<(), String> {
        let result = guarded(|| {
            let database = match self.open.take() {
                Some(database) => database,
                // No more is checked than redb does after a crash: this process wrote it.
                None => builder(false).open(within(&self.directory, NAME))?,
            };
            let transaction = database.begin_write()?;
            apply(&transaction, changes)?;
            transaction.commit()?;
            Ok(database)
        });
        match result {
            Ok(database) => {
                self.open = Some(database);
                Ok(())
            }
            Err(fault) => Err(fault.cause()),
        }
    }

    /// The same database in as small a file as it fits.
    pub(super) fn compacted(self) -> io::Result<Self> {
        let Self { directory, open } = self;
        let compacted = guarded(|| {
            let Some(mut database) = open else { return Ok(None) };
            database.compact()?;
            Ok(Some(database))
        });
        let open = compacted.map_err(|fault| fault.shown(&directory))?;
        Ok(Self { directory, open })
    }

    pub(super) fn close(self) -> io::Result<()> {
        let Self { directory, open } = self;
        let closed = guarded(|| open.map_or(Ok(()), |database| Ok(database.close()?)));
        closed.map_err(|fault| fault.shown(&directory))
    }
}

impl Fault {
    fn cause(self) -> String {
        match self {
            Self::Damaged(cause) | Self::Disk(cause) => cause,
            Self::Later(format) => format!("its format is {format}"),
        }
    }

    fn shown(self, directory: &Path) -> io::Error {
        let shown = directory.display();
        let message = match self {
            Self::Damaged(cause) => format!(
                "the store at {shown} is damaged and was not changed: {cause}. Put back a copy of \
                 the directory. Without one, move it away to start with an empty store: a write of \
                 before whose `request_id` is repeated is then sent again, so look first whether \
                 it has taken effect"
            ),
            Self::Later(format) => format!(
                "the store at {shown} was written by a later release: its format is {format}, and \
                 this release knows {FORMAT}. Start that release, or one that is newer"
            ),
            Self::Disk(cause) => return unusable(directory, &cause),
        };
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(error) if !is_of_the_content(error.kind()) => {
                Self::Disk(error.to_string())
            }
            error @ (redb::Error::DatabaseAlreadyOpen | redb::Error::PreviousIo) => {
                Self::Disk(error.to_string())
            }
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// Whether a file was read as it is, and is not as it should be: too short, or something else.
fn is_of_the_content(error: io::ErrorKind) -> bool {
    matches!(error, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Does what reads or writes the file. A file of which anything may have become could make the
/// library panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Fault::Damaged("its structure makes no sense".to_owned())))
}

fn builder(checking: bool) -> Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(checking);
    builder
}

fn opened(
    directory: &Path,
    migrations: &[Migration],
    format: u64,
) -> Result<(redb::Database, Found), Fault> {
    if !Database::exists(directory) {
        create(directory, format).map_err(|error| Fault::Disk(error.to_string()))?;
    }
    let path = within(directory, NAME);
    guarded(|| {
        let database = builder(true).open(&path)?;
        migrate(&database, migrations, format)?;
        let mut found = read(&database)?;
        found.bytes = fs::metadata(&path).map_or(0, |file| file.len());
        Ok((database, found))
    })
}

/// Makes an empty database. It gets its name when it is whole, so that a crash leaves none or one.
fn create(directory: &Path, format: u64) -> io::Result<()> {
    let unfinished = within(directory, UNFINISHED);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let made = guarded(|| {
        let database = builder(false).create(&unfinished)?;
        let transaction = database.begin_write()?;
        transaction.open_table(ABOUT)?.insert(FORMAT_KEY, format)?;
        for table in Table::ALL {
            transaction.open_table(bytewise(table))?;
        }
        transaction.commit()?;
        Ok(database.close()?)
    });
    made.map_err(|fault| io::Error::other(fault.cause()))?;
    file.sync_all()?;
    fs::rename(&unfinished, within(directory, NAME))?;
    fs::File::open(directory)?.sync_all()
}

/// Brings the tables to the format of this release, step by step, in one commit.
fn migrate(database: &redb::Database, migrations: &[Migration], format: u64) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    let had = transaction.open_table(ABOUT)?.get(FORMAT_KEY)?.map(|format| format.value());
    match had {
        None | Some(0) => return Err(Fault::Damaged("it has no format".to_owned())),
        Some(later) if later > format => return Err(Fault::Later(later)),
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
fn read(database: &redb::Database) -> Result<Found, Fault> {
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

fn apply(transaction: &WriteTransaction, changes: &[&Change]) -> Result<(), Fault> {
    for table in Table::ALL {
        let mut changes = changes.iter().filter(|change| change.table == table).peekable();
        if changes.peek().is_none() {
            continue;
        }
        let mut open = transaction.open_table(bytewise(table))?;
        for Change { key, value, .. } in changes {
            match value {
                Some(value) => {
                    open.insert(key.as_ref(), guarded_value(table, key, value).as_slice())?;
                }
                None => {
                    open.remove(key.as_ref())?;
                }
            }
        }
    }
    Ok(())
}

fn bytewise(table: Table) -> Bytewise {
    TableDefinition::new(table.name())
}

/// A value behind its checksum.
fn guarded_value(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
    [checksum(table, key, value).as_slice(), value].concat()
}

fn unguarded<'v>(table: Table, key: &[u8], guarded: &'v [u8]) -> Option<&'v [u8]> {
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
mod tests;
