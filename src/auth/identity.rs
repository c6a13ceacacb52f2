//! Who a call is of, as the rest of the program sees it.

use std::{sync::Arc, time::SystemTime};

use super::{
    jwt::Signature,
    policy::{Policy, Principal, Role},
    rights::Right,
};
use crate::{
    caller::Caller,
    error::{Error, Reason, metadata},
    telemetry::Record,
    text,
};

/// The longest part of a backend's name that an error repeats.
const MAX_BACKEND_BYTES: usize = 64;
/// The longest subject, issuer or id of a token in a line of a log.
const MAX_SHOWN_BYTES: usize = 256;

/// What has proved a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The certificate of its connection.
    Mtls,
    /// What a proxy says of its certificate.
    Xfcc,
    /// A token.
    Jwt,
}

impl Via {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mtls => "mtls",
            Self::Xfcc => "xfcc",
            Self::Jwt => "jwt",
        }
    }
}

/// Who a call is of. Calls with the same proofs share it.
#[derive(Debug)]
pub struct Identity {
    /// `None` of one that the configuration does not name: it may do nothing.
    pub(super) principal: Option<Arc<Principal>>,
    /// Whose certificate came with the token: what both may do is allowed.
    pub(super) workload: Option<Arc<Principal>>,
    /// The SPIFFE id of the certificate that came with the token, whether it is configured or not.
    pub(super) workload_id: Option<String>,
    pub(super) via: Via,
    pub(super) subject: String,
    pub(super) issuer: Option<String>,
    pub(super) token_id: Option<String>,
    pub(super) until: Option<SystemTime>,
    /// What the token is signed with.
    pub(super) signature: Option<Signature>,
}

impl Identity {
    /// The identity of a workload that nothing else proves.
    pub(super) fn of_workload(policy: &Policy, spiffe: &str, via: Via) -> Self {
        Self {
            principal: policy.of_certificate(spiffe).cloned(),
            workload: None,
            workload_id: None,
            via,
            subject: spiffe.to_owned(),
            issuer: None,
            token_id: None,
            until: None,
            signature: None,
        }
    }

    /// Whether this may be done in the backend of this name, whether there is one or not.
    #[must_use]
    pub fn may(&self, right: Right, backend: &str) -> bool {
        self.all(|principal| principal.grants.within(backend).has(right))
    }

    /// Whether this may be done in any backend, whether there is one or not.
    #[must_use]
    pub fn may_somewhere(&self, right: Right) -> bool {
        match (&self.principal, &self.workload) {
            (None, _) => false,
            (Some(own), None) => own.grants.somewhere(right),
            (Some(own), Some(workload)) => own.grants.meet(&workload.grants, right),
        }
    }

    fn all(&self, allows: impl Fn(&Principal) -> bool) -> bool {
        let of_workload = || self.workload.as_deref().is_none_or(&allows);
        self.principal.as_deref().is_some_and(|own| allows(own) && of_workload())
    }

    /// To whom all that its calls hold and cost is counted, if the configuration names it.
    #[must_use]
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.principal.as_ref().map(|principal| &principal.caller)
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.principal.as_ref().map(|principal| principal.name.as_str())
    }

    /// What has proved it.
    #[must_use]
    pub fn via(&self) -> Via {
        self.via
    }

    /// Adds who it is to a line of the audit log. No token is in it.
    #[must_use]
    pub fn describe(&self, record: Record) -> Record {
        record
            .maybe("caller", self.name())
            .text("caller_via", self.via.name())
            .text("subject", &self.subject)
            .maybe("issuer", self.issuer.as_deref())
            .maybe("token_id", self.token_id.as_deref())
            .maybe("workload", self.workload())
    }

    /// The SPIFFE id of the certificate that came with the token; for logs.
    #[must_use]
    pub fn workload(&self) -> Option<&str> {
        self.workload_id.as_deref()
    }

    /// The names of its roles, with commas between: those that give it this right in a backend, or
    /// all that it has.
    #[must_use]
    pub fn roles(&self, granting: Option<(Right, &str)>) -> String {
        let roles = self.principal.iter().flat_map(|principal| &principal.roles);
        let gives = |role: &&Role| granting.is_none_or(|(right, at)| role.gives(right, at));
        roles.filter(gives).map(|role| role.name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// When the token runs out. A certificate ends its whole connection.
    #[must_use]
    pub fn until(&self) -> Option<SystemTime> {
        self.until
    }
}

/// A text of a token, as a line of a log has it.
pub(super) fn shown(text: &str) -> String {
    text::presentable(text::cut(text, MAX_SHOWN_BYTES).as_ref()).unwrap_or_default()
}

/// The error for a caller that may not do this. It is the same whether there is such a backend or
/// not. Without a backend, the caller may do it in none.
#[must_use]
pub fn not_allowed(right: Right, backend: Option<&str>) -> Error {
    let right = right.name();
    let place = backend.map_or_else(
        || "any backend".to_owned(),
        |id| text::quoted(&format!("backends/{}", text::cut(id, MAX_BACKEND_BYTES))),
    );
    let message = format!("this caller does not have the right `{right}` in {place}");
    let error = Error::new(Reason::CallerNotAllowed, message).with_metadata(metadata::RIGHT, right);
    match backend {
        Some(id) => error.with_metadata(metadata::BACKEND, text::cut(id, MAX_BACKEND_BYTES)),
        None => error,
    }
}
