//! Lists of accounts that have more profiles than a class may read within one window.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use profile_gateway::pb::{
    GetProfileRequest, ListProfilesRequest, WatchProfilesRequest, WatchProfilesResponse,
};
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming};

use crate::kit::{
    double::{self, Double, OTHER, double},
    gateway::{Gateway, fresh, gateway},
    later,
    model::mask,
    status::{Failure, fails, failure},
    until,
};

/// An endpoint account with so many profiles, and a gateway with these lines.
async fn start(profiles: usize, lines: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let section = format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{}\"\nauth_token = \"t-of-the-kit\"\n\
         requests_per_second = \"off\"\nmax_attempts = 1\n{lines}\n",
        upstream.base_url
    );
    let gateway = gateway().section(&section).start().await;
    upstream.always(OTHER, double::by(move |seen| answer(profiles, &seen.path)));
    (upstream, gateway)
}

fn answer(profiles: usize, path: &str) -> double::Answer {
    match path.rsplit('/').next() {
        Some("service_profile") => {
            let each = (1..=profiles).map(|id| {
                json!({"id": id, "name": "n", "description": null, "allowed_3g": true,
                    "allowed_4g": true, "apply_data_quota": false, "apply_sms_quota": false,
                    "used_count": 0})
            });
            double::json(Value::Array(each.collect()))
        }
        Some("traffic_limit") => double::json(json!([])),
        id => double::json(json!({"id": id, "name": "n"})),
    }
}

async fn list(gateway: &Gateway, paths: &[&str]) -> Result<usize, Status> {
    let request = ListProfilesRequest {
        parent: "backends/e".to_owned(),
        page_size: 1000,
        read_mask: (!paths.is_empty()).then(|| mask(paths)),
        ..ListProfilesRequest::default()
    };
    let found = gateway.profiles.clone().list_profiles(fresh(request)).await?;
    Ok(found.into_inner().profiles.len())
}

async fn get(gateway: &Gateway) -> Result<(), Status> {
    let request = GetProfileRequest { name: "backends/e/profiles/1".to_owned(), read_mask: None };
    gateway.profiles.clone().get_profile(fresh(request)).await.map(|_| ())
}

async fn watch(gateway: &Gateway) -> Result<Streaming<WatchProfilesResponse>, Status> {
    let request = WatchProfilesRequest { parent: "backends/e".to_owned(), ..Default::default() };
    Ok(gateway.profiles.clone().watch_profiles(request).await?.into_inner())
}

/// Reads changes until the initial list is complete, and returns how many profiles it has.
async fn initial(stream: &mut Streaming<WatchProfilesResponse>) -> usize {
    let mut profiles = 0;
    loop {
        let message = stream.message().await.unwrap().unwrap();
        profiles += message.changes.len();
        if message.snapshot_complete {
            return profiles;
        }
    }
}

fn refused(result: Result<usize, Status>) -> Failure {
    fails(result, Code::ResourceExhausted, "UPSTREAM_THROTTLED")
}

#[tokio::test]
async fn a_list_that_never_fits_is_refused_before_its_reads_and_says_why() {
    for (lines, each) in [("", 1), ("data_limits = \"on\"", 2)] {
        let (upstream, gateway) = start(35, &format!("request_limit = \"50/5m\"\n{lines}")).await;
        let failed = refused(list(&gateway, &[]).await);
        let requests = (35 * each).to_string();
        for told in ["`request_limit`", "50/5m", "leaves 30", &requests, "read_mask"] {
            assert!(failed.message.contains(told), "{told}: {failed:#?}");
        }
        assert_eq!(failed.retry, None, "it will not fit later");
        assert_eq!(upstream.count(OTHER), 1);
        // What takes one request is answered.
        assert_eq!(list(&gateway, &["display_name"]).await.unwrap(), 35);
        assert_eq!(upstream.count(OTHER), 2);
    }
    // The vendor's own limits, with more than lists may read of it.
    let (upstream, gateway) = start(1201, "").await;
    let failed = refused(list(&gateway, &[]).await);
    assert!(failed.message.contains("2000/5m"), "{failed:#?}");
    assert_eq!(upstream.count(OTHER), 1);
}

#[tokio::test]
async fn a_list_that_fits_later_is_refused_until_then() {
    let (upstream, gateway) = start(25, "request_limit = \"50/5m\"").await;
    assert_eq!(list(&gateway, &[]).await.unwrap(), 25);
    let before = upstream.count(OTHER);
    let failed = refused(list(&gateway, &[]).await);
    assert!(failed.retry.is_some_and(|after| after <= Duration::from_secs(305)), "{failed:#?}");
    assert_eq!(upstream.count(OTHER), before + 1);
    later(failed.retry.unwrap().max(Duration::from_secs(305))).await;
    assert_eq!(list(&gateway, &[]).await.unwrap(), 25);
}

