//! Several issuers: each signs for itself alone.

use profile_gateway::pb::GetBackendRequest;
use serde_json::{Value, json};
use tonic::Code;

use crate::kit::{
    double::double,
    gateway::{Gateway, gateway},
    status::failure,
    tokens::{
        AUDIENCE, Issuer, RS256, Signed, by, caller, claims, good, header, other_jwk, role, token,
        with,
    },
};

const OTHER: &str = "https://other.example";

/// A gateway that believes the issuer of the kit and another one, whose keys have partly the same
/// names. Each has a caller `me`, by a name of its own.
async fn started() -> (Gateway, [Issuer; 2]) {
    let (issuer, other, upstream) = (Issuer::new(), Issuer::new(), double().await);
    other.publish(&json!({"keys": [other_jwk("rsa"), other_jwk("of-other")]}));
    let rules = role("all", "read", "*")
        + &role("none", "preview", "*")
        + &caller("me", "all")
        + &format!(
            "[auth.callers.their-me]\nroles = \"none\"\nissuer = \"{OTHER}\"\nsubject = \"me\"\n\
             [auth.callers.their-you]\nroles = \"all\"\nissuer = \"{OTHER}\"\nsubject = \"you\"\n\
             [auth.jwt.other]\nissuer = \"{OTHER}\"\naudience = \"{AUDIENCE}\"\n\
             jwks_file = \"{}\"\n",
            other.path()
        );
    let config = issuer.config("", &rules);
    let gateway = gateway().section(&config).fixed("sft", &upstream.base_url, "").start().await;
    (gateway, [issuer, other])
}

fn signed(issuer: Option<&str>, subject: &str, kid: &str, signed: Signed) -> String {
    let issuer = issuer.map_or(json!({}), |issuer| json!({"iss": issuer}));
    let header: Value = with(header(), json!({"kid": kid}));
    token(&header, &with(claims(subject), issuer), signed)
}

#[tokio::test]
async fn a_token_is_signed_with_a_key_of_the_issuer_that_it_names() {
    let (gateway, _issuers) = started().await;
    let ask = async |token: &str| {
        let request = GetBackendRequest { name: "backends/sft".to_owned() };
        gateway.backends.clone().get_backend(by(token, request)).await
    };
    ask(&good("me")).await.unwrap();
    ask(&signed(Some(OTHER), "you", "rsa", Signed::OtherRsa)).await.unwrap();
    ask(&signed(Some(OTHER), "you", "of-other", Signed::OtherRsa)).await.unwrap();
    for (what, token) in [
        ("the other's key of the same name", signed(None, "me", "rsa", Signed::OtherRsa)),
        ("the other's own key", signed(None, "me", "of-other", Signed::OtherRsa)),
        ("ours for theirs", signed(Some(OTHER), "you", "rsa", RS256)),
        ("ours by a name of its own", signed(Some(OTHER), "you", "next", RS256)),
    ] {
        let refused = failure(ask(&token).await);
        assert!(
            refused.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED"),
            "{what}: {refused:#?}"
        );
        assert_eq!(refused.meta("why"), "invalid", "{what}");
    }
}

#[tokio::test]
async fn a_subject_is_a_caller_only_with_its_issuer() {
    let (gateway, _issuers) = started().await;
    for (issuer, subject, signed_by) in
        [(Some(OTHER), "me", Signed::OtherRsa), (None, "you", RS256)]
    {
        let token = signed(issuer, subject, "rsa", signed_by);
        let request = GetBackendRequest { name: "backends/sft".to_owned() };
        let refused = failure(gateway.backends.clone().get_backend(by(&token, request)).await);
        assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{refused:#?}");
    }
}
