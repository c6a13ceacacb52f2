//! The responses to calls that get no place, made once for each method.
//!
//! A process that is offered more than it can do answers mostly with these, so each has to cost
//! less than a call that is served: nothing is formatted or encoded, and nothing is decoded to log
//! it.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use http::Response;
use tonic::body::Body;

use super::{
    methods::{Method, Methods},
    reply,
};
use crate::{
    caller::{Full, Resource},
    rpc::status::{Repeated, repeated},
};

/// What a call needs a place of.
const RESOURCES: [Resource; 3] = [Resource::Calls, Resource::Arriving, Resource::Probes];

/// The refusals of one method: for each resource that of a caller with its share, and that of all
/// callers together. Every caller has the same share.
type Made = [[OnceLock<Arc<Repeated>>; 2]; RESOURCES.len()];

/// The refusals, by the label of the method.
pub(crate) struct Refusals(HashMap<String, Made>);

impl Refusals {
    /// None is made yet.
    pub(crate) fn new(methods: &Methods) -> Self {
        let known = methods.iter().map(|(_, method)| method).chain([methods.unknown()]);
        Self(known.map(|method| (method.label.clone(), Default::default())).collect())
    }

    /// The response to a call of this method.
    pub(crate) fn response<A: From<Body>>(&self, method: &Method, full: Full) -> Response<A> {
        let Some(refusal) = self.refusal(method, full) else {
            return reply::refuse(&reply::known(method, full.into()));
        };
        let mut response = Response::new(A::from(Body::empty()));
        *response.headers_mut() = refusal.headers().clone();
        response.extensions_mut().insert(refusal);
        response
    }

    fn refusal(&self, method: &Method, full: Full) -> Option<Arc<Repeated>> {
        if full.quota().is_own {
            // Each caller may have another one: it is made for each call.
            return None;
        }
        let number = RESOURCES.iter().position(|known| *known == full.quota().resource)?;
        let [of_caller, of_all] = self.0.get(&method.label)?.get(number)?;
        let kept = match full {
            Full::OfCaller(_) => of_caller,
            Full::OfAll(_) => of_all,
        };
        if kept.get().is_none() {
            // Another one may have been faster; both say the same.
            let _ = kept.set(repeated(&reply::known(method, full.into()))?);
        }
        kept.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{caller::Quota, error::Error};

    #[test]
    fn a_response_that_was_kept_is_the_one_that_is_made() {
        let methods = Methods::new(&[crate::pb::DESCRIPTOR_SET.to_vec()]).unwrap();
        let refusals = Refusals::new(&methods);
        let quotas =
            RESOURCES.map(|resource| Quota { resource, limit: 7, asked: 1, is_own: false });
        let all = quotas.map(|quota| [Full::OfCaller(quota), Full::OfAll(quota)]);
        for (_, method) in methods.iter() {
            for full in all.into_iter().flatten() {
                let error: Error = reply::known(method, full.into());
                let made = reply::refuse::<Body>(&error);
                for _ in 0..2 {
                    let kept = refusals.response::<Body>(method, full);
                    assert_eq!(kept.headers(), made.headers(), "{}", method.label);
                    let refusal = kept.extensions().get::<Arc<Repeated>>().unwrap();
                    assert_eq!(refusal.error().reason(), full.reason());
                }
            }
        }
        let made = refusals.0.values().flatten().flatten();
        let unmade = made.filter(|kept| kept.get().is_none()).count();
        assert_eq!(unmade, 2 * RESOURCES.len(), "those of unknown methods");
    }
}
