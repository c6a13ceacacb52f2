//! Reading a secret: a literal, `{ env = "NAME" }` or `{ file = "PATH" }`.
//!
//! No message of this module holds any part of a secret, nor a text that could be one put into the
//! wrong place.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    os::unix::fs::PermissionsExt as _,
};

use secrecy::{SecretString, zeroize::Zeroizing};

use super::{
    error::quoted,
    node::{Env, Node, Table, Value},
    value::{self, Read},
};
use crate::text;

/// Room for a certificate chain; a larger file is a mistyped path.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// Read by others than the owner and the group.
const READABLE: u32 = 0o004;
/// Written by them.
const WRITABLE: u32 = 0o002;

const FORMS: &str = "must be a string, { env = \"NAME\" } or { file = \"PATH\" }";

/// The secret that `node` holds or points to. Relative paths are taken from the working directory.
pub(super) fn read(node: &Node, env: &Env) -> Read<SecretString> {
    match &node.value {
        Value::Text(text) => checked(text, "the value"),
        Value::Table(table) => reference(table, env),
        other => Err(format!("{FORMS}, got {}", other.kind())),
    }
}

/// The file that a secret is read from, if it is.
pub(super) fn path(node: &Node) -> Option<&str> {
    let Value::Table(table) = &node.value else { return None };
    match &table.get("file")?.value {
        Value::Text(path) => Some(path),
        _ => None,
    }
}

/// Whether everyone on this machine can read a file. Not one that does not exist.
pub(super) fn is_readable_by_all(path: &str) -> bool {
    may_all(path, READABLE)
}

/// Whether everyone on this machine can change a file. Not one that does not exist.
pub(super) fn is_writable_by_all(path: &str) -> bool {
    may_all(path, WRITABLE)
}

fn may_all(path: &str, bits: u32) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & bits != 0)
}

fn reference(table: &Table, env: &Env) -> Read<SecretString> {
    // The keys found are not repeated: `password = { hunter2 = "" }` is an easy slip.
    let mut entries = table.iter();
    match (entries.next(), entries.next()) {
        (Some((key, node)), None) if key == "env" => from_env(node, env),
        (Some((key, node)), None) if key == "file" => from_file(node),
        _ => Err(format!("{FORMS}, got a table with other keys or more than one")),
    }
}

fn from_env(node: &Node, env: &Env) -> Read<SecretString> {
    let name =
        value::text(node, 256).map_err(|why| format!("has an invalid `env`, which {why}"))?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
        // Not repeated, as it is more likely the secret itself than a name.
        return Err("has an invalid `env`, which must be letters, digits and `_`".to_owned());
    }
    let shown = quoted(name);
    let (_, value) = env
        .iter()
        .find(|(key, _)| key == name)
        .ok_or_else(|| format!("needs the environment variable {shown}, which is not set"))?;
    checked(value, &format!("the environment variable {shown}"))
}

fn from_file(node: &Node) -> Read<SecretString> {
    let path =
        value::text(node, 4096).map_err(|why| format!("has an invalid `file`, which {why}"))?;
    let shown = format!("the file {}", quoted(path));
    let bytes = read_bounded(path, MAX_SECRET_BYTES)
        .map_err(|why| format!("cannot be read from {shown}: {why}"))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| format!("cannot be read from {shown}: it is not UTF-8 text"))?;
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Editors and `echo` end a file with a newline that is not part of the secret. Only one is
    // dropped: a secret may end with another.
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    checked(text, &shown)
}

/// Whether a secret begins or ends with a character that shows nothing, as a paste from a page or
/// an editor leaves it.
pub(super) fn has_invisible_ends(secret: &str) -> bool {
    let unseen = |c: char| c.is_whitespace() || text::is_invisible(c);
    secret.starts_with(unseen) || secret.ends_with(unseen)
}

/// A file of at most so many bytes, or why it cannot be read. The bytes are wiped when they are
/// dropped, and there is room for all from the start: a vector that grows leaves copies behind.
pub(crate) fn read_bounded(path: &str, most: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    let why = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "it does not exist".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        kind => kind.to_string(),
    };
    // Before opening: opening a pipe without a writer would wait forever.
    if !std::fs::metadata(path).map_err(why)?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    // One byte more, to tell a full file from one that is too long.
    let limit = most as u64 + 1;
    // Reading to the end asks for more room when nothing is left to see the end with.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 64));
    File::open(path).map_err(why)?.take(limit).read_to_end(&mut bytes).map_err(why)?;
    if bytes.len() > most {
        return Err(format!("it has more than {} KiB", most / 1024));
    }
    Ok(bytes)
}

/// A secret goes into a header or a form, where a control character is an injection or a paste gone
/// wrong.
fn checked(text: &str, place: &str) -> Read<SecretString> {
    if text.is_empty() {
        return Err(format!("must not be empty, but {place} is"));
    }
    if text.len() > MAX_SECRET_BYTES {
        return Err(format!("must not be longer than 64 KiB, but {place} is"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("must not contain control characters, but {place} does"));
    }
    Ok(SecretString::from(text))
}
