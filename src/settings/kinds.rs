//! The kinds of values that a row can name.

use std::{ops::RangeInclusive, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value as Json;

use super::{
    error::quoted,
    kind::Kind,
    node::{Env, Node, Value},
    secret as secrets,
    value::{self, Number, Read},
};

/// Longest list of host names.
const MAX_HOST_NAMES: usize = 4096;

/// Longest list of words.
const MAX_WORDS: usize = 4096;

/// What is shown in place of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// A duration with its unit.
pub(crate) fn duration(bounds: RangeInclusive<Duration>) -> impl Kind<Value = Duration> {
    Within(bounds)
}

/// A whole number.
pub(crate) fn count<N: Number>(bounds: RangeInclusive<N>) -> impl Kind<Value = N> {
    Count(bounds)
}

/// A number of bytes.
pub(crate) fn bytes(bounds: RangeInclusive<usize>) -> impl Kind<Value = usize> {
    Bytes(bounds)
}

/// `true` or `false`.
pub(crate) fn flag() -> impl Kind<Value = bool> {
    Flag
}

/// One line of text of at most so many characters.
pub(crate) fn plain_text(max: usize) -> impl Kind<Value = String> {
    Text(max)
}

/// The path of a file that says whom the program trusts. The room that uses the value reads it.
pub(crate) fn trusted_path() -> impl Kind<Value = String> {
    TrustedPath(Text(4096))
}

/// Names of hosts, without ports, with commas between them.
pub(crate) fn host_names() -> impl Kind<Value = Vec<String>> {
    HostNames
}

/// Words with commas between them. `each` says what they are; `read` and `show` are of one.
pub(crate) fn words<T>(
    each: &'static str,
    read: fn(&str) -> Option<T>,
    show: fn(&T) -> String,
) -> impl Kind<Value = Vec<T>> {
    Words { each, read, show }
}

/// A secret of at least so many bytes.
pub(crate) fn secret(least: usize) -> impl Kind<Value = SecretString> {
    Secret { least }
}

/// One of a few words, each with what it means.
pub(crate) fn one_of<T: Copy + PartialEq>(
    words: &'static [(&'static str, T)],
) -> impl Kind<Value = T> {
    OneOf(words)
}

/// `on` or `off`.
pub(crate) fn on_off() -> impl Kind<Value = bool> {
    one_of(&[("on", true), ("off", false)])
}

struct TrustedPath(Text);

impl Kind for TrustedPath {
    type Value = String;

    fn read(&self, node: &Node, env: &Env) -> Read<String> {
        self.0.read(node, env)
    }

    fn show(&self, value: &String) -> Json {
        self.0.show(value)
    }

    fn form(&self) -> &'static str {
        self.0.form()
    }

    fn bounds(&self) -> String {
        self.0.bounds()
    }

    fn trusted_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        value::text(node, self.0.0).ok()
    }
}

struct Within(RangeInclusive<Duration>);

impl Kind for Within {
    type Value = Duration;

    fn read(&self, node: &Node, _: &Env) -> Read<Duration> {
        value::duration(node, &self.0)
    }

    fn show(&self, value: &Duration) -> Json {
        value::show_duration(value).into()
    }

    fn form(&self) -> &'static str {
        "duration"
    }

    fn bounds(&self) -> String {
        value::range(&self.0, value::show_duration)
    }
}

struct Count<N>(RangeInclusive<N>);

impl<N: Number> Kind for Count<N> {
    type Value = N;

    fn read(&self, node: &Node, _: &Env) -> Read<N> {
        value::count(node, &self.0)
    }

    fn show(&self, value: &N) -> Json {
        (*value).into()
    }

    fn form(&self) -> &'static str {
        "integer"
    }

    fn bounds(&self) -> String {
        value::range(&self.0, N::to_string)
    }
}

struct Bytes(RangeInclusive<usize>);

impl Kind for Bytes {
    type Value = usize;

    fn read(&self, node: &Node, _: &Env) -> Read<usize> {
        value::bytes(node, &self.0)
    }

    fn show(&self, value: &usize) -> Json {
        (*value).into()
    }

    fn form(&self) -> &'static str {
        "size"
    }

    fn bounds(&self) -> String {
        value::range(&self.0, value::show_bytes)
    }

    fn default_text(&self, value: &usize) -> String {
        quoted(&value::show_bytes(value))
    }
}

struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn read(&self, node: &Node, _: &Env) -> Read<bool> {
        value::flag(node)
    }

    fn show(&self, value: &bool) -> Json {
        (*value).into()
    }

    fn form(&self) -> &'static str {
        "boolean"
    }

    fn bounds(&self) -> String {
        "`true`, `false`".to_owned()
    }
}

