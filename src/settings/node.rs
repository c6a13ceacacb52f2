//! What was written: a tree of values, each with where it was written.
//!
//! Nothing here derives `Debug`, because the tree holds secrets in the clear.

use std::collections::BTreeMap;

use super::error::Origin;

/// The environment of the process. A list, so that a test needs no real one.
pub(crate) type Env = [(String, String)];

/// A table of the file.
pub(crate) type Table = BTreeMap<String, Node>;

/// A value and where it was written.
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) value: Value,
}

/// As much of TOML's types as the configuration uses.
pub(crate) enum Value {
    Text(String),
    /// `None` is a number beyond 128 bits.
    Integer(Option<i128>),
    Flag(bool),
    Table(Table),
    /// Anything else, by the name of its type.
    Other(&'static str),
}

impl Value {
    /// The type with its article, for "must be …, got …".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Flag(_) => "a boolean",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}
