//! What can be configured of the admin port, and of those who use it.

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::{
    caller::Name,
    settings::{Kind as _, bounds::CONCURRENCY, count, host_names, secret, settings},
};

/// Who sends `admin_token`.
pub const ADMIN: &str = "admin";

/// Operators by the names that the audit log has.
pub type Operators = BTreeMap<Name, OperatorSettings>;

settings! {
    /// One operator.
    #[derive(Debug, Clone)]
    pub struct OperatorSettings {
        /// Token that this operator sends to the admin port, in place of `admin_token`. The audit
        /// log has the operator's name. Required.
        token: Option<SecretString> = None, secret(16).optional();
    }
}

settings! {
    /// Who may use the admin port.
    #[derive(Debug, Clone)]
    pub struct AdminSettings {
        /// Token that all but the probes demand as `Authorization: Bearer TOKEN`.
        admin_token: Option<SecretString> = None, secret(16).optional();
        /// Names under which the admin port may be reached, with commas between them. Its IP
        /// addresses and `localhost` need not be named; a request for any other host gets HTTP 421.
        admin_hosts: Option<Vec<String>> = None, host_names().optional();
        /// Connections to the admin port. One more takes the place of one without requests, or
        /// waits.
        max_admin_connections: usize = 64, count(CONCURRENCY);
        /// Connections to the admin port of one peer, a network as `[callers]` has it, and no more
        /// than its share of them.
        max_admin_connections_per_peer: usize = 16, count(CONCURRENCY);
    }
}
