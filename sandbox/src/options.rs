//! How the simulators behave at the start.

use std::time::Duration;

/// How the simulators behave at the start; `POST /sandbox/reset` returns to this.
#[derive(Clone)]
pub struct Options {
    /// Life of an SFT access token. The real value is not documented ("short-lived").
    pub token_ttl: Duration,
    /// Life of an SFT refresh token. The real value is not documented ("long-lived").
    pub refresh_ttl: Duration,
    /// The one SFT user that may log in.
    pub username: String,
    /// Their password.
    pub password: String,
    /// Accounts that a login may name as `targetAccountId`; any other is refused.
    pub child_accounts: Vec<String>,
    /// Whether to start (and reset) with example profiles rather than with none.
    pub seed_profiles: bool,
    /// Life of a token of the endpoint API (documented: 240 minutes).
    pub endpoint_token_ttl: Duration,
    /// The one application token that the endpoint API accepts.
    pub endpoint_application_token: String,
    /// The one tenant that PCC has.
    pub pcc_tenant: String,
    /// The one PCC user.
    pub pcc_username: String,
    /// Their password.
    pub pcc_password: String,
    /// Whether SFT calls without `X-Requested-With` are refused.
    pub require_x_requested_with: bool,
    /// Maximum number of profiles in one simulator.
    pub max_profiles: usize,
    /// Maximum number of concurrent connections; others wait in the listener's backlog.
    pub max_connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token_ttl: Duration::from_secs(15 * 60),
            refresh_ttl: Duration::from_secs(24 * 60 * 60),
            username: "sandbox".to_owned(),
            password: "sandbox-password".to_owned(),
            child_accounts: vec!["ACC_11".to_owned()],
            endpoint_token_ttl: Duration::from_secs(240 * 60),
            endpoint_application_token: "sandbox-application-token".to_owned(),
            pcc_tenant: "sandbox".to_owned(),
            pcc_username: "sandbox".to_owned(),
            pcc_password: "sandbox-password".to_owned(),
            seed_profiles: true,
            require_x_requested_with: false,
            max_profiles: 20_000,
            max_connections: 1_024,
        }
    }
}
