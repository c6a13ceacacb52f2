//! Keys that change while the gateway runs.

use profile_gateway::{
    auth::{
        AuthMetrics, AuthRules, Authenticator, IssuerSettings, Mode, NotIdentified, Peer,
        PreparedRules, Proofs, Sent,
    },
    caller::{Caller, Callers},
    pb::GetBackendRequest,
};
use serde_json::json;

use crate::kit::{
    double::double,
    gateway::gateway,
    tokens::{
        AUDIENCE, ISSUER, Issuer, Signed, by, caller, claims, ec_jwk, good, header, key_set, role,
        token, with,
    },
    until,
};

#[tokio::test]
async fn new_keys_are_read_and_what_the_old_ones_signed_is_forgotten() {
    let (issuer, upstream) = (Issuer::new(), double().await);
    let rules = role("all", "read", "*") + &caller("me", "all");
    let config = issuer.config("", &rules);
    issuer.publish(&json!({"keys": [key_set()["keys"][0]]}));
    let gateway = gateway().section(&config).fixed("sft", &upstream.base_url, "").start().await;
    let asks = async |token: &str| {
        let request = GetBackendRequest { name: "backends/sft".to_owned() };
        gateway.backends.clone().get_backend(by(token, request)).await.is_ok()
    };
    let old = good("me");
    let next = with(header(), json!({"alg": "ES256", "kid": "ec"}));
    let next = token(&next, &claims("me"), Signed::Ec);
    assert!(asks(&old).await && !asks(&next).await);
    // Half a file changes nothing, for longer than it takes to read it.
    issuer.publish(&json!("half a file"));
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    assert!(asks(&old).await);
    // One without keys takes them all away.
    issuer.publish(&json!({"keys": []}));
    until("the key is taken away", async || !asks(&old).await).await;
    issuer.publish(&json!({"keys": [ec_jwk("ec")]}));
    until("the new key is known", async || asks(&next).await).await;
    assert!(!asks(&old).await, "its key was taken away");
}

pub fn rules(issuer: &Issuer) -> AuthRules {
    let mut rules = AuthRules::default();
    rules.settings.mode = Mode::Required;
    let settings = IssuerSettings {
        issuer: Some(ISSUER.to_owned()),
        audience: Some(vec![AUDIENCE.to_owned()]),
        jwks_file: Some(issuer.path()),
        ..IssuerSettings::default()
    };
    rules.issuers.insert("idp".to_owned(), settings);
    rules
}

/// Whether a token says who calls, which comes from there, of this caller.
pub fn identify(
    rules: &Authenticator,
    token: &str,
    from: Option<(Peer, &Caller)>,
) -> Result<(), NotIdentified> {
    let authorization = format!("Bearer {token}");
    let proofs = Proofs {
        authorization: Sent::One(authorization.as_bytes()),
        forwarded: Sent::Nothing,
        peer: from.map(|(peer, _)| peer),
        certificate: None,
        caller: from.map(|(_, caller)| caller),
    };
    rules.identify(&proofs).map(drop)
}

fn accepts(rules: &Authenticator, token: &str) -> bool {
    identify(rules, token, None).is_ok()
}

/// A fetch belongs to the rules that it began under, and ends when others are in force.
#[test]
fn a_key_is_taken_away_from_rules_that_came_after_its_keys_were_asked_for() {
    let (issuer, callers, metrics) = (Issuer::new(), Callers::default(), AuthMetrics::default());
    let rules = rules(&issuer);
    let before = PreparedRules::new(&rules, &metrics).unwrap().configure(&callers);
    let after = PreparedRules::after(&before, &rules).unwrap().configure(&callers);
    let token = good("me");
    assert!(accepts(&before, &token) && accepts(&after, &token));
    issuer.publish(&json!({"keys": [ec_jwk("ec")]}));
    assert!(before.read_files_again());
    assert!(!accepts(&before, &token) && !accepts(&after, &token));
    assert!(!after.read_files_again(), "the keys are the same");
    assert!(!accepts(&after, &token));
}
