//! Who asks for something at the admin port, and from where.

use std::sync::Arc;

use http::{Extensions, Request};

use super::guard::Principal;
use crate::{levers::Operator, server::transport::stream::Peer};

/// Notes where the requests of a connection come from.
pub(crate) fn from_peer<B>(peer: Peer) -> impl Fn(Request<B>) -> Request<B> + Clone {
    move |mut request| {
        request.extensions_mut().insert(peer);
        request
    }
}

/// Who asks. Where no token has to be sent, that is where the request came from.
#[derive(Clone)]
pub(super) struct Asker {
    /// Whose token was sent.
    pub(super) named: bool,
    pub(super) operator: Operator,
}

impl Asker {
    /// The one who is behind a request.
    pub(super) fn of(principal: Principal, request: &Extensions) -> Self {
        let peer: Option<Arc<str>> = request.get().map(|peer: &Peer| peer.without_port().into());
        let unnamed = || peer.clone().unwrap_or_else(|| "unknown".into());
        let named = principal.is_some();
        let name = principal.unwrap_or_else(unnamed);
        Self { named, operator: Operator { name, peer } }
    }
}
