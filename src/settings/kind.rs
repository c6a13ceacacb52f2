//! What a value may be: how it is read, shown and described; and what can be made of any kind.

use serde_json::Value as Json;

use super::{
    node::{Env, Node, Value},
    value::Read,
};

/// What the value of a key may be.
pub(crate) trait Kind {
    /// The value when it has been read.
    type Value;

    /// Reads a value that was written.
    fn read(&self, node: &Node, env: &Env) -> Read<Self::Value>;

    /// The value as `/config` shows it.
    fn show(&self, value: &Self::Value) -> Json;

    /// What is written, in a word or two.
    fn form(&self) -> &'static str;

    /// What is allowed, in words.
    fn bounds(&self) -> String;

    /// The default as a configuration file would have it.
    fn default_text(&self, value: &Self::Value) -> String {
        match self.show(value) {
            Json::Null => "none".to_owned(),
            Json::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        }
    }

    /// Whether the value is never shown and may be `{ env = … }` or `{ file = … }`.
    fn is_secret(&self) -> bool {
        false
    }

    /// The file that holds the secret, if what was written names one.
    fn secret_file<'n>(&self, _: &'n Node) -> Option<&'n str> {
        None
    }

    /// The file that says whom the program trusts, if what was written names one. Who can change
    /// it, can be trusted.
    fn trusted_file<'n>(&self, _: &'n Node) -> Option<&'n str> {
        None
    }

    /// What is probably not meant about a value that can be used: the rest of a sentence that
    /// begins with the key. Never with a part of a secret.
    fn caution(&self, _: &Self::Value) -> Option<&'static str> {
        None
    }

    /// Whether two values are the same. What [`Self::show`] hides has to be compared here.
    fn same(&self, one: &Self::Value, other: &Self::Value) -> bool {
        self.show(one) == self.show(other)
    }

    /// What is expected, if there is no default.
    fn required(&self) -> Option<&str> {
        None
    }

    /// The same, where the key may be left out.
    fn optional(self) -> Optional<Self>
    where
        Self: Sized,
    {
        Optional(self)
    }

    /// The same, where the word `off` means none.
    fn or_off(self) -> OrOff<Self>
    where
        Self: Sized,
    {
        OrOff(self)
    }

    /// The same as another type.
    fn mapped<T>(self, to: fn(Self::Value) -> T, from: fn(&T) -> Self::Value) -> Mapped<Self, T>
    where
        Self: Sized,
    {
        Mapped { kind: self, to, from }
    }

    /// The same with one more check; `bounds` describes what is allowed then.
    fn checked<C>(self, bounds: &'static str, check: C) -> Checked<Self, C>
    where
        Self: Sized,
        C: Fn(&Self::Value) -> Read<()>,
    {
        Checked { kind: self, bounds, check }
    }
}

/// A value that may be left out.
pub(crate) struct Optional<K>(K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn read(&self, node: &Node, env: &Env) -> Read<Self::Value> {
        self.0.read(node, env).map(Some)
    }

    fn show(&self, value: &Self::Value) -> Json {
        value.as_ref().map_or(Json::Null, |value| self.0.show(value))
    }

    fn form(&self) -> &'static str {
        self.0.form()
    }

    fn bounds(&self) -> String {
        self.0.bounds()
    }

    fn is_secret(&self) -> bool {
        self.0.is_secret()
    }

    fn same(&self, one: &Self::Value, other: &Self::Value) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => self.0.same(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    fn secret_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        self.0.secret_file(node)
    }

    fn trusted_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        self.0.trusted_file(node)
    }

    fn caution(&self, value: &Self::Value) -> Option<&'static str> {
        value.as_ref().and_then(|value| self.0.caution(value))
    }
}

/// A value, or the word `off`.
pub(crate) struct OrOff<K>(K);

impl<K: Kind> Kind for OrOff<K> {
    type Value = Option<K::Value>;

    fn read(&self, node: &Node, env: &Env) -> Read<Self::Value> {
        match &node.value {
            Value::Text(text) if text == "off" => Ok(None),
            _ => {
                let read = self.0.read(node, env).map(Some);
                read.map_err(|why| format!("{why} (`off` disables it)"))
            }
        }
    }

    fn show(&self, value: &Self::Value) -> Json {
        value.as_ref().map_or_else(|| "off".into(), |value| self.0.show(value))
    }

    fn form(&self) -> &'static str {
        self.0.form()
    }

    fn bounds(&self) -> String {
        format!("{}, or `off`", self.0.bounds())
    }

    fn is_secret(&self) -> bool {
        self.0.is_secret()
    }

    fn same(&self, one: &Self::Value, other: &Self::Value) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => self.0.same(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    fn secret_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        self.0.secret_file(node)
    }

    fn trusted_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        self.0.trusted_file(node)
    }

    fn caution(&self, value: &Self::Value) -> Option<&'static str> {
        value.as_ref().and_then(|value| self.0.caution(value))
    }
}

/// A value with one more check.
pub(crate) struct Checked<K, C> {
    kind: K,
    bounds: &'static str,
    check: C,
}

impl<K: Kind, C: Fn(&K::Value) -> Read<()>> Kind for Checked<K, C> {
    type Value = K::Value;

    fn read(&self, node: &Node, env: &Env) -> Read<Self::Value> {
        let value = self.kind.read(node, env)?;
        (self.check)(&value).map(|()| value)
    }

    fn show(&self, value: &Self::Value) -> Json {
        self.kind.show(value)
    }

    fn form(&self) -> &'static str {
        self.kind.form()
    }

    fn bounds(&self) -> String {
        self.bounds.to_owned()
    }

    fn is_secret(&self) -> bool {
        self.kind.is_secret()
    }

    fn same(&self, one: &Self::Value, other: &Self::Value) -> bool {
        self.kind.same(one, other)
    }

    fn secret_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        self.kind.secret_file(node)
    }

    fn trusted_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        self.kind.trusted_file(node)
    }

    fn caution(&self, value: &Self::Value) -> Option<&'static str> {
        self.kind.caution(value)
    }
}

/// A value as another type.
pub(crate) struct Mapped<K: Kind, T> {
    kind: K,
    to: fn(K::Value) -> T,
    from: fn(&T) -> K::Value,
}

impl<K: Kind, T> Kind for Mapped<K, T> {
    type Value = T;

    fn read(&self, node: &Node, env: &Env) -> Read<T> {
        self.kind.read(node, env).map(self.to)
    }

    fn show(&self, value: &T) -> Json {
        self.kind.show(&(self.from)(value))
    }

    fn form(&self) -> &'static str {
        self.kind.form()
    }

    fn bounds(&self) -> String {
        self.kind.bounds()
    }

    fn same(&self, one: &T, other: &T) -> bool {
        self.kind.same(&(self.from)(one), &(self.from)(other))
    }
}
