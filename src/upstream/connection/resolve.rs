//! Looks up the addresses of a host name, so that a failure to do so can be told from others.

use std::{error::Error, fmt, io, net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Asks the system, as the HTTP client does by itself.
#[derive(Debug, Clone, Default)]
pub(in crate::upstream) struct Resolver {
    /// The host that is looked up, whatever name the client asks for.
    pub(in crate::upstream) instead: Option<Arc<str>>,
}

/// The system knows no address for a name.
#[derive(Debug)]
pub(in crate::upstream) struct Unresolved(io::Error);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let instead = self.instead.clone();
        Box::pin(async move {
            let name = instead.as_deref().unwrap_or(name.as_str());
            let found = tokio::net::lookup_host((name, 0)).await.map_err(Unresolved)?;
            let found: Vec<SocketAddr> = found.collect();
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name does not resolve: {}", self.0)
    }
}

impl Error for Unresolved {}
