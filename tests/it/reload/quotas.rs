//! Quotas of single callers that change.

use tonic::Code;

use super::callers::{config, get, started, watch_by};
use crate::kit::{
    reloading::Reloading,
    status::fails,
    tokens::{caller, good, role},
    until,
};

fn rules(quota: &str) -> String {
    role("all", "read", "*") + &caller("one", "all") + &format!("quota = {{ {quota} }}\n")
}

async fn is_refused(reloading: &Reloading) {
    let refused = get(&reloading.gateway, "one", "sft").await;
    fails(refused, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
}

#[tokio::test]
async fn another_rate_starts_over_and_the_same_one_keeps_what_was_used() {
    let (reloading, issuer, sandbox) = started(&rules("rate = \"1/h\"")).await;
    let change = async |quota: &str| {
        reloading.change(config(&issuer, &sandbox, &rules(quota))).await;
        reloading.outcome().await
    };
    get(&reloading.gateway, "one", "sft").await.unwrap();
    is_refused(&reloading).await;
    let key = |name: &str| vec![format!("auth.callers.one.quota.{name}")];
    assert_eq!(change("rate = \"1/h\", calls = 9").await, ("applied".into(), key("calls")));
    is_refused(&reloading).await;
    assert_eq!(change("rate = \"2/h\", calls = 9").await, ("applied".into(), key("rate")));
    get(&reloading.gateway, "one", "sft").await.unwrap();
    is_refused(&reloading).await;
    assert_eq!(change("calls = 9").await, ("applied".into(), key("rate")));
    get(&reloading.gateway, "one", "sft").await.unwrap();
}

#[tokio::test]
async fn what_a_caller_holds_counts_against_its_next_quota() {
    let (reloading, issuer, sandbox) = started(&rules("streams = 2")).await;
    let open = async || watch_by(&reloading.gateway, &good("one"), "backends/sft").await;
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    fails(open().await, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
    reloading.change(config(&issuer, &sandbox, &rules("streams = 3"))).await;
    let third = open().await.unwrap();
    fails(open().await, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
    reloading.change(config(&issuer, &sandbox, &rules("streams = 1"))).await;
    drop((first, second));
    fails(open().await, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
    drop(third);
    until("a place", async || open().await.is_ok()).await;
}

#[tokio::test]
async fn a_configuration_that_is_refused_for_another_key_changes_no_quota() {
    let (reloading, issuer, sandbox) = started(&rules("rate = \"1/h\"")).await;
    get(&reloading.gateway, "one", "sft").await.unwrap();
    let more = config(&issuer, &sandbox, &rules("rate = \"9/s\"")).text();
    let wrong = more.replace("password = ", "timeout = \"no time\"\npassword = ");
    for wrong in [wrong, more.replace(&issuer.path(), "/no/such/file")] {
        let latest = reloading.change_to(&wrong).await;
        assert_eq!(latest["latest"]["outcome"], "refused", "{latest}");
        is_refused(&reloading).await;
    }
    reloading.change_to(&more).await;
    get(&reloading.gateway, "one", "sft").await.unwrap();
}
