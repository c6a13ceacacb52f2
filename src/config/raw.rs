//! The configuration file as it was written: TOML parsed into a tree of values with their lines.
//!
//! Knows neither keys nor the environment.

use std::sync::Arc;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::settings::{Errors, Node, Origin, Table, Value, printable};

/// A configuration of hundreds of backends is a tenth of this.
pub(super) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Root, section, backend, key, secret reference. Deeper tables are wrong whatever they hold, so
/// they are not kept.
const MAX_DEPTH: usize = 4;

/// The configuration file as it was read: the name serves only for error messages.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Shown before the line number, `gateway.toml:12`.
    pub file_name: &'a str,
    /// The whole text; more than 1 MiB is refused without parsing it.
    pub text: &'a str,
}

/// The tree, and whether there was a file.
pub(super) struct Raw {
    pub(super) root: Table,
    /// The file as a whole, for errors that belong to no line.
    pub(super) origin: Origin,
    /// Whether there is a file. Variables alone may move the ports of a program that has no
    /// backends yet.
    pub(super) from_file: bool,
}

impl Raw {
    /// Without a file it is empty. `None` if the file cannot be used at all; the reason is in
    /// `errors`.
    pub(super) fn parse(source: Option<Source<'_>>, errors: &mut Errors) -> Option<Self> {
        let (root, origin) = match source {
            Some(source) => {
                let name: Arc<str> = source.file_name.into();
                let root = parse(source.text, &name, errors)?;
                (root, Origin::File { name, line: 0 })
            }
            None => (Table::new(), Origin::Env("environment".to_owned())),
        };
        Some(Self { root, origin, from_file: source.is_some() })
    }
}

fn parse(text: &str, name: &Arc<str>, errors: &mut Errors) -> Option<Table> {
    let at = |line| Origin::File { name: Arc::clone(name), line };
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes, the limit is {MAX_FILE_BYTES}", text.len());
        errors.push(&at(0), message);
        return None;
    }
    let lines = Lines::new(text);
    // The recovering parser, although only its first error is used: the other one drops a half-read
    // tree on its own, by recursion, and dotted keys within inline tables nest deep enough to
    // overflow the stack that way.
    let (document, mistakes) = DeTable::parse_recoverable(text);
    let document = document.into_inner();
    if let Some(mistake) = mistakes.first() {
        drop_by_level(document.into_iter().map(|(_, value)| value.into_inner()).collect());
        let (line, column) = lines.position(text, mistake.span().map_or(0, |span| span.start));
        // Only the message: the error's own Display repeats the source line, which may hold a
        // secret.
        let message = match mistake.message() {
            "duplicate key" => "this section or key was there before, write it once".into(),
            message => printable(message),
        };
        errors.push(&at(line), format!("not valid TOML at column {column}: {message}"));
        return None;
    }
    Some(table(document, 0, &|offset| at(lines.line(offset))))
}

/// An entry's line is that of its key; for a section that is its header.
fn table(table: DeTable<'_>, depth: usize, at: &dyn Fn(usize) -> Origin) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let origin = at(key.span().start);
            let value = self::value(value, depth + 1, at);
            (key.into_inner().into_owned(), Node { origin, value })
        })
        .collect()
}

fn value(value: Spanned<DeValue<'_>>, depth: usize, at: &dyn Fn(usize) -> Origin) -> Value {
    match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Table(inner) if depth <= MAX_DEPTH => Value::Table(table(inner, depth, at)),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => Value::Other("a date"),
        deep @ DeValue::Table(_) => {
            drop_by_level(vec![deep]);
            Value::Other("a table")
        }
        deep @ DeValue::Array(_) => {
            drop_by_level(vec![deep]);
            Value::Other("an array")
        }
    }
}

/// Drops values level by level instead of by recursion, so that no depth can exhaust the stack.
fn drop_by_level(mut values: Vec<DeValue<'_>>) {
    while let Some(value) = values.pop() {
        match value {
            DeValue::Table(table) => {
                values.extend(table.into_iter().map(|(_, value)| value.into_inner()));
            }
            DeValue::Array(array) => {
                values.extend(array.into_iter().map(Spanned::into_inner));
            }
            _ => {}
        }
    }
}

/// Byte offsets to line numbers, without counting from the top for every key.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Self {
        let after_newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            starts: std::iter::once(0).chain(after_newlines.map(|(index, _)| index + 1)).collect(),
        }
    }

    /// From 1.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Line and column, both from 1, the column in characters.
    fn position(&self, text: &str, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = text.get(start..offset).map_or(0, |before| before.chars().count());
        (line, before + 1)
    }
}
