//! The upstream APIs. Each dialect is a folder; `adapter` has the traits that they share,
//! `registration` what a dialect declares about itself, and `registry` one line for each.
//!
//! A dialect's wire code is pure (`encode`, `decode`, `fault`: bytes in, values out). Operations of
//! several requests are written over [`Port`](crate::upstream::Port), so that they never see
//! credentials or connections.

mod adapter;
mod bics_sft;
mod client;
mod effect;
mod endpoint;
mod listed;
mod pcc;
mod reading;
#[cfg(test)]
mod recorder;
mod registration;
mod registry;

pub use adapter::{
    Brief, Dialect, Edit, Item, ListPart, Listing, Named, Operations, ProfileUpdate, SoFar,
    already_attached, not_attached,
};
pub use client::DialectClient;
pub use registration::{Built, Form, Registration, Setting, Settings};
pub use registry::REGISTRY;
