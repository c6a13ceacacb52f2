//! Why a database cannot be used, and how that is told.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::place::unusable;

/// Why a database cannot be used.
pub(super) enum Fault {
    /// What is in the file is not what was written.
    Damaged(String),
    /// It is of a later release: its format, and that of this release.
    Later(u64, u64),
    /// The disk.
    Disk(String),
}

impl Fault {
    pub(super) fn cause(self) -> String {
        match self {
            Self::Damaged(cause) | Self::Disk(cause) => cause,
            Self::Later(format, _) => format!("its format is {format}"),
        }
    }

    pub(super) fn shown(self, directory: &Path) -> io::Error {
        let shown = directory.display();
        let message = match self {
            Self::Damaged(cause) => format!(
                "the store at {shown} is damaged and was not changed: {cause}. Put back a copy of \
                 the directory. Without one, move it away to start with an empty store: a write of \
                 before whose `request_id` is repeated is then sent again, so look first whether \
                 it has taken effect"
            ),
            Self::Later(format, own) => format!(
                "the store at {shown} was written by a later release: its format is {format}, and \
                 this release knows {own}. Start that release, or one that is newer"
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
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Fault::Damaged("its structure makes no sense".to_owned())))
}
