//! The environment laid over the file: `PROFILE_GATEWAY__SECTION__KEY` sets `key` in `[section]`.
//!
//! Only places values in the tree. Whether a key exists and what it may hold is checked later, with
//! the variable as the origin.

use std::collections::BTreeMap;

use super::{
    auth,
    backend::{CACHE, TLS},
    operators::OPERATORS,
    read::{SECTIONS, root_rows},
};
use crate::{
    settings::{Env, Errors, Node, Origin, Table, Value, quoted},
    text,
};

pub(super) const PREFIX: &str = "PROFILE_GATEWAY__";

const FORM: &str = "no such setting, expected PROFILE_GATEWAY__KEY, PROFILE_GATEWAY__LOG__KEY, \
    PROFILE_GATEWAY__AUDIT__KEY, PROFILE_GATEWAY__RELOAD__KEY, PROFILE_GATEWAY__SERVER__KEY, \
    PROFILE_GATEWAY__SERVER__TLS__KEY, PROFILE_GATEWAY__OPERATORS__NAME__KEY, \
    PROFILE_GATEWAY__AUTH__KEY, \
    PROFILE_GATEWAY__AUTH__JWT__NAME__KEY, PROFILE_GATEWAY__AUTH__ROLES__NAME__KEY, \
    PROFILE_GATEWAY__AUTH__CALLERS__NAME__KEY, \
    PROFILE_GATEWAY__AUTH__CALLERS__NAME__QUOTA__KEY, PROFILE_GATEWAY__CALLERS__KEY, \
    PROFILE_GATEWAY__MEMORY__KEY, PROFILE_GATEWAY__REQUEST_IDS__KEY, \
    PROFILE_GATEWAY__STORE__KEY, PROFILE_GATEWAY__STORE__TLS__KEY, \
    PROFILE_GATEWAY__BACKENDS__NAME__KEY, \
    PROFILE_GATEWAY__BACKENDS__NAME__TLS__KEY or PROFILE_GATEWAY__BACKENDS__NAME__CACHE__KEY \
    (for a secret also …__KEY__ENV or …__KEY__FILE)";

/// The flag that sets an address, as it is named among the variables.
const LISTEN_FLAG: &str = "--listen";
const LISTEN: &str = "LISTEN";

/// Sets `listen` as a flag does, which wins over the variable and the file.
pub(super) fn listen_on(env: &mut Vec<(String, String)>, address: String) {
    env.retain(|(name, _)| name.strip_prefix(PREFIX) != Some(LISTEN));
    env.push((LISTEN_FLAG.to_owned(), address));
}

/// The rest of a variable's name.
fn after_prefix(name: &str) -> Option<&str> {
    if name == LISTEN_FLAG { Some(LISTEN) } else { name.strip_prefix(PREFIX) }
}

/// Overlays every variable of the prefix.
pub(super) fn apply(root: &mut Table, env: &Env, errors: &mut Errors) {
    // Sorted by name, so that what is reported, and a backend's origin, do not depend on the order
    // of the system.
    let mut variables: Vec<(&str, &str, &str)> = env
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), after_prefix(name)?, value.as_str())))
        .collect();
    variables.sort_unstable();
    let mut placed = BTreeMap::new();
    for (name, rest, value) in &variables {
        let origin = Origin::Env((*name).to_owned());
        match target(rest, root) {
            Ok(target) => {
                if let Some(other) = placed.insert(target.path.clone(), *name) {
                    let message =
                        format!("sets the same key as {}, keep only one of them", quoted(other));
                    errors.push(&origin, message);
                } else {
                    place(root, target, value, &origin, errors);
                }
            }
            Err(message) => errors.push(&origin, message),
        }
    }
}

/// Where a variable's value goes.
struct Target {
    /// Section, backend, section within it and key; one to five segments.
    path: Vec<String>,
    /// `env` or `file` if the value is not the secret but says where it is.
    reference: Option<String>,
}

