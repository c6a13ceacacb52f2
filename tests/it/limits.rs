//! The vendor's limits within a time: what is left for whom, what is refused, and what shows.

mod long;
mod purges;
mod renewed;
mod sharing;
mod unread;
mod writes;

use std::time::Duration;

use profile_gateway::pb::{CircuitState, WatchProfilesRequest};
use serde_json::json;
use tonic::Code;

use crate::kit::{
    double::{self, Answer, LIST, OTHER, double},
    gateway::{self, Gateway, gateway},
    later,
    sandbox::{Sandbox, sandbox},
    status::{Failure, failure},
    until,
    vendors::{Vendor, vendors},
};

/// As fast as it can, apart from the windows.
const FAST: &str = "requests_per_second = \"off\"\nmax_attempts = 1";

/// A gateway at a new upstream that has the vendor's profile.
async fn start(vendor: &Vendor, lines: &str) -> (double::Double, Gateway) {
    let upstream = double().await;
    let lines = format!("{FAST}\n{lines}");
    let gateway = vendor.on(gateway(), &upstream.base_url, &lines).start().await;
    upstream.always(vendor.get, vendor.found.clone());
    (upstream, gateway)
}

fn assert_used_up(failed: &Failure, seconds: std::ops::RangeInclusive<u64>) {
    assert!(failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{failed:#?}");
    assert!(failed.message.contains("nothing was sent"), "{failed:#?}");
    let retry = failed.retry.unwrap().as_secs();
    assert!(seconds.contains(&retry), "{retry}");
}

#[tokio::test]
async fn what_a_window_leaves_no_room_for_is_refused_unsent() {
    for vendor in vendors() {
        let (upstream, gateway) = start(&vendor, "request_limit = \"10/5m\"").await;
        for _ in 0..8 {
            gateway.get(vendor.id).await.unwrap();
        }
        assert_used_up(&failure(gateway.get(vendor.id).await), 290..=305);
        assert_used_up(&failure(gateway.list().await), 290..=305);
        assert_used_up(&failure(gateway.delete(vendor.id).await), 290..=305);
        assert_eq!(upstream.seen().len(), 8, "{}", vendor.dialect);
        let shed = gateway.metric("upstream_shed_total", "window_limit").await;
        assert_eq!(shed, 3.0, "{}", vendor.dialect);
        let status = gateway.status("sft").await;
        assert_eq!(status.circuit_state(), CircuitState::Closed);
        assert_eq!(status.last_error.unwrap().reason, "UPSTREAM_THROTTLED");
        later(Duration::from_secs(305)).await;
        gateway.get(vendor.id).await.unwrap();
    }
}

// Regression: only the rate of the endpoint API was kept, of its four limits.
#[tokio::test]
async fn the_endpoint_api_s_own_limits_hold_by_default() {
    let [_, vendor, _] = vendors();
    for (lines, some) in [("", 1600), ("request_limit = \"off\"", 1800)] {
        let (upstream, gateway) = start(&vendor, lines).await;
        let mut failed = None;
        for _ in 0..1800 {
            failed = failed.or(gateway.get(vendor.id).await.err());
        }
        assert_eq!(upstream.seen().len(), some, "{lines:?}");
        assert_eq!(failed.is_some(), some < 1800);
    }
}

#[tokio::test]
async fn a_call_that_can_wait_for_room_waits() {
    let [sft, ..] = vendors();
    let (upstream, gateway) = start(&sft, "request_limit = \"5/1s\"").await;
    for n in 1..=12 {
        gateway.get(sft.id).await.unwrap();
        assert_eq!(upstream.seen().len(), n);
    }
}

#[tokio::test]
async fn a_write_is_settled_with_what_calls_leave() {
    let [_, vendor, _] = vendors();
    let (upstream, gateway) = start(&vendor, "request_limit = \"10/5m\"").await;
    for _ in 0..7 {
        gateway.get(vendor.id).await.unwrap();
    }
    // The last request that a call may take is lost; two more find out what it did.
    let missing = r#"{"error_code": 1401, "error_token": "InvalidReference", "message": "x"}"#;
    let missing = double::http(404, "application/json", missing);
    upstream.always(
        OTHER,
        double::by(move |seen| match seen.method.as_str() {
            "DELETE" => Answer::Close,
            _ => missing.clone(),
        }),
    );
    gateway.delete(vendor.id).await.unwrap();
    assert!(upstream.seen().len() > 8);
    assert_used_up(&failure(gateway.get(vendor.id).await), 290..=305);
}

#[tokio::test]
async fn a_list_leaves_more_than_a_call() {
    let [sft, ..] = vendors();
    let (upstream, gateway) = start(&sft, "request_limit = \"10/5m\"").await;
    upstream.always(LIST, sft.found.clone());
    for _ in 0..6 {
        gateway.list().await.unwrap();
    }
    assert_used_up(&failure(gateway.list().await), 290..=305);
    for _ in 0..2 {
        gateway.get(sft.id).await.unwrap();
    }
    assert_used_up(&failure(gateway.get(sft.id).await), 290..=305);
}

#[tokio::test]
async fn logins_have_a_limit_of_their_own() {
    let (sandbox, lines) = (sandbox().await, "login_limit = \"2/5m\"\nmax_attempts = 1");
    let url = sandbox.base_url();
    let gateway = gateway::reaching(&url, &sandbox, "endpoint", "10s", lines).await;
    let get = async || {
        let name = "backends/endpoint/profiles/1".to_owned();
        let request = profile_gateway::pb::GetProfileRequest { name, read_mask: None };
        gateway.profiles.clone().get_profile(gateway::fresh(request)).await
    };
    get().await.unwrap();
    sandbox.post("/sandbox/endpoint/expire-tokens", json!({})).await;
    get().await.unwrap();
    sandbox.post("/sandbox/endpoint/expire-tokens", json!({})).await;
    assert_used_up(&failure(get().await), 290..=305);
    assert_eq!(sandbox.arrived("authenticate").await, 2);
    assert_eq!(gateway.metric("upstream_window_used", "logins").await, 2.0);
    assert_eq!(gateway.metric("upstream_window_remaining", "logins").await, 0.0);
    assert_eq!(gateway.metric("upstream_window_exhausted_in_seconds", "logins").await, 0.0);
}

#[tokio::test]
async fn what_is_used_shows_and_what_will_be() {
    let [sft, ..] = vendors();
    let lines = "request_limit = \"1000/100m\"\nmonthly_request_limit = \"100000/30days\"";
    let (_upstream, gateway) = start(&sft, lines).await;
    let shown = async |what: &str, window: &str| {
        gateway.metric(&format!("upstream_window_{what}"), &format!("window=\"{window}\"")).await
    };
    for _ in 0..30 {
        gateway.get(sft.id).await.unwrap();
    }
    for (window, limit) in [("requests", 1000.0), ("monthly_requests", 100_000.0)] {
        assert_eq!(shown("used", window).await, 30.0);
        assert_eq!(shown("remaining", window).await, limit - 30.0);
    }
    // Thirty in a sixtieth of the time, of which there are sixty, are more than a thousand.
    let left = shown("exhausted_in_seconds", "requests").await;
    assert!((1.0..6000.0).contains(&left), "{left}");
    later(Duration::from_secs(50 * 60)).await;
    let metrics = gateway.admin("/metrics").await;
    assert!(!metrics.contains("exhausted_in_seconds{backend=\"sft\",window=\"requests\"}"));
    later(Duration::from_secs(60 * 60)).await;
    assert_eq!(
        (shown("used", "requests").await, shown("used", "monthly_requests").await),
        (0.0, 30.0)
    );
}

/// The statuses of all answers of the sandbox's endpoint API.
async fn statuses(sandbox: &Sandbox) -> Vec<u64> {
    let journal = sandbox.journal().await;
    journal.iter().filter_map(|entry| entry["status"].as_u64()).collect()
}

#[tokio::test]
async fn a_watch_slows_down_so_that_callers_are_served_and_the_vendor_never_refuses() {
    let sandbox = sandbox().await;
    let seed = json!({"count": 15, "profile": {}});
    sandbox.post("/sandbox/endpoint/seed", seed).await;
    sandbox.set("endpoint", &json!({"window_ms": 10_000, "window_requests": 100})).await;
    let lines = "request_limit = \"100/10s\"\nmonthly_request_limit = \"off\"\n\
                 watch_interval = \"1s\"";
    let url = sandbox.base_url();
    let gateway = gateway::reaching(&url, &sandbox, "endpoint", "20s", lines).await;
    let request = WatchProfilesRequest {
        parent: "backends/endpoint".to_owned(),
        ..WatchProfilesRequest::default()
    };
    let stream = gateway.profiles.clone().watch_profiles(request).await.unwrap();
    // Forty requests in ten seconds are left for it, and a poll takes more than sixteen.
    let slow = async || gateway.status("endpoint").await.slow_watch_interval_seconds;
    until("it says so", async || slow().await.is_some_and(|seconds| seconds >= 4)).await;
    // Each poll is a list and a read of each profile; four requests a second are left for it.
    let requests = 1 + sandbox.raw("endpoint").await.len();
    let least = Duration::from_secs(u64::try_from(requests).unwrap()).as_secs_f64() / 4.0;
    let interval = gateway.metric("watch_interval_seconds", "endpoint").await;
    assert!((least..20.0).contains(&interval), "{interval}, at least {least}");
    for _ in 0..30 {
        let name = "backends/endpoint/profiles/1".to_owned();
        let request = profile_gateway::pb::GetProfileRequest { name, read_mask: None };
        gateway.profiles.clone().get_profile(gateway::fresh(request)).await.unwrap();
    }
    let parent = "backends/endpoint".to_owned();
    let request = profile_gateway::pb::ListProfilesRequest { parent, ..Default::default() };
    gateway.profiles.clone().list_profiles(gateway::fresh(request)).await.unwrap();
    let polls = async || gateway.metric("watch_polls_total", "endpoint").await;
    until("it goes on", async || polls().await >= 3.0).await;
    let statuses = statuses(&sandbox).await;
    assert!(statuses.len() > 60 && !statuses.contains(&429), "{statuses:?}");
    drop(stream);
    until("it is over", async || slow().await.is_none()).await;
}

#[tokio::test]
async fn lists_without_end_stay_within_the_vendor_s_limits() {
    let sandbox = sandbox().await;
    sandbox.set("endpoint", &json!({"window_ms": 2_000, "window_requests": 40})).await;
    let lines = "request_limit = \"40/2s\"";
    let url = sandbox.base_url();
    let gateway = gateway::reaching(&url, &sandbox, "endpoint", "20s", lines).await;
    let list = async || {
        let parent = "backends/endpoint".to_owned();
        let request = profile_gateway::pb::ListProfilesRequest { parent, ..Default::default() };
        gateway.profiles.clone().list_profiles(gateway::fresh(request)).await
    };
    for _ in 0..15 {
        list().await.unwrap();
    }
    let statuses = statuses(&sandbox).await;
    assert!(statuses.len() > 80 && !statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn without_them_the_vendor_refuses() {
    let sandbox = sandbox().await;
    sandbox.set("endpoint", &json!({"window_ms": 60_000, "window_requests": 10})).await;
    let url = sandbox.base_url();
    let lines = "request_limit = \"off\"\nmax_attempts = 1";
    let gateway = gateway::reaching(&url, &sandbox, "endpoint", "20s", lines).await;
    for _ in 0..3 {
        let parent = "backends/endpoint".to_owned();
        let request = profile_gateway::pb::ListProfilesRequest { parent, ..Default::default() };
        let _ = gateway.profiles.clone().list_profiles(gateway::fresh(request)).await;
    }
    assert!(statuses(&sandbox).await.contains(&429));
}

#[test]
fn a_limit_that_cannot_be_read_is_refused_with_the_reason() {
    for (value, why) in [
        ("\"2000\"", "a number of requests and a time"),
        ("\"2000/5\"", "a number of requests and a time"),
        ("\"many/5m\"", "a number of requests and a time"),
        ("\"-1/5m\"", "a number of requests and a time"),
        ("\"0/5m\"", "1 to 1000000000"),
        ("\"10/1ms\"", "must have a time of"),
        ("\"10/999999days\"", "must have a time of"),
        ("2000", "must be a string"),
        ("\"none\"", "`off` disables it"),
    ] {
        let text = format!(
            "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = \"http://127.0.0.1:1\"\n\
             access_token = \"token-of-the-kit\"\nrequest_limit = {value}\n"
        );
        let source = profile_gateway::config::Source { file_name: "test", text: &text };
        let refused = profile_gateway::config::load(Some(source), &[]).unwrap_err().to_string();
        assert!(refused.contains(why), "{value}: {refused}");
    }
}
