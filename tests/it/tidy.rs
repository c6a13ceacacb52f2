//! The house rules that a machine can hold, read from the sources.
//!
//! Each rule gives the places that break it as `file:line: what is wrong`; none knows more of what
//! code means than where a path leads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod circles;
mod code;
mod imports;
mod manifests;
mod modules;
mod phrases;
mod prose;
mod sources;
mod syntax;
mod workspace;
