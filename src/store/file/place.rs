//! The directory of a database.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// Makes it for its owner alone, unless it is there.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// The error of a directory that cannot be used.
pub(super) fn unusable(directory: &Path, error: &dyn std::fmt::Display) -> io::Error {
    let message = format!(
        "cannot use the store at {}: {error}; `store.path` has to be a directory that this user \
         can write",
        directory.display()
    );
    io::Error::other(message)
}

/// A file in a directory.
pub(super) fn within(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}
