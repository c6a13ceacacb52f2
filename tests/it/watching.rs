//! Streams of changes: what they begin with, what they tell and when, how they go on elsewhere, and
//! how they end.

mod changes;
mod ends;
mod resuming;
pub mod stream;
