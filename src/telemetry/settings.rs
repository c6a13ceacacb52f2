//! What can be configured of the log and the audit log: `[log]` and `[audit]`.

use std::{ops::RangeInclusive, path::Path};

use super::logs::{self, BUFFER_BYTES, Format};
use crate::settings::{
    Kind as _, Read, Section,
    bounds::{KIB, MIB},
    bytes, flag, one_of, plain_text, settings,
};

/// Some lines have to fit in, and more than this only hides that nothing is written.
const BUFFER: RangeInclusive<usize> = 64 * KIB..=256 * MIB;

settings! {
    /// How the program writes its log.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LogSettings {
        /// Form of a log line; `auto` is text on a terminal and JSON elsewhere.
        format: Format = Format::Auto, one_of(FORMATS);
        /// Log filter, such as `info` or `info,hyper=warn`.
        level: String = "info".to_owned(), plain_text(1024).checked(FILTER, |level| filter(level));
        /// Most bytes of lines that wait to be written. Beyond, lines are left out and counted;
        /// those of the access log are beyond half of it, and all but warnings and errors beyond
        /// three quarters.
        buffer_bytes: usize = BUFFER_BYTES, bytes(BUFFER);
    }
}

settings! {
    /// Where the audit log goes, which has a line before and after each write.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AuditSettings {
        /// File that lines are appended to, as JSON. It is made if it does not exist, for its owner
        /// alone, and made again when it was moved away.
        file: Option<String> = None, plain_text(4096).optional();
        /// Stream that lines go to where there is no `file`: `stderr`, beside the log, or `stdout`.
        stream: AuditStream = AuditStream::Stderr, one_of(STREAMS);
        /// Whether a write waits until its line in the `file` is on the disk (`fdatasync`). If not,
        /// lines outlive the process, but not the machine.
        sync: bool = true, flag();
        /// Most bytes of lines that wait to be written. Beyond half of it, writes are refused.
        buffer_bytes: usize = 2 * MIB, bytes(BUFFER);
    }
    check goes_to_one_place;
}

impl LogSettings {
    /// Whether a key of the section can change while the process runs.
    #[must_use]
    pub fn is_live(key: &str) -> bool {
        ["level", "buffer_bytes"].contains(&key)
    }

    /// What is in force after these settings, while the process runs.
    #[must_use]
    pub fn followed_by(&self, new: &Self) -> Self {
        Self { level: new.level.clone(), buffer_bytes: new.buffer_bytes, ..self.clone() }
    }
}

impl AuditSettings {
    /// Whether the audit log goes to standard output.
    #[must_use]
    pub fn is_on_stdout(&self) -> bool {
        self.file.is_none() && self.stream == AuditStream::Stdout
    }
}

/// A stream of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditStream {
    /// Standard output.
    Stdout,
    /// Standard error, which has the log too.
    Stderr,
}

const STREAMS: &[(&str, AuditStream)] =
    &[("stderr", AuditStream::Stderr), ("stdout", AuditStream::Stdout)];

fn goes_to_one_place(settings: &AuditSettings, section: &mut Section<'_>) {
    if settings.file.is_some() && settings.stream != AuditStream::Stderr {
        let message = "`file` and `stream` exclude each other, keep only one of them";
        section.conflict(["file", "stream"], message.to_owned());
    }
    if settings.file.as_ref().is_some_and(|file| Path::new(file).is_dir()) {
        section.conflict(["file"], "`file` is that of a directory, and has to be a file in one");
    }
}

const FORMATS: &[(&str, Format)] =
    &[("auto", Format::Auto), ("json", Format::Json), ("text", Format::Text)];

const FILTER: &str = "a `tracing` filter of 1 to 1024 printable ASCII characters";

fn filter(level: &str) -> Read<()> {
    if level.trim().is_empty() || !level.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        return Err("must be a log filter such as `info` or `info,hyper=warn`, in ASCII".to_owned());
    }
    logs::check(level).map_err(|why| format!("is not a valid log filter: {why}"))
}
