//! The normalized profile: names, masks, etag, checks and capabilities. No IO, no clock.
//!
//! The generated [`crate::pb::Profile`] is the model itself; this room holds what can be said about it
//! without knowing a dialect's wire.

pub mod capability;
pub mod changes;
pub mod check;
pub mod diff;
pub mod etag;
pub mod fields;
pub mod json;
pub mod mask;
pub mod method;
pub mod name;
pub mod note;
