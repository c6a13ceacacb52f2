//! Configuration: one TOML file and the environment, read into one checked [`Config`].
//!
//! `raw` parses the file into a tree of what was written, and `overlay` lays the environment over
//! it; `read` has each room take its own settings out of the tree, `backend` those of one backend.
//! All mistakes are collected on the way, so that one start shows every one of them. `redact` is
//! what may be shown of the result, `written` the same as a file, and `reference` the manual of all
//! keys. `inputs` reads it again, and `changes` says what is different then.
//!
//! What a key means, its bounds and its default belong to the room that uses it; the machinery is
//! in [`crate::settings`]. Here are only the shape of the file and what concerns several rooms.

mod auth;
mod backend;
mod changes;
mod fit;
mod inputs;
mod operators;
mod overlay;
mod permissions;
mod raw;
mod read;
mod redact;
mod reference;
mod reload;
mod store;
mod types;
mod unread_variables;
mod workloads;
mod written;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

pub use backend::{BackendSettings, LabelSettings, OptionValue};
pub use changes::{BackendChange, Changes};
pub use inputs::{Inputs, Unusable};
use overlay::listen_on;
pub use permissions::PermissionSettings;
pub use raw::Source;
pub use reference::reference;
pub use reload::ReloadSettings;
pub use types::Config;
pub use unread_variables::FILE_VARIABLE;

pub use crate::settings::{Certificates, ConfigError, ConfigErrors, PrivateKey, RevocationLists};
use futures_util::future::Either;
use secrecy::zeroize::Zeroizing;

use self::{raw::MAX_FILE_BYTES, read::Context};
use crate::{
    dialect::{REGISTRY, Registration},
    settings::{Env, Errors},
};

/// Reads the file, lays the `PROFILE_GATEWAY__…` variables of `env` over it and checks the result.
///
/// A file has to name a backend. Without a file there may be none, so that the caller can decide
/// what a program without backends does, and variables can still move its ports.
///
/// `env` is the whole environment, because `{ env = "NAME" }` secrets are looked up in it.
///
/// # Errors
///
/// Every mistake found, sorted by line, those of the environment after those of the file. Only a
/// file that is too large or is not TOML is reported alone: there is nothing to check in it.
pub fn load(source: Option<Source<'_>>, env: &[(String, String)]) -> Result<Config, ConfigErrors> {
    load_with(source, env, REGISTRY)
}

/// As [`load`], with a file that is opened here. Its text is wiped when it has been read, and its
/// permissions are looked at.
///
/// # Errors
///
/// As [`load`], or why the file cannot be read.
pub fn load_file(
    path: &Path,
    env: &[(String, String)],
) -> Result<Config, Either<io::Error, ConfigErrors>> {
    load_file_with(path, env, Context::default())
}

/// The same, in this context.
fn load_file_with(
    path: &Path,
    env: &Env,
    context: Context<'_>,
) -> Result<Config, Either<io::Error, ConfigErrors>> {
    let file = File::open(path).map_err(Either::Left)?;
    let about = file.metadata().map_err(Either::Left)?;
    // All at once, because a text that grows leaves copies behind. One that is too long is refused.
    let bytes = usize::try_from(about.len()).unwrap_or(usize::MAX).min(MAX_FILE_BYTES);
    let mut text = Zeroizing::new(String::with_capacity(bytes + 64));
    // One byte more, so that a file that is too long is told from a full one.
    let most = MAX_FILE_BYTES as u64 + 1;
    file.take(most).read_to_string(&mut text).map_err(Either::Left)?;
    let name = path.display().to_string();
    let source = Source { file_name: &name, text: &text };
    let context = Context { file: Some(&about), ..context };
    load_from(Some(source), context, env, REGISTRY).map_err(Either::Right)
}

/// As [`load`], with other dialects.
fn load_with(
    source: Option<Source<'_>>,
    env: &Env,
    dialects: &[Registration],
) -> Result<Config, ConfigErrors> {
    load_from(source, Context::default(), env, dialects)
}

/// The same, in this context.
fn load_from(
    source: Option<Source<'_>>,
    context: Context<'_>,
    env: &Env,
    dialects: &[Registration],
) -> Result<Config, ConfigErrors> {
    let mut errors = Errors::default();
    let raw = raw::Raw::parse(source, &mut errors);
    let config = raw.map(|mut raw| {
        overlay::apply(&mut raw.root, env, &mut errors);
        unread_variables::check(env, &mut errors);
        let references = written::references(&raw.root);
        let config = read::config(raw, context, env, dialects, &mut errors);
        Config { references, ..config }
    });
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(errors.into_public()),
    }
}
