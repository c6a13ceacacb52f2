//! What can be done to a store that no gateway is using.

use std::{collections::BTreeMap, fmt::Write as _, io, path::Path, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    gateway::{self, describe, idempotency::Doubt, watch},
    store::{self, Found, StoreKey, Table},
    upstream,
};

/// Reads all of a store, and says that it is whole, and whether anything is in it that this release
/// cannot read and does without.
///
/// # Errors
///
/// When it is not, or cannot be read, with what to do.
pub fn check(directory: &Path) -> io::Result<String> {
    let found = store::examine(directory)?;
    let rows = |table| found.tables.get(&table).map_or(&[][..], Vec::as_slice);
    let needed = || -> io::Result<()> {
        StoreKey::read(rows(Table::Keys))?;
        gateway::check_creations(rows(Table::Creations), rows(Table::Claims))
    };
    needed().map_err(|error| store::unreadable_at(directory, &error))?;
    let writes = writes(directory, &found)?.len();
    let can_read = upstream::can_read(rows(Table::Logins), rows(Table::Upstreams))
        && watch::can_read(rows(Table::History));
    let shown = directory.display();
    let forgets = match can_read {
        true => "",
        false => {
            "; it has entries of upstreams or watched backends that this release cannot read, and \
             forgets at the next start"
        }
    };
    let warning = store::exposed(directory).map(|warning| format!("\nwarning: {warning}"));
    let warning = warning.unwrap_or_default();
    Ok(format!("the store at {shown} is whole: writes: {writes}{forgets}{warning}"))
}

/// How much is in a store.
///
/// # Errors
///
/// As [`check`].
pub fn stats(directory: &Path) -> io::Result<String> {
    let found = store::examine(directory)?;
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let writes = writes(directory, &found)?;
    for write in &writes {
        let state = write.get("state").and_then(Value::as_str).unwrap_or_default();
        *states.entry(state.to_owned()).or_default() += 1;
    }
    let ended = writes.iter().filter_map(|write| write.get("ended_at")?.as_str());
    let rows = |table| found.tables.get(&table).map_or(0, Vec::len);
    let shown = json!({
        "file_bytes": found.bytes,
        "stored_bytes": found.stored,
        "writes": states,
        "oldest_end": ended.min(),
        "creations_in_doubt": rows(Table::Creations),
        "claims": rows(Table::Claims),
        "paused_logins": rows(Table::Logins),
        "upstreams": upstreams(&found)?,
        "watched": watched(&found)?,
    });
    serde_json::to_string_pretty(&shown).map_err(io::Error::other)
}

/// Each write of a store as a line of JSON.
///
/// # Errors
///
/// As [`check`].
pub fn export(directory: &Path) -> io::Result<String> {
    let mut lines = String::new();
    for write in writes(directory, &store::examine(directory)?)? {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{write}");
    }
    Ok(lines)
}

/// Each write in doubt of a store as a line of JSON, with the fields that the contract has.
/// `kept_for`: how long it is remembered after its end, if that is known.
///
/// # Errors
///
/// As [`check`].
pub fn doubts(directory: &Path, kept_for: Option<Duration>) -> io::Result<String> {
    let found = store::examine(directory).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => {
            let message = format!(
                "{error}; or ask the gateway that is running on it, with \
                 BackendService.ListDoubtfulWrites"
            );
            io::Error::new(error.kind(), message)
        }
        _ => error,
    })?;
    let mut lines = String::new();
    for entry in found.tables.get(&Table::Requests).into_iter().flatten() {
        let doubt = Doubt::read(entry);
        let doubt = doubt.map_err(|error| store::unreadable_at(directory, &error))?;
        let Some(doubt) = doubt else { continue };
        let shown = gateway::doubt_to_json(&gateway::describe_doubt(&doubt, kept_for));
        let shown = shown.ok_or_else(|| io::Error::other("a write in doubt cannot be shown"))?;
        let _ = writeln!(lines, "{shown}");
    }
    Ok(lines)
}

/// Makes the file of a store as small as it can be.
///
/// # Errors
///
/// As [`check`].
pub fn compact(directory: &Path) -> io::Result<String> {
    let (before, after) = store::compact(directory)?;
    Ok(format!("the file of the store had {before} bytes, and has {after} now"))
}

fn writes(directory: &Path, found: &Found) -> io::Result<Vec<Value>> {
    let writes = found.tables.get(&Table::Requests).into_iter().flatten();
    let writes: io::Result<_> = writes.map(describe).collect();
    writes.map_err(|error| store::unreadable_at(directory, &error))
}

fn upstreams(found: &Found) -> io::Result<Map<String, Value>> {
    found.tables.get(&Table::Upstreams).into_iter().flatten().map(upstream::describe).collect()
}

fn watched(found: &Found) -> io::Result<Map<String, Value>> {
    let entries = found.tables.get(&Table::History).map_or(&[][..], Vec::as_slice);
    let shown = |(backend, [profiles, changes]): (String, [u64; 2])| {
        (backend, json!({ "profiles": profiles, "changes": changes }))
    };
    Ok(watch::count(entries)?.into_iter().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::{Change, File, Store as _, StoreMetrics};

    /// What `check` says of a store with an entry that no release has written.
    fn checked(table: Table, key: &'static [u8]) -> (TempDir, io::Result<String>) {
        let directory = TempDir::new().unwrap();
        let store = File::open(directory.path(), StoreMetrics::default()).unwrap();
        drop(store.end(vec![Change::put(table, key, &b"\xff"[..])]));
        drop(store);
        let checked = check(directory.path());
        (directory, checked)
    }

    #[test]
    fn every_table_is_read_and_what_a_start_refuses_is_refused_with_what_to_do() {
        for table in [Table::Requests, Table::Creations, Table::Claims, Table::Keys] {
            let (directory, checked) = checked(table, b"store");
            let error = checked.unwrap_err().to_string();
            let name = format!("`{}`", table.name());
            for said in [directory.path().to_str().unwrap(), &name, "Start the release"] {
                assert!(error.contains(said), "{error}");
            }
        }
        for (table, key) in [
            (Table::Logins, &b"b"[..]),
            (Table::Upstreams, &b"b"[..]),
            (Table::History, &b"b"[..]),
            (Table::History, &b"b\0\x01"[..]),
        ] {
            let (_, checked) = checked(table, key);
            let said = checked.unwrap();
            assert!(said.contains("is whole") && said.contains("forgets"), "{said}");
        }
    }
}
