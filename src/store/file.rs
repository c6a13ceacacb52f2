//! Keeps entries in a database in a directory: redb, one file.
//!
//! One process at a time has the directory ([`lock`]). A thread of its own makes all changes
//! ([`writer`]): those that come while it waits for the disk share its next commit. When it is
//! opened, every page and every entry is checked, and what is damaged is refused ([`database`]).

mod database;
mod fault;
mod format;
mod found;
mod lock;
mod place;
#[cfg(test)]
mod tests;
mod values;
mod writer;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use self::found::Found;
use self::{
    database::{Database, size},
    lock::Lock,
    place::{make, unusable},
    writer::{Job, Queue, Urgency},
};
use super::{Answer, Change, Entry, Kept, Outlives, Store, StoreMetrics, Table, Unavailable};

/// A database in a directory.
pub struct File {
    queue: Arc<Queue>,
    found: Mutex<BTreeMap<Table, Vec<Entry>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl File {
    /// Opens the database in a directory, or makes both.
    ///
    /// # Errors
    ///
    /// When another process has it, when it is damaged or of a later release, or when it cannot be
    /// read, or made. One that can be read and not be written refuses changes until it can.
    pub fn open(directory: &Path, metrics: StoreMetrics) -> io::Result<Self> {
        make(directory).map_err(|error| unusable(directory, &error))?;
        let lock = Lock::take(directory)?;
        let (mut database, mut found) = Database::open(directory)?;
        if database.trouble().is_none() && found.is_wasteful() {
            database = smaller(directory, database)?;
            found.bytes = database.bytes();
        }
        if let Some(error) = database.trouble() {
            let shown = directory.display();
            tracing::error!(
                target: "store", %error,
                "the store at {shown} can be read and not be written: writes are refused until it \
                 can"
            );
        }
        Self::over(lock, database, found, metrics)
    }

    /// Keeps changes in an open database, for as long as `lock` is held.
    fn over(
        lock: impl Send + 'static,
        database: Database,
        found: Found,
        metrics: StoreMetrics,
    ) -> io::Result<Self> {
        metrics.bytes.set(i64::try_from(found.bytes).unwrap_or(i64::MAX));
        let queue = Arc::new(Queue::default());
        let writer = {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name("store".to_owned()).spawn(move || {
                let _lock = lock;
                writer::run(&queue, database, &metrics);
            })?
        };
        let (found, writer) = (Mutex::new(found.tables), Mutex::new(Some(writer)));
        Ok(Self { queue, found, writer })
    }

    fn add(&self, changes: Vec<Change>, urgency: Urgency) -> Kept {
        let (asker, answer) = oneshot::channel();
        match self.queue.add(Job { changes, urgency, asker: Some(asker) }) {
            Ok(()) => Kept(Answer::Coming(answer)),
            Err(cause) => Kept::known(Err(cause)),
        }
    }
}

impl Store for File {
    fn outlives(&self) -> Outlives {
        Outlives::Restarts
    }

    fn load(&self, table: Table) -> Vec<Entry> {
        self.found.lock().remove(&table).unwrap_or_default()
    }

    fn put(&self, changes: Vec<Change>) -> Kept {
        self.add(changes, Urgency::Refusable)
    }

    fn trouble(&self) -> Option<Unavailable> {
        self.queue.trouble()
    }

    fn end(&self, changes: Vec<Change>) -> Kept {
        self.add(changes, Urgency::Due)
    }

    fn note(&self, changes: Vec<Change>) {
        // It is closed only when nothing is left to be noted.
        let _ = self.queue.add(Job { changes, urgency: Urgency::Idle, asker: None });
    }

    fn close(&self) {
        self.queue.close();
        if let Some(writer) = self.writer.lock().take() {
            // A panic of the thread is logged.
            let _ = writer.join();
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.close();
    }
}

/// The same database in a smaller file. That needs room on the disk for a while, and it is not
/// needed to go on.
fn smaller(directory: &Path, database: Database) -> io::Result<Database> {
    database.compacted().or_else(|error| {
        tracing::warn!(
            target: "store", %error,
            "the file of the store could not be made smaller; the gateway goes on with it as it is"
        );
        Database::open(directory).map(|(database, _)| database)
    })
}

/// Opens the database in a directory, checks all of it, and closes it again.
///
/// # Errors
///
/// As [`File::open`], and when there is no database.
pub fn examine(directory: &Path) -> io::Result<Found> {
    let (_lock, database, found) = existing(directory)?;
    database.close()?;
    Ok(found)
}

/// Gives back what is empty in the file. Returns its size before and after.
///
/// # Errors
///
/// As [`examine`].
pub fn compact(directory: &Path) -> io::Result<(u64, u64)> {
    let before = size(directory);
    let (_lock, database, _) = existing(directory)?;
    database.compacted()?.close()?;
    Ok((before, size(directory)))
}

/// A warning if others than the owner can read or change the file of a store.
#[must_use]
pub fn exposed(directory: &Path) -> Option<String> {
    let (path, mode) = database::exposed(directory)?;
    let shown = path.display();
    Some(format!(
        "others on this machine can read or change the file of the store, {shown} (mode {mode:o}): \
         it has the profiles that were written, and who wrote them; take that away with `chmod \
         go= {shown}`"
    ))
}

fn existing(directory: &Path) -> io::Result<(Lock, Database, Found)> {
    if !Database::exists(directory) {
        let message = format!("there is no store at {}", directory.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    let lock = Lock::take(directory)?;
    let (database, found) = Database::open(directory)?;
    Ok((lock, database, found))
}
