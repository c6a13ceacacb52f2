//! Tokens: JSON Web Tokens (RFC 7519) that an issuer has signed.
//!
//! What the library leaves to its user is decided here: which key and which algorithm, neither of
//! which a token chooses; what the header may say; and which claims have to be there.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Validation, errors::ErrorKind};
use parking_lot::Mutex;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};

use super::{
    claims::Claims,
    jwks::Key,
    keyring::{Keyring, Missing, NO_USABLE},
    settings::IssuerSettings,
    unproved::{Unproved, Why},
};

/// The longest token.
const MAX_BYTES: usize = 8 * 1024;

/// Why a token is not accepted.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// It was valid, and has expired.
    Expired,
    /// It is not, for this cause.
    Invalid(Cow<'static, str>),
    /// That cannot be told for now, for this cause.
    Unavailable(&'static str),
}

impl From<Fault> for Unproved {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Expired => Self::expired("the token has run out"),
            Fault::Invalid(cause) => Self::invalid(cause),
            Fault::Unavailable(cause) => Self { why: Why::Unavailable, cause: cause.into() },
        }
    }
}

fn invalid(cause: impl Into<Cow<'static, str>>) -> Fault {
    Fault::Invalid(cause.into())
}

/// A token that names a key of an issuer. Nothing of it is believed yet.
pub(super) struct Unverified<'t> {
    token: &'t str,
    issuer: &'t Issuer,
    key_id: String,
    key: Arc<Key>,
}

/// A token that an issuer has signed.
pub(super) struct Verified {
    pub(super) claims: Claims,
    /// When it is not accepted any more.
    pub(super) until: SystemTime,
    pub(super) signature: Signature,
}

/// The key that a token was signed with.
#[derive(Debug)]
pub(super) struct Signature {
    issuer: Arc<str>,
    key_id: String,
    key: Arc<Key>,
}

/// What is read of a token's header. `jku`, `x5u` and `jwk` name a key of the sender's choice, and
/// are ignored.
#[derive(Deserialize)]
struct Header {
    kid: Option<String>,
    typ: Option<String>,
    /// Whether there are extensions that have to be understood: none is.
    #[serde(default, rename = "crit", deserialize_with = "is_there")]
    has_critical: bool,
}

/// Whether a member is there, whatever it is: also `null`.
fn is_there<'de, D: Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(member).map(|_| true)
}

#[derive(Deserialize)]
struct Issued {
    iss: String,
}

/// An issuer of tokens.
pub(super) struct Issuer {
    pub(super) name: Arc<str>,
    settings: IssuerSettings,
    pub(super) keyring: Keyring,
    /// How the keys could not be read the last time, if they could not.
    failure: Mutex<Option<Failure>>,
}

/// Why keys could not be read, and whether there are keys of before.
type Failure = (String, bool);

/// What is to be noticed of the keys of an issuer. Those of a URL are not fetched.
///
/// # Errors
///
/// Why they cannot be used. Both are the rest of a sentence that begins with the setting.
pub(crate) fn check(settings: &IssuerSettings) -> Result<Option<&'static str>, String> {
    let keys = Keyring::open(settings)?.keys();
    match keys.map(|keys| (keys.usable(), keys.listed())) {
        Some((0, 0)) => Ok(Some("has no keys: every token of this issuer is refused")),
        Some((0, _)) => Err(NO_USABLE.to_owned()),
        _ => Ok(None),
    }
}

impl Issuer {
    /// An issuer with its keys.
    ///
    /// # Errors
    ///
    /// Why they cannot be used, as the rest of a sentence.
    pub(super) fn open(name: &str, settings: &IssuerSettings) -> Result<Self, String> {
        let (name, settings) = (name.into(), settings.clone());
        let keyring = Keyring::open(&settings)?;
        Ok(Self { name, settings, keyring, failure: Mutex::default() })
    }

    /// Takes note of whether the keys could be read, and returns whether that is new.
    pub(super) fn is_news<T>(&self, read: &Result<T, String>, has_keys: bool) -> bool {
        let failure = read.as_ref().err().map(|why| (why.clone(), has_keys));
        let mut before = self.failure.lock();
        let is_news = *before != failure;
        *before = failure;
        is_news
    }

    /// Whether this is the issuer of these settings.
    pub(super) fn is(&self, name: &str, settings: &IssuerSettings) -> bool {
        &*self.name == name && self.settings == *settings
    }

