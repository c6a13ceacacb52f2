//! What can be configured of queries.

use secrecy::SecretString;

use crate::settings::{Kind as _, secret, settings};

settings! {
    /// How page tokens are sealed.
    #[derive(Debug, Clone)]
    pub struct PageTokenSettings {
        /// Key that page tokens are sealed with; replicas that share it accept each other's tokens.
        /// By default each process makes a key of its own.
        page_token_key: Option<SecretString> = None, secret(16).optional();
    }
}
