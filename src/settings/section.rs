//! One table of the file being read key by key: a key that was asked for is known, one that is left
//! over is a mistake.
//!
//! Knows no particular key. Where a key is absent or wrong its reader gives nothing, and the caller
//! takes the default; the wrong ones are in the error list, so that such a default never reaches a
//! running program.

use std::time::Duration;

use super::{
    error::{Errors, Origin, quoted},
    kind::Kind,
    node::{Env, Node, Table, Value},
    secret,
    value::{Read, show_duration},
};
use crate::text;

/// A table, the keys asked of it so far, and where mistakes go.
pub(crate) struct Section<'e> {
    /// Dotted path of this table, empty at the top.
    path: String,
    origin: Origin,
    table: Table,
    known: Vec<Known>,
    env: &'e Env,
    errors: &'e mut Errors,
}

/// A key that was asked for.
struct Known {
    key: &'static str,
    /// Where it was written, if it was.
    origin: Option<Origin>,
    wrong: bool,
}

impl<'e> Section<'e> {
    pub(crate) fn new(
        path: String,
        origin: Origin,
        table: Table,
        env: &'e Env,
        errors: &'e mut Errors,
    ) -> Self {
        Self { path, origin, table, known: Vec::new(), env, errors }
    }

    /// Dotted path of this table.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The value of a row's key, if it is there and can be read.
    pub(crate) fn row<K: Kind>(&mut self, key: &'static str, kind: &K) -> Option<K::Value> {
        if let Some(needed) = kind.required() {
            self.require(key, needed);
        }
        let env = self.env;
        self.note_secret(key, kind);
        let value = self.read(key, |node| kind.read(node, env))?;
        if let Some(caution) = kind.caution(&value) {
            let origin = self.known.last().and_then(|known| known.origin.as_ref());
            let message = format!("{} {caution}", self.name(key));
            self.errors.warn(origin.unwrap_or(&self.origin), message);
        }
        Some(value)
    }

    /// Notes who can see or change a secret, which is in the file or in one of its own, and who can
    /// change whom the program trusts.
    fn note_secret<K: Kind>(&mut self, key: &str, kind: &K) {
        let Some(node) = self.table.get(key) else { return };
        let origin = node.origin.clone();
        let read_from = kind.secret_file(node).or_else(|| kind.trusted_file(node));
        if let Some(path) = read_from.filter(|path| secret::is_writable_by_all(path)) {
            let (name, path) = (self.name(key), quoted(path));
            let message =
                format!("{name} is read from {path}, which everyone on this machine can write");
            self.errors.lax(&origin, message);
            return;
        }
        match (kind.secret_file(node), &node.value, &origin) {
            // What the path of a key stands for is the key alone, and no one else has to mount it.
            (Some(path), Value::Text(_), _) if secret::is_readable_by_all(path) => {
                let (name, path) = (self.name(key), quoted(path));
                let message =
                    format!("{name} is read from {path}, which everyone on this machine can read");
                self.errors.lax(&origin, message);
            }
            (None, Value::Text(_), Origin::File { .. }) if kind.is_secret() => {
                let name = self.name(key);
                self.errors.literal(&origin, name);
            }
            _ => {}
        }
    }

    /// The value of `key`, if it is there and can be read.
    fn read<T>(&mut self, key: &'static str, read: impl FnOnce(&Node) -> Read<T>) -> Option<T> {
        let node = self.table.remove(key);
        let origin = node.as_ref().map(|node| node.origin.clone());
        let read = node.as_ref().map(read);
        let wrong = matches!(read, Some(Err(_)));
        if let Some(Err(why)) = &read {
            let quotes = match node.as_ref().is_some_and(is_quoted_variable) {
                true => "; the value of a variable is written without quotes",
                false => "",
            };
            let message = format!("{} {why}{quotes}", self.name(key));
            self.errors.push(origin.as_ref().unwrap_or(&self.origin), message);
        }
        self.known.push(Known { key, origin, wrong });
        read.and_then(Result::ok)
    }

    /// Reports a key that is missing although it has no default.
    pub(crate) fn require(&mut self, key: &str, needed: &str) {
        if !self.table.contains_key(key) {
            let message = format!("{} is missing, expected {needed}", self.name(key));
            self.fault(message);
        }
    }

    /// Reports a value that could be read and cannot be used. `why` is the rest of a sentence that
    /// begins with the key.
    pub(crate) fn refuse(&mut self, key: &str, why: &str) {
        let message = format!("{} {why}", self.name(key));
        self.conflict([key, key], message);
    }

