//! Connections to an upstream: TLS, the lookup of its name, and what is known of a request whose
//! connection failed. Sends nothing: that is `transport`.

mod causes;
mod fault;
mod resolve;
mod settings;
mod tls;
mod unprocessed;

pub use self::settings::{Roots, TlsSettings, TlsVersion};
pub(super) use self::{
    causes::{causes, chain},
    fault::{ConnectionFault, Unconnected},
    resolve::{Resolver, Unresolved},
    tls::Handshakes,
    unprocessed::{Progress, Unprocessed, unprocessed},
};
