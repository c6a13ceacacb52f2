//! What a dialect tells of itself before there is a backend of it: its name, the settings that it
//! takes, and how it is made.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::SecretString;

use super::client::DialectClient;
use crate::upstream::{Auth, RateLimit};

/// A setting of a dialect's own in the configuration of a backend.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// What it is, in one sentence for the reference.
    pub help: &'static str,
}

/// The settings given for a backend, by key. All values are held as secrets.
pub type Settings = BTreeMap<String, SecretString>;

/// A dialect with the way to prove who the gateway is.
pub struct Built {
    /// The dialect.
    pub dialect: DialectClient,
    /// The credentials.
    pub auth: Arc<dyn Auth>,
}

/// A dialect that backends can name.
pub struct Registration {
    /// Its name in the configuration.
    pub name: &'static str,
    /// What the vendor allows, if it says so.
    pub rate_limit: Option<RateLimit>,
    /// The settings that it takes.
    pub settings: &'static [Setting],
    /// Makes it from the settings given, or says everything that is wrong with them.
    pub build: fn(&Settings) -> std::result::Result<Built, Vec<String>>,
}
