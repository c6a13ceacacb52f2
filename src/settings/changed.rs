//! Which keys have other values in one configuration than in another, by name and never by value.

use super::kind::Kind;

/// The keys that have other values, while two configurations are compared.
#[derive(Debug, Default)]
pub(crate) struct ChangedKeys {
    /// Dotted path of the table that is compared, empty at the top.
    path: String,
    keys: Vec<String>,
}

impl ChangedKeys {
    /// Compares two values of a key.
    pub(crate) fn value<K: Kind>(&mut self, key: &str, kind: &K, old: &K::Value, new: &K::Value) {
        if !kind.same(old, new) {
            self.add(key);
        }
    }

    /// Notes that a key, or a whole table, has changed.
    pub(crate) fn add(&mut self, key: &str) {
        self.keys.push(below(&self.path, key));
    }

    /// Compares what is in a table.
    pub(crate) fn within(&mut self, name: &str, compare: impl FnOnce(&mut Self)) {
        let path = below(&self.path, name);
        let above = std::mem::replace(&mut self.path, path);
        compare(self);
        self.path = above;
    }

    /// The full names of the keys, in the order in which they were compared.
    pub(crate) fn into_keys(self) -> Vec<String> {
        self.keys
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::SecretString;

    use super::*;
    use crate::settings::{
        Errors, Origin, Section, Settings as _, Table, Value, bounds::seconds, duration,
        plain_text, secret, settings,
    };

    settings! {
        #[derive(Debug, Clone)]
        pub(crate) struct Inner {
            /// A secret.
            password: Option<SecretString> = None, secret(1).optional();
        }
    }

    settings! {
        #[derive(Debug, Clone)]
        pub(crate) struct Outer {
            /// A time.
            wait as wait_time: Duration = seconds(1), duration(seconds(0)..=seconds(9));
            /// A text.
            name: Option<String> = None, plain_text(9).optional();
            ..own: Inner, "In the same table.";
            ..inner in "inner": Inner, "In a table of its own.";
        }
    }

    #[test]
    fn what_has_changed_is_named_and_secrets_are_compared_but_not_shown() {
        let keys = |old: &Outer, new: &Outer| {
            let mut keys = ChangedKeys::default();
            keys.within("outer", |keys| old.compare(new, keys));
            let at_the_top = {
                let mut keys = ChangedKeys::default();
                old.compare(new, &mut keys);
                keys.into_keys()
            };
            let keys = keys.into_keys();
            assert_eq!(
                at_the_top.iter().map(|key| format!("outer.{key}")).collect::<Vec<_>>(),
                keys
            );
            keys
        };
        let old = Outer::default();
        assert_eq!(keys(&old, &old.clone()), [""; 0]);
        let mut new = old.clone();
        (new.wait, new.name) = (seconds(2), Some("x".to_owned()));
        assert_eq!(keys(&old, &new), ["outer.wait_time", "outer.name"]);
        let secret = |text: &str| Inner { password: Some(SecretString::from(text)) };
        new = Outer { own: secret("one"), inner: secret("two"), ..old.clone() };
        assert_eq!(keys(&old, &new), ["outer.password", "outer.inner.password"]);
        let same = Outer { own: secret("one"), inner: secret("two"), ..old.clone() };
        assert_eq!(keys(&new, &same), [""; 0]);
        let other = Outer { inner: secret("three"), ..same };
        assert_eq!(keys(&new, &other), ["outer.inner.password"]);
        // The settings are read as any others are.
        let mut errors = Errors::default();
        let origin = Origin::Env("X".to_owned());
        let node =
            crate::settings::Node { origin: origin.clone(), value: Value::Text("3s".to_owned()) };
        let table = Table::from([("wait_time".to_owned(), node)]);
        let mut section = Section::new(String::new(), origin, table, &[], &mut errors);
        assert_eq!(keys(&old, &Outer::read(&mut section)), ["outer.wait_time"]);
    }
}
