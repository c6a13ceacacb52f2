//! What the certificate of a connection says of who calls.

use std::sync::Arc;

use parking_lot::RwLock;

use super::{
    identity::{Identity, Via},
    policy::Policy,
};

/// The certificate that the other end of a connection has shown, which is valid. All calls of the
/// connection share it.
#[derive(Debug, Default)]
pub struct Certificate {
    spiffe: Option<String>,
    /// The identity of calls that have no other proof, so that it is found out once.
    known: RwLock<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    policy: u64,
    identity: Arc<Identity>,
}

impl Certificate {
    /// One that names the workload of this SPIFFE id, if any.
    #[must_use]
    pub fn of(spiffe: Option<String>) -> Self {
        Self { spiffe, known: RwLock::default() }
    }

    /// The SPIFFE id that it names.
    pub(super) fn spiffe(&self) -> Option<&str> {
        self.spiffe.as_deref()
    }

    /// Whose it is by this policy.
    pub(super) fn identity(&self, policy: &Policy) -> Option<Arc<Identity>> {
        let number = policy.number();
        if let Some(known) = self.known.read().as_ref().filter(|known| known.policy == number) {
            return Some(Arc::clone(&known.identity));
        }
        let identity = Arc::new(Identity::of_workload(policy, self.spiffe.as_deref()?, Via::Mtls));
        *self.known.write() = Some(Known { policy: number, identity: Arc::clone(&identity) });
        Some(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::settings::{AuthRules, PrincipalSettings},
        caller::Callers,
    };

    const ID: &str = "spiffe://example.org/ns/a/sa/app";

    fn policy(name: &str) -> Policy {
        let proof =
            PrincipalSettings { spiffe: Some(ID.to_owned()), ..PrincipalSettings::default() };
        let callers = [(name.parse().unwrap(), proof)].into_iter().collect();
        Policy::new(&AuthRules { callers, ..AuthRules::default() }, &Callers::default())
    }

    #[test]
    fn whose_it_is_is_found_out_once_for_each_policy() {
        let (before, after) = (policy("before"), policy("after"));
        let certificate = Certificate::of(Some(ID.to_owned()));
        let first = certificate.identity(&before).unwrap();
        assert_eq!(
            (first.name(), first.via(), first.subject.as_str()),
            (Some("before"), Via::Mtls, ID)
        );
        assert!(Arc::ptr_eq(&first, &certificate.identity(&before).unwrap()));
        assert_eq!(certificate.identity(&after).unwrap().name(), Some("after"));
        assert!(Certificate::of(None).identity(&before).is_none());
    }
}
