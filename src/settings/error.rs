//! Where a value came from, and the list of everything that is wrong.
//!
//! Does not decide what is wrong, and holds no configured value except what a caller put into the
//! message.

use std::{fmt, sync::Arc};

/// A hostile file of a mebibyte can hold a hundred thousand mistakes, which is more than anyone
/// reads.
const MAX_SHOWN: usize = 100;

/// Longest part of a foreign text (a key, a file name, a value) that a message repeats, in
/// characters.
const MAX_ECHO: usize = 120;

/// Everything that is wrong with the configuration, one line each, sorted by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors in the order in which they are displayed; never empty.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One mistake: where it is and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct ConfigError {
    /// `gateway.toml:12`, `gateway.toml`, or the name of an environment variable.
    pub origin: String,
    /// Lower case, without a full stop, on one line, never with the value of a secret.
    pub message: String,
}

/// Where a value was written. The order is that of the report: the file by line, then the
/// environment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A line of the file counted from 1; 0 is the file as a whole.
    File { name: Arc<str>, line: usize },
    /// The variable's name.
    Env(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line: 0 } => f.write_str(&printable(name)),
            Self::File { name, line } => write!(f, "{}:{line}", printable(name)),
            Self::Env(name) => f.write_str(&printable(name)),
        }
    }
}

/// The collector that every check writes to.
#[derive(Default)]
pub(crate) struct Errors {
    errors: Vec<(Origin, String)>,
    warnings: Vec<String>,
    /// What others on this machine can do and should not.
    lax: Vec<(Origin, String)>,
    /// The keys of secrets that were written down as they are.
    literal: Vec<(Origin, String)>,
}

impl Errors {
    pub(crate) fn push(&mut self, origin: &Origin, message: impl Into<String>) {
        self.errors.push((origin.clone(), message.into()));
    }

    /// Notes what can be used and is probably not meant.
    pub(crate) fn warn(&mut self, origin: &Origin, message: impl fmt::Display) {
        self.warnings.push(format!("{origin}: {message}"));
    }

    /// The warnings so far, in the order in which they were found.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Notes what others on this machine can do and should not: a warning, or an error where the
    /// configuration says so.
    pub(crate) fn lax(&mut self, origin: &Origin, message: impl Into<String>) {
        self.lax.push((origin.clone(), message.into()));
    }

    /// What [`Errors::lax`] has noted so far.
    pub(crate) fn take_lax(&mut self) -> Vec<(Origin, String)> {
        std::mem::take(&mut self.lax)
    }

    /// Notes that the secret of a key was written down as it is.
    pub(crate) fn literal(&mut self, origin: &Origin, key: String) {
        self.literal.push((origin.clone(), key));
    }

    /// What [`Errors::literal`] has noted so far.
    pub(crate) fn take_literal(&mut self) -> Vec<(Origin, String)> {
        std::mem::take(&mut self.literal)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.errors.len()
    }

    pub(crate) fn into_public(mut self) -> ConfigErrors {
        // Stable, so that mistakes of one line stay in the order in which they were found.
        self.errors.sort_by(|a, b| a.0.cmp(&b.0));
        let left_out = self.errors.len().saturating_sub(MAX_SHOWN);
        self.errors.truncate(MAX_SHOWN);
        let mut errors: Vec<ConfigError> = self
            .errors
            .into_iter()
            .map(|(origin, message)| ConfigError { origin: origin.to_string(), message })
            .collect();
        if left_out > 0 {
            errors.push(ConfigError {
                origin: "configuration".to_owned(),
                message: format!("{left_out} more errors are not shown"),
            });
        }
        ConfigErrors(errors)
    }
}

/// Foreign text made fit for one line of a terminal: without control characters, and cut if long.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String =
        text.chars().take(MAX_ECHO).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX_ECHO).is_some() {
        shown.push('…');
    }
    shown
}

/// [`printable`] in backticks. Only for what cannot be a secret: keys, names, values of known plain
/// keys.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text))
}
