//! From the proofs that came with a call to its identity.
//!
//! A token names the caller. Where a certificate came with it, the certificate names the workload
//! that calls, and both have to be valid; without a token, it names the caller.

use std::{borrow::Cow, fmt, sync::Arc};

use futures_util::future::join_all;

use super::{
    certificate::Certificate,
    identity::{Identity, Via, shown},
    jwt::{self, Fault, Issuer, Verified},
    keyring::Change,
    metrics::{AuthMetrics, Outcome},
    policy::{Ambiguous, Policy, Principal},
    proxies::Peer,
    remembered::{Remembered, digest},
    rights::Right,
    settings::{AuthSettings, Fresh, Mode, Reflection},
    unproved::{NotIdentified, Unproved, Why},
    workload::Workload,
};
use crate::caller::{Caller, CallerId, Callers, Sender};

const SCHEME: &str = "bearer ";

/// What came with a call under one name.
#[derive(Debug, Clone, Copy)]
pub enum Sent<'p> {
    /// Nothing.
    Nothing,
    /// One value.
    One(&'p [u8]),
    /// Several: which is meant cannot be told.
    Several,
}

/// What may prove who calls.
#[derive(Debug, Clone, Copy)]
pub struct Proofs<'p> {
    /// The value of `authorization`.
    pub authorization: Sent<'p>,
    /// The value of `x-forwarded-client-cert`.
    pub forwarded: Sent<'p>,
    /// The other end of the connection.
    pub peer: Option<Peer>,
    /// The certificate that the other end has shown.
    pub certificate: Option<&'p Certificate>,
    /// Who calls, if nothing proves more.
    pub caller: Option<&'p Caller>,
}

/// Whether a caller still has a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It has, or never had.
    Yes,
    /// It was taken away, or the caller is not configured any more.
    No,
}

/// Finds out who calls.
#[derive(Default)]
pub struct Authenticator {
    settings: AuthSettings,
    policy: Policy,
    callers: Callers,
    issuers: Vec<Arc<Issuer>>,
    /// Whose tokens are valid.
    remembered: Remembered<Arc<Identity>>,
    /// The tokens that were valid once.
    expired: Remembered<()>,
    /// Whom the headers of proxies were of, by these rules.
    headers: Remembered<Arc<Identity>>,
    metrics: AuthMetrics,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// By the rules of this policy, for tokens of these issuers, which these callers send.
    pub(super) fn new(
        settings: AuthSettings,
        policy: Policy,
        callers: Callers,
        issuers: Vec<Arc<Issuer>>,
        metrics: AuthMetrics,
    ) -> Self {
        Self { settings, policy, callers, issuers, metrics, ..Self::default() }
    }

    pub(super) fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    pub(super) fn metrics(&self) -> &AuthMetrics {
        &self.metrics
    }