    /// Whether its keys are known, and the one of a signature is not among them any more.
    pub(super) fn has_revoked(&self, signature: &Signature) -> bool {
        let Signature { issuer, key_id, key } = signature;
        *issuer == self.name
            && self
                .keyring
                .keys()
                .is_some_and(|keys| keys.find(key_id).is_none_or(|found| !found.is_same(key)))
    }

    /// The key of this name.
    fn key(&self, id: &str) -> Result<Arc<Key>, Fault> {
        let none =
            || Fault::Unavailable("there are no keys of the token's issuer that may be used");
        let keys = self.keyring.keys().ok_or_else(none)?;
        let key = keys.find(id).ok_or_else(|| match self.keyring.misses() {
            Missing::ForNow => Fault::Unavailable("the token's key is not known yet"),
            Missing::Unknown => invalid("the token's key is not known"),
        })?;
        Ok(Arc::clone(key))
    }

    fn check_lifetime(&self, claims: &Claims) -> Result<(), Fault> {
        let Some(longest) = self.settings.max_lifetime else { return Ok(()) };
        let issued = claims.issued().ok_or_else(|| invalid("the token has no iat"))?;
        if issued > now() + self.settings.leeway.as_secs_f64() {
            return Err(invalid("the token is issued in the future"));
        }
        match claims.expires() - issued > longest.as_secs_f64() {
            true => Err(invalid("the token lives longer than max_lifetime")),
            false => Ok(()),
        }
    }

    fn issuer(&self) -> &str {
        self.settings.issuer.as_deref().unwrap_or_default()
    }
}

/// What the library finds wrong with a token, in fixed words: its own may quote the token.
fn fault_of(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "the token's signature is not that of its key",
        ErrorKind::InvalidAlgorithm => "the token's algorithm is not that of its key",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token's issuer is not that of its key",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            "the token lacks one of exp, iss, aud and sub, or one is malformed"
        }
        ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
            "the token is not readable: a part is not JSON, or a member is not of its type"
        }
        ErrorKind::InvalidToken => "the token does not have three parts",
        _ => "the token cannot be verified with its key",
    }
}

impl Unverified<'_> {
    /// What the token says, if the issuer has signed it. Takes much longer than to read it.
    pub(super) fn verify(self) -> Result<Verified, Fault> {
        let Self { token, issuer, key_id, key } = self;
        // A token with another algorithm than that of its key is refused.
        let mut validation = Validation::new(key.algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[issuer.issuer()]);
        validation.set_audience(issuer.settings.audience.as_deref().unwrap_or_default());
        validation.validate_nbf = true;
        validation.leeway = issuer.settings.leeway.as_secs();
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.key, &validation);
        let claims = decoded.map(|decoded| decoded.claims).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => Fault::Expired,
            kind => invalid(fault_of(kind)),
        })?;
        issuer.check_lifetime(&claims)?;
        let until = time(claims.expires() + issuer.settings.leeway.as_secs_f64());
        let signature = Signature { issuer: Arc::clone(&issuer.name), key_id, key };
        Ok(Verified { claims, until, signature })
    }
}

/// Finds the key that a token is to be verified with, of one of these issuers.
pub(super) fn read<'t>(
    issuers: &'t [Arc<Issuer>],
    token: &'t str,
) -> Result<Unverified<'t>, Fault> {
    if token.len() > MAX_BYTES {
        return Err(invalid("the token is too long"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _] = parts.as_slice() else {
        return Err(invalid("the token does not have three parts"));
    };
    let header: Header = part(header)?;
    if header.has_critical {
        return Err(invalid("the token has critical extensions"));
    }
    let kind = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
    if !["jwt", "at+jwt"].contains(&kind.strip_prefix("application/").unwrap_or(&kind)) {
        return Err(invalid("the token is for something else, by its typ"));
    }
    // Not believed before the signature is verified with a key of this issuer.
    let Issued { iss } = part(claims)?;
    let issuer = issuers.iter().find(|issuer| issuer.issuer() == iss);
    let issuer = issuer.ok_or_else(|| invalid("the token's issuer is not known"))?;
    let key_id = header.kid.ok_or_else(|| invalid("the token names no key"))?;
    let key = issuer.key(&key_id)?;
    Ok(Unverified { token, issuer, key_id, key })
}

fn part<T: DeserializeOwned>(part: &str) -> Result<T, Fault> {
    let unreadable = || invalid("the token is not readable");
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| unreadable())?;
    serde_json::from_slice(&json).map_err(|_| unreadable())
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}

/// A time of a token. One that no clock shows is the beginning of 1970.
fn time(seconds: f64) -> SystemTime {
    let since = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