    /// Notes what can be used and is probably not meant. `why` is the rest of a sentence that
    /// begins with the key.
    pub(crate) fn caution(&mut self, key: &str, why: &str) {
        let known = self.known.iter().find(|known| known.key == key);
        let origin = known.and_then(|known| known.origin.as_ref()).unwrap_or(&self.origin);
        let message = format!("{} {why}", self.name(key));
        self.errors.warn(origin, message);
    }

    /// Takes `key` without looking at its value.
    pub(crate) fn skip(&mut self, key: &'static str) {
        self.read(key, |_| Ok(()));
    }

    /// The table of `key`, empty if absent.
    pub(crate) fn child(&mut self, key: &'static str) -> Section<'_> {
        let node = self.table.remove(key);
        let written = node.as_ref().map(|node| node.origin.clone());
        let (origin, table) = match node {
            None => (self.origin.clone(), Table::new()),
            Some(Node { origin, value: Value::Table(table) }) => (origin, table),
            Some(Node { origin, value }) => {
                let message = format!("{} must be a section, got {}", self.name(key), value.kind());
                self.errors.push(&origin, message);
                (origin, Table::new())
            }
        };
        self.known.push(Known { key, origin: written, wrong: false });
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        Section::new(path, origin, table, self.env, self.errors)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many mistakes there are so far, to tell whether a reader added one.
    pub(crate) fn mistakes(&self) -> usize {
        self.errors.len()
    }

    /// Reports a mistake of the section itself.
    pub(crate) fn fault(&mut self, message: impl Into<String>) {
        self.errors.push(&self.origin, message);
    }

    /// Reports that keys do not fit together, at the first of them that was written. Not if one of
    /// them is wrong by itself: the default in its place proves nothing.
    pub(crate) fn conflict<const N: usize>(&mut self, keys: [&str; N], message: impl Into<String>) {
        let known = |key: &&str| self.known.iter().find(|known| known.key == *key);
        let known: Vec<&Known> = keys.iter().filter_map(known).collect();
        if known.iter().any(|known| known.wrong) {
            return;
        }
        let origin = known.iter().find_map(|known| known.origin.clone());
        self.errors.push(&origin.unwrap_or_else(|| self.origin.clone()), message);
    }

    /// Reports a duration that must not be below another one and is.
    pub(crate) fn not_below(
        &mut self,
        (upper_key, upper): (&str, Duration),
        (lower_key, lower): (&str, Duration),
    ) {
        if upper < lower {
            let message = format!(
                "{} ({}) must not be below {} ({})",
                self.name(upper_key),
                show_duration(&upper),
                self.name(lower_key),
                show_duration(&lower)
            );
            self.conflict([upper_key, lower_key], message);
        }
    }

    /// The full name of a key, in backticks.
    pub(crate) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { quoted(key) } else { quoted(&format!("{}.{key}", self.path)) }
    }

    /// Everything in the table, for a table whose keys are names.
    pub(crate) fn into_entries(self) -> (Table, &'e Env, &'e mut Errors) {
        (self.table, self.env, self.errors)
    }

    /// Reports unknown keys, by name only: the value may be a secret under a mistyped key.
    pub(crate) fn finish(self) {
        let known: Vec<&str> = self.known.iter().map(|known| known.key).collect();
        let takes = format!("known keys: {}", known.join(", "));
        self.finish_with(&takes);
    }

    /// As [`Section::finish`], with what to say of the known keys.
    pub(crate) fn finish_with(self, takes: &str) {
        for (key, node) in &self.table {
            let what = match node.value {
                Value::Table(_) if self.path.is_empty() => "unknown section",
                _ => "unknown key",
            };
            let place = match self.path.as_str() {
                "" => String::new(),
                path => format!(" in {}", quoted(&format!("[{path}]"))),
            };
            let hint = match text::closest(key, self.known.iter().map(|known| known.key)) {
                Some(close) => format!("did you mean {}? ", quoted(close)),
                None => String::new(),
            };
            let message = format!("{what} {}{place}, {hint}{takes}", quoted(key));
            self.errors.push(&node.origin, message);
        }
    }
}

/// Whether a variable's value has quotes around it, as it would have in the file.
fn is_quoted_variable(node: &Node) -> bool {
    let (Origin::Env(_), Value::Text(text)) = (&node.origin, &node.value) else { return false };
    ['"', '\''].iter().any(|quote| {
        let inner = text.trim().strip_prefix(*quote);
        inner.is_some_and(|inner| inner.ends_with(*quote))
    })
}