    /// Whether callers have to prove who they are.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.settings.mode == Mode::Required
    }

    /// Whether a call for what is fresh is refused, of a caller without that right.
    #[must_use]
    pub fn denies_fresh(&self) -> bool {
        self.settings.fresh == Fresh::Deny
    }

    /// Whether reflection is for everyone.
    #[must_use]
    pub fn opens_reflection(&self) -> bool {
        self.settings.reflection == Reflection::Open
    }

    /// Whether no one may use reflection.
    #[must_use]
    pub fn closes_reflection(&self) -> bool {
        self.settings.reflection == Reflection::Off
    }

    /// Whether a call is of a proxy, which has calls of many callers on one connection.
    #[must_use]
    pub fn believes(&self, proofs: &Proofs<'_>) -> bool {
        let own = proofs.certificate.and_then(Certificate::spiffe);
        let mut believed = self.settings.xfcc_from.iter().flatten();
        believed.any(|proxy| proxy.is(proofs.peer, own))
    }

    /// The issuers whose keys have to be fetched before the process is ready.
    #[must_use]
    pub fn unread(&self) -> Vec<Arc<str>> {
        let unread = self.issuers.iter().filter(|issuer| issuer.keyring.keys().is_none());
        unread.map(|issuer| Arc::clone(&issuer.name)).collect()
    }

    /// Whether there are files to read again from time to time.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.is_required() && self.issuers.iter().any(|issuer| issuer.keyring.is_file())
    }

    /// Reads the files of all issuers again. Those that cannot be used change nothing. Returns
    /// whether any keys have changed. It waits for the disk.
    pub fn read_files_again(&self) -> bool {
        let mut has_changed = false;
        for issuer in self.issuers.iter().filter(|issuer| issuer.keyring.is_file()) {
            let read = issuer.keyring.read_file();
            has_changed |= read == Ok(Change::Others);
            self.note(issuer, read);
        }
        has_changed
    }

    /// Fetches the keys of issuers that have them at a URL, for as long as this is polled.
    /// `changed` gets the name of each one that has its first keys, or others.
    pub async fn fetch_keys(&self, changed: impl Fn(&str)) {
        let keeping = self.issuers.iter().map(|issuer| {
            issuer.keyring.keep(|read| {
                let has_changed = matches!(read, Ok(Change::First | Change::Others));
                self.note(issuer, read);
                if has_changed {
                    changed(&issuer.name);
                }
            })
        });
        join_all(keeping).await;
    }

    /// Takes note of how a read of keys ended.
    fn note(&self, issuer: &Issuer, read: Result<Change, String>) {
        let name = &*issuer.name;
        let outcome = match &read {
            Ok(Change::Nothing) => Outcome::Unchanged,
            Ok(Change::First | Change::Others) => Outcome::Changed,
            Err(_) => Outcome::Failed,
        };
        self.metrics.read(&issuer.name, outcome);
        let usable = issuer.keyring.keys().map(|keys| keys.usable());
        let is_news = issuer.is_news(&read, usable.is_some());
        match read {
            Ok(Change::First | Change::Others) => changed(name, usable.unwrap_or_default()),
            _ if !is_news => {}
            Ok(Change::Nothing) => tracing::info!(
                target: "auth", issuer = name,
                "the keys of an issuer can be read again, and are the same"
            ),
            Err(why) if usable.is_some() => tracing::warn!(
                target: "auth", issuer = name, why,
                "the keys of an issuer cannot be read; those before stay"
            ),
            Err(why) => tracing::error!(
                target: "auth", issuer = name, why,
                "there are no keys of an issuer that may be used: its tokens are refused"
            ),
        }
    }

    /// Whether the key that proved an identity was taken away since. Keys that are not known, as
    /// those that are not fetched yet, say nothing of it.
    #[must_use]
    pub fn has_revoked(&self, identity: &Identity) -> bool {
        let Some(signature) = &identity.signature else { return false };
        self.issuers.iter().any(|issuer| issuer.has_revoked(signature))
    }

    /// Whether an identity that other rules have found still may do what it might then.
    #[must_use]
    pub fn keeps(&self, identity: &Identity, right: Right, backend: Option<&str>) -> Kept {
        let mut all = identity.principal.iter().chain(&identity.workload);
        match all.all(|before| self.policy.keeps(before, right, backend)) {
            true => Kept::Yes,
            false => Kept::No,
        }
    }

    /// Who calls.
    ///
    /// # Errors
    ///
    /// When nothing proves it, something that came with the call is not valid, or too much was not.
    pub fn identify(&self, proofs: &Proofs<'_>) -> Result<Arc<Identity>, NotIdentified> {
        let is_proxy = self.believes(proofs);
        let workload = workload(proofs, is_proxy)?;
        match (self.token(proofs.authorization)?, workload) {
            (Some(token), workload) => {
                let sender = proofs.caller.map(if is_proxy { Sender::Proxy } else { Sender::One });
                self.by_token(token, workload, sender)
            }
            (None, Some(Workload::Forwarded(_))) => Ok(self.by_header(workload)?),
            (None, Some(Workload::Connected(certificate))) => {
                let identity = certificate.identity(&self.policy);
                let none = || Unproved::invalid("the certificate has no SPIFFE id");
                Ok(identity.ok_or_else(none)?)
            }
            (None, None) => Err(missing(proofs, is_proxy).into()),
        }
    }

    /// The token of the call. Without an issuer, no token says anything.
    fn token<'p>(&self, authorization: Sent<'p>) -> Result<Option<&'p str>, Unproved> {
        let value = match authorization {
            _ if self.issuers.is_empty() => return Ok(None),
            Sent::Nothing => return Ok(None),
            Sent::One(value) => value,
            Sent::Several => return Err(Unproved::invalid("authorization came more than once")),
        };
        let unreadable = || Unproved::invalid("authorization is not `Bearer TOKEN`");
        let value = std::str::from_utf8(value).map_err(|_| unreadable())?;
        let (scheme, token) = value.split_at_checked(SCHEME.len()).ok_or_else(unreadable)?;
        match scheme.eq_ignore_ascii_case(SCHEME) {
            true => Ok(Some(token)),
            false => Err(unreadable()),
        }
    }

    /// What a proxy says names the caller.
    fn by_header(&self, header: Option<Workload<'_>>) -> Result<Arc<Identity>, Unproved> {
        let digest = digest(None, header);
        // No key says whose a header is.
        let generation = 0;
        if let Some(known) = self.headers.find(generation, &digest) {
            return Ok(known);
        }
        let spiffe = spiffe_id(header)?.unwrap_or_default();
        let identity = Arc::new(Identity::of_workload(&self.policy, &spiffe, Via::Xfcc));
        self.headers.add(generation, digest, Arc::clone(&identity), None);
        Ok(identity)
    }

    /// Another one after each change of the keys of any issuer. The keyrings outlive the rules, so
    /// no change is missed when the rules are replaced meanwhile.
    fn generation_of_keys(&self) -> u64 {
        self.issuers.iter().map(|issuer| issuer.keyring.generation()).sum()
    }

    /// Whose token it is. `sender`: to whom it is counted if it is not valid, unless a proxy says
    /// that it comes from a configured caller.
    fn by_token(
        &self,
        token: &str,
        workload: Option<Workload<'_>>,
        sender: Option<Sender<'_>>,
    ) -> Result<Arc<Identity>, NotIdentified> {
        let digest = digest(Some(token), workload);
        let generation = self.generation_of_keys();
        if let Some(known) = self.remembered.find(generation, &digest) {
            return Ok(known);
        }
        if self.expired.find(generation, &digest).is_some() {
            return Err(Unproved::from(Fault::Expired).into());
        }
        let spiffe = spiffe_id(workload)?;
        let workload = spiffe.as_deref().and_then(|id| self.policy.of_certificate(id));
        let sender = match (sender, workload) {
            (Some(Sender::Proxy(_)), Some(workload)) => Some(Sender::One(&workload.caller)),
            (sender, _) => sender,
        };
        let unverified = jwt::read(&self.issuers, token).map_err(Unproved::from)?;
        let all = self.callers.verifications();
        all.admit(sender).map_err(|error| NotIdentified::Refused(Box::new(error)))?;
        let verified = unverified.verify().map_err(Unproved::from);
        let found = verified.and_then(|verified| self.of_token(verified, workload, spiffe));
        match &found {
            Ok(known) => self.remembered.add(generation, digest, Arc::clone(known), known.until),
            Err(unproved) if unproved.why == Why::Expired => {
                all.expired(sender);
                self.expired.add(generation, digest, (), None);
            }
            Err(_) => all.failed(sender),
        }
        Ok(found?)
    }

    fn of_token(
        &self,
        verified: Verified,
        workload: Option<&Arc<Principal>>,
        spiffe: Option<Cow<'_, str>>,
    ) -> Result<Arc<Identity>, Unproved> {
        let Verified { claims, until, signature } = verified;
        let principal = self.policy.of_token(&claims).map_err(|Ambiguous(one, other)| {
            let why = "meets as many of their conditions";
            Unproved::invalid(format!("the token is of `{one}` and `{other}`: it {why}"))
        })?;
        Ok(Arc::new(Identity {
            principal: principal.cloned(),
            workload: workload.cloned(),
            workload_id: spiffe.as_deref().map(shown),
            via: Via::Jwt,
            subject: shown(claims.subject()),
            issuer: Some(shown(claims.issuer())),
            token_id: claims.id().map(shown),
            until: Some(until),
            signature: Some(signature),
        }))
    }
}

