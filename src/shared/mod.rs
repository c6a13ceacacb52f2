//! What replicas of the gateway agree on, through one Redis or Valkey that they share.
//!
//! - `protocol`: what one replica knows and decides, without IO and without a clock
//! - `account`: what they share of one account of an upstream: its logins and its limits
//! - `commands`: what it asks of the server, as scripts
//! - `connection`: the connections to the server, which are made again when they fail
//! - `history`: what they have seen of a list, and who looks for what has changed
//! - `membership`: this replica as one of those that agree, over the connections
//! - `settings`: what can be configured of them
//! - `metrics`: what is counted of them
//! - `condition`: how this replica does, for people
//!
//! Nothing here knows what is kept or written: the rooms to the right name their profiles and their
//! requests.

mod account;
pub mod commands;
mod condition;
pub mod connection;
pub mod history;
pub mod membership;
mod metrics;
pub mod protocol;
#[cfg(test)]
pub(crate) mod redis_server;
mod settings;

pub use self::{
    account::{SharedAccount, Visitor},
    condition::{Condition, Conditions},
    metrics::{Resync, SharedMetrics},
    settings::{
        Acknowledge, Address, Endpoint, Sentinels, SharedSettings, SharedTlsSettings,
        WhenUnreachable,
    },
};
pub use crate::settings::{Certificates, PrivateKey};
