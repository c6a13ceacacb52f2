//! Issuers that come and go, and keys that are taken away.

use serde_json::{Value, json};
use tonic::Code;

use super::callers::{config, end, get, get_by, goes_on, started, watch_by};
use crate::kit::{
    gateway::gateway,
    jwks::{Answers, Published, published},
    reloading::{Files, reloading},
    sandbox::sandbox,
    status::{Failure, fails, failure},
    tokens::{AUDIENCE, Signed, caller, claims, ec_jwk, good, header, role, rsa_jwk, token, with},
    until,
};

const OTHER: &str = "https://other.example";

fn rules() -> String {
    role("all", "read", "*") + &caller("one", "all")
}

/// Another issuer with its keys at a URL, and a caller that it has.
fn other(at: &Published) -> String {
    format!(
        "[auth.jwt.other]\nissuer = \"{OTHER}\"\naudience = \"{AUDIENCE}\"\n\
         jwks_url = \"{}\"\nca_file = \"{}\"\n[auth.callers.two]\nroles = \"all\"\n\
         issuer = \"{OTHER}\"\nsubject = \"two\"\n",
        at.url(),
        at.authority.file().display()
    )
}

fn keys(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

/// A token that is signed with the key of the elliptic curve.
fn by_ec(claims: &Value) -> String {
    token(&with(header(), json!({"alg": "ES256", "kid": "ec"})), claims, Signed::Ec)
}

#[tokio::test]
async fn tokens_of_an_issuer_count_only_with_its_own_keys_and_until_it_is_removed() {
    let (reloading, issuer, sandbox) = started(&rules()).await;
    let gateway = &reloading.gateway;
    let first = published(Answers::Keys(keys(&[ec_jwk("ec")]))).await;
    let second = published(Answers::Keys(keys(&[rsa_jwk("rsa")]))).await;
    let theirs = by_ec(&with(claims("two"), json!({"iss": OTHER})));
    let ask = async || get_by(gateway, &theirs, "sft").await;
    let why = async || -> Failure { failure(ask().await) };
    let change = async |more: &str| {
        reloading.change(config(&issuer, &sandbox, &(rules() + more))).await;
        assert_eq!(reloading.outcome().await.0, "applied");
    };
    assert_eq!(why().await.meta("why"), "invalid");
    change(&other(&first)).await;
    until("the keys of the first", async || ask().await.is_ok()).await;
    // It is remembered by now, and another place has other keys.
    change(&other(&second)).await;
    assert!(matches!(why().await.meta("why"), "invalid" | "unavailable"));
    until("the keys of the second", async || why().await.meta("why") == "invalid").await;
    assert!(second.asked() >= 1);
    change(&other(&first)).await;
    until("the keys of the first again", async || ask().await.is_ok()).await;
    change("").await;
    assert_eq!(why().await.meta("why"), "invalid");
    get(gateway, "one", "sft").await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_when_the_key_of_its_token_leaves_the_file_and_others_go_on() {
    let (reloading, issuer, _sandbox) = started(&rules()).await;
    let gateway = &reloading.gateway;
    let watch = async |token: &str| watch_by(gateway, token, "backends/sft").await.unwrap();
    let (by_rsa, mut kept) = (watch(&good("one")).await, watch(&by_ec(&claims("one"))).await);
    // Another one beside them takes none away.
    issuer.publish(&keys(&[rsa_jwk("rsa"), ec_jwk("ec"), rsa_jwk("next")]));
    reloading.reload().await;
    goes_on(&mut kept).await;
    issuer.publish(&keys(&[ec_jwk("ec"), rsa_jwk("next")]));
    reloading.reload().await;
    let ended = fails(end(by_rsa).await, Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    assert_eq!(ended.meta("why"), "invalid");
    goes_on(&mut kept).await;
    // The same name is not the same key.
    issuer.publish(&keys(&[rsa_jwk("ec"), rsa_jwk("next")]));
    reloading.reload().await;
    fails(end(kept).await, Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
}

#[tokio::test]
async fn a_stream_ends_when_the_key_of_its_token_is_published_no_more() {
    let (sandbox, all) = (sandbox().await, keys(&[rsa_jwk("rsa"), ec_jwk("ec")]));
    let issuer = published(Answers::Keys(all)).await;
    let soon = "jwks_refresh = \"1s\"\njwks_min_refresh = \"1s\"\n";
    let config = issuer.config(soon, &rules()) + &sandbox.config();
    let reloading = reloading(Files::new(), gateway().section(&config)).await;
    let gateway = &reloading.gateway;
    until("the keys", async || get(gateway, "one", "sft").await.is_ok()).await;
    let watch = async |token: &str| watch_by(gateway, token, "backends/sft").await.unwrap();
    let (by_rsa, mut kept) = (watch(&good("one")).await, watch(&by_ec(&claims("one"))).await);
    // Keys that cannot be fetched take none away.
    issuer.answers(Answers::Status(500, json!({})));
    until("a fetch fails", async || {
        gateway.metric("jwks_reads_total", "outcome=\"failed\"").await > 0.0
    })
    .await;
    goes_on(&mut kept).await;
    issuer.answers(Answers::Keys(keys(&[ec_jwk("ec")])));
    let ended = fails(end(by_rsa).await, Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    assert_eq!(ended.meta("why"), "invalid");
    goes_on(&mut kept).await;
}
