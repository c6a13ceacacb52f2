//! What replicas of the gateway share: one Redis or Valkey, and how a replica is connected to it.
//!
//! - `settings`: what can be configured of it
//! - `connection`: the connections to the server, which are made again when they fail
//! - `metrics`: what is counted of them
//!
//! This room knows nothing of what is kept there, or of what a replica does without it.

pub mod connection;
mod metrics;
mod settings;

pub use self::{
    metrics::{Resync, SharedMetrics},
    settings::{
        Acknowledge, Address, Endpoint, Sentinels, SharedSettings, SharedTlsSettings,
        WhenUnreachable,
    },
};
pub use crate::settings::{Certificates, PrivateKey};
