//! Who the gateway is at one upstream, with the headers that say so. Replaced as a whole when the
//! configuration has other secrets; requests under way end with the one that they began with.

use std::sync::Arc;

use secrecy::SecretString;

use super::{authentication::Auth, carried::CarriedToken};

/// So many replaced sets of secrets are still kept out of messages: answers to requests with them
/// may arrive yet.
const MAX_RETIRED: usize = 4;

/// How the gateway authenticates.
pub(super) struct SignIn {
    pub(super) auth: Arc<dyn Auth>,
    /// The headers of the fixed credential, if there is one.
    pub(super) fixed: CarriedToken,
    /// The secrets of those before, the latest first.
    retired: Vec<Vec<SecretString>>,
}

impl SignIn {
    pub(super) fn new(auth: Arc<dyn Auth>) -> Self {
        Self { auth, fixed: CarriedToken::default(), retired: Vec::new() }
    }

    /// The one that takes its place. `others` are secrets that go with it.
    pub(super) fn followed_by(&self, auth: Arc<dyn Auth>, others: &[SecretString]) -> Self {
        let own = self.auth.secrets().into_iter().chain(others).cloned().collect();
        let mut retired = vec![own];
        retired.extend(self.retired.iter().take(MAX_RETIRED - 1).cloned());
        Self { retired, ..Self::new(auth) }
    }

    /// The secrets of the configuration that no text may show.
    pub(super) fn secrets(&self) -> Vec<&SecretString> {
        self.auth.secrets().into_iter().chain(self.retired.iter().flatten()).collect()
    }
}
