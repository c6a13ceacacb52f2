//! Filters (AIP-160) over every field of a profile.
//!
//! # The language
//!
//! | | |
//! |---|---|
//! | `a AND b`, `a b`, `a OR b`, `NOT a`, `-a`, `( )` | `a AND b OR c` is `a AND (b OR c)` |
//! | `field = value`, `!=`, `<`, `<=`, `>`, `>=`, `:` | such as `network.breakout_region.id = 3` |
//! | `field : *` | the field is set |
//! | `"MVNE"`, `MVNE` | found in `display_name` or `description`, in any case |
//!
//! - **OR** binds tighter than AND, as AIP-160 has it.
//! - **Values** need quotes (`"` or `'`) when they contain white space or one of
//!   `( ) , = < > ! " '`. In quotes, `\` escapes `*`, a quote, and itself.
//! - **Strings** are case-sensitive. With `=`, `!=` and `:`, each `*` matches any characters:
//!   `display_name = "MVNE*"`. `<` and the like compare by code point.
//! - **Enums** are compared with `=`, `!=` and `:` only, by the value's name with or without its
//!   prefix: `STATE_ACTIVE`, `ACTIVE`. **Booleans** likewise, as `true` and `false`.
//! - **Unset** is neither equal nor unequal to anything, neither less nor greater: `state !=
//!   ACTIVE` finds profiles with another state. `NOT state = ACTIVE` also finds those without a
//!   state, because NOT negates the result. Unset are an absent `optional`, an enum's UNSPECIFIED,
//!   an empty list, and an empty string in a field that is not `optional`.
//! - **Several values**, in `radio_access` and below `services`: a comparison holds if it holds for
//!   any of them; `!=` holds if there are values and no value is equal. Each comparison is
//!   evaluated by itself: `services.type : DATA services.traffic_limits.volume > 100` may match two
//!   services.
//! - **`:`** is `=` for scalars. For a message it takes `*` only.
//! - **`unmapped`** has no types: `unmapped.key = value` is true for an equal string, for an equal
//!   number (also one sent as a string) and, without quotes, for `true`, `false` and `null`; of a
//!   list, any element counts. Numbers are compared exactly, whatever their length, and by value:
//!   `7`, `0007`, `7.0` and `70e-1` are equal. In quotes a value is a string and no number, so
//!   `"7.0"` finds only that text; `0x7` is no number either. A key that is not there is unset.
//!   `unmapped : key` and `unmapped.key : *` test for the key; keys with other characters are
//!   quoted, `unmapped."a.b"`.
//!
//! Functions are rejected. A filter has at most [`MAX_BYTES`] bytes, 128 terms and 32 levels of
//! parentheses; evaluating it takes time in proportion to the size of the
//! profile.

mod compile;
mod member;
mod operator;
mod pattern;
mod syntax;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::{
    error::Result,
    pb::Profile,
    query::{
        fault::Fault,
        field::is_within,
        filter::compile::{Node, Subject},
    },
};

/// Longest filter, in bytes.
pub const MAX_BYTES: usize = 4096;

/// A checked filter. The default one matches every profile.
#[derive(Default)]
pub struct Filter {
    node: Node,
    /// The paths that it reads.
    paths: Vec<String>,
}

impl Filter {
    /// Parses `filter` of a request. A mistake in it is a violation of that field, with the column.
    pub fn parse(text: &str) -> Result<Self> {
        let filter = match text.len() {
            n if n > MAX_BYTES => {
                Err(Fault::new(MAX_BYTES, format!("is {n} bytes long; the limit is {MAX_BYTES}")))
            }
            _ => syntax::parse(text).and_then(|expression| {
                let mut paths = Vec::new();
                compile::paths(&expression, &mut paths);
                Ok(Self { node: compile::compile(expression)?, paths })
            }),
        };
        filter.map_err(|fault| fault.refuse("filter", text))
    }

    /// Whether it names this field, or something within it.
    #[must_use]
    pub fn names(&self, field: &str) -> bool {
        self.paths.iter().any(|path| is_within(path, field))
    }

    /// Whether it reads nothing but fields that `has` knows.
    pub fn reads_only(&self, has: impl Fn(&str) -> bool) -> bool {
        self.paths.iter().all(|path| has(path))
    }

    /// About how long it takes to test an encoded profile of so many bytes, in nanoseconds: each
    /// term may read all of it.
    #[must_use]
    pub fn cost(&self, bytes: usize) -> usize {
        self.paths.len() * (50 + bytes)
    }

    /// Whether a profile matches.
    #[must_use]
    pub fn matches(&self, profile: &Profile) -> bool {
        self.node.matches(&Subject::new(profile))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}
