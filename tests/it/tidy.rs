//! The house rules that a machine can hold, read from the sources as text.
//!
//! Each rule gives the places that break it as `file:line: what is wrong`; none knows what code means
//! beyond comments, literals and paths.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod blank;
mod code;
mod imports;
mod prose;
mod sources;
