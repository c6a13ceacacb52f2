//! The responses to calls that get no place, made once for each method.
//!
//! A process that is offered more than it can do answers mostly with these, so each has to cost
//! less than a call that is served: nothing is formatted or encoded, and nothing is decoded to log
//! it.

use std::{collections::HashMap, sync::OnceLock};

use http::{HeaderMap, Response};
use tonic::body::Body;

use super::{
    methods::{Method, Methods},
    reply,
};
use crate::caller::{Full, Resource};

/// What a call needs a place of.
const RESOURCES: [Resource; 3] = [Resource::Calls, Resource::Arriving, Resource::Probes];

/// The responses of one method: for each resource that of a caller with its share, and that of all
/// callers together. Every caller has the same share.
type Made = [[OnceLock<HeaderMap>; 2]; RESOURCES.len()];

/// The responses, by the label of the method.
pub(crate) struct Refusals(HashMap<String, Made>);

impl Refusals {
    /// None is made yet.
    pub(crate) fn new(methods: &Methods) -> Self {
        let known = methods.iter().map(|(_, method)| method).chain([methods.unknown()]);
        Self(known.map(|method| (method.label.clone(), Default::default())).collect())
    }

    /// The response to a call of this method.
    pub(crate) fn response<A: From<Body>>(&self, method: &Method, full: Full) -> Response<A> {
        let make = || {
            let error = reply::known(method, full.into());
            reply::refuse::<Body>(&error).into_parts().0.headers
        };
        let number = RESOURCES.iter().position(|known| *known == full.quota().resource);
        let made = self.0.get(&method.label).and_then(|made| made.get(number?));
        let kept = made.map(|[of_caller, of_all]| match full {
            Full::OfCaller(_) => of_caller,
            Full::OfAll(_) => of_all,
        });
        let headers = kept.map_or_else(make, |kept| kept.get_or_init(make).clone());
        let mut response = Response::new(A::from(Body::empty()));
        *response.headers_mut() = headers;
        response.extensions_mut().insert(full.reason());
        response
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
        let quotas = RESOURCES.map(|resource| Quota { resource, limit: 7, asked: 1 });
        let all = quotas.map(|quota| [Full::OfCaller(quota), Full::OfAll(quota)]);
        for (_, method) in methods.iter() {
            for full in all.into_iter().flatten() {
                let error: Error = reply::known(method, full.into());
                let made = reply::refuse::<Body>(&error);
                for _ in 0..2 {
                    let kept = refusals.response::<Body>(method, full);
                    assert_eq!(kept.headers(), made.headers(), "{}", method.label);
                    assert_eq!(reply::reason(kept.headers()), Some(full.reason()));
                }
            }
        }
        let made = refusals.0.values().flatten().flatten();
        let unmade = made.filter(|kept| kept.get().is_none()).count();
        assert_eq!(unmade, 2 * RESOURCES.len(), "those of unknown methods");
    }
}
