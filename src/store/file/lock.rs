//! Lets one process at a time have a directory, and says which one has it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process,
    time::SystemTime,
};

use super::place::{unusable, within};
use crate::text;

const NAME: &str = "owner";

/// The directory belongs to this process until this is dropped, or the process ends.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(directory: &Path) -> io::Result<Self> {
        let path = within(directory, NAME);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        // What can be read alone can be locked too.
        let opened = opened.or_else(|error| File::open(&path).map_err(|_| error));
        let mut file = opened.map_err(|error| unusable(directory, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(directory, &mut file)),
            Err(TryLockError::Error(error)) => return Err(unusable(directory, &error)),
        }
        // Only for people: what locks is the lock. A full disk has no room for it.
        let _ = file.set_len(0).and_then(|()| file.write_all(own().as_bytes()));
        Ok(Self { _file: file })
    }
}

/// Who this process is.
fn own() -> String {
    let host = rustix::system::uname();
    format!(
        "process {} on {} since {}",
        process::id(),
        host.nodename().to_string_lossy(),
        humantime::format_rfc3339_seconds(SystemTime::now())
    )
}

fn taken(directory: &Path, file: &mut File) -> io::Error {
    let mut owner = String::new();
    // It may be about to write its name.
    let _ = file.take(512).read_to_string(&mut owner);
    let owner = text::presentable(&owner).unwrap_or_else(|| "another process".to_owned());
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!(
            "the store at {} is in use by {owner}, and serves one process at a time: stop that \
             one to look after the store, or give a second gateway another `store.path`",
            directory.display()
        ),
    )
}
