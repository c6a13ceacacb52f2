//! The database: its file, how it is opened, and its commits.
//!
//! redb writes a commit to free pages and then makes it the current one with a flip of its header,
//! so that a file is at all times at one commit.

#[cfg(test)]
mod tests;

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use redb::{Builder, StorageBackend as _, WriteTransaction, backends::InMemoryBackend};

use super::{
    super::{Change, Table, Unavailable},
    fault::{Fault, disk, guarded},
    format::{self, RELEASE, Release},
    found::Found,
    place::within,
    values::{bytewise, guarded_value},
};

const NAME: &str = "store.redb";
/// Under this name a new database is made.
const UNFINISHED: &str = "store.redb.new";

/// Each page is read once, when the file is opened.
const CACHE_BYTES: usize = 4 << 20;

/// An open database.
pub(super) struct Database {
    directory: PathBuf,
    /// Which file it is, if it is one.
    file: Option<Identity>,
    /// Otherwise it is opened again before the next commit.
    open: Result<redb::Database, Unavailable>,
}

impl Database {
    pub(super) fn exists(directory: &Path) -> bool {
        within(directory, NAME).exists()
    }

    /// Opens the database of a directory with all that it holds; makes it if it does not exist. One
    /// that can be read and not be written is opened too.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Found)> {
        let opened = match opened(directory, RELEASE) {
            Err(Fault::Disk(cause)) if Self::exists(directory) => {
                copied(directory).map(|found| (Err(cause), found))
            }
            opened => opened.map(|(open, found)| (Ok(open), found)),
        };
        let (open, found) = opened.map_err(|fault| fault.shown(directory))?;
        let file = identity(directory);
        Ok((Self { directory: directory.to_owned(), file, open }, found))
    }

    /// One that is open, and in no directory.
    #[cfg(test)]
    pub(super) fn over(open: redb::Database) -> Self {
        Self { directory: PathBuf::new(), file: None, open: Ok(open) }
    }

    /// One whose last commit failed.
    #[cfg(test)]
    pub(super) fn failed(directory: &Path) -> Self {
        let open = Err(Unavailable::new("its disk fails", "on purpose"));
        Self { directory: directory.to_owned(), file: identity(directory), open }
    }

    /// One that cannot be compacted.
    #[cfg(test)]
    pub(super) fn with_savepoint(self) -> Self {
        let transaction = self.open.as_ref().unwrap().begin_write().unwrap();
        transaction.persistent_savepoint().unwrap();
        transaction.commit().unwrap();
        self
    }

    /// Why the last commit failed, or why there will be none, if that is so.
    pub(super) fn trouble(&self) -> Option<&Unavailable> {
        self.open.as_ref().err()
    }

    /// The size of the file.
    pub(super) fn bytes(&self) -> u64 {
        size(&self.directory)
    }

    /// Makes changes, which are on the disk when it returns.
    pub(super) fn commit(&mut self, changes: &[&Change]) -> Result<(), Unavailable> {
        let panicked = Unavailable::new("its disk fails", "a commit panicked");
        let open = std::mem::replace(&mut self.open, Err(panicked));
        let committed = guarded(|| {
            self.check_place()?;
            let database = match open {
                Ok(database) => database,
                Err(_) => reopened(&self.directory)?,
            };
            let transaction = database.begin_write()?;
            apply(&transaction, changes)?;
            transaction.commit()?;
            Ok(database)
        });
        self.open = committed.map_err(Fault::unavailable);
        self.open.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// What is written to a file that was removed is lost to the next process, and another one in
    /// its place is not this store.
    fn check_place(&self) -> Result<(), Fault> {
        if self.file.is_some() && identity(&self.directory) != self.file {
            let why = "its file was removed or replaced";
            let cause = format!("{why}; put it back, or start the gateway again");
            return Err(Fault::Disk(Unavailable::new(why, cause)));
        }
        Ok(())
    }

    /// The same database in as small a file as it fits.
    pub(super) fn compacted(self) -> io::Result<Self> {
        let Self { directory, file, open } = self;
        let compacted = guarded(|| {
            let mut database = open.map_err(Fault::Disk)?;
            database.compact()?;
            Ok(database)
        });
        let open = compacted.map_err(|fault| fault.shown(&directory))?;
        Ok(Self { directory, file, open: Ok(open) })
    }

    pub(super) fn close(self) -> io::Result<()> {
        let Self { directory, open, .. } = self;
        let closed = guarded(|| open.map_or(Ok(()), |database| Ok(database.close()?)));
        closed.map_err(|fault| fault.shown(&directory))
    }
}

