//! Connections to an upstream: TLS, the lookup of its name, and what is known of a request whose
//! connection failed. Sends nothing: that is `transport`.

mod resolve;
mod tls;
mod unprocessed;

pub(super) use self::{
    resolve::{Resolver, Unresolved},
    tls::Handshakes,
    unprocessed::{CERTIFICATE_WANTED, Progress, Unprocessed, unprocessed},
};