fn target(rest: &str, root: &Table) -> Result<Target, String> {
    let rest = rest.to_lowercase();
    let segments: Vec<&str> = rest.split("__").collect();
    let at = |path: &[&str], reference: Option<&str>| Target {
        path: path.iter().map(|segment| (*segment).to_owned()).collect(),
        reference: reference.map(str::to_owned),
    };
    match segments.as_slice() {
        segments if segments.iter().any(|segment| segment.is_empty()) => Err(FORM.to_owned()),
        [section] if SECTIONS.contains(section) => Err(FORM.to_owned()),
        [key] => Ok(at(&[key], None)),
        [key, how @ ("env" | "file")] if is_root_secret(key) => Ok(at(&[key], Some(how))),
        [section, key]
            if !["backends", OPERATORS].contains(section) && SECTIONS.contains(section) =>
        {
            Ok(at(&[section, key], None))
        }
        [section @ ("server" | "store"), TLS, key] => Ok(at(&[section, TLS, key], None)),
        ["store", key, how @ ("env" | "file")] => Ok(at(&["store", key], Some(how))),
        ["auth", table, name, key] if auth::TABLES.contains(table) => {
            Ok(at(&["auth", table, &auth_name(table, name, root), key], None))
        }
        ["auth", auth::CALLERS, name, auth::QUOTA, key] => {
            let name = auth_name(auth::CALLERS, name, root);
            Ok(at(&["auth", auth::CALLERS, &name, auth::QUOTA, key], None))
        }
        [OPERATORS, name, key] => Ok(at(&[OPERATORS, &operator_name(name, root), key], None)),
        [OPERATORS, name, key, how @ ("env" | "file")] => {
            Ok(at(&[OPERATORS, &operator_name(name, root), key], Some(how)))
        }
        ["backends", name, key] => Ok(at(&["backends", &backend_name(name, root), key], None)),
        ["backends", name, section, key] if [TLS, CACHE].contains(section) => {
            Ok(at(&["backends", &backend_name(name, root), section, key], None))
        }
        ["backends", name, key, how @ ("env" | "file")] => {
            Ok(at(&["backends", &backend_name(name, root), key], Some(how)))
        }
        [section, ..] if !SECTIONS.contains(section) => {
            let hint = text::closest(section, SECTIONS).map_or_else(
                || format!("expected {}", SECTIONS.join(", ")),
                |known| format!("did you mean {}?", quoted(known)),
            );
            Err(format!("unknown section {}, {hint}", quoted(section)))
        }
        _ => Err(FORM.to_owned()),
    }
}

fn is_root_secret(key: &str) -> bool {
    root_rows().iter().any(|row| row.secret && row.key == key)
}

/// A variable's name cannot have a hyphen in every shell, so `_` takes its place: no backend's name
/// contains one.
fn backend_name(segment: &str, root: &Table) -> String {
    name_in(root.get("backends"), segment)
}

/// The same of an operator.
fn operator_name(segment: &str, root: &Table) -> String {
    name_in(root.get(OPERATORS), segment)
}

/// The same of a table of `[auth]`.
fn auth_name(table: &str, segment: &str, root: &Table) -> String {
    let tables = match root.get("auth") {
        Some(Node { value: Value::Table(tables), .. }) => tables.get(table),
        _ => None,
    };
    name_in(tables, segment)
}

fn name_in(table: Option<&Node>, segment: &str) -> String {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let existing = match table {
        Some(Node { value: Value::Table(named), .. }) => {
            named.keys().find(|name| plain(name) == plain(segment))
        }
        _ => None,
    };
    existing.cloned().unwrap_or_else(|| segment.replace('_', "-"))
}

fn place(root: &mut Table, target: Target, value: &str, origin: &Origin, errors: &mut Errors) {
    let text = Value::Text(value.to_owned());
    let value = match target.reference {
        None => text,
        Some(how) => {
            let node = Node { origin: origin.clone(), value: text };
            Value::Table(Table::from([(how, node)]))
        }
    };
    set(root, &target.path, Node { origin: origin.clone(), value }, errors);
}

/// Puts `node` at `path` and creates the tables on the way. If a value that is not a table already
/// exists there, it is reported and replaced.
fn set(table: &mut Table, path: &[String], node: Node, errors: &mut Errors) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), node);
        }
        [section, rest @ ..] => {
            let entry = table.entry(section.clone()).or_insert_with(|| Node {
                origin: node.origin.clone(),
                value: Value::Table(Table::new()),
            });
            if let Value::Table(inner) = &mut entry.value {
                set(inner, rest, node, errors);
                return;
            }
            let kind = entry.value.kind();
            errors
                .push(&entry.origin, format!("{} must be a section, got {kind}", quoted(section)));
            let mut inner = Table::new();
            set(&mut inner, rest, node, errors);
            entry.value = Value::Table(inner);
        }
    }
}
