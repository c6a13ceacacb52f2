//! The normalized profile: names, masks, etag, checks and capabilities. No IO, no clock.
//!
//! The generated [`crate::pb::Profile`] is the model itself; this room has what needs no knowledge
//! of a dialect's wire format.

pub mod capability;
pub mod changes;
pub mod check;
pub mod diff;
pub mod etag;
pub mod fields;
pub mod json;
pub mod mask;
mod member_path;
pub mod method;
pub mod name;
pub mod note;
pub mod number;
pub mod object;
pub mod spelling;
mod split;
pub mod tree;
