//! Keys that are fetched from the issuer, and its tokens while they cannot be.

use std::sync::Arc;

use profile_gateway::pb::GetBackendRequest;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::kit::{
    double::{Double, double},
    gateway::{Gateway, gateway},
    jwks::{Answers, Published, published, published_under},
    status::{Failure, failure},
    tls::Authority,
    tokens::{
        RS256, SHARED, Signed, by, caller, claims, ec_jwk, encoded, good, header, key_set, role,
        rsa_jwk, token, with,
    },
    until,
};

struct Bench {
    gateway: Gateway,
    issuer: Published,
    _upstream: Double,
}

/// A gateway that fetches keys as often as these lines say.
async fn bench(answers: Answers, lines: &str) -> Bench {
    let issuer = published(answers).await;
    let (gateway, upstream) = over(&issuer.config(lines, &rules())).await;
    Bench { gateway, issuer, _upstream: upstream }
}

async fn over(config: &str) -> (Gateway, Double) {
    let upstream = double().await;
    let builder = gateway().section(config).fixed("sft", &upstream.base_url, "");
    (builder.start().await, upstream)
}

fn rules() -> String {
    role("all", "read", "*") + &caller("me", "all")
}

async fn ask(gateway: &Gateway, token: &str) -> Result<(), Status> {
    let request = GetBackendRequest { name: "backends/sft".to_owned() };
    gateway.backends.clone().get_backend(by(token, request)).await.map(drop)
}

impl Bench {
    async fn accepts(&self, token: &str) -> bool {
        ask(&self.gateway, token).await.is_ok()
    }

    async fn refusal(&self, token: &str) -> Failure {
        failure(ask(&self.gateway, token).await)
    }

    async fn reads(&self, outcome: &str) -> f64 {
        let labels = format!("issuer=\"idp\",outcome=\"{outcome}\"");
        self.gateway.metric("jwks_reads_total", &labels).await
    }

    async fn ready(&self) -> bool {
        let url = format!("http://{}/readyz", self.gateway.admin);
        reqwest::get(url).await.unwrap().status() == 200
    }
}

fn next() -> String {
    let header = with(header(), json!({"alg": "ES256", "kid": "ec"}));
    token(&header, &claims("me"), Signed::Ec)
}

fn keys(keys: &[Value]) -> Answers {
    Answers::Keys(json!({ "keys": keys }))
}

const SOON: &str = "jwks_refresh = \"1s\"\njwks_min_refresh = \"1s\"\n";

#[tokio::test]
async fn keys_are_fetched_again_and_tokens_of_those_taken_away_are_forgotten() {
    let bench = bench(keys(&[rsa_jwk("rsa")]), SOON).await;
    // One token, which is remembered once it was verified.
    let old = good("me");
    until("the keys are fetched", async || bench.accepts(&old).await).await;
    assert!(bench.ready().await);
    assert!(!bench.accepts(&next()).await);
    bench.issuer.answers(keys(&[ec_jwk("ec")]));
    until("the new key is known", async || bench.accepts(&next()).await).await;
    let refused = bench.refusal(&old).await;
    assert!(matches!(refused.meta("why"), "invalid" | "unavailable"), "{refused:#?}");
    assert!(bench.reads("changed").await >= 2.0 && bench.reads("failed").await == 0.0);
    assert!(bench.gateway.metric("jwks_read_timestamp_seconds", "idp").await > 1.7e9);
}

#[tokio::test]
async fn tokens_of_unknown_keys_cause_one_fetch_and_no_more_until_the_pause_is_over() {
    // Nothing but a token makes it fetch again.
    let lines = "jwks_refresh = \"1h\"\njwks_min_refresh = \"3s\"\n";
    let bench = bench(keys(&[rsa_jwk("rsa")]), lines).await;
    until("the keys are fetched", async || bench.accepts(&good("me")).await).await;
    assert_eq!(bench.issuer.asked(), 1);
    let forged = |n: usize| {
        token(&with(header(), json!({"kid": format!("no key {n}")})), &claims("me"), RS256)
    };
    let begun = tokio::time::Instant::now();
    for n in 0..90 {
        let refused = bench.refusal(&forged(n)).await;
        assert_eq!(refused.reason, "CALLER_UNAUTHENTICATED");
    }
    let pauses = usize::try_from(begun.elapsed().as_secs() / 3).unwrap();
    assert!(bench.issuer.asked() <= 2 + pauses, "{} fetches", bench.issuer.asked());
    // The key of the next token is published meanwhile, and found without a schedule.
    bench.issuer.answers(keys(&[rsa_jwk("rsa"), ec_jwk("ec")]));
    until("the new key is known", async || bench.accepts(&next()).await).await;
    assert!(bench.accepts(&good("me")).await, "the key before is known still");
    assert!(bench.issuer.asked() >= 2);
}

