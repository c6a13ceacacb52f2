//! Why a database cannot be used, and how that is told.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::{
    super::{Unavailable, unreadable::START_OVER},
    place::unusable,
};

/// Why a database cannot be used.
pub(super) enum Fault {
    /// What is in the file is not what was written.
    Damaged(String),
    /// It is of a later release: its format, and that of this release.
    Later(u64, u64),
    /// The disk.
    Disk(Unavailable),
}

impl Fault {
    pub(super) fn cause(self) -> String {
        match self {
            Self::Damaged(cause) => cause,
            Self::Later(format, _) => format!("its format is {format}"),
            Self::Disk(cause) => cause.to_string(),
        }
    }

    /// Why nothing is written to it.
    pub(super) fn unavailable(self) -> Unavailable {
        match self {
            Self::Disk(cause) => cause,
            fault => Unavailable::new("its file is damaged", fault.cause()),
        }
    }

    pub(super) fn shown(self, directory: &Path) -> io::Error {
        let shown = directory.display();
        let message = match self {
            Self::Damaged(cause) => format!(
                "the store at {shown} is damaged and was not changed: {cause}. To go on, \
                 {START_OVER}"
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
        use redb::Error;
        let damage = match error.into() {
            Error::Io(error) if !is_of_the_content(error.kind()) => {
                return Self::Disk(disk(&error));
            }
            error @ (Error::DatabaseAlreadyOpen | Error::PreviousIo) => {
                return Self::Disk(Unavailable::new(FAILS, error));
            }
            Error::Io(_) => "its file is cut short, or is no file of a store",
            Error::UpgradeRequired(_) => "its file is of a kind that this release does not read",
            Error::TableTypeMismatch { .. }
            | Error::TableIsMultimap(_)
            | Error::TableIsNotMultimap(_)
            | Error::TypeDefinitionChanged { .. }
            | Error::TableDoesNotExist(_) => "its tables are not those of a store",
            _ => "a part of its file is not what was written",
        };
        Self::Damaged(damage.to_owned())
    }
}

/// What a caller is told of a disk that fails in another way.
const FAILS: &str = "its disk fails";

/// A failure of the disk.
pub(super) fn disk(error: &io::Error) -> Unavailable {
    use io::ErrorKind::{
        FileTooLarge, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let why = match error.kind() {
        StorageFull | QuotaExceeded => "its disk is full",
        FileTooLarge => "its file may not become larger",
        ReadOnlyFilesystem => "its disk is read-only",
        PermissionDenied => "the gateway may not write its file",
        NotFound => "its directory is gone",
        _ => FAILS,
    };
    Unavailable::new(why, error)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_what_is_wrong_with_the_disk_and_the_log_what_the_system_says() {
        for (number, why) in [
            (28, "its disk is full"),
            (122, "its disk is full"),
            (27, "its file may not become larger"),
            (30, "its disk is read-only"),
            (13, "the gateway may not write its file"),
            (2, "its directory is gone"),
            (5, "its disk fails"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            let cause = disk(&error);
            assert_eq!(cause.to_string(), error.to_string());
            let message = format!(
                "the write could not be recorded in the store, because {why}; it was not sent"
            );
            assert_eq!(cause.nothing_sent().message(), message);
        }
    }
}
