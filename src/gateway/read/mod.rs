//! Reads: one profile, lists, several by name, two side by side.

pub(super) mod batch;
pub(super) mod cached;
pub(super) mod diff;
pub(super) mod get;
pub(super) mod list;
mod unread;
pub(super) mod view;