#[tokio::test]
async fn before_the_first_keys_nothing_is_ready_and_no_token_is_believed() {
    let lines = "jwks_refresh = \"1h\"\njwks_min_refresh = \"1s\"\n";
    let set = key_set();
    let huge = json!({"keys": [rsa_jwk("rsa")], "more": "x".repeat(10 << 20)});
    let bench = bench(Answers::Status(500, set.clone()), lines).await;
    // It would be believed if it were asked.
    let authority = Arc::clone(&bench.issuer.authority);
    let elsewhere = published_under(authority, keys(&[rsa_jwk("rsa")])).await;
    let bad = [
        Answers::Status(500, set.clone()),
        Answers::Status(203, set.clone()),
        Answers::Redirect(302, elsewhere.url()),
        Answers::Redirect(308, elsewhere.url()),
        Answers::Text("<html><body>Sign in</body></html>".to_owned()),
        Answers::Keys(huge),
        Answers::Keys(json!({"keys": vec![rsa_jwk("rsa"); 65]})),
        keys(&[json!({"kty": "oct", "kid": "rsa", "alg": "HS256", "k": encoded(SHARED)})]),
        keys(&[rsa_jwk("rsa"), rsa_jwk("rsa")]),
        Answers::Never,
    ];
    for answers in bad {
        let what = format!("{answers:.60?}");
        bench.issuer.answers(answers);
        let asked = bench.issuer.asked();
        until(&what, async || bench.issuer.asked() >= asked + 2).await;
        let refused = bench.refusal(&good("me")).await;
        assert!(refused.is(Code::Unavailable, "CALLER_UNAUTHENTICATED"), "{what}: {refused:#?}");
        assert_eq!(refused.meta("why"), "unavailable", "{what}");
        assert!(refused.retry.is_some(), "{what}: {refused:#?}");
        assert!(!bench.ready().await && !bench.gateway.serving("").await, "{what}");
        assert_eq!(bench.gateway.metric("ready", "").await, 0.0, "{what}");
    }
    assert_eq!(elsewhere.asked(), 0, "a redirect was followed");
    assert_eq!(bench.reads("changed").await, 0.0);
    bench.issuer.answers(keys(&[rsa_jwk("rsa")]));
    until("the keys are fetched", async || bench.accepts(&good("me")).await).await;
    assert!(bench.ready().await && bench.gateway.serving("").await);
    assert_eq!(bench.gateway.metric("ready", "").await, 1.0);
}

#[tokio::test]
async fn a_set_without_keys_takes_all_of_them_away_and_is_no_failure() {
    let bench = bench(keys(&[rsa_jwk("rsa")]), SOON).await;
    let token = good("me");
    until("the keys are fetched", async || bench.accepts(&token).await).await;
    bench.issuer.answers(keys(&[]));
    until("the key is taken away", async || !bench.accepts(&token).await).await;
    assert!(bench.reads("changed").await >= 2.0 && bench.reads("failed").await == 0.0);
    assert!(bench.ready().await, "the others are served");
    bench.issuer.answers(keys(&[rsa_jwk("rsa")]));
    until("the key is back", async || bench.accepts(&token).await).await;
}

#[tokio::test]
async fn keys_hold_while_the_issuer_is_down_and_not_for_longer_than_allowed() {
    let lines = format!("{SOON}jwks_max_stale = \"6s\"\n");
    let bench = bench(keys(&[rsa_jwk("rsa")]), &lines).await;
    until("the keys are fetched", async || bench.accepts(&good("me")).await).await;
    bench.issuer.answers(Answers::Status(503, json!({})));
    let failed = bench.reads("failed").await;
    until("a fetch has failed", async || bench.reads("failed").await > failed).await;
    assert!(bench.accepts(&good("me")).await, "the keys of before hold");
    until("they are too old", async || !bench.accepts(&good("me")).await).await;
    let refused = bench.refusal(&good("me")).await;
    assert!(refused.is(Code::Unavailable, "CALLER_UNAUTHENTICATED"), "{refused:#?}");
    assert!(bench.ready().await, "the others are served");
    bench.issuer.answers(keys(&[rsa_jwk("rsa")]));
    until("the keys are back", async || bench.accepts(&good("me")).await).await;
}

#[tokio::test]
async fn only_the_issuer_that_its_authority_vouches_for_is_asked() {
    let issuer = published(keys(&[rsa_jwk("rsa")])).await;
    let other = Authority::new();
    let (own, others) = (issuer.authority.file(), other.file());
    let config = issuer.config(SOON, &rules());
    let config = config.replace(&*own.to_string_lossy(), &others.to_string_lossy());
    let (gateway, _upstream) = over(&config).await;
    let failed = async || gateway.metric("jwks_reads_total", "failed").await;
    until("it was tried", async || failed().await >= 2.0).await;
    assert_eq!(issuer.asked(), 0);
    assert_eq!(failure(ask(&gateway, &good("me")).await).meta("why"), "unavailable");
}