#[tokio::test]
async fn a_list_goes_over_several_windows_if_there_is_time() {
    let (upstream, gateway) = start(35, "request_limit = \"50/1s\"").await;
    assert_eq!(list(&gateway, &[]).await.unwrap(), 35);
    assert_eq!(upstream.count(OTHER), 36);
}

#[tokio::test]
async fn a_rate_that_is_too_low_for_a_list_refuses_it_too() {
    let (upstream, gateway) = start(1000, "").await;
    drop(gateway);
    let section = format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{}\"\nauth_token = \"t-of-the-kit\"\n\
         requests_per_second = 2\nrequest_limit = \"off\"\n",
        upstream.base_url
    );
    let gateway = crate::kit::gateway::gateway().section(&section).start().await;
    let failed = refused(list(&gateway, &[]).await);
    for told in ["`requests_per_second`", "1000 requests"] {
        assert!(failed.message.contains(told), "{told}: {failed:#?}");
    }
    assert_eq!(upstream.count(OTHER), 1);
}

#[tokio::test]
async fn a_watch_reads_a_long_list_over_several_windows() {
    // A watch may send twenty at a time, and calls forty.
    let lines = "request_limit = \"50/5m\"\nwatch_interval = \"1s\"\nmax_queued_calls = 1";
    let (upstream, gateway) = start(45, lines).await;
    let mut stream = watch(&gateway).await.unwrap();
    until("it waits", async || upstream.count(OTHER) == 20).await;
    // It holds up no caller: neither slots, nor the queue, nor what the limit leaves to others.
    for _ in 0..15 {
        get(&gateway).await.unwrap();
    }
    assert_eq!(upstream.count(OTHER), 35);
    for requests in [55, 63] {
        later(Duration::from_secs(310)).await;
        until("it goes on", async || upstream.count(OTHER) == requests).await;
    }
    assert_eq!(initial(&mut stream).await, 45);
    // Each profile was read once, and the upstream's list once for each part.
    let reads = upstream.requests(OTHER);
    let lists = reads.iter().filter(|seen| seen.path.ends_with("service_profile")).count();
    assert_eq!((lists, reads.len()), (3, 3 + 45 + 15));
    let status = gateway.status("e").await;
    assert_eq!(status.last_error, None);
}

#[tokio::test]
async fn a_watch_that_no_stream_waits_for_reads_no_further() {
    let (upstream, gateway) = start(45, "request_limit = \"50/5m\"").await;
    let stream = watch(&gateway).await.unwrap();
    until("it waits", async || upstream.count(OTHER) == 20).await;
    drop(stream);
    let closed = async || gateway.metric("watchers", "e").await == 0.0;
    until("it is closed", closed).await;
    later(Duration::from_secs(310)).await;
    // The next one begins from the start.
    let mut stream = watch(&gateway).await.unwrap();
    until("it waits", async || upstream.count(OTHER) == 40).await;
    for _ in 0..3 {
        later(Duration::from_secs(310)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(initial(&mut stream).await, 45);
}

#[tokio::test]
async fn a_list_in_parts_is_not_kept_for_callers() {
    let version = Arc::new(AtomicUsize::new(0));
    let (upstream, gateway) =
        start(25, "request_limit = \"50/5m\"\n[backends.e.cache]\nttl = \"1h\"").await;
    let now = Arc::clone(&version);
    upstream.always(
        OTHER,
        double::by(move |seen| match seen.path.rsplit('/').next() {
            Some("service_profile") => answer(25, &seen.path),
            id => double::json(json!({"id": id, "name": now.load(Ordering::SeqCst).to_string()})),
        }),
    );
    let mut stream = watch(&gateway).await.unwrap();
    until("it waits", async || upstream.count(OTHER) == 20).await;
    version.store(1, Ordering::SeqCst);
    later(Duration::from_secs(310)).await;
    assert_eq!(initial(&mut stream).await, 25);
    let before = upstream.count(OTHER);
    later(Duration::from_secs(310)).await;
    let request = ListProfilesRequest {
        parent: "backends/e".to_owned(),
        page_size: 1000,
        ..ListProfilesRequest::default()
    };
    let found = gateway.profiles.clone().list_profiles(request).await.unwrap().into_inner();
    assert!(found.profiles.iter().all(|profile| profile.display_name == "1"));
    assert!(upstream.count(OTHER) > before);
}

#[tokio::test]
async fn an_account_that_fails_half_way_is_not_taken_for_paced() {
    let (upstream, gateway) = start(45, "request_limit = \"50/5m\"").await;
    upstream.always(
        OTHER,
        double::by(move |seen| match seen.path.ends_with("service_profile") {
            true => answer(45, &seen.path),
            false => double::http(401, "text/plain", "no"),
        }),
    );
    let failed = failure(watch(&gateway).await);
    assert!(failed.is(Code::Internal, "UPSTREAM_AUTH_FAILED"), "{failed:#?}");
}
