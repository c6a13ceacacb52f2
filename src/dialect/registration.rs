//! What a dialect declares about itself before any backend uses it: its name, its settings, and its
//! constructor.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::SecretString;

use super::client::DialectClient;
use crate::upstream::{Auth, Limits};

/// A dialect-specific setting in the configuration of a backend.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// What its value may be.
    pub form: Form,
    /// When it has to be given, or else its default, as the reference shows it: `required`,
    /// `required without …`, `none`, or the value.
    pub needed: &'static str,
    /// What it is, in one sentence for the reference.
    pub help: &'static str,
}

/// What the value of a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any text that is not empty.
    Text,
    /// Text that must never be shown.
    Secret,
    /// `on` or `off`.
    Switch,
}

/// The dialect-specific settings of a backend, by key. All values are treated as secrets.
pub type Settings = BTreeMap<String, SecretString>;

/// A dialect and its authentication.
pub struct Built {
    /// The dialect.
    pub dialect: DialectClient,
    /// The credentials.
    pub auth: Arc<dyn Auth>,
}

/// A dialect that a backend can have.
pub struct Registration {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The vendor's documented limits.
    pub limits: Limits,
    /// Its settings.
    pub settings: &'static [Setting],
    /// Builds it from the given settings, or returns everything that is wrong with them.
    pub build: fn(&Settings) -> std::result::Result<Built, Vec<String>>,
}
