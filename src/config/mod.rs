//! Configuration: one TOML file and the environment, read into one checked [`Config`].
//!
//! Two stages, two types. `raw::Raw` is what was written: a tree in which every value remembers the line or the
//! variable it came from, with the environment already laid over the file. [`Config`] is what will run: every value
//! typed, bounded and complete. Between them all mistakes are collected, so that one start shows every one of them.
//!
//! What this module does not do: it opens no file but those named by `{ file = … }` secrets, reads no environment but
//! the list handed in, knows no dialect beyond the [`DialectSchema`]s handed in, and says nothing of which option a
//! dialect requires.
//!
//! # Secrets
//!
//! No error, no `Debug` output and no [`Config::redacted`] view holds the value of a secret. The value of a key that
//! is not known is never shown either, for it may be a secret under a mistyped name.

mod backend;
mod cache;
mod check;
mod circuit;
mod overlay;
mod raw;
mod redact;
mod types;

#[cfg(test)]
mod tests;

pub use types::{
    Backend, Cache, Circuit, Config, DialectSchema, Known, Log, LogFormat, OptionCheck, OptionSpec,
    OptionValue, Server,
};

use crate::settings::Errors;
pub use crate::settings::{ConfigError, ConfigErrors};

/// The configuration file as it was read: the name serves only for error messages.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Shown before the line number, `gateway.toml:12`.
    pub file_name: &'a str,
    /// The whole text; over 1 MiB it is refused unread.
    pub text: &'a str,
}

/// Reads the file, lays the `PROFILE_GATEWAY__…` variables of `env` over it and checks the result.
///
/// A file has to name a backend. Without one the answer may have none, so that the caller can decide what a program
/// without backends does, and variables can still move its ports.
///
/// `env` is the whole environment, because `{ env = "NAME" }` secrets are looked up in it. It is a list and not the
/// process environment so that a test needs none of its own.
///
/// # Errors
///
/// Every mistake found, sorted by line, the environment's after the file's. Only a file that is too large or is not
/// TOML is reported alone: there is nothing to check in it.
pub fn load(
    source: Option<Source<'_>>,
    env: &[(String, String)],
    known: &Known,
) -> Result<Config, ConfigErrors> {
    let mut errors = Errors::default();
    let config = raw::Raw::read(source, env, &mut errors)
        .map(|raw| check::config(raw, env, known, &mut errors));
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(errors.into_public()),
    }
}
