//! What can be configured of callers that prove who they are: `[auth]` and its tables.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use jsonwebtoken::Algorithm;
use url::Url;

use super::{proxies::Proxy, rights::Right, spiffe};
use crate::{
    caller::{Name, QuotaSettings},
    settings::{
        Certificates, Kind, Section,
        bounds::{hours, minutes, seconds},
        certificates, duration, flag, one_of, plain_text, quoted, settings, trusted_path, words,
    },
};

const LEEWAY: RangeInclusive<Duration> = Duration::ZERO..=minutes(5);
const REFRESH: RangeInclusive<Duration> = seconds(1)..=hours(24);
const STALE: RangeInclusive<Duration> = seconds(1)..=hours(7 * 24);
const LIFETIME: RangeInclusive<Duration> = seconds(1)..=hours(24);

settings! {
    /// Whether callers have to prove who they are.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AuthSettings {
        /// `required`: a call without valid credentials is refused, and a caller may do what its
        /// roles allow. `off`: every client that reaches the gRPC port may do everything.
        mode: Mode = Mode::Off, one_of(MODES);
        /// Needed to serve every client that reaches a `listen` address that is not loopback.
        allow_unauthenticated: bool = false, flag();
        /// Who may use reflection: `authenticated` callers, everyone (`open`), or no one (`off`,
        /// also where callers need not prove who they are).
        reflection: Reflection = Reflection::Authenticated, one_of(REFLECTION);
        /// A caller without the right `fresh` that asks for `no-cache`, or a `max-age` below a
        /// second, is answered from the cache with `ignore`, and refused with `deny`.
        fresh: Fresh = Fresh::Ignore, one_of(FRESH);
        /// Proxies whose `x-forwarded-client-cert` is believed, with commas between them: networks
        /// that they call from, users of this machine on a Unix socket as `uid:1337`, or the SPIFFE
        /// ids of their own certificates. The header of everyone else is ignored.
        xfcc_from: Option<Vec<Proxy>> = None, proxies().optional();
    }
}

settings! {
    /// Whose tokens are accepted, and which of them.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct IssuerSettings {
        /// The `iss` of its tokens. Required.
        issuer: Option<String> = None, plain_text(512).optional();
        /// The `aud` that a token must have at least one of, with commas between them. Required.
        audience: Option<Vec<String>> = None, texts().optional();
        /// File with its public keys, a JSON Web Key Set. It is read again as the configuration is.
        /// As long as it cannot be read or is no key set, the keys before stay. This or `jwks_url`
        /// is required.
        jwks_file: Option<String> = None, trusted_path().optional();
        /// Where its public keys are fetched from, over TLS, without redirects and without a proxy;
        /// at most 256 KiB within 5 s. The process is not ready before they were.
        jwks_url: Option<String> = None, https_url().optional();
        /// The authorities that issue the certificate of `jwks_url`, in place of those that the
        /// system trusts.
        ca_file: Option<Certificates> = None, certificates().optional();
        /// How often they are fetched, give or take a tenth.
        jwks_refresh: Duration = minutes(5), duration(REFRESH);
        /// From one fetch to the next one, at least: when a fetch has failed, or a token names a
        /// key that is not known.
        jwks_min_refresh: Duration = seconds(30), duration(REFRESH);
        /// How long keys may be used that cannot be fetched again. After that, the issuer's tokens
        /// are refused.
        jwks_max_stale: Duration = hours(24), duration(STALE);
        /// The algorithms that its keys may be used with.
        algorithms: Algorithms = Algorithms::default(), algorithms();
        /// How much the clocks may differ.
        leeway: Duration = seconds(30), duration(LEEWAY);
        /// Longest time from a token's `iat` to its `exp`.
        max_lifetime: Option<Duration> = Some(hours(1)), duration(LIFETIME).or_off();
    }
    check sources_fit;
}

/// Where keys come from: one place, and what only the other has says nothing of it.
fn sources_fit(settings: &IssuerSettings, section: &mut Section<'_>) {
    let IssuerSettings { jwks_file, jwks_url, .. } = settings;
    let both = [section.name("jwks_file"), section.name("jwks_url")].join(" and ");
    match (jwks_file, jwks_url) {
        (Some(_), Some(_)) => {
            let message = format!("{both} are both set: its keys come from one of them");
            section.conflict(["jwks_file", "jwks_url"], message);
        }
        (Some(_), None) if settings.ca_file.is_some() => {
            section.refuse("ca_file", "has no use without `jwks_url`");
        }
        _ => {}
    }
    let (refresh, least) = (settings.jwks_refresh, settings.jwks_min_refresh);
    section.not_below(("jwks_refresh", refresh), ("jwks_min_refresh", least));
    section.not_below(("jwks_max_stale", settings.jwks_max_stale), ("jwks_refresh", refresh));
}

settings! {
    /// What may be done where.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RoleSettings {
        /// What may be done, with commas between. Required.
        rights: Option<Vec<Right>> = None, rights().optional();
        /// In which backends, with commas between their names; `*` for all. Required.
        backends: Option<Vec<String>> = None, texts().optional();
    }
}

settings! {
    /// What proves a caller, and which roles it has.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PrincipalSettings {
        /// The names of its roles, with commas between them. Required.
        roles: Option<Vec<String>> = None, texts().optional();
        /// The SPIFFE id of its certificate. One that ends with `/*` means all that begin so.
        spiffe: Option<String> = None, spiffe_id().optional();
        /// The `iss` of its token, which is that of an `[auth.jwt.NAME]`; with `subject`, `claims`,
        /// or both.
        issuer: Option<String> = None, plain_text(512).optional();
        /// The `sub` of its token.
        subject: Option<String> = None, plain_text(512).optional();
        /// Claims that its token must have, as `NAME=VALUE` with commas between. A claim that is a
        /// list must have the value in it.
        claims: Option<Vec<(String, String)>> = None, claims().optional();
    }
}

