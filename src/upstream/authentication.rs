//! How a dialect authenticates the gateway, and what a login gives.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::message::{Reply, Request};
use crate::error::Result;

/// How a dialect authenticates the gateway. Pure: it builds requests and reads answers.
pub trait Auth: Send + Sync + 'static {
    /// The headers that carry a token.
    fn headers(&self, token: &SecretString) -> Result<Vec<(HeaderName, HeaderValue)>>;
    /// A credential from the configuration that needs no login and cannot be renewed.
    fn fixed(&self) -> Option<&SecretString>;
    /// Whether the upstream may lock the account after a few requests with wrong fixed credentials.
    fn may_lock(&self) -> bool {
        false
    }
    /// The request that logs in.
    fn login(&self) -> Option<Request>;
    /// The request that renews a token.
    fn refresh(&self, refresh: &SecretString) -> Option<(Request, Vec<(HeaderName, HeaderValue)>)>;
    /// The tokens in the answer to a login or a refresh.
    fn tokens(&self, reply: &Reply) -> Result<Tokens>;
    /// Whether an answer says that the token is invalid or expired.
    fn is_refused(&self, reply: &Reply) -> bool;
    /// Secrets from the configuration, to be kept out of messages.
    fn secrets(&self) -> Vec<&SecretString>;
}

/// The result of a login.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Sent with every request.
    pub access: SecretString,
    /// Renews the access token.
    pub refresh: Option<SecretString>,
    /// How long the access token is valid, if it says so.
    pub lifetime: Option<Duration>,
}

/// How long a JSON Web Token (RFC 7519) is valid, from its `iat` to its `exp`; `None` for any other
/// text. The token is not verified, because only its issuer could.
#[must_use]
pub fn jwt_lifetime(token: &SecretString) -> Option<Duration> {
    let payload = token.expose_secret().split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let (issued, expires) = (claims.get("iat")?.as_u64()?, claims.get("exp")?.as_u64()?);
    let lifetime = Duration::from_secs(expires.checked_sub(issued)?);
    // A shorter lifetime would cause a renewal for nearly every call; a refusal triggers it
    // instead.
    (lifetime >= Duration::from_secs(10)).then_some(lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifetime_of_a_token_is_read_from_its_claims() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"iat":1000,"exp":1100}"#);
        let token = SecretString::from(format!("e30.{claims}.x"));
        assert_eq!(jwt_lifetime(&token), Some(Duration::from_secs(100)));
        for other in ["", "a.b", "e30.e30.x", "a.!.c"] {
            assert_eq!(jwt_lifetime(&SecretString::from(other)), None, "{other}");
        }
    }
}
