//! Filters (AIP-160) over every field of a profile.
//!
//! # What a filter may say
//!
//! | | |
//! |---|---|
//! | `a AND b`, `a b`, `a OR b`, `NOT a`, `-a`, `( )` | OR binds tighter than AND: `a AND b OR c` is `a AND (b OR c)` |
//! | `field = value`, `!=`, `<`, `<=`, `>`, `>=`, `:` | a path of the profile, `network.breakout_region.id` |
//! | `field : *` | something is said there |
//! | `"MVNE"`, `MVNE` | found in `display_name` or `description`, in capitals or not |
//!
//! - **Values** need quotes (`"` or `'`) when they hold white space or one of `( ) , = < > ! " '`. In
//!   quotes, `\` keeps the meaning of `*`, of a quote and of itself from them.
//! - **Texts** compare with regard to case. With `=`, `!=` and `:`, each `*` stands for any characters:
//!   `display_name = "MVNE*"`. `<` and the like go by code point.
//! - **Enums** are compared with `=`, `!=` and `:` only, by the value's name with its prefix or without:
//!   `STATE_ACTIVE`, `ACTIVE`. **Booleans** likewise, as `true` and `false`.
//! - **Unsaid** is neither equal nor unequal to anything, neither less nor more: `state != ACTIVE` gives
//!   profiles that say another state. `NOT state = ACTIVE` also gives those that say none, as NOT turns
//!   the answer around. Unsaid are an absent `optional`, an enum's UNSPECIFIED, an empty list and an
//!   empty text of a field that is not `optional`.
//! - **Several values**, in `radio_access` and below `services`: a comparison holds when it does for any
//!   of them; `!=` holds when there are some and none is equal. Each comparison looks by itself:
//!   `services.type : DATA services.traffic_limits.volume > 100` may find two services.
//! - **`:`** is `=` for scalars. For a message it takes `*` only.
//! - **`unmapped`** has no types: `unmapped.key = value` is true for an equal text, for an equal number
//!   (also one sent as text) and, without quotes, for `true`, `false` and `null`; of a list any element
//!   counts. A key that is not there is unsaid. `unmapped : key` and `unmapped.key : *` ask for the key;
//!   keys with other characters are quoted, `unmapped."a.b"`.
//!
//! Functions are refused. A filter has at most [`MAX_BYTES`] bytes, 128 terms and 32 levels of
//! parentheses; evaluating it takes time in proportion to the profile's texts.

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
    query::{fault::Fault, filter::compile::Node},
};

/// Longest filter, in bytes.
pub const MAX_BYTES: usize = 4096;

/// A checked filter. The default one lets every profile pass.
#[derive(Default)]
pub struct Filter(Node);

impl Filter {
    /// Reads `filter` of a request. What is wrong with it is a violation of that field that says at
    /// which character.
    pub fn parse(text: &str) -> Result<Self> {
        let node = match text.len() {
            n if n > MAX_BYTES => {
                Err(Fault::new(MAX_BYTES, format!("has {n} bytes, more than {MAX_BYTES}")))
            }
            _ => syntax::parse(text).and_then(compile::compile),
        };
        node.map(Self).map_err(|fault| fault.refuse("filter", text))
    }

    /// Whether a profile passes.
    #[must_use]
    pub fn matches(&self, profile: &Profile) -> bool {
        self.0.matches(profile)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}