/// Whether callers have to prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everyone may do everything.
    Off,
    /// A caller may do what its roles allow.
    Required,
}

const MODES: &[(&str, Mode)] = &[("off", Mode::Off), ("required", Mode::Required)];

/// Who may use reflection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reflection {
    /// Who proves who it is.
    Authenticated,
    /// Everyone.
    Open,
    /// No one.
    Off,
}

const REFLECTION: &[(&str, Reflection)] = &[
    ("authenticated", Reflection::Authenticated),
    ("open", Reflection::Open),
    ("off", Reflection::Off),
];

/// How a request for what is fresh ends, of a caller without that right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// It is answered from the cache.
    Ignore,
    /// It is refused.
    Deny,
}

const FRESH: &[(&str, Fresh)] = &[("ignore", Fresh::Ignore), ("deny", Fresh::Deny)];

/// All of `[auth]`, once it fits together.
#[derive(Debug, Clone, Default)]
pub struct AuthRules {
    /// `[auth]` itself.
    pub settings: AuthSettings,
    /// `[auth.jwt.NAME]`.
    pub issuers: BTreeMap<String, IssuerSettings>,
    /// `[auth.roles.NAME]`.
    pub roles: BTreeMap<String, RoleSettings>,
    /// `[auth.callers.NAME]`.
    pub callers: BTreeMap<Name, PrincipalSettings>,
    /// `[auth.callers.NAME.quota]` of each of them.
    pub quotas: BTreeMap<Name, QuotaSettings>,
}

/// Algorithms of signatures. None of them shares a secret with the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithms(pub(super) Vec<Algorithm>);

impl Default for Algorithms {
    fn default() -> Self {
        Self(vec![Algorithm::RS256, Algorithm::ES256])
    }
}

/// The algorithms by the names that tokens call them.
pub(super) const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

fn proxies() -> impl Kind<Value = Vec<Proxy>> {
    let what =
        "addresses, networks such as `192.0.2.16/28`, users such as `uid:1337`, or SPIFFE ids";
    const BOUNDS: &str = "addresses, networks such as `192.0.2.16/28` but not `/0`, users such as \
                          `uid:1337`, or SPIFFE ids";
    let check = |all: &Vec<Proxy>| all.iter().try_for_each(Proxy::check);
    words(what, Proxy::read, Proxy::shown).checked(BOUNDS, check)
}

fn texts() -> impl Kind<Value = Vec<String>> {
    words("names", |text| Some(text.to_owned()), String::clone)
}

fn rights() -> impl Kind<Value = Vec<Right>> {
    let what = "some of `read`, `fresh`, `preview`, `write`, `delete`, `admin`";
    words(what, Right::of_name, |right| right.name().to_owned())
}

fn algorithms() -> impl Kind<Value = Algorithms> {
    const WHAT: &str = "some of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, \
                        `ES384`, `EdDSA`";
    let read = |text: &str| ALGORITHMS.iter().find(|(name, _)| *name == text).map(|known| known.1);
    let show = |one: &Algorithm| format!("{one:?}");
    words(WHAT, read, show).mapped(Algorithms, |algorithms: &Algorithms| algorithms.0.clone())
}

/// An https URL with a host, and without a user name, a password or a fragment. What is wrong with
/// it is told without it: it may hold what is secret.
fn https_url() -> impl Kind<Value = String> {
    const FORM: &str = "an https URL such as `https://idp.example.com/keys`";
    plain_text(2048).checked(FORM, |text| {
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host());
        match url {
            Some(url) if url.username().is_empty() && url.password().is_none() => {
                match url.fragment() {
                    None => Ok(()),
                    Some(_) => Err("must not contain a fragment (`#`)".to_owned()),
                }
            }
            Some(_) => Err("must not contain a user name or password (no `@`)".to_owned()),
            None => Err(format!("must be {FORM}")),
        }
    })
}

fn spiffe_id() -> impl Kind<Value = String> {
    plain_text(2048).checked(spiffe::PATTERN, |id| match spiffe::is_pattern(id) {
        true => Ok(()),
        false => {
            let (pattern, got) = (spiffe::PATTERN, quoted(id));
            Err(format!("must be {pattern}, with DOMAIN in lower case, got {got}"))
        }
    })
}

fn claims() -> impl Kind<Value = Vec<(String, String)>> {
    let read = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        (!name.is_empty() && !value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    let check = |claims: &Vec<(String, String)>| check_claims(claims);
    words("`NAME=VALUE`", read, |(name, value)| format!("{name}={value}"))
        .checked("`NAME=VALUE`; not of `iss`, `sub`, `exp`, `iat`, `jti`", check)
}

/// Refuses conditions that no token can meet, and ones that say nothing more.
fn check_claims(claims: &[(String, String)]) -> Result<(), String> {
    for (at, claim @ (name, value)) in claims.iter().enumerate() {
        match name.as_str() {
            "sub" => return Err("cannot have `sub`: use `subject`".to_owned()),
            "iss" => return Err("cannot have `iss`: use `issuer`".to_owned()),
            "exp" | "iat" | "jti" => {
                let name = quoted(name);
                return Err(format!("cannot have {name}, which is of one token and of no caller"));
            }
            _ if claims.iter().take(at).any(|earlier| earlier == claim) => {
                let twice = quoted(&format!("{name}={value}"));
                return Err(format!("has {twice} twice"));
            }
            _ => {}
        }
    }
    Ok(())
}
