//! What writes are told apart by.

use prost::Message;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::caller::CallerId;

/// What an entry is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Who calls.
    pub caller: CallerId,
    /// The caller's id, however it was spelled; the gateway's own of a write without one.
    pub id: Uuid,
    /// Whether the caller chose the id. No repeat can name one that it did not choose.
    pub is_named: bool,
}

/// Identifies a requested write, so that its repeats are recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdentity {
    /// What its entry is found by.
    pub key: RequestKey,
    /// SHA-256 of the method and the whole request.
    pub fingerprint: [u8; 32],
    /// The method, for people.
    pub method: &'static str,
}

impl RequestIdentity {
    /// The identity of a request from which the `request_id` was removed, and whose sets are
    /// sorted; `None` without a valid id. Fields are encoded in order and maps by sorted keys, so
    /// equal requests have equal bytes.
    #[must_use]
    pub fn of(
        caller: CallerId,
        method: &'static str,
        request_id: &str,
        request: &impl Message,
    ) -> Option<Self> {
        let id = Uuid::try_parse(request_id).ok().filter(|id| !id.is_nil())?;
        let mut hash = Sha256::new();
        hash.update(method.as_bytes());
        hash.update([0]);
        hash.update(request.encode_to_vec());
        let key = RequestKey { caller, id, is_named: true };
        Some(Self { key, fingerprint: hash.finalize().into(), method })
    }

    /// The identity of a write without a `request_id`: no other request has it.
    #[must_use]
    pub fn unnamed(caller: CallerId, method: &'static str) -> Self {
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let key = RequestKey { caller, id, is_named: false };
        Self { key, fingerprint: [0; 32], method }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::pb::{DeleteProfileRequest, Profile, UpdateProfileRequest};

    const ME: CallerId = CallerId::Network { address: IpAddr::V4(Ipv4Addr::LOCALHOST), bits: 32 };

    #[test]
    fn a_request_is_identified_by_its_method_and_all_of_its_fields() {
        let id = "123e4567-e89b-12d3-a456-426614174000";
        let named = |name: &str| Profile { display_name: name.into(), ..Profile::default() };
        let update = |profile: Profile| UpdateProfileRequest {
            profile: Some(profile),
            ..UpdateProfileRequest::default()
        };
        let of =
            |request: &UpdateProfileRequest| RequestIdentity::of(ME, "A", id, request).unwrap();
        let first = of(&update(named("a")));
        assert_eq!(first, of(&update(named("a"))));
        assert_eq!(
            RequestIdentity::of(ME, "A", &id.to_uppercase(), &update(named("a"))),
            Some(first)
        );
        let other = [
            of(&update(named("b"))),
            of(&UpdateProfileRequest { validate_only: true, ..update(named("a")) }),
            RequestIdentity::of(ME, "B", id, &update(named("a"))).unwrap(),
            RequestIdentity::of(ME, "A", id, &DeleteProfileRequest::default()).unwrap(),
        ];
        assert!(other.iter().all(|other| other.fingerprint != first.fingerprint));
        assert_eq!(RequestIdentity::of(ME, "A", "", &update(named("a"))), None);

        // Maps are equal in whatever order they were filled.
        let unmapped = |keys: &[&str]| {
            let value = prost_types::Value { kind: None };
            let fields = keys.iter().map(|key| ((*key).to_owned(), value.clone())).collect();
            update(Profile { unmapped: Some(prost_types::Struct { fields }), ..Profile::default() })
        };
        assert_eq!(of(&unmapped(&["a", "b", "c"])), of(&unmapped(&["c", "b", "a"])));
    }
}