/// The size of the file in a directory, as `ls` shows it.
pub(super) fn size(directory: &Path) -> u64 {
    fs::metadata(within(directory, NAME)).map_or(0, |file| file.len())
}

/// Which others can read or change the file in a directory, if any can: its path and its mode.
pub(super) fn exposed(directory: &Path) -> Option<(PathBuf, u32)> {
    let path = within(directory, NAME);
    let mode = |path: &Path| Some(fs::metadata(path).ok()?.permissions().mode());
    let (outer, own) = (mode(directory)?, mode(&path)?);
    // Its group and everyone else, each of whom has to come through the directory.
    let is_exposed =
        [3, 0].iter().any(|class| (own >> class) & 0o6 != 0 && (outer >> class) & 1 != 0);
    is_exposed.then_some((path, own & 0o777))
}

/// The device of a file, and its number there.
type Identity = (u64, u64);

fn identity(directory: &Path) -> Option<Identity> {
    let file = fs::metadata(within(directory, NAME)).ok()?;
    Some((file.dev(), file.ino()))
}

fn builder(checking: bool) -> Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(checking);
    builder
}

fn opened(directory: &Path, release: Release) -> Result<(redb::Database, Found), Fault> {
    if !Database::exists(directory) {
        create(directory, release).map_err(|error| Fault::Disk(disk(&error)))?;
    }
    let path = within(directory, NAME);
    guarded(|| {
        let (database, mut found) = read(builder(true).open(&path)?, release)?;
        found.bytes = size(directory);
        Ok((database, found))
    })
}

/// What a database holds that cannot be written: what a copy of it in memory does.
fn copied(directory: &Path) -> Result<Found, Fault> {
    let path = within(directory, NAME);
    let image = fs::read(path).map_err(|error| Fault::Disk(disk(&error)))?;
    held(&image)
}

/// What the file of a database holds.
pub(super) fn held(image: &[u8]) -> Result<Found, Fault> {
    let held = guarded(|| {
        let backend = InMemoryBackend::new();
        let bytes = image.len() as u64;
        if bytes == 0 {
            return Err(Fault::Damaged("its file is empty".to_owned()));
        }
        let copied = backend.set_len(bytes).and_then(|()| backend.write(0, image));
        copied?;
        let database = builder(true).create_with_backend(backend)?;
        let (_, mut found) = read(database, RELEASE)?;
        found.bytes = bytes;
        Ok(found)
    });
    held.map_err(|fault| match fault {
        // No disk is asked.
        Fault::Disk(cause) => Fault::Damaged(cause.to_string()),
        fault => fault,
    })
}

/// Opens a database again that this process has read before: no more is checked than redb does
/// after a crash.
fn reopened(directory: &Path) -> Result<redb::Database, Fault> {
    let database = builder(false).open(within(directory, NAME))?;
    format::migrate(&database, RELEASE)?;
    Ok(database)
}

fn read(database: redb::Database, release: Release) -> Result<(redb::Database, Found), Fault> {
    format::migrate(&database, release)?;
    let found = format::read(&database)?;
    Ok((database, found))
}

/// Makes an empty database. It gets its name when it is whole, so that a crash leaves none or one.
fn create(directory: &Path, release: Release) -> io::Result<()> {
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
        format::begin(&transaction, release)?;
        transaction.commit()?;
        Ok(database.close()?)
    });
    made.map_err(|fault| io::Error::other(fault.cause()))?;
    file.sync_all()?;
    fs::rename(&unfinished, within(directory, NAME))?;
    fs::File::open(directory)?.sync_all()
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
