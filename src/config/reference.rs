//! The reference of all keys, as Markdown for `docs/reference/configuration.md`.

use std::fmt::Write as _;

use super::{
    backend::{common_rows, dialect_row, own_rows},
    overlay::PREFIX,
    read::root_rows,
    reload::ReloadSettings,
};
use crate::{
    auth::{AuthSettings, IssuerSettings, PrincipalSettings, RoleSettings},
    cache::CacheSettings,
    caller::{CallerSettings, QuotaSettings},
    dialect::REGISTRY,
    gateway::idempotency::RequestIdSettings,
    resources::MemorySettings,
    server::{OperatorSettings, ServerSettings, ServerTlsSettings},
    settings::{Row, Settings},
    shared::{SharedSettings, SharedTlsSettings},
    store::StoreSettings,
    telemetry::{AuditSettings, LogSettings},
    upstream::TlsSettings,
};

/// A table of the file.
pub(super) struct Table {
    title: &'static str,
    /// What the names of its variables begin with, after the prefix of all.
    pub(super) variables: &'static str,
    /// The dialect whose backends have these keys, if not all have them.
    pub(super) dialect: Option<&'static str>,
    pub(super) rows: Vec<Row>,
}

/// Every table of the file.
pub(super) fn tables() -> Vec<Table> {
    const BACKEND: &str = "BACKENDS__NAME__";
    let table = |title, variables, rows| Table { title, variables, dialect: None, rows };
    let backend = [dialect_row()].into_iter().chain(common_rows()).collect();
    let own = REGISTRY.iter().map(|dialect| {
        let table = table("`[backends.NAME]`", BACKEND, own_rows(dialect));
        Table { dialect: Some(dialect.name), ..table }
    });
    let mut tables = vec![
        table("Top level", "", root_rows()),
        table("`[log]`", "LOG__", LogSettings::rows()),
        table("`[audit]`", "AUDIT__", AuditSettings::rows()),
        table("`[reload]`", "RELOAD__", ReloadSettings::rows()),
        table("`[memory]`", "MEMORY__", MemorySettings::rows()),
        table("`[server]`", "SERVER__", ServerSettings::rows()),
        table("`[server.tls]`", "SERVER__TLS__", ServerTlsSettings::rows()),
        table("`[operators.NAME]`", "OPERATORS__NAME__", OperatorSettings::rows()),
        table("`[auth]`", "AUTH__", AuthSettings::rows()),
        table("`[auth.jwt.NAME]`", "AUTH__JWT__NAME__", IssuerSettings::rows()),
        table("`[auth.roles.NAME]`", "AUTH__ROLES__NAME__", RoleSettings::rows()),
        table("`[auth.callers.NAME]`", "AUTH__CALLERS__NAME__", PrincipalSettings::rows()),
        table("`[auth.callers.NAME.quota]`", "AUTH__CALLERS__NAME__QUOTA__", QuotaSettings::rows()),
        table("`[callers]`", "CALLERS__", CallerSettings::rows()),
        table("`[request_ids]`", "REQUEST_IDS__", RequestIdSettings::rows()),
        table("`[store]`", "STORE__", StoreSettings::rows()),
        table("`[store]` with `kind = \"shared\"`", "STORE__", SharedSettings::rows()),
        table("`[store.tls]`", "STORE__TLS__", SharedTlsSettings::rows()),
        table("`[backends.NAME]`", BACKEND, backend),
    ];
    tables.extend(own);
    let tls = TlsSettings::rows();
    tables.push(table("`[backends.NAME.tls]`", "BACKENDS__NAME__TLS__", tls));
    let cache = CacheSettings::rows();
    tables.push(table("`[backends.NAME.cache]`", "BACKENDS__NAME__CACHE__", cache));
    tables
}

/// A section for each table of the file, with a row for each key.
#[doc(hidden)]
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    for table in tables() {
        write(&mut out, &table);
    }
    out
}

fn write(out: &mut String, Table { title, variables: section, dialect, rows }: &Table) {
    let of = dialect.map_or_else(String::new, |name| format!(" with `dialect = \"{name}\"`"));
    let variable = |row: &Row| format!("{PREFIX}{section}{}", row.key.to_uppercase());
    let example = rows.first().map_or_else(String::new, variable);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "## {title}{of}\n\n\
         Environment variables: `{PREFIX}{section}KEY`, such as `{example}`.\n\n\
         | Key | Type | Default | Allowed | Meaning |\n\
         |---|---|---|---|---|\n"
    );
    for Row { key, meaning, form, default, bounds, secret: _ } in rows {
        let _ = writeln!(out, "| `{key}` | {form} | {default} | {bounds} | {meaning} |");
    }
    out.push('\n');
}
