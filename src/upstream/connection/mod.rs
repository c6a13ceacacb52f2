//! Connections to an upstream: TLS, the proxy, the lookup of its name, and what is known of a
//! request whose connection failed. Sends nothing: that is `transport`.

mod causes;
mod fault;
mod permitted;
mod proxy;
mod resolve;
mod settings;
mod tls;
mod unprocessed;

pub(super) use self::{
    causes::{causes, chain},
    fault::{ConnectionFault, Unconnected, of_proxy},
    permitted::{Permitted, Unpermitted},
    proxy::Proxy,
    resolve::{Resolver, Unresolved},
    tls::Handshakes,
    unprocessed::{Progress, Unprocessed, unprocessed},
};
pub use self::{
    proxy::{ProxyChoice, ProxySettings},
    settings::{Roots, TlsSettings, TlsVersion},
};
