//! One table of the file being read key by key: what was asked for is known, what is left over is a mistake.
//!
//! Knows no particular key. Its readers answer the default where a key is absent or wrong; the wrong ones are in the
//! error list, so that such a default never gets as far as a running program.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Errors, Origin, quoted};
use super::node::{Node, Table, Value};
use super::suggest;
use super::value::{self, Read};

/// A table, the keys asked of it so far, and where mistakes go.
pub(crate) struct Section<'e> {
    /// Dotted path of this table, empty at the top.
    path: String,
    origin: Origin,
    table: Table,
    known: Vec<&'static str>,
    errors: &'e mut Errors,
}

impl<'e> Section<'e> {
    pub(crate) fn new(path: String, origin: Origin, table: Table, errors: &'e mut Errors) -> Self {
        Self { path, origin, table, known: Vec::new(), errors }
    }

    /// Dotted path of this table.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The value of `key`, if it is there and can be read.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Read<T>,
    ) -> Option<T> {
        self.known.push(key);
        let node = self.table.remove(key)?;
        match read(&node) {
            Ok(value) => Some(value),
            Err(why) => {
                let message = format!("{} {why}", self.name(key));
                self.errors.push(&node.origin, message);
                None
            }
        }
    }

    /// The table of `key`, empty if absent.
    pub(crate) fn child(&mut self, key: &'static str) -> Section<'_> {
        self.known.push(key);
        let (origin, table) = match self.table.remove(key) {
            None => (self.origin.clone(), Table::new()),
            Some(Node { origin, value: Value::Table(table) }) => (origin, table),
            Some(Node { origin, value }) => {
                let message = format!("{} must be a section, got {}", self.name(key), value.kind());
                self.errors.push(&origin, message);
                (origin, Table::new())
            }
        };
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        Section::new(path, origin, table, self.errors)
    }

    pub(crate) fn text(&mut self, key: &'static str, max: usize) -> Option<String> {
        self.read(key, |node| value::text(node, max).map(str::to_owned))
    }

    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        self.read(key, |node| value::duration(node, &bounds)).unwrap_or(default)
    }

    pub(crate) fn bytes(
        &mut self,
        key: &'static str,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> usize {
        self.read(key, |node| value::bytes(node, &bounds)).unwrap_or(default)
    }

    pub(crate) fn count(
        &mut self,
        key: &'static str,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> usize {
        self.read(key, |node| value::count(node, &bounds)).unwrap_or(default)
    }

    pub(crate) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.read(key, value::flag).unwrap_or(default)
    }

    /// Where the first of these keys that is given stands; call it before they are read.
    pub(crate) fn origin_of(&self, keys: &[&str]) -> Origin {
        let node = keys.iter().find_map(|key| self.table.get(*key));
        node.map_or_else(|| self.origin.clone(), |node| node.origin.clone())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
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

    /// Reports a mistake that stands elsewhere.
    pub(crate) fn fault_at(&mut self, origin: &Origin, message: impl Into<String>) {
        self.errors.push(origin, message);
    }

    /// The full name of a key, in backticks.
    pub(crate) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { quoted(key) } else { quoted(&format!("{}.{key}", self.path)) }
    }

    /// Everything in the table, for a table whose keys are names.
    pub(crate) fn into_entries(self) -> (Table, &'e mut Errors) {
        (self.table, self.errors)
    }

    /// Reports what nobody asked for, by name only: the value may be a secret under a mistyped key.
    pub(crate) fn finish(self) {
        let known = self.known.join(", ");
        self.finish_with(&format!("known here: {known}"));
    }

    /// As [`Section::finish`], with what to say where no known key is close.
    pub(crate) fn finish_with(self, takes: &str) {
        for (key, node) in &self.table {
            let what = match node.value {
                Value::Table(_) if self.path.is_empty() => "unknown section",
                _ => "unknown key",
            };
            let place = if self.path.is_empty() {
                String::new()
            } else {
                format!(" in {}", quoted(&format!("[{}]", self.path)))
            };
            let hint = match suggest::closest(key, self.known.iter().copied()) {
                Some(close) => format!("did you mean {}? ", quoted(close)),
                None => String::new(),
            };
            let message = format!("{what} {}{place}, {hint}{takes}", quoted(key));
            self.errors.push(&node.origin, message);
        }
    }
}
