//! What a gateway exports, as Prometheus sees it.

use crate::kit::{
    bodies,
    double::{self, Answer, CREATE, LIST, double},
    gateway::{Gateway, fresh, gateway, over_all},
    model::{get, list, profile},
    prometheus::promtool,
    sandbox::{Sandbox, sandbox},
    status::failure,
    until,
};

const GET: &str = "method=\"profilegateway.v1.ProfileService/GetProfile\"";

/// A gateway over a sandbox that has answered some calls, one of them with an error.
pub(super) async fn used() -> (Gateway, Sandbox) {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox).await;
    let mut client = gateway.profiles.clone();
    client.get_profile(get("SP_2")).await.unwrap();
    client.get_profile(get("SP_2")).await.unwrap();
    client.get_profile(fresh(get("SP_2"))).await.unwrap();
    client.get_profile(get("SP_999")).await.unwrap_err();
    client.list_profiles(list("backends/sft")).await.unwrap();
    // A call is counted when its answer has left, which may be after the client has it.
    until("the calls are counted", async || {
        gateway.metric("call_gateway_duration_seconds_count", GET).await >= 4.0
    })
    .await;
    (gateway, sandbox)
}

#[tokio::test]
async fn promtool_finds_no_fault_in_the_metrics() {
    let (gateway, _sandbox) = used().await;
    let text = gateway.admin("/metrics").await;
    assert!(text.contains("profile_gateway_build_info{"), "{text}");
    let output = promtool(&["check", "metrics"], &text).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// A double would not do: it answers at once.
#[tokio::test]
async fn time_upstream_is_not_time_in_the_gateway() {
    let (gateway, _sandbox) = used().await;
    let all = gateway.metric("call_duration_seconds_sum", GET).await;
    let own = gateway.metric("call_gateway_duration_seconds_sum", GET).await;
    assert!(0.0 < own && own < all, "{own} of {all}");
}

#[tokio::test]
async fn each_write_of_unknown_outcome_is_counted_for_its_backend() {
    let upstream = double().await;
    let builder = gateway().server("default_timeout = \"1500ms\"");
    let gateway = builder.fixed("sft", &upstream.base_url, "").start().await;
    let counted = async || gateway.metric("unknown_outcomes_total", "backend=\"sft\"").await;
    let exported = gateway.admin("/metrics").await;
    assert!(exported.contains("unknown_outcomes_total{backend=\"sft\"} 0"), "{exported}");
    let nothing = || double::json(bodies::profiles(&[]));
    upstream.then(LIST, nothing()).then(CREATE, Answer::Close).always(LIST, nothing());
    let failed = failure(gateway.create(profile("same")).await);
    assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN");
    until("it is counted", async || counted().await == 1.0).await;
}
