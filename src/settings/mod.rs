//! What can be configured, one row for each key, in the room that uses it.
//!
//! A room declares its keys in a table with [`settings!`]. From that one table come the struct of
//! the values, the defaults, the reading with all its checks, the list of known keys and the
//! suggestions for mistyped ones, what `/config` and `check` show, and the reference in `docs/`.
//!
//! # Adding a key
//!
//! Add a row to the table of the room that uses it, use the new field there, and run
//! `make docs-reference`. Nothing else knows single keys.
//!
//! # Layout
//!
//! - `table`: the macro, and a row as the reference shows it
//! - `kind`, `kinds`, `listen`: what a value may be: durations, sizes, counts, words, secrets,
//!   where a port listens
//! - `section`: one table of the file while it is being read
//! - `value`, `secret`, `pem`: from what was written to one typed value
//! - `trust`: what certificates and keys are good for in a TLS client
//! - `node`: what was written, each value with where it was written
//! - `error`: everything that is wrong
//! - `changed`: which keys differ between two configurations
//!
//! This room uses no other but `text`, opens no file but those of secrets and certificates, and
//! reads no environment but the list that it is given.
//!
//! # Secrets
//!
//! No error, no `Debug` output and nothing shown holds the value of a secret. The value of an
//! unknown key is never shown either: it may be a secret under a mistyped name.

pub(crate) mod bounds;
mod changed;
mod error;
mod kind;
mod kinds;
mod listen;
mod node;
mod pem;
mod secret;
mod section;
mod table;
mod trust;
mod value;

pub(crate) use self::{
    changed::ChangedKeys,
    error::{Errors, Origin, printable, quoted},
    kind::Kind,
    kinds::{
        REDACTED, bytes, count, duration, flag, host_names, on_off, one_of, plain_text, secret,
        trusted_path, words,
    },
    listen::listen_address,
    node::{Env, Node, Table, Value},
    pem::{certificates, private_key, revocation_lists},
    secret::read_bounded,
    section::Section,
    table::{Row, Settings, settings, shown, whole},
    trust::{authorities, check_files, identity, provider, server_name},
    value::{Read, show_bytes},
};
pub use error::{ConfigError, ConfigErrors};
pub use listen::ListenAddress;
pub use pem::{Certificates, PrivateKey, RevocationLists};
