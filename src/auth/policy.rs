//! Which caller may do what in which backend: roles, which give rights in backends, and callers,
//! which have roles.
//!
//! It is asked by the name of a backend alone, whether there is such a backend or not: so an answer
//! says nothing of which there are.

use std::{
    cmp,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Map, Value};

use super::{
    claims::Claims,
    rights::{Right, Rights},
    settings::{AuthRules, PrincipalSettings, RoleSettings},
    spiffe,
};
use crate::caller::{Caller, Callers, Name};

/// In place of a name: every backend.
pub(crate) const EVERY_BACKEND: &str = "*";
/// How [`Right::Preview`] is shown of who may not read.
const PREVIEW_ALONE: &str = "preview (shows profiles)";

/// What one caller may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// In every backend.
    everywhere: Rights,
    /// In some, beside that.
    in_backends: BTreeMap<String, Rights>,
}

impl Grants {
    /// The grants of these roles together.
    fn of<'r>(roles: impl IntoIterator<Item = &'r RoleSettings>) -> Self {
        let mut grants = Self::default();
        for role in roles {
            let rights: Rights = role.rights.iter().flatten().copied().collect();
            for backend in role.backends.iter().flatten() {
                let granted = match backend.as_str() {
                    EVERY_BACKEND => &mut grants.everywhere,
                    name => grants.in_backends.entry(name.to_owned()).or_default(),
                };
                *granted = granted.union(rights);
            }
        }
        grants
    }

    /// What the caller of this name may do.
    #[must_use]
    pub fn of_caller(rules: &AuthRules, name: Name) -> Option<Self> {
        let caller = rules.callers.get(&name)?;
        let roles = caller.roles.iter().flatten().filter_map(|role| rules.roles.get(role));
        Some(Self::of(roles))
    }

    /// What may be done in a backend, whether there is one of this name or not.
    #[must_use]
    pub fn within(&self, backend: &str) -> Rights {
        let more = self.in_backends.get(backend).copied().unwrap_or_default();
        self.everywhere.union(more)
    }

    /// Whether this may be done wherever it may be done by these.
    fn covers(&self, others: &Self, right: Right) -> bool {
        let everywhere = !others.everywhere.has(right) || self.everywhere.has(right);
        let has = |(backend, rights): (&String, &Rights)| {
            !rights.has(right) || self.within(backend).has(right)
        };
        everywhere && others.in_backends.iter().all(has)
    }

    /// Whether this may be done in any backend.
    #[must_use]
    pub fn somewhere(&self, right: Right) -> bool {
        self.everywhere.has(right) || self.in_backends.values().any(|rights| rights.has(right))
    }

    /// Whether there is a backend in which this may be done by both.
    pub(super) fn meet(&self, others: &Self, right: Right) -> bool {
        let by_both =
            |backend: &String| self.within(backend).has(right) && others.within(backend).has(right);
        let named = self.in_backends.keys().chain(others.in_backends.keys());
        (self.everywhere.has(right) && others.everywhere.has(right))
            || named.into_iter().any(by_both)
    }

    /// The rights in each of these backends, for people.
    pub fn show<'b>(&self, backends: impl IntoIterator<Item = &'b str>) -> Value {
        let shown = backends.into_iter().map(|backend| {
            let rights = self.within(backend);
            let names = rights.names().map(|name| match name {
                // Who may not read could be taken for one that sees none.
                "preview" if !rights.has(Right::Read) => PREVIEW_ALONE,
                name => name,
            });
            (backend.to_owned(), names.collect::<Vec<_>>().join(", ").into())
        });
        Value::Object(shown.collect::<Map<String, Value>>())
    }
}

/// A role of a caller.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    grants: Grants,
}

impl Role {
    /// Whether it gives a right in a backend. What a call was for may be all of them (`-`).
    pub(super) fn gives(&self, right: Right, backend: &str) -> bool {
        match backend {
            "-" => self.grants.somewhere(right),
            backend => self.grants.within(backend).has(right),
        }
    }
}

/// A caller of the configuration.
#[derive(Debug)]
pub(super) struct Principal {
    pub(super) name: Name,
    /// What its grants come from.
    pub(super) roles: Vec<Role>,
    /// To whom all that its calls hold and cost is counted.
    pub(super) caller: Arc<Caller>,
    pub(super) grants: Grants,
    proof: PrincipalSettings,
}

/// The callers of the configuration.
#[derive(Debug, Default)]
pub struct Policy {
    principals: Vec<Arc<Principal>>,
    /// Tells it from those before and after it.
    number: u64,
}

