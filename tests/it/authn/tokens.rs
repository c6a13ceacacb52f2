//! Which tokens are accepted, and what is told of the others.

use aws_lc_rs::{
    encoding::AsDer as _,
    signature::{self, KeyPair as _},
};
use profile_gateway::pb::{GetBackendRequest, ListBackendsRequest};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

use crate::kit::{
    double::double,
    gateway::{Gateway, gateway},
    sandbox::sandbox,
    status::failure,
    tokens::{
        AUDIENCE, ISSUER, Issuer, KEYS, RS256, SHARED, Signed, at, by, caller, claims, encoded,
        good, header, key_of_each_algorithm, role, signed, token, with,
    },
};

/// What is told of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Accepted,
    Missing,
    Expired,
    Invalid,
}
use Told::{Accepted, Expired, Invalid, Missing};

fn rules() -> String {
    role("all", "read", "*") + &caller("me", "all")
}

async fn describe(gateway: &Gateway, request: Request<GetBackendRequest>) -> Result<(), Status> {
    gateway.backends.clone().get_backend(request).await.map(drop)
}

fn asked() -> GetBackendRequest {
    GetBackendRequest { name: "backends/sft".to_owned() }
}

fn told(result: Result<(), Status>) -> Told {
    if result.is_ok() {
        return Accepted;
    }
    let failure = failure(result);
    assert!(failure.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED"), "{failure:#?}");
    match failure.meta("why") {
        "missing" => Missing,
        "expired" => Expired,
        "invalid" => Invalid,
        other => panic!("{other}"),
    }
}

/// The claims of a good token with other members.
fn changed(members: Value) -> String {
    token(&header(), &with(claims("me"), members), RS256)
}

/// A good token with other members in its header.
fn headed(members: Value, signed: Signed) -> String {
    token(&with(header(), members), &claims("me"), signed)
}

fn cut(token: &str, keep: usize) -> String {
    token[..keep].to_owned()
}

type Cell = (&'static str, String, Told);

/// What each token results in, by what is odd about it.
fn cells() -> Vec<Cell> {
    [good_ones(), with_odd_claims(), with_odd_keys(), with_odd_parts()].concat()
}

fn good_ones() -> Vec<Cell> {
    vec![
        ("RS256", good("me"), Accepted),
        ("ES256", headed(json!({"alg": "ES256", "kid": "ec"}), Signed::Ec), Accepted),
        ("a list of audiences", changed(json!({"aud": ["x", AUDIENCE]})), Accepted),
        ("the other audience", changed(json!({"aud": "other"})), Accepted),
        ("the next key", headed(json!({"kid": "next"}), RS256), Accepted),
        ("expired within the leeway", changed(json!({"exp": at(-1)})), Accepted),
        ("begins within the leeway", changed(json!({"nbf": at(2)})), Accepted),
        ("without typ", headed(json!({"typ": null}), RS256), Accepted),
        ("an access token", headed(json!({"typ": "at+jwt"}), RS256), Accepted),
    ]
}

fn with_odd_claims() -> Vec<Cell> {
    vec![
        ("expired", changed(json!({"exp": at(-60), "iat": at(-120)})), Expired),
        ("begins later", changed(json!({"nbf": at(60)})), Invalid),
        ("without exp", changed(json!({"exp": null})), Invalid),
        ("exp is a text", changed(json!({"exp": at(600).to_string()})), Invalid),
        ("without iat", changed(json!({"iat": null})), Invalid),
        ("issued later", changed(json!({"iat": at(60)})), Invalid),
        ("lives for a day", changed(json!({"exp": at(86_400)})), Invalid),
        ("without aud", changed(json!({"aud": null})), Invalid),
        ("another aud", changed(json!({"aud": "someone"})), Invalid),
        ("aud is a prefix", changed(json!({"aud": "profile-gate"})), Invalid),
        ("aud is longer", changed(json!({"aud": "profile-gateway2"})), Invalid),
        ("without iss", changed(json!({"iss": null})), Invalid),
        ("another iss", changed(json!({"iss": "https://idp.example.evil"})), Invalid),
        ("iss with a slash", changed(json!({"iss": format!("{ISSUER}/")})), Invalid),
        ("without sub", changed(json!({"sub": null})), Invalid),
    ]
}

fn with_odd_keys() -> Vec<Cell> {
    let plain = good("me");
    vec![
        ("another issuer's key", headed(json!({}), Signed::OtherRsa), Invalid),
        ("an unknown kid", headed(json!({"kid": "unknown"}), RS256), Invalid),
        ("without kid", headed(json!({"kid": null}), RS256), Invalid),
        ("none", format!("{}.{}.", encoded(none("none")), part(&plain, 1)), Invalid),
        ("nOnE", format!("{}.{}.", encoded(none("nOnE")), part(&plain, 1)), Invalid),
        ("HS256 with the public key", confused(), Invalid),
        ("HS256 with its PEM", confused_pem(), Invalid),
        (
            "an oct key",
            headed(json!({"alg": "HS256", "kid": "oct"}), Signed::Hmac(SHARED)),
            Invalid,
        ),
        (
            "RS512 with a key for RS256",
            headed(json!({"alg": "RS512"}), Signed::Rsa(&signature::RSA_PKCS1_SHA512)),
            Invalid,
        ),
        (
            "PS256 with a key for RS256",
            headed(json!({"alg": "PS256"}), Signed::Rsa(&signature::RSA_PSS_SHA256)),
            Invalid,
        ),
        ("RS256 by the EC key", headed(json!({"kid": "rsa"}), Signed::Ec), Invalid),
        ("ES256 by the RSA key", headed(json!({"alg": "ES256", "kid": "ec"}), RS256), Invalid),
        ("RSA with the EC kid", headed(json!({"kid": "ec"}), RS256), Invalid),
        ("a key for encryption", headed(json!({"kid": "enc"}), RS256), Invalid),
    ]
}

fn with_odd_parts() -> Vec<Cell> {
    let plain = good("me");
    let signature = plain.rsplit('.').next().unwrap().to_owned();
    let unsigned = plain.strip_suffix(&signature).unwrap().to_owned();
    let other_claims = encoded(claims("you").to_string());
    let head = plain.split('.').next().unwrap().to_owned();
    vec![
        ("crit", headed(json!({"crit": ["exp"]}), RS256), Invalid),
        ("empty crit", headed(json!({"crit": []}), RS256), Invalid),
        ("crit is null", with_header_text("\"crit\":null"), Invalid),
        ("crit is a text", headed(json!({"crit": "exp"}), RS256), Invalid),
        ("crit twice", with_header_text("\"crit\":null,\"crit\":[\"exp\"]"), Invalid),
        ("jku", headed(json!({"jku": "http://127.0.0.1:1/", "kid": "jku"}), RS256), Invalid),
        ("a key in the header", with_own_key(), Invalid),
        ("another typ", headed(json!({"typ": "dpop+jwt"}), RS256), Invalid),
        ("other claims", format!("{head}.{other_claims}.{signature}"), Invalid),
        ("a cut signature", cut(&plain, plain.len() - 4), Invalid),
        ("no signature", unsigned, Invalid),
        ("two parts", format!("{head}.{}", part(&plain, 1)), Invalid),
        ("five parts", format!("{plain}.a.b"), Invalid),
        ("padded", format!("{plain}=="), Invalid),
        ("9 KB", changed(json!({"more": "x".repeat(9000)})), Invalid),
        ("not a token", "opaque-token-of-the-kit".to_owned(), Invalid),
    ]
}

/// A good token with these members in its header, as they are written.
fn with_header_text(members: &str) -> String {
    signed(&format!("{{\"alg\":\"RS256\",\"kid\":\"rsa\",{members}}}"), &claims("me"), RS256)
}

fn part(token: &str, n: usize) -> &str {
    token.split('.').nth(n).unwrap()
}

fn none(algorithm: &str) -> String {
    json!({"alg": algorithm, "kid": "rsa"}).to_string()
}

/// A token that would be valid for who takes the public key for a shared secret.
fn confused() -> String {
    let der = KEYS.rsa.public_key().as_der().unwrap();
    headed(json!({"alg": "HS256"}), Signed::Hmac(Vec::leak(der.as_ref().to_vec())))
}

fn confused_pem() -> String {
    let der = KEYS.rsa.public_key().as_der().unwrap();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der.as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
    headed(json!({"alg": "HS256"}), Signed::Hmac(Vec::leak(pem.into_bytes())))
}

/// A token that brings the key that it is signed with.
fn with_own_key() -> String {
    let public = KEYS.other.public_key();
    let n = encoded(public.modulus().big_endian_without_leading_zero());
    let jwk = json!({"kty": "RSA", "n": n, "e": "AQAB"});
    headed(json!({"jwk": jwk}), Signed::OtherRsa)
}

#[tokio::test]
async fn only_tokens_that_the_issuer_has_signed_for_this_gateway_are_accepted() {
    let (issuer, upstream) = (Issuer::new(), double().await);
    let gateway = gateway()
        .section(&issuer.config("", &rules()))
        .fixed("sft", &upstream.base_url, "")
        .server("max_request_metadata_bytes = \"32KiB\"")
        .start()
        .await;
    let mut wrong = Vec::new();
    for (what, token, expected) in cells() {
        // Twice: what is remembered of a token changes nothing.
        for round in 0..2 {
            let told = told(describe(&gateway, by(&token, asked())).await);
            if told != expected {
                wrong.push(format!("{what}, round {round}: {told:?} instead of {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(upstream.seen().is_empty());
    assert_eq!(gateway.metric("cache_reads_total", "").await, 0.0);
}

#[tokio::test]
async fn every_algorithm_that_can_be_configured_is_accepted_with_its_own_key_alone() {
    let (issuer, upstream) = (Issuer::new(), double().await);
    issuer.publish(&key_of_each_algorithm());
    let signatures = [
        ("RS256", RS256),
        ("RS384", Signed::Rsa(&signature::RSA_PKCS1_SHA384)),
        ("RS512", Signed::Rsa(&signature::RSA_PKCS1_SHA512)),
        ("PS256", Signed::Rsa(&signature::RSA_PSS_SHA256)),
        ("PS384", Signed::Rsa(&signature::RSA_PSS_SHA384)),
        ("PS512", Signed::Rsa(&signature::RSA_PSS_SHA512)),
        ("ES256", Signed::Ec),
        ("ES384", Signed::Ec384),
        ("EdDSA", Signed::Ed),
    ];
    let all = signatures.map(|(name, _)| name).join(", ");
    let sections = format!("algorithms = \"{all}\"\n{}", rules());
    let config = issuer.config("", &sections);
    let gateway = gateway().section(&config).fixed("sft", &upstream.base_url, "").start().await;
    for (own, _) in signatures {
        for (algorithm, signed) in signatures {
            let token = headed(json!({"alg": algorithm, "kid": own}), signed);
            let expected = if algorithm == own { Accepted } else { Invalid };
            let told = told(describe(&gateway, by(&token, asked())).await);
            assert_eq!(told, expected, "{algorithm} with the key for {own}");
        }
    }
}

#[tokio::test]
async fn the_header_has_one_token_and_says_so() {
    let (issuer, upstream) = (Issuer::new(), double().await);
    let config = issuer.config("", &rules());
    let gateway = gateway().section(&config).fixed("sft", &upstream.base_url, "").start().await;
    let plain = good("me");
    let values = |values: &[String]| {
        let mut request = Request::new(asked());
        for value in values {
            request.metadata_mut().append("authorization", value.parse().unwrap());
        }
        request
    };
    for (sent, expected) in [
        (vec![], Missing),
        (vec![format!("Bearer {plain}")], Accepted),
        (vec![format!("bEARER {plain}")], Accepted),
        (vec![format!("Bearer {plain}"), format!("Bearer {plain}")], Invalid),
        (vec![format!("Bearer {plain}"), String::new()], Invalid),
        (vec![String::new()], Invalid),
        (vec!["Bearer".to_owned()], Invalid),
        (vec!["Bearer ".to_owned()], Invalid),
        (vec![format!("Bearer  {plain}")], Invalid),
        (vec![format!("Basic {plain}")], Invalid),
        (vec![plain.clone()], Invalid),
        (vec![format!("Bearer {plain}, Bearer {plain}")], Invalid),
    ] {
        assert_eq!(told(describe(&gateway, values(&sent)).await), expected, "{sent:?}");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_token_of_no_configured_caller_may_do_nothing() {
    let (issuer, upstream) = (Issuer::new(), sandbox().await);
    let gateway = gateway().section(&issuer.config("", &rules())).section(&upstream.config());
    let gateway = gateway.start().await;
    let refused = failure(describe(&gateway, by(&good("you"), asked())).await);
    assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{refused:#?}");
    assert_eq!(refused.meta("right"), "read");
    let all =
        gateway.backends.clone().list_backends(by(&good("you"), ListBackendsRequest {})).await;
    assert_eq!(failure(all).reason, "CALLER_NOT_ALLOWED");
    let all = gateway.backends.clone().list_backends(by(&good("me"), ListBackendsRequest {})).await;
    assert_eq!(all.unwrap().into_inner().backends.len(), 3);
}
