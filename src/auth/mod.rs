//! Who calls, by what proves it, and what that caller may do.
//!
//! - `settings`: what can be configured, `[auth]` and its tables
//! - `rights`: what there is to be allowed, and which of it each method needs
//! - `policy`: which caller may do what in which backend
//! - `identity`: who a call is of, as the rest of the program sees it
//! - `authenticator`: from the proofs that came with a call to its identity
//! - `unproved`: why a call is of no one
//! - `prepared`: rules that are about to be in force
//! - `in_force`: the rules of now, which a reload of the configuration replaces
//! - `jwt`, `claims`: tokens, and what they say
//! - `keyring`, `jwks`, `fetch`: the keys that sign tokens, how they are written, and how they are
//!   fetched
//! - `certificate`: what the certificate of a connection says
//! - `proxies`: which proxies are believed
//! - `workload`: which of both says which workload calls
//! - `xfcc`: what a proxy says of the certificate that its client has shown
//! - `spiffe`: how certificates name workloads
//!
//! Nothing here knows gRPC or HTTP: `server::layers::authenticate` takes the proofs off a request,
//! and `gateway::door` asks for the rights. Without `mode = "required"` none of it is asked.

mod authenticator;
mod certificate;
mod claims;
mod fetch;
mod identity;
mod in_force;
mod jwks;
mod jwt;
mod keyring;
mod metrics;
mod policy;
mod prepared;
mod proxies;
mod remembered;
mod rights;
mod settings;
pub mod spiffe;
mod unproved;
mod workload;
pub mod xfcc;

pub(crate) use self::{jwt::check as check_keys, policy::EVERY_BACKEND};
pub use authenticator::{Authenticator, Kept, Proofs, Sent};
pub use certificate::Certificate;
pub use identity::{Identity, Via, not_allowed};
pub use in_force::{Changes, InForce};
pub use metrics::AuthMetrics;
pub use policy::{Grants, Policy};
pub use prepared::PreparedRules;
pub use proxies::{Network, Peer, Proxy};
pub use rights::{RIGHT_TO_VALIDATE, Right, Rights, right_of};
pub use settings::{
    Algorithms, AuthRules, AuthSettings, Fresh, IssuerSettings, Mode, PrincipalSettings,
    Reflection, RoleSettings,
};
pub use unproved::{NotIdentified, Unproved, Why};

/// Whether this is a key set that can be used.
#[doc(hidden)]
#[must_use]
pub fn is_key_set(bytes: &[u8]) -> bool {
    jwks::Keys::parse(bytes, &Algorithms::default()).is_ok()
}
