//! The configuration in force as a file, which can be used in place of the one that it was read
//! from: `check` prints it.
//!
//! A secret is in it as the reference that it was written as, and otherwise not at all.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};
use toml::{Table as Toml, Value as TomlValue};

use super::{
    redact::{ACCESS, CERTIFICATE, ORIGIN, WARNINGS},
    types::{Config, References},
};
use crate::settings::{Origin, REDACTED, Table, Value};

const HEAD: &str = "\
# The configuration in force, with its defaults. It can be used as a file.
";

/// What is written as a reference, and what variables set.
pub(super) fn references(root: &Table) -> References {
    let mut found = References::new();
    collect(root, &mut Vec::new(), &mut found);
    found
}

fn collect(table: &Table, path: &mut Vec<String>, found: &mut References) {
    for (key, node) in table {
        path.push(key.clone());
        match (&node.value, &node.origin) {
            (Value::Table(table), _) => match reference(table) {
                Some(reference) => drop(found.insert(path.clone(), reference)),
                None => collect(table, path, found),
            },
            (Value::Text(_), Origin::Env(name)) => {
                found.insert(path.clone(), ("env", name.clone()));
            }
            _ => {}
        }
        path.pop();
    }
}

fn reference(table: &Table) -> Option<(&'static str, String)> {
    let mut entries = table.iter();
    let (Some((key, node)), None) = (entries.next(), entries.next()) else { return None };
    match (["env", "file"].into_iter().find(|known| known == key)?, &node.value) {
        (key, Value::Text(text)) => Some((key, text.clone())),
        _ => None,
    }
}

/// A configuration while it is written.
struct Writer<'c> {
    references: &'c References,
    path: Vec<String>,
    /// The secrets that are not in it.
    left_out: Vec<String>,
}

impl Writer<'_> {
    fn table(&mut self, shown: &Map<String, Json>) -> Toml {
        let mut table = Toml::new();
        for (key, value) in shown {
            self.path.push(key.clone());
            if let Some(value) = self.value(value) {
                table.insert(key.clone(), value);
            }
            self.path.pop();
        }
        table
    }

    fn value(&mut self, value: &Json) -> Option<TomlValue> {
        if self.is_told() {
            return None;
        }
        match value {
            Json::Object(table) => Some(self.table(table).into()),
            Json::String(text) if text == REDACTED => self.secret(),
            Json::String(text) => Some(text.as_str().into()),
            Json::Number(number) => number.as_i64().map(TomlValue::Integer),
            Json::Bool(flag) => Some((*flag).into()),
            // No key takes an array.
            Json::Null | Json::Array(_) => None,
        }
    }

    /// Whether it is no key, but what is told beside keys.
    fn is_told(&self) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        matches!(
            *path,
            [ACCESS | WARNINGS] | ["backends", _, ORIGIN] | ["server", "tls", CERTIFICATE]
        )
    }

    fn secret(&mut self) -> Option<TomlValue> {
        let Some((kind, place)) = self.references.get(&self.path) else {
            self.left_out.push(self.path.join("."));
            return None;
        };
        Some(Toml::from_iter([((*kind).to_owned(), place.as_str().into())]).into())
    }
}

impl Config {
    /// Every value in force, as a file. Comments at its head tell the rest, with `note`.
    #[must_use]
    pub fn as_file(&self, note: Option<&str>) -> String {
        let Json::Object(shown) = self.redacted() else { return String::new() };
        let mut writer =
            Writer { references: &self.references, path: Vec::new(), left_out: Vec::new() };
        let keys = writer.table(&shown);
        let mut text = HEAD.to_owned();
        let mut comment = |what: &str, told: &str| {
            // One line each, whatever is in it. Writing to a string cannot fail.
            let _ = writeln!(text, "# {what}: {}", told.replace(char::is_control, " "));
        };
        note.into_iter().for_each(|note| comment("note", note));
        self.warnings.iter().for_each(|warning| comment("warning", warning));
        for key in &writer.left_out {
            comment("left out, as it is a secret that is written as text", key);
        }
        if let Some(Json::Object(access)) = shown.get(ACCESS) {
            for (caller, rights) in access {
                comment(&format!("access of {caller}"), &rights.to_string());
            }
        }
        // Tables of text, numbers, and flags can all be written.
        text + "\n" + &toml::to_string(&keys).unwrap_or_default()
    }
}
