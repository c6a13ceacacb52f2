//! How streams end, and what does not end them.

use std::time::Duration;

use profile_gateway::{
    pb::{ChangeKind::Changed, Profile, profile_service_client::ProfileServiceClient},
    server::Drained,
};
use serde_json::json;
use tonic::{Code, transport::Endpoint};

use super::stream::{NEVER, open, over_all, request, watch};
use crate::kit::{
    gateway::{self, timed},
    model,
    sandbox::sandbox,
    status::fails,
    until,
};

const PCC: &str = "backends/pcc";

/// A write that has the backend looked at.
fn touched(name: &str) -> Profile {
    Profile {
        name: format!("{PCC}/profiles/71"),
        display_name: name.to_owned(),
        ..Profile::default()
    }
}

#[tokio::test]
async fn an_upstream_that_fails_for_a_while_ends_nothing() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, "1s").await;
    let mut stream = watch(&gateway, PCC).await;
    let token = stream.token.clone();
    let fault = json!({"upstream": "pcc", "operation": "ListProfiles",
        "fault": {"kind": "status", "status": 503}, "times": 0});
    sandbox.arm_spec(fault).await;
    sandbox.remove_raw("pcc", "70").await;
    let failed = "backend=\"pcc\",outcome=\"failed\"";
    until("looks fail", async || gateway.metric("watch_polls_total", failed).await >= 2.0).await;
    let result = open(&gateway, PCC, "").await.map(drop);
    let failure = fails(result, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!((failure.meta("backend"), failure.meta("operation")), ("pcc", "WatchProfiles"));
    let error = gateway.status("pcc").await.last_error.unwrap();
    assert_eq!(error.reason, "UPSTREAM_UNAVAILABLE");
    // Of all backends, the others do not wait for it; and who has a token waits like those before.
    let mut all = open(&gateway, "backends/-", "").await.unwrap();
    while all.profiles.len() < 15 {
        all.next().await.unwrap();
    }
    let mut resumed = open(&gateway, PCC, &token).await.unwrap();
    resumed.profiles = stream.profiles.clone();
    sandbox.calm().await;
    for stream in [&mut stream, &mut resumed] {
        let told = stream.next().await.unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(!stream.ids().contains(&"70"));
    }
    while !all.complete {
        all.next().await.unwrap();
    }
    assert_eq!(all.profiles.len(), 20);
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_dropped_while_others_are_served() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, NEVER).await;
    let address = gateway.address;
    // The smallest window, so that hardly anything is under way.
    let channel = Endpoint::new(format!("http://{address}")).unwrap();
    let channel = channel.initial_stream_window_size(65_535).connect().await.unwrap();
    let mut client = ProfileServiceClient::new(channel);
    let mut slow = client.watch_profiles(request(PCC, "")).await.unwrap().into_inner();
    slow.message().await.unwrap().unwrap();
    let mut quick = watch(&gateway, PCC).await;
    for round in 0..3 {
        sandbox
            .post("/sandbox/pcc/seed", json!({"count": 3000, "profile": {"locale": "de"}}))
            .await;
        gateway.update(touched(&format!("filled {round}"))).await.unwrap();
        while quick.profiles.len() < 3000 {
            quick.next().await.unwrap();
        }
        sandbox.post("/sandbox/reset", json!({})).await;
        gateway.update(touched(&format!("emptied {round}"))).await.unwrap();
        while quick.profiles.len() > 6 {
            quick.next().await.unwrap();
        }
    }
    let status = loop {
        match slow.message().await {
            Ok(message) => drop(message.expect("it ends with a status")),
            Err(status) => break status,
        }
    };
    let failure = fails::<()>(Err(status), Code::Aborted, "WATCH_FELL_BEHIND");
    assert!(failure.message.contains("open a new stream"), "{failure:?}");
    assert_eq!(failure.meta("backend"), "pcc");
    assert_eq!(gateway.metric("watchers_dropped_total", "backend=\"pcc\"").await, 1.0);
    gateway.update(touched("still here")).await.unwrap();
    quick.expect(&[(Changed, &touched("").name, &["display_name"])]).await;
}

#[tokio::test]
async fn the_caller_s_deadline_and_the_end_of_the_gateway_end_a_stream() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, NEVER).await;
    let mut client = gateway.profiles.clone();
    let request = timed(request(PCC, ""), Some(Duration::from_millis(300)));
    let mut short = client.watch_profiles(request).await.unwrap().into_inner();
    short.message().await.unwrap().unwrap();
    assert_eq!(short.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    let stream = watch(&gateway, "backends/-").await;
    let (drained, status) = tokio::join!(gateway.stop(), stream.end());
    assert_eq!(drained, Drained::Clean);
    fails::<()>(Err(status), Code::Unavailable, "OVERLOADED");
}

/// A look that hangs is no reason to wait for.
#[tokio::test]
async fn a_poll_in_progress_does_not_delay_shutdown() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, NEVER).await;
    let stream = watch(&gateway, PCC).await;
    let fault = json!({"upstream": "pcc", "operation": "ListProfiles",
        "fault": {"kind": "delay", "ms": 600_000}, "times": 0});
    sandbox.arm_spec(fault).await;
    gateway.update(touched("new")).await.unwrap();
    let asked = async || gateway.metric("upstream_in_flight", "backend=\"pcc\"").await == 1.0;
    until("a look is under way", asked).await;
    let (drained, _) = tokio::join!(gateway.stop(), stream.end());
    assert_eq!(drained, Drained::Clean);
}

#[tokio::test]
async fn streams_take_at_most_half_of_the_slots() {
    let sandbox = sandbox().await;
    let builder = gateway::gateway().server("max_concurrent_calls = 4");
    let builder = builder.section("[callers]\nshare_percent = 100\n");
    let gateway = builder.section(&sandbox.config()).start().await;
    let first = watch(&gateway, PCC).await;
    let second = watch(&gateway, PCC).await;
    let failure = fails(open(&gateway, PCC, "").await.map(drop), Code::Unavailable, "OVERLOADED");
    assert!(failure.retry.is_some());
    gateway.profiles.clone().list_profiles(model::list(PCC)).await.unwrap();
    drop(first);
    until("a place is free", async || open(&gateway, PCC, "").await.is_ok()).await;
    drop(second);
}