/// Whose certificate it is, by what a proxy says that is believed, or by the connection's own.
fn workload<'p>(proofs: &Proofs<'p>, is_proxy: bool) -> Result<Option<Workload<'p>>, Unproved> {
    if !is_proxy {
        return Ok(proofs.certificate.map(Workload::Connected));
    }
    match proofs.forwarded {
        // The certificate of the connection is the proxy's own.
        Sent::Nothing => Ok(None),
        Sent::One(header) => Ok(Some(Workload::Forwarded(header))),
        Sent::Several => Err(Unproved::invalid("x-forwarded-client-cert came more than once")),
    }
}

/// Nothing proves who calls. What was ignored is often what should have done it.
fn missing(proofs: &Proofs<'_>, is_proxy: bool) -> Unproved {
    let came = |sent| !matches!(sent, Sent::Nothing);
    let cause = if came(proofs.forwarded) && !is_proxy {
        let from = match proofs.peer {
            Some(Peer::Address(address)) => address.to_canonical().to_string(),
            Some(Peer::User(uid)) => CallerId::User { uid }.to_string(),
            None => "an unknown place".to_owned(),
        };
        format!("x-forwarded-client-cert came from {from}, not one of auth.xfcc_from").into()
    } else if came(proofs.authorization) {
        "authorization is ignored, because no [auth.jwt.NAME] is configured".into()
    } else {
        "nothing was sent".into()
    };
    Unproved { why: Why::Missing, cause }
}

fn spiffe_id(workload: Option<Workload<'_>>) -> Result<Option<Cow<'_, str>>, Unproved> {
    let spiffe = workload.map_or(Ok(None), Workload::spiffe);
    spiffe.map_err(|malformed| Unproved::invalid(malformed.to_string()))
}

/// Tells of other keys of an issuer.
fn changed(issuer: &str, usable: usize) {
    match usable {
        0 => tracing::warn!(
            target: "auth", issuer,
            "an issuer has no key any more that can be used; its tokens are refused"
        ),
        _ => tracing::info!(target: "auth", issuer, usable, "the keys of an issuer changed"),
    }
}
