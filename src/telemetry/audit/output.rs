//! What the audit log is written to.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::telemetry::{
    logs::{self, Format},
    record::Form,
    settings::{AuditSettings, AuditStream},
};

/// Where lines go.
pub(super) trait Output: Send + 'static {
    /// Writes whole lines, and returns when they are where they have to be.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;

    /// The path of the file, or the name of the stream.
    fn name(&self) -> String;
}

impl Output for Box<dyn Output> {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        (**self).write(lines)
    }

    fn name(&self) -> String {
        (**self).name()
    }
}

pub(super) fn open(
    settings: &AuditSettings,
    format: Format,
) -> io::Result<(Box<dyn Output>, Form)> {
    Ok(match (&settings.file, settings.stream) {
        (Some(path), _) => (Box::new(Appended::open(path, settings.sync)?), Form::Json),
        (None, AuditStream::Stdout) => {
            (Box::new(AuditStream::Stdout), logs::form(format, io::stdout().is_terminal()))
        }
        (None, AuditStream::Stderr) => {
            (Box::new(AuditStream::Stderr), logs::form(format, io::stderr().is_terminal()))
        }
    })
}

impl Output for AuditStream {
    // Each is locked while it is written, so that its lines stay whole beside others.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(lines),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Stdout => "stdout".to_owned(),
            Self::Stderr => "stderr".to_owned(),
        }
    }
}

/// A file that lines are appended to.
struct Appended {
    path: PathBuf,
    file: File,
    sync: bool,
    /// A line was written in part.
    torn: bool,
}

impl Appended {
    fn open(path: &str, sync: bool) -> io::Result<Self> {
        let path = PathBuf::from(path);
        let file = append(&path).map_err(|error| {
            let message = format!("cannot open the audit log {}: {error}", path.display());
            io::Error::new(error.kind(), message)
        })?;
        Ok(Self { path, file, sync, torn: false })
    }

    /// Opens the file again if another one, or none, has its name by now, as after a rotation.
    fn follow(&mut self) -> io::Result<()> {
        let own = self.file.metadata()?;
        let named = self.path.metadata().ok();
        let same = |named: std::fs::Metadata| (named.dev(), named.ino()) == (own.dev(), own.ino());
        if !named.is_some_and(same) {
            self.file = append(&self.path)?;
            self.torn = false;
        }
        Ok(())
    }
}

impl Output for Appended {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow()?;
        if self.torn {
            self.file.write_all(b"\n")?;
        }
        self.torn = true;
        self.file.write_all(lines)?;
        self.torn = false;
        // Devices and pipes have nothing to sync.
        if self.sync && self.file.metadata()?.is_file() {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// For its owner alone: it says who wrote what.
fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_begun_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut file = Appended::open(path.to_str().unwrap(), true).unwrap();
        file.write(b"a\n").unwrap();
        fs::rename(&path, directory.path().join("audit.log.1")).unwrap();
        file.write(b"b\n").unwrap();
        fs::remove_file(&path).unwrap();
        file.write(b"c\n").unwrap();
        assert_eq!(fs::read(directory.path().join("audit.log.1")).unwrap(), b"a\n");
        assert_eq!(fs::read(&path).unwrap(), b"c\n");
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut file = Appended::open(path.to_str().unwrap(), false).unwrap();
        file.write(b"half a li").unwrap();
        file.torn = true;
        file.write(b"whole\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"half a li\nwhole\n");
    }
}
