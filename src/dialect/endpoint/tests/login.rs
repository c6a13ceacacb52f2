//! Tokens.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::{
    dialect::{Settings, recorder::reply},
    error::{Kind, Retry},
    upstream::{Auth, Safety},
};

fn auth(settings: &[(&str, &str)]) -> Result<auth::EndpointAuth, Vec<String>> {
    let settings: Settings = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), SecretString::from(*value)))
        .collect();
    auth::EndpointAuth::from_settings(&settings)
}

#[test]
fn exactly_one_token_is_configured() {
    assert!(auth(&[("application_token", "a")]).is_ok());
    assert!(auth(&[("auth_token", "a")]).is_ok());
    for settings in
        [&[][..], &[("application_token", "a"), ("auth_token", "b")], &[("auth_token", "a\nb")]]
    {
        assert_eq!(auth(settings).err().map(|faults| faults.len()), Some(1), "{settings:?}");
    }
}

#[test]
fn an_application_token_gives_a_bearer_token() {
    let auth = auth(&[("application_token", "app-secret")]).unwrap();
    let login = auth.login().unwrap();
    assert_eq!((login.path.as_str(), login.safety), ("/api/v1/authenticate", Safety::Read));
    let body: Value = serde_json::from_slice(&login.body.unwrap()).unwrap();
    assert_eq!(body, json!({"application_token": "app-secret"}));

    let claims = URL_SAFE_NO_PAD.encode(r#"{"iat":1000,"exp":1600}"#);
    for (token, lifetime) in [(format!("e30.{claims}.x"), 600), ("opaque".to_owned(), 240 * 60)] {
        let tokens = auth.tokens(&reply(200, json!({"auth_token": token}).to_string())).unwrap();
        assert_eq!(tokens.lifetime, Some(Duration::from_secs(lifetime)));
        let headers = auth.headers(&tokens.access).unwrap();
        let [(name, value)] = headers.as_slice() else { panic!("one header") };
        assert_eq!((name.as_str(), value.is_sensitive()), ("authorization", true));
        assert_eq!(value.to_str().unwrap(), format!("Bearer {}", tokens.access.expose_secret()));
    }
    assert!(auth.refresh(&SecretString::from("x")).is_none() && auth.fixed().is_none());
}

#[test]
fn a_fixed_token_needs_no_login() {
    let auth = auth(&[("auth_token", "fixed")]).unwrap();
    assert!(auth.login().is_none());
    assert_eq!(auth.fixed().unwrap().expose_secret(), "fixed");
    assert!(auth.is_refused(&reply(401, "")));
}

#[test]
fn rejected_tokens_are_distinguished_from_lockouts() {
    let auth = auth(&[("application_token", "a")]).unwrap();
    for (status, body, refused) in [
        (401, String::new(), true),
        (401, error_body(1102, "x").to_string(), true),
        (401, error_body(1103, "x").to_string(), true),
        (401, json!({"message": "token contains an invalid number of segments"}).to_string(), true),
        (401, error_body(1105, "x").to_string(), false),
        (403, error_body(1104, "x").to_string(), false),
        (200, String::new(), false),
    ] {
        assert_eq!(auth.is_refused(&reply(status, body.clone())), refused, "{status} {body}");
    }
}

#[test]
fn failed_logins_have_their_reason() {
    use Reason::{
        UpstreamAccountLocked as Locked, UpstreamAuthFailed as Failed,
        UpstreamContractViolation as Violation, UpstreamInternal, UpstreamPermissionDenied,
        UpstreamThrottled, UpstreamUnavailable,
    };
    let auth = auth(&[("application_token", "a")]).unwrap();
    let lock = Some(300);
    let token_only = json!({"error_token": "TooManyRequests"}).to_string();
    for (status, body, reason, kind, retry) in [
        (401, String::new(), Failed, Kind::Internal, None),
        (401, error_body(1101, "bad").to_string(), Failed, Kind::Internal, None),
        (401, error_body(1105, "locked").to_string(), Locked, Kind::Unavailable, lock),
        (401, token_only, Locked, Kind::Unavailable, lock),
        (400, error_body(1000, "bad").to_string(), Failed, Kind::Internal, None),
        (400, String::new(), Failed, Kind::Internal, None),
        (422, error_body(1402, "x").to_string(), Failed, Kind::Internal, None),
        (404, error_body(1201, "x").to_string(), Failed, Kind::Internal, None),
        (404, String::new(), Violation, Kind::Internal, None),
        (403, String::new(), UpstreamPermissionDenied, Kind::PermissionDenied, None),
        (
            429,
            error_body(1105, "x").to_string(),
            UpstreamThrottled,
            Kind::ResourceExhausted,
            Some(1),
        ),
        (500, String::new(), UpstreamInternal, Kind::Internal, None),
        (503, String::new(), UpstreamUnavailable, Kind::Unavailable, Some(1)),
        (200, String::new(), Violation, Kind::Internal, None),
        (200, "<html>".to_owned(), Violation, Kind::Internal, None),
        (200, "{}".to_owned(), Violation, Kind::Internal, None),
        (200, r#"{"auth_token": ""}"#.to_owned(), Violation, Kind::Internal, None),
        (200, r#"{"auth_token": "a\nb"}"#.to_owned(), Violation, Kind::Internal, None),
        (200, r#"{"mfa_token": "a"}"#.to_owned(), Violation, Kind::Internal, None),
    ] {
        let error = auth.tokens(&reply(status, body.clone())).unwrap_err();
        assert_eq!((error.reason(), error.kind()), (reason, kind), "{status} {body}");
        assert_eq!(error.effect(), Effect::None);
        let retry = retry.map(|seconds| Retry::After(Some(Duration::from_secs(seconds))));
        assert_eq!(error.retry(), retry.unwrap_or(Retry::No), "{status} {body}");
    }
}
