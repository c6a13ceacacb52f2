//! Keys that change while the gateway runs.

use profile_gateway::pb::GetBackendRequest;
use serde_json::json;

use crate::kit::{
    double::double,
    gateway::gateway,
    tokens::{
        Issuer, Signed, by, caller, claims, ec_jwk, good, header, key_set, role, token, with,
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