impl Policy {
    /// The callers that these rules name.
    #[must_use]
    pub fn new(rules: &AuthRules, callers: &Callers) -> Self {
        let principal = |(name, proof): (&Name, &PrincipalSettings)| {
            let (name, proof) = (*name, proof.clone());
            let grants = Grants::of_caller(rules, name).unwrap_or_default();
            let role = |name: &String| {
                let grants = Grants::of(rules.roles.get(name));
                Role { name: name.clone(), grants }
            };
            let roles = proof.roles.iter().flatten().map(role).collect();
            Arc::new(Principal { name, roles, caller: callers.named(name), grants, proof })
        };
        static MADE: AtomicU64 = AtomicU64::new(1);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self { principals: rules.callers.iter().map(principal).collect(), number }
    }

    /// A number that no other policy of this process has.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether a caller of before still may do this in a backend, or wherever it might, if it
    /// might at all.
    pub(super) fn keeps(&self, before: &Principal, right: Right, backend: Option<&str>) -> bool {
        let now = self.principals.iter().find(|principal| principal.name == before.name);
        let Some(Principal { grants, .. }) = now.map(|now| &**now) else { return false };
        match backend {
            Some(id) => grants.within(id).has(right) || !before.grants.within(id).has(right),
            None => grants.covers(&before.grants, right),
        }
    }

    /// The caller with a certificate of this SPIFFE id: of several that it fits, the one that says
    /// most of it.
    pub(super) fn of_certificate(&self, spiffe: &str) -> Option<&Arc<Principal>> {
        let fitting = |principal: &&Arc<Principal>| principal.length_of(spiffe).is_some();
        let all = self.principals.iter().filter(fitting);
        all.max_by_key(|principal| principal.length_of(spiffe))
    }

    /// The caller with a token of these claims: of several that they fit, one with a subject, and
    /// then the one with the most claims.
    ///
    /// # Errors
    ///
    /// When that does not tell two of them apart: which is meant is not for their names to decide.
    pub(super) fn of_token(&self, claims: &Claims) -> Result<Option<&Arc<Principal>>, Ambiguous> {
        let mut best: Option<&Arc<Principal>> = None;
        let mut equal = None;
        for principal in self.principals.iter().filter(|principal| principal.has(claims)) {
            match best.map(|best| principal.conditions().cmp(&best.conditions())) {
                Some(cmp::Ordering::Less) => {}
                Some(cmp::Ordering::Equal) => equal = Some(principal),
                Some(cmp::Ordering::Greater) | None => (best, equal) = (Some(principal), None),
            }
        }
        match (best, equal) {
            (Some(one), Some(other)) => Err(Ambiguous(one.name, other.name)),
            _ => Ok(best),
        }
    }
}

/// Two callers that the same token is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ambiguous(pub(super) Name, pub(super) Name);

impl Principal {
    /// How much of a SPIFFE id the caller's own says, if it fits; an exact one says most.
    fn length_of(&self, id: &str) -> Option<usize> {
        spiffe::extent(self.proof.spiffe.as_deref()?, id)
    }

    fn has(&self, claims: &Claims) -> bool {
        let PrincipalSettings { issuer, subject, claims: wanted, .. } = &self.proof;
        issuer.as_deref() == Some(claims.issuer())
            && subject.as_deref().is_none_or(|subject| subject == claims.subject())
            && wanted.iter().flatten().all(|(name, value)| claims.has(name, value))
    }

