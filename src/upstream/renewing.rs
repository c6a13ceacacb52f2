//! What a new configuration changes of an upstream that goes on: its secrets, and how it is
//! connected to. What is known of the upstream itself stays: tokens that are still good, the
//! circuit, the rate, and what is used of the vendor's limits.

use std::sync::Arc;

use super::{
    authentication::Auth, client::Upstream, keeper::Account, settings::UpstreamSettings,
    transport::Transport,
};
use crate::error::Result;

/// New connections to an upstream, of which none is open yet.
pub struct Connections(Transport);

impl Upstream {
    /// Sets up connections by other settings, in place of those that there are.
    ///
    /// # Errors
    ///
    /// When an HTTP client cannot be set up.
    pub fn connections(&self, settings: &UpstreamSettings) -> Result<Connections> {
        self.transport.load().renewed(settings).map(Connections)
    }

    /// Sends requests over these connections from now on. Requests under way end over those that
    /// they began with.
    pub fn connect_over(&self, Connections(transport): Connections) {
        let (before, sign_in) = (self.transport.load_full(), self.sign_in.load_full());
        let kept = sign_in.followed_by(Arc::clone(&sign_in.auth), before.secrets());
        // The secrets of a proxy before the connections through it: none is shown in between.
        self.sign_in.store(Arc::new(kept));
        self.transport.store(Arc::new(transport));
        self.credentials.forget_needles();
    }

    /// Authenticates with these secrets from now on, which are of the same account: tokens of those
    /// before are forgotten, and a pause that they have caused ends. Requests under way end with
    /// what they carry.
    pub fn sign_in_with(self: &Arc<Self>, auth: Arc<dyn Auth>, account: &Account) {
        let next = self.sign_in.load().followed_by(auth, &[]);
        self.sign_in.store(Arc::new(next));
        if let Some(keeper) = self.keeper.get() {
            keeper.change_credentials(account);
        }
        if let Some(sharing) = self.sharing.get() {
            sharing.change_credentials(account);
        }
        self.credentials.start_over();
        self.publish(None);
    }

    /// Goes on with the tokens of another one of the same account and secrets, which this one is
    /// about to replace. It must not be in use yet.
    #[must_use]
    pub fn sharing_tokens(mut self: Arc<Self>, of: &Self) -> Arc<Self> {
        if let Some(own) = Arc::get_mut(&mut self) {
            own.credentials = Arc::clone(&of.credentials);
        }
        self
    }
}
