//! The reference of all keys, as Markdown for `docs/reference/configuration.md`.

use std::fmt::Write as _;

use super::{
    backend::{common_rows, dialect_row, own_rows},
    overlay::PREFIX,
    read::root_rows,
};
use crate::{
    cache::CacheSettings,
    dialect::REGISTRY,
    server::ServerSettings,
    settings::{Row, Settings},
    telemetry::LogSettings,
};

/// A section for each table of the file, with a row for each key.
#[doc(hidden)]
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    let backend: Vec<Row> = [dialect_row()].into_iter().chain(common_rows()).collect();
    table(&mut out, "Top level", "", &root_rows());
    table(&mut out, "`[log]`", "LOG__", &LogSettings::rows());
    table(&mut out, "`[server]`", "SERVER__", &ServerSettings::rows());
    table(&mut out, "`[backends.NAME]`", "BACKENDS__NAME__", &backend);
    for dialect in REGISTRY {
        let title = format!("`[backends.NAME]` with `dialect = \"{}\"`", dialect.name);
        table(&mut out, &title, "BACKENDS__NAME__", &own_rows(dialect));
    }
    table(&mut out, "`[backends.NAME.cache]`", "BACKENDS__NAME__CACHE__", &CacheSettings::rows());
    out
}

fn table(out: &mut String, title: &str, section: &str, rows: &[Row]) {
    let variable = |row: &Row| format!("{PREFIX}{section}{}", row.key.to_uppercase());
    let example = rows.first().map_or_else(String::new, variable);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "## {title}\n\n\
         Environment variables: `{PREFIX}{section}KEY`, such as `{example}`.\n\n\
         | Key | Type | Default | Allowed | Meaning |\n\
         |---|---|---|---|---|\n"
    );
    for Row { key, meaning, form, default, bounds, secret: _ } in rows {
        let _ = writeln!(out, "| `{key}` | {form} | {default} | {bounds} | {meaning} |");
    }
    out.push('\n');
}