    /// How closely a token that is its own is described.
    fn conditions(&self) -> (bool, usize) {
        (self.proof.subject.is_some(), self.proof.claims.as_ref().map_or(0, Vec::len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(callers: &[(&str, PrincipalSettings)]) -> AuthRules {
        let role = |rights: &[Right], backends: &[&str]| RoleSettings {
            rights: Some(rights.to_vec()),
            backends: Some(backends.iter().map(|name| (*name).to_owned()).collect()),
        };
        let roles = [
            ("reader", role(&[Right::Read], &["*"])),
            ("writer", role(&[Right::Write, Right::Preview], &["a", "b"])),
        ];
        AuthRules {
            roles: roles.into_iter().map(|(name, role)| (name.to_owned(), role)).collect(),
            callers: callers
                .iter()
                .map(|(name, settings)| (name.parse().unwrap(), settings.clone()))
                .collect(),
            ..AuthRules::default()
        }
    }

    fn with(roles: &[&str]) -> PrincipalSettings {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        PrincipalSettings { roles: Some(roles), ..PrincipalSettings::default() }
    }

    #[test]
    fn roles_add_up_and_nothing_else_is_allowed() {
        let rules = rules(&[("both", with(&["reader", "writer"])), ("none", with(&[]))]);
        let both = Grants::of_caller(&rules, "both".parse().unwrap()).unwrap();
        let names = |backend: &str| both.within(backend).names().collect::<Vec<_>>();
        assert_eq!(names("a"), ["read", "preview", "write"]);
        assert_eq!(names("not configured"), ["read"]);
        assert!(both.somewhere(Right::Write) && !both.somewhere(Right::Delete));
        assert_eq!(both.show(["a"])["a"], "read, preview, write");
        let alone = Grants::of(rules.roles.get("writer"));
        assert_eq!(alone.show(["a"])["a"], "preview (shows profiles), write");
        let none = Grants::of_caller(&rules, "none".parse().unwrap()).unwrap();
        assert_eq!(none.within("a"), Rights::default());
        assert!(Right::ALL.into_iter().all(|right| !none.somewhere(right)));
        assert_eq!(Grants::of_caller(&rules, "unknown".parse().unwrap()), None);
    }

    #[test]
    fn the_caller_that_says_most_of_a_certificate_is_meant() {
        let spiffe = |id: &str| PrincipalSettings { spiffe: Some(id.to_owned()), ..with(&[]) };
        let rules = rules(&[
            ("domain", spiffe("spiffe://example.org/*")),
            ("exact", spiffe("spiffe://example.org/ns/a/sa/app")),
            ("space", spiffe("spiffe://example.org/ns/a/*")),
        ]);
        let policy = Policy::new(&rules, &Callers::default());
        let found = |id: &str| policy.of_certificate(id).map(|found| found.name.to_string());
        for (id, expected) in [
            ("spiffe://example.org/ns/a/sa/app", Some("exact")),
            ("spiffe://example.org/ns/a/sa/other", Some("space")),
            ("spiffe://example.org/ns/ab/sa/app", Some("domain")),
            ("spiffe://example.org/ns/a/", Some("domain")),
            ("spiffe://example.org/", None),
            ("spiffe://example.org.evil/ns/a/sa/app", None),
            ("SPIFFE://example.org/ns/a/sa/app", None),
            ("", None),
        ] {
            assert_eq!(found(id).as_deref(), expected, "{id}");
        }
    }

    #[test]
    fn the_caller_that_says_most_of_a_token_is_meant_and_never_one_by_its_name() {
        let token = |subject: Option<&str>, claims: &[(&str, &str)]| PrincipalSettings {
            issuer: Some("idp".to_owned()),
            subject: subject.map(str::to_owned),
            claims: Some(claims.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()),
            ..with(&[])
        };
        let rules = rules(&[
            ("group", token(None, &[("groups", "ops")])),
            ("ops", token(Some("me"), &[("groups", "ops")])),
            ("me", token(Some("me"), &[])),
            ("admins", token(None, &[("groups", "admins")])),
            ("auditors", token(None, &[("groups", "ops"), ("groups", "admins")])),
            ("late", token(None, &[("groups", "admins"), ("groups", "late")])),
        ]);
        let policy = Policy::new(&rules, &Callers::default());
        let found = |issuer: &str, subject: &str, groups: Value| {
            let claims = serde_json::json!(
                {"iss": issuer, "sub": subject, "exp": 1, "groups": groups}
            );
            let claims = serde_json::from_value(claims).unwrap();
            match policy.of_token(&claims) {
                Ok(found) => found.map(|found| found.name.to_string()),
                Err(Ambiguous(one, other)) => Some(format!("{one} or {other}")),
            }
        };
        assert_eq!(found("idp", "me", "ops".into()).as_deref(), Some("ops"));
        assert_eq!(found("idp", "you", vec!["a", "ops"].into()).as_deref(), Some("group"));
        assert_eq!(found("idp", "me", "opsx".into()).as_deref(), Some("me"));
        assert_eq!(found("idp", "you", Value::Null), None);
        assert_eq!(found("other", "me", "ops".into()), None);
        // A subject says more than any number of claims.
        let both = vec!["ops", "admins"];
        assert_eq!(found("idp", "me", both.clone().into()).as_deref(), Some("ops"));
        assert_eq!(found("idp", "you", both.into()).as_deref(), Some("auditors"));
        let all = vec!["ops", "admins", "late"];
        assert_eq!(found("idp", "you", all.clone().into()).as_deref(), Some("auditors or late"));
        // That two say as much is of no account where a third one says more.
        assert_eq!(found("idp", "me", all.into()).as_deref(), Some("ops"));
    }
}
