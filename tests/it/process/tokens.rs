//! Tokens of callers are shown nowhere, whatever is wrong with them; what is wrong is in the log.

use profile_gateway::pb::{
    CreateProfileRequest, GetBackendRequest, backend_service_client::BackendServiceClient,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::{Request, Status};

use super::{
    calls::{channel, http_get, profiles},
    child::{sandbox, serve},
};
use crate::kit::{
    model::profile,
    tokens::{
        Issuer, RS256, Signed, at, by, caller, claims, encoded, good, header, role, token, with,
    },
};

/// What strangers write into tokens.
const MARK: &str = "mark-9f31c0-of-a-token";

/// Tokens that are wrong, each with what the log says of it.
fn wrong() -> Vec<(String, &'static str)> {
    let claim = |members| token(&header(), &with(claims("me"), members), RS256);
    let body = encoded(claims("me").to_string());
    let unsigned = |header: Value| format!("{}.{body}.c2lnbmF0dXJl", encoded(header.to_string()));
    vec![
        (claim(json!({"exp": at(-600), "iat": at(-700)})), "the token has run out"),
        (token(&header(), &claims("me"), Signed::OtherRsa), "the token's signature is not"),
        (unsigned(json!({"alg": MARK.repeat(90), "kid": "rsa"})), "the token is not readable"),
        (unsigned(json!({"alg": "RS256", "kid": MARK})), "the token's key is not known"),
        (unsigned(json!({"alg": "ES256", "kid": "rsa"})), "the token's algorithm is not"),
        (claim(json!({"exp": MARK})), "the token is not readable"),
        (claim(json!({"jti": [MARK]})), "the token is not readable"),
        (claim(json!({"aud": MARK})), "the token is for another audience"),
        (claim(json!({"iss": MARK})), "the token's issuer is not known"),
        (claim(json!({"aud": null})), "the token lacks one of"),
        (claim(json!({"nbf": at(600)})), "the token is not valid yet"),
        (format!("{MARK}.{MARK}.{MARK}"), "the token is not readable"),
        (MARK.to_owned(), "does not have three parts"),
    ]
}

#[tokio::test]
async fn tokens_are_in_no_log_error_metric_or_page_and_their_faults_are_in_the_log() {
    let (issuer, sandbox) = (Issuer::new(), sandbox().await);
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.log").display().to_string();
    let rules = role("all", "read, write", "*") + &caller("me", "all");
    let config = format!(
        "[audit]\nfile = {audit:?}\n{}{}",
        issuer.config("xfcc_from = \"192.0.2.1\"", &rules),
        sandbox.config
    );
    let gateway = serve(&config, &[("PROFILE_GATEWAY__LOG__LEVEL", "trace")]).await;
    let right = good("me");
    let create = CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile("by a token")),
        ..CreateProfileRequest::default()
    };
    profiles(&gateway).await.create_profile(by(&right, create)).await.unwrap();
    let mut backends = BackendServiceClient::new(channel(gateway.grpc).await);
    let asked = || GetBackendRequest { name: "backends/sft".to_owned() };
    let mut told = String::new();
    for (token, _) in wrong() {
        let refused: Status = backends.get_backend(by(&token, asked())).await.unwrap_err();
        told += &format!("{refused:?}");
    }
    let mut forwarded = Request::new(asked());
    let header = "x-forwarded-client-cert";
    forwarded.metadata_mut().insert(header, "URI=spiffe://example.org/a".parse().unwrap());
    backends.get_backend(forwarded).await.unwrap_err();
    for page in ["/metrics", "/config"] {
        told += &http_get(gateway.admin, page).await.1;
    }
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    told += &ended.output();
    told += &std::fs::read_to_string(&audit).unwrap();
    assert!(told.contains("profile_gateway_") && told.contains("by a token"));
    assert!(!told.contains(MARK), "{}", around(&told, MARK));
    for token in wrong().into_iter().map(|(token, _)| token).chain([right]) {
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!told.contains(part), "{}", around(&told, part));
        }
    }
    for (_, cause) in wrong() {
        assert!(ended.stderr.contains(cause), "{cause}\n{}", ended.stderr);
    }
    let ignored = "x-forwarded-client-cert came from 127.0.0.1, not one of auth.xfcc_from";
    assert!(ended.stderr.contains(ignored), "{}", ended.stderr);
}

#[tokio::test]
async fn the_line_of_a_call_names_the_workload_that_its_token_came_from() {
    let (issuer, sandbox) = (Issuer::new(), sandbox().await);
    let rules = role("all", "read", "*") + &caller("me", "all");
    let config = issuer.config("xfcc_from = \"127.0.0.1\"", &rules) + &sandbox.config;
    let gateway = serve(&config, &[]).await;
    let mut backends = BackendServiceClient::new(channel(gateway.grpc).await);
    // It is not configured, and named all the same.
    let id = "spiffe://example.org/ns/a/sa/app";
    for header in [Some(format!("URI={id}")), None] {
        let mut request = by(&good("me"), GetBackendRequest { name: "backends/sft".to_owned() });
        if let Some(header) = header {
            request.metadata_mut().insert("x-forwarded-client-cert", header.parse().unwrap());
        }
        backends.get_backend(request).await.unwrap();
    }
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    let lines = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap());
    let calls = lines.filter(|line: &Value| line["target"] == "access");
    let who: Vec<_> =
        calls.map(|line| (line["caller"].clone(), line["workload"].clone())).collect();
    let me = json!("me");
    assert_eq!(who, [(me.clone(), json!(id)), (me, Value::Null)], "{}", ended.stderr);
}

#[tokio::test]
async fn a_token_that_no_issuer_is_configured_for_is_named_as_ignored() {
    let sandbox = sandbox().await;
    let config = format!(
        "[auth]\nmode = \"required\"\nxfcc_from = \"127.0.0.1\"\n{}[auth.callers.app]\n\
         roles = \"all\"\nspiffe = \"spiffe://example.org/a\"\n{}",
        role("all", "read", "*"),
        sandbox.config
    );
    let gateway = serve(&config, &[("PROFILE_GATEWAY__LOG__LEVEL", "trace")]).await;
    let mut backends = BackendServiceClient::new(channel(gateway.grpc).await);
    let token = good("me");
    let asked = GetBackendRequest { name: "backends/sft".to_owned() };
    backends.get_backend(by(&token, asked)).await.unwrap_err();
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    let ignored = "authorization is ignored, because no [auth.jwt.NAME] is configured";
    assert!(ended.stderr.contains(ignored), "{}", ended.stderr);
    assert!(!ended.output().contains(&token), "{}", around(&ended.stderr, &token));
}

/// The line that has what it must not have.
fn around<'t>(text: &'t str, secret: &str) -> &'t str {
    text.lines().find(|line| line.contains(secret)).unwrap_or_default()
}
