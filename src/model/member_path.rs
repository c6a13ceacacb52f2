//! Paths of members of `unmapped`, whose keys are the upstream's.
//!
//! Keys are separated by dots. A key that holds a dot or a back-quote is written in back-quotes
//! (AIP-161), in which a back-quote is written twice. Without them, a path whose keys do not exist
//! is tried with neighbors joined: `a.b` also finds the one key `a.b`.

use std::iter;

use prost_types::{Struct, Value, value::Kind};

/// Deeper paths lead nowhere: members below are kept as text.
const MAX_KEYS: usize = 32;

/// A path of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemberPath(Vec<Key>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    text: String,
    quoted: bool,
}

impl MemberPath {
    /// Reads a path; `None` if it is malformed.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let (mut keys, mut rest) = (Vec::new(), path);
        loop {
            let (key, after) = if let Some(quoted) = rest.strip_prefix('`') {
                quoted_key(quoted)?
            } else {
                let end = rest.find('.').unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                (Key { text: text.to_owned(), quoted: false }, after)
            };
            if (key.text.is_empty() && !key.quoted) || keys.len() == MAX_KEYS {
                return None;
            }
            keys.push(key);
            if after.is_empty() {
                return Some(Self(keys));
            }
            rest = after.strip_prefix('.')?;
        }
    }

    /// Copies the member that is meant.
    pub(super) fn copy(&self, from: &Struct, to: &mut Struct) {
        copy(&self.0, from, to);
    }
}

/// A key up to its closing back-quote, and what follows.
fn quoted_key(text: &str) -> Option<(Key, &str)> {
    let (mut key, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once('`')?;
        key.push_str(before);
        match after.strip_prefix('`') {
            Some(more) => {
                key.push('`');
                rest = more;
            }
            None => return Some((Key { text: key, quoted: true }, after)),
        }
    }
}

fn copy(path: &[Key], from: &Struct, to: &mut Struct) {
    for length in 1..=path.len() {
        let (head, rest) = path.split_at(length);
        if length > 1 && head.iter().any(|key| key.quoted) {
            return;
        }
        let keys: Vec<&str> = head.iter().map(|key| key.text.as_str()).collect();
        let key = keys.join(".");
        match from.fields.get(&key) {
            Some(value) if rest.is_empty() => {
                to.fields.insert(key, value.clone());
            }
            Some(Value { kind: Some(Kind::StructValue(inner)) }) => {
                let mut found = match to.fields.remove(&key) {
                    Some(Value { kind: Some(Kind::StructValue(found)) }) => found,
                    _ => Struct::default(),
                };
                copy(rest, inner, &mut found);
                if !found.fields.is_empty() {
                    let kind = Some(Kind::StructValue(found));
                    to.fields.extend(iter::once((key, Value { kind })));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::model::json;

    fn structure(json: &Json) -> Struct {
        match json::to_value(json).kind {
            Some(Kind::StructValue(members)) => members,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn members_are_found_by_their_keys() {
        let members = structure(&json!({
            "futureKey": 1, "a": {"b": 2, "c": {"d": 3}}, "a.b": 4, "x.y": {"z": 5},
            "q`r": 6, "": 7,
        }));
        for (paths, expected) in [
            (&["futureKey"][..], json!({"futureKey": 1})),
            (&["a.b"], json!({"a": {"b": 2}, "a.b": 4})),
            (&["`a.b`"], json!({"a.b": 4})),
            (&["a.`b`"], json!({"a": {"b": 2}})),
            (&["a.b", "a.c.d"], json!({"a": {"b": 2, "c": {"d": 3}}, "a.b": 4})),
            (&["x.y.z"], json!({"x.y": {"z": 5}})),
            (&["`x.y`.z"], json!({"x.y": {"z": 5}})),
            (&["q`r"], json!({"q`r": 6})),
            (&["`q``r`"], json!({"q`r": 6})),
            (&["``"], json!({"": 7})),
            (&["a.b.c"], json!({})),
            (&["nothing"], json!({})),
        ] {
            let mut found = Struct::default();
            for path in paths {
                let path = MemberPath::parse(path).unwrap_or_else(|| panic!("{path}"));
                path.copy(&members, &mut found);
            }
            assert_eq!(found, structure(&expected), "{paths:?}");
        }
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in ["", ".", "a.", ".a", "a..b", "`a", "`a`b", "a.`b", "`", "```"] {
            assert_eq!(MemberPath::parse(path), None, "{path}");
        }
        assert_eq!(MemberPath::parse(&"a.".repeat(100)), None);
    }
}
