//! What one configuration changes in another, by the names of keys and never by their values.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;

use super::{
    auth,
    backend::{BackendSettings, CACHE, DIALECT, OptionValue},
    types::Config,
};
use crate::settings::{ChangedKeys, Settings};

/// What a new configuration changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The full names of the keys that have other values, apart from those of backends.
    pub keys: Vec<String>,
    /// What is changed of backends, by their names.
    pub backends: BTreeMap<String, BackendChange>,
}

/// What a new configuration changes of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendChange {
    /// There was no such backend.
    Added,
    /// There is no such backend any more.
    Removed,
    /// These keys of its section have other values.
    Changed(Vec<String>),
}

impl Changes {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.backends.is_empty()
    }

    /// The full names of all keys that have other values. A backend that is added or removed is
    /// named by its section.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        let of_backend = |(name, change): (&String, &BackendChange)| match change {
            BackendChange::Added | BackendChange::Removed => vec![format!("backends.{name}")],
            BackendChange::Changed(keys) => {
                keys.iter().map(|key| format!("backends.{name}.{key}")).collect()
            }
        };
        self.keys.iter().cloned().chain(self.backends.iter().flat_map(of_backend))
    }
}

impl Config {
    /// What a new configuration changes in this one. Where something was written, and what is
    /// warned of, does not count.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Changes {
        let mut keys = ChangedKeys::default();
        self.addresses.compare(&new.addresses, &mut keys);
        self.admin.compare(&new.admin, &mut keys);
        self.permissions.compare(&new.permissions, &mut keys);
        self.page_tokens.compare(&new.page_tokens, &mut keys);
        table(&mut keys, "log", &self.log, &new.log);
        table(&mut keys, "audit", &self.audit, &new.audit);
        table(&mut keys, "memory", &self.memory, &new.memory);
        table(&mut keys, "reload", &self.reload, &new.reload);
        table(&mut keys, "server", &self.server, &new.server);
        keys.within("server", |keys| table(keys, "tls", &self.tls, &new.tls));
        keys.within("auth", |keys| auth::compare(&self.auth, &new.auth, keys));
        keys.within("operators", |keys| {
            let names: BTreeSet<_> = self.operators.keys().chain(new.operators.keys()).collect();
            for name in names {
                match (self.operators.get(name), new.operators.get(name)) {
                    (Some(old), Some(new)) => table(keys, name.as_str(), old, new),
                    _ => keys.add(name.as_str()),
                }
            }
        });
        table(&mut keys, "callers", &self.callers, &new.callers);
        table(&mut keys, "request_ids", &self.request_ids, &new.request_ids);
        table(&mut keys, "store", &self.store, &new.store);
        if let (Some(old), Some(new)) = (&self.shared, &new.shared) {
            table(&mut keys, "store", old, new);
        }
        Changes { keys: keys.into_keys(), backends: backends(&self.backends, &new.backends) }
    }
}

fn table<S: Settings>(keys: &mut ChangedKeys, name: &str, old: &S, new: &S) {
    keys.within(name, |keys| old.compare(new, keys));
}

fn backends(
    old: &BTreeMap<String, BackendSettings>,
    new: &BTreeMap<String, BackendSettings>,
) -> BTreeMap<String, BackendChange> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| match (old.get(name), new.get(name)) {
        (None, _) => Some(BackendChange::Added),
        (_, None) => Some(BackendChange::Removed),
        (Some(old), Some(new)) => {
            let keys = old.changed_keys(new);
            (!keys.is_empty()).then_some(BackendChange::Changed(keys))
        }
    };
    names.into_iter().filter_map(|name| Some((name.clone(), change(name)?))).collect()
}

impl BackendSettings {
    /// The keys of its section that have other values.
    fn changed_keys(&self, new: &Self) -> Vec<String> {
        let mut keys = ChangedKeys::default();
        if self.dialect != new.dialect {
            keys.add(DIALECT);
        }
        let names: BTreeSet<_> = self.options.keys().chain(new.options.keys()).collect();
        for name in names {
            if !is_same(self.options.get(name), new.options.get(name)) {
                keys.add(name);
            }
        }
        self.label.compare(&new.label, &mut keys);
        self.upstream.compare(&new.upstream, &mut keys);
        self.write.compare(&new.write, &mut keys);
        self.watch.compare(&new.watch, &mut keys);
        table(&mut keys, CACHE, &self.cache, &new.cache);
        keys.into_keys()
    }

    /// Whether a key is a secret of the dialect: it says that the account is this one, and not
    /// which one it is.
    #[must_use]
    pub fn is_secret(&self, key: &str) -> bool {
        matches!(self.options.get(key), Some(OptionValue::Secret(_)))
    }
}

fn is_same(old: Option<&OptionValue>, new: Option<&OptionValue>) -> bool {
    match (old, new) {
        (Some(OptionValue::Plain(old)), Some(OptionValue::Plain(new))) => old == new,
        (Some(OptionValue::Switch(old)), Some(OptionValue::Switch(new))) => old == new,
        (Some(OptionValue::Secret(old)), Some(OptionValue::Secret(new))) => {
            old.expose_secret() == new.expose_secret()
        }
        (old, new) => old.is_none() && new.is_none(),
    }
}