struct Text(usize);

impl Kind for Text {
    type Value = String;

    fn read(&self, node: &Node, _: &Env) -> Read<String> {
        value::text(node, self.0).map(str::to_owned)
    }

    fn show(&self, value: &String) -> Json {
        value.as_str().into()
    }

    fn form(&self) -> &'static str {
        "string"
    }

    fn bounds(&self) -> String {
        format!("1 to {} characters", self.0)
    }
}

struct HostNames;

impl Kind for HostNames {
    type Value = Vec<String>;

    fn read(&self, node: &Node, _: &Env) -> Read<Vec<String>> {
        let names = value::text(node, MAX_HOST_NAMES)?.split(',').map(|name| {
            let name = name.trim();
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if name.is_empty() || !name.bytes().all(fits) {
                let shown = quoted(name);
                return Err(format!("must be names of hosts with commas between, got {shown}"));
            }
            Ok(name.to_ascii_lowercase())
        });
        names.collect()
    }

    fn show(&self, value: &Vec<String>) -> Json {
        value.join(", ").into()
    }

    fn form(&self) -> &'static str {
        "host names"
    }

    fn bounds(&self) -> String {
        format!("up to {MAX_HOST_NAMES} characters, without ports")
    }
}

struct Words<T> {
    each: &'static str,
    read: fn(&str) -> Option<T>,
    show: fn(&T) -> String,
}

impl<T> Kind for Words<T> {
    type Value = Vec<T>;

    fn read(&self, node: &Node, _: &Env) -> Read<Vec<T>> {
        let words = value::text(node, MAX_WORDS)?.split(',').map(str::trim);
        let wrong = |word: &str| {
            format!("must be {} with commas between them, got {}", self.each, quoted(word))
        };
        let read = |word: &str| match word {
            "" => Err(wrong(word)),
            word => (self.read)(word).ok_or_else(|| wrong(word)),
        };
        words.map(read).collect()
    }

    fn show(&self, value: &Vec<T>) -> Json {
        value.iter().map(self.show).collect::<Vec<_>>().join(", ").into()
    }

    fn form(&self) -> &'static str {
        "words"
    }

    fn bounds(&self) -> String {
        self.each.to_owned()
    }
}

struct Secret {
    least: usize,
}

impl Kind for Secret {
    type Value = SecretString;

    fn read(&self, node: &Node, env: &Env) -> Read<SecretString> {
        let secret = secrets::read(node, env)?;
        if secret.expose_secret().len() < self.least {
            return Err(format!("must have at least {} bytes", self.least));
        }
        Ok(secret)
    }

    fn show(&self, _: &SecretString) -> Json {
        REDACTED.into()
    }

    fn form(&self) -> &'static str {
        "secret"
    }

    fn bounds(&self) -> String {
        match self.least {
            0 | 1 => "at most 64 KiB".to_owned(),
            least => format!("{least} bytes to 64 KiB"),
        }
    }

    fn is_secret(&self) -> bool {
        true
    }

    fn same(&self, one: &SecretString, other: &SecretString) -> bool {
        one.expose_secret() == other.expose_secret()
    }

    fn secret_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        secrets::path(node)
    }

    fn caution(&self, secret: &SecretString) -> Option<&'static str> {
        secrets::has_invisible_ends(secret.expose_secret()).then_some(
            "begins or ends with white space or another invisible character, which counts as part \
             of it",
        )
    }
}

struct OneOf<T: 'static>(&'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for OneOf<T> {
    type Value = T;

    fn read(&self, node: &Node, _: &Env) -> Read<T> {
        let otherwise = |got: &str| {
            let mut words: Vec<String> = self.0.iter().map(|(word, _)| quoted(word)).collect();
            let last = words.pop().unwrap_or_default();
            format!("must be {} or {last}, got {got}", words.join(", "))
        };
        if !matches!(node.value, Value::Text(_)) {
            return Err(otherwise(node.value.kind()));
        }
        let text = value::text(node, 64)?;
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| otherwise(&quoted(text)))
    }

    fn show(&self, value: &T) -> Json {
        self.0.iter().find(|(_, meaning)| meaning == value).map(|(word, _)| *word).into()
    }

    fn form(&self) -> &'static str {
        "string"
    }

    fn bounds(&self) -> String {
        self.0.iter().map(|(word, _)| quoted(word)).collect::<Vec<_>>().join(", ")
    }
}
