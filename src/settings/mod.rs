//! How settings are read: one table of the file key by key, with every mistake and where it was made.
//!
//! Knows no particular key, and uses no other room.

mod error;
mod node;
mod secret;
mod section;
mod suggest;
mod value;

pub(crate) use self::{
    error::{Errors, Origin, printable, quoted},
    node::{Node, Table, Value},
    secret::read as secret,
    section::Section,
    suggest::closest,
    value::{Read, address, count, duration_or_off, text},
};
pub use error::{ConfigError, ConfigErrors};
