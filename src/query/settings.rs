//! What can be configured of queries.

use secrecy::SecretString;

use crate::settings::{
    Kind as _,
    bounds::{MESSAGE, MIB},
    bytes, secret, settings,
};

settings! {
    /// How lists are cut into pages, and how page tokens are sealed.
    #[derive(Debug, Clone)]
    pub struct PageSettings {
        /// Key that page tokens are sealed with; replicas that share it accept each other's tokens.
        /// By default each process makes a key of its own.
        page_token_key: Option<SecretString> = None, secret(16).optional();
        /// Most bytes of profiles in one page of `ListProfiles`, which ends there and goes on with
        /// its token, and in one response of `BatchGetProfiles`, which is refused beyond. Clients
        /// take 4 MiB by default. A single profile may be larger.
        max_page_bytes: usize = 3 * MIB, bytes(MESSAGE);
    }
}
