//! What a write would send, without sending it.

pub(super) mod preview;
pub(super) mod translate;
