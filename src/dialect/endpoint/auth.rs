//! Login with an application token, and fixed tokens (pages "Basic authentication" and "Getting
//! started").
//!
//! This flow has no refresh token: a new `auth_token` requires a new login. The other flow, with a
//! user name and the SHA-1 of the password, is deprecated by the vendor and not supported here.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    encode, fault,
    wire::{self, Fault},
};
use crate::{
    dialect::registration::Settings,
    error::{Error, Reason, Result},
    upstream::{Auth, Reply, Request, Safety, Tokens, Unread, jwt_lifetime, unreadable},
};

/// The lifetime of a token that does not state it (page "Basic authentication").
const DOCUMENTED_LIFETIME: Duration = Duration::from_secs(240 * 60);

pub(super) enum EndpointAuth {
    Fixed(SecretString),
    Login { application_token: SecretString },
}

impl EndpointAuth {
    pub(super) fn from_settings(settings: &Settings) -> Result<Self, Vec<String>> {
        let get = |key| settings.get(key).cloned();
        match (get("application_token"), get("auth_token")) {
            (Some(application_token), None) => Ok(Self::Login { application_token }),
            (None, Some(token)) => match bearer(&token) {
                Ok(_) => Ok(Self::Fixed(token)),
                Err(_) => Err(vec![
                    "auth_token contains characters not allowed in an HTTP header".to_owned(),
                ]),
            },
            (Some(_), Some(_)) => {
                Err(vec!["auth_token cannot be combined with application_token".to_owned()])
            }
            (None, None) => {
                Err(vec!["application_token is missing; give it, or auth_token instead".to_owned()])
            }
        }
    }
}

impl Auth for EndpointAuth {
    fn headers(&self, token: &SecretString) -> Result<Vec<(HeaderName, HeaderValue)>> {
        Ok(vec![(AUTHORIZATION, bearer(token)?)])
    }

    fn fixed(&self) -> Option<&SecretString> {
        match self {
            Self::Fixed(token) => Some(token),
            Self::Login { .. } => None,
        }
    }

    fn login(&self) -> Option<Request> {
        let Self::Login { application_token } = self else {
            return None;
        };
        let body = json!({"application_token": application_token.expose_secret()});
        let path = "/api/v1/authenticate".to_owned();
        let request = encode::request("Authenticate", Method::POST, path, Some(&body));
        // Logging in changes no profile.
        Some(Request { safety: Safety::Read, ..request })
    }

    fn refresh(&self, _: &SecretString) -> Option<(Request, Vec<(HeaderName, HeaderValue)>)> {
        None
    }

    fn tokens(&self, reply: &Reply) -> Result<Tokens> {
        if !reply.status.is_success() {
            return Err(refused(reply));
        }
        let body = wire::lenient(&reply.body);
        let token = body.as_ref().and_then(|body| body.get("auth_token")).and_then(Value::as_str);
        match token.filter(|token| !token.is_empty()) {
            Some(token) => {
                let access = SecretString::from(token);
                bearer(&access)?;
                let lifetime = Some(jwt_lifetime(&access).unwrap_or(DOCUMENTED_LIFETIME));
                Ok(Tokens { access, refresh: None, lifetime })
            }
            None => {
                let why =
                    if body.is_some() { Unread::NotTheDialect } else { Unread::of(&reply.body) };
                Err(unreadable(Safety::Read, reply, why))
            }
        }
    }

    fn is_refused(&self, reply: &Reply) -> bool {
        // A lockout is a 401 too, and a new login would only prolong it.
        reply.status == StatusCode::UNAUTHORIZED && !fault::is_locked(&Fault::read(&reply.body))
    }

    fn secrets(&self) -> Vec<&SecretString> {
        match self {
            Self::Fixed(token) => vec![token],
            Self::Login { application_token } => vec![application_token],
        }
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| {
            Error::new(
                Reason::UpstreamContractViolation,
                "the upstream issued a token with characters not allowed in an HTTP header",
            )
        })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The error for a failed login. 400 and 404 with the vendor's own body are documented for a
/// malformed or unknown token, so they are rejections like 401.
fn refused(reply: &Reply) -> Error {
    let body = Fault::read(&reply.body);
    match reply.status {
        StatusCode::UNAUTHORIZED if fault::is_locked(&body) => fault::locked(reply, &body),
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::UNPROCESSABLE_ENTITY => {
            wrong(reply, &body)
        }
        StatusCode::NOT_FOUND if body.code.is_some() => wrong(reply, &body),
        _ => fault::by_status(Safety::Read, reply, &body),
    }
}

fn wrong(reply: &Reply, body: &Fault) -> Error {
    let message = "the upstream rejected the gateway's application token; check this backend's \
                   configuration";
    fault::error(Reason::UpstreamAuthFailed, message, (reply, body))
}
