//! Rules that are about to be in force.
//!
//! All that can fail has been done when they are prepared, and nothing that is in force has
//! changed. Callers get their quotas as the rules are put in force, which cannot fail.

use std::{io, sync::Arc};

use super::{
    authenticator::Authenticator,
    jwt::Issuer,
    metrics::AuthMetrics,
    policy::Policy,
    settings::{AuthRules, IssuerSettings},
};
use crate::caller::Callers;

/// Rules with the keys of their issuers.
pub struct PreparedRules {
    rules: AuthRules,
    issuers: Vec<Arc<Issuer>>,
    metrics: AuthMetrics,
}

impl PreparedRules {
    /// These rules.
    ///
    /// # Errors
    ///
    /// When the keys of an issuer cannot be read.
    pub fn new(rules: &AuthRules, metrics: &AuthMetrics) -> io::Result<Self> {
        Self::with(rules, &[], metrics)
    }

    /// The same in the place of those before. Issuers that are the same keep their keys.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn after(before: &Authenticator, rules: &AuthRules) -> io::Result<Self> {
        Self::with(rules, before.issuers(), before.metrics())
    }

    fn with(rules: &AuthRules, known: &[Arc<Issuer>], metrics: &AuthMetrics) -> io::Result<Self> {
        let open = |(name, settings): (&String, &IssuerSettings)| {
            if let Some(known) = known.iter().find(|issuer| issuer.is(name, settings)) {
                return Ok(Arc::clone(known));
            }
            let opened = Issuer::open(name, settings).map(Arc::new);
            let key = if settings.jwks_url.is_some() { "jwks_url" } else { "jwks_file" };
            opened.map_err(|why| io::Error::other(format!("auth.jwt.{name}: `{key}` {why}")))
        };
        let issuers = rules.issuers.iter().map(open).collect::<io::Result<_>>()?;
        Ok(Self { rules: rules.clone(), issuers, metrics: metrics.clone() })
    }

    /// Puts the quotas in force for those of the callers that these rules name. Gives what finds
    /// out who calls.
    #[must_use]
    pub fn configure(self, callers: &Callers) -> Authenticator {
        let Self { rules, issuers, metrics } = self;
        callers.configure(&rules.quotas);
        let policy = Policy::new(&rules, callers);
        Authenticator::new(rules.settings, policy, callers.clone(), issuers, metrics)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        auth::settings::PrincipalSettings,
        caller::{Name, QuotaSettings, Resource},
    };

    fn rules(name: Name, calls: usize) -> AuthRules {
        let quota = QuotaSettings { calls: Some(calls), ..QuotaSettings::default() };
        AuthRules {
            callers: BTreeMap::from([(name, PrincipalSettings::default())]),
            quotas: BTreeMap::from([(name, quota)]),
            ..AuthRules::default()
        }
    }

    #[test]
    fn callers_get_their_quotas_when_the_rules_are_in_force_and_not_before() {
        let (callers, name) = (Callers::default(), "one".parse().unwrap());
        let places = callers.pool(Resource::Calls, 10);
        let may_hold = |most: usize| {
            let caller = callers.named(name);
            let held: Vec<_> = (0..most).map(|_| places.acquire(&caller, 1).unwrap()).collect();
            assert!(places.acquire(&caller, 1).is_err());
            drop(held);
        };
        let first = PreparedRules::new(&rules(name, 1), &AuthMetrics::default()).unwrap();
        let first = first.configure(&callers);
        may_hold(1);
        let next = PreparedRules::after(&first, &rules(name, 2)).unwrap();
        may_hold(1);
        let _next = next.configure(&callers);
        may_hold(2);
    }
}
