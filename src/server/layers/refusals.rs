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
use crate::{
    caller::{Full, Resource},
    error::Reason,
};

/// Why a call gets no place.
const REASONS: [Full; 6] = [
    Full::OfCaller(Resource::Calls),
    Full::OfAll(Resource::Calls),
    Full::OfCaller(Resource::Arriving),
    Full::OfAll(Resource::Arriving),
    Full::OfCaller(Resource::Probes),
    Full::OfAll(Resource::Probes),
];

/// The responses, by the label of the method.
pub(crate) struct Refusals(HashMap<String, [OnceLock<HeaderMap>; REASONS.len()]>);

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
        let made = self.0.get(&method.label).zip(REASONS.iter().position(|known| *known == full));
        let kept = made.and_then(|(each, n)| each.get(n));
        let headers = kept.map_or_else(make, |kept| kept.get_or_init(make).clone());
        let mut response = Response::new(A::from(Body::empty()));
        *response.headers_mut() = headers;
        response.extensions_mut().insert(reason(full));
        response
    }
}

fn reason(full: Full) -> Reason {
    match full {
        Full::OfCaller(_) => Reason::CallerQuotaExceeded,
        Full::OfAll(_) => Reason::Overloaded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_response_that_was_kept_is_the_one_that_is_made() {
        let methods = Methods::new(&[crate::pb::DESCRIPTOR_SET.to_vec()]).unwrap();
        let refusals = Refusals::new(&methods);
        for (_, method) in methods.iter() {
            for full in REASONS {
                let error: Error = reply::known(method, full.into());
                assert_eq!(error.reason(), reason(full));
                let made = reply::refuse::<Body>(&error);
                for _ in 0..2 {
                    let kept = refusals.response::<Body>(method, full);
                    assert_eq!(kept.headers(), made.headers(), "{}", method.label);
                    assert_eq!(reply::reason(kept.headers()), Some(reason(full)));
                }
            }
        }
        let unmade = refusals.0.values().flatten().filter(|kept| kept.get().is_none()).count();
        assert_eq!(unmade, REASONS.len(), "those of unknown methods");
    }
}
