//! Login, refresh and fixed tokens of SFT (pages "Authentication" and "05. Authentication").
//!
//! Login has neither the request envelope nor the response envelope of the other operations. Failed
//! logins are not documented, so every reply without an `AccessToken` counts as a failure.

use http::{HeaderName, HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{encode, fault, wire::Envelope};
use crate::{
    dialect::registration::Settings,
    error::{Error, Reason, Result, Retry, UpstreamFacts},
    model::object::Object,
    text,
    upstream::{
        Auth, Reply, Request, Safety, Tokens, Unread, failed_status, jwt_lifetime, unreadable,
    },
};

/// SFT does not use the standard `Authorization`.
const HEADER: HeaderName = HeaderName::from_static("x-authorization");

pub(super) enum SftAuth {
    Fixed(SecretString),
    Login {
        username: SecretString,
        password: SecretString,
        target_account_id: Option<SecretString>,
    },
}

impl SftAuth {
    pub(super) fn from_settings(settings: &Settings) -> Result<Self, Vec<String>> {
        let get = |key| settings.get(key).cloned();
        let target_account_id = get("target_account_id");
        match (get("access_token"), get("username"), get("password")) {
            (Some(token), None, None) if target_account_id.is_none() => match bearer(&token) {
                Ok(_) => Ok(Self::Fixed(token)),
                Err(_) => Err(vec![
                    "access_token contains characters not allowed in an HTTP header".to_owned(),
                ]),
            },
            (None, Some(username), Some(password)) => {
                Ok(Self::Login { username, password, target_account_id })
            }
            (Some(_), ..) => Err(vec![
                "access_token cannot be combined with username, password or target_account_id"
                    .to_owned(),
            ]),
            (None, username, password) => {
                let missing = [("username", username.is_none()), ("password", password.is_none())];
                Err(missing
                    .into_iter()
                    .filter(|(_, missing)| *missing)
                    .map(|(key, _)| format!("{key} is missing; give it, or access_token instead"))
                    .collect())
            }
        }
    }
}

impl Auth for SftAuth {
    fn headers(&self, token: &SecretString) -> Result<Vec<(HeaderName, HeaderValue)>> {
        Ok(vec![(HEADER, bearer(token)?)])
    }

    fn fixed(&self) -> Option<&SecretString> {
        match self {
            Self::Fixed(token) => Some(token),
            Self::Login { .. } => None,
        }
    }

    fn login(&self) -> Option<Request> {
        let Self::Login { username, password, target_account_id } = self else {
            return None;
        };
        let mut body = json!({
            "username": username.expose_secret(),
            "password": password.expose_secret(),
        });
        if let (Some(id), Some(members)) = (target_account_id, body.as_object_mut()) {
            members.insert("targetAccountId".to_owned(), json!(id.expose_secret()));
        }
        let request = encode::request("login", Method::POST, "/api/login".to_owned(), Some(&body));
        // Logging in changes no profile.
        Some(Request { safety: Safety::Read, ..request })
    }

    fn refresh(&self, refresh: &SecretString) -> Option<(Request, Vec<(HeaderName, HeaderValue)>)> {
        let path = "/api/RefreshToken".to_owned();
        let request = encode::request("RefreshToken", Method::GET, path, None);
        // The refresh token travels in the access token's header.
        Some((request, vec![(HEADER, bearer(refresh).ok()?)]))
    }

    fn tokens(&self, reply: &Reply) -> Result<Tokens> {
        let body = Object::read(&reply.body);
        let text = |key: &str| -> Option<SecretString> {
            let value = body.as_ref()?.value(key)?;
            Some(value.as_str().filter(|text| !text.is_empty())?.into())
        };
        match text("AccessToken").filter(|_| reply.status.is_success()) {
            Some(access) => {
                bearer(&access)?;
                let lifetime = jwt_lifetime(&access);
                Ok(Tokens { access, refresh: text("RefreshToken"), lifetime })
            }
            None => Err(refused(reply, body.as_ref())),
        }
    }

    fn is_refused(&self, reply: &Reply) -> bool {
        fault::is_token_refused(reply)
    }

    fn secrets(&self) -> Vec<&SecretString> {
        match self {
            Self::Fixed(token) => vec![token],
            Self::Login { password, .. } => vec![password],
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

/// The error for a login without tokens: in the envelope, as a bare `{resultCode,
/// resultDescription}`, or by HTTP status.
fn refused(reply: &Reply, body: Option<&Object<'_>>) -> Error {
    let envelope = Envelope::read(reply).ok();
    let (code, words) = match (&envelope, body) {
        (Some(envelope), _) => (envelope.inner_code(), envelope.description()),
        (None, Some(body)) => (body.scalar("resultCode"), body.scalar("resultDescription")),
        (None, None) => (None, None),
    };
    let Some(code) = code else {
        return refused_without_code(reply, body.is_some());
    };
    let facts = UpstreamFacts {
        status: Some(reply.status.as_u16()),
        code: text::presentable(&text::cut(&code, 64)),
        message: words.as_deref().and_then(text::presentable),
        request_id: envelope.as_ref().and_then(|e| e.response_id()),
    };
    let error = match code.as_str() {
        "11044" => Error::new(
            Reason::UpstreamAccountLocked,
            "the upstream has locked the gateway's account after failed logins; reset its password \
             there and in this backend's configuration (11044)",
        )
        .with_retry(Retry::After(Some(std::time::Duration::from_secs(300)))),
        "10126" => Error::new(
            Reason::UpstreamAuthFailed,
            "the upstream rejected the gateway's username or password (10126); check this \
             backend's configuration",
        ),
        _ => Error::new(
            Reason::UpstreamAuthFailed,
            format!(
                "the upstream rejected the gateway's login ({}); check this backend's \
                 configuration",
                facts.code.as_deref().unwrap_or("an unknown code")
            ),
        ),
    };
    error.with_upstream(facts)
}

/// The error for a login that was rejected in none of the documented ways.
fn refused_without_code(reply: &Reply, is_json: bool) -> Error {
    let status = reply.status.as_u16();
    // Rejected logins are not documented; other APIs use these two statuses.
    if matches!(status, 400 | 422) {
        let message = format!(
            "the upstream rejected the gateway's login (HTTP {status}); check this backend's \
             configuration"
        );
        let facts = UpstreamFacts { status: Some(status), ..Default::default() };
        return Error::new(Reason::UpstreamAuthFailed, message).with_upstream(facts);
    }
    if !reply.status.is_success() {
        return failed_status(Safety::Read, reply);
    }
    let why = if is_json { Unread::NotTheDialect } else { Unread::of(&reply.body) };
    unreadable(Safety::Read, reply, why)
}
