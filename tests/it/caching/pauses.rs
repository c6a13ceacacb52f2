//! A read that waits for a load learns at once if the load cannot go on before its deadline.

use std::{future::Future, time::Duration};

use profile_gateway::pb::{BatchGetProfilesRequest, BatchGetProfilesResponse};
use serde_json::json;
use tonic::{Code, Response, Status};

use super::reads::{get, list, services};
use crate::{
    conformance::{
        bench::{self, Bench},
        samples::{Sample, registered},
    },
    kit::{
        double::{Double, come_back, double},
        gateway::{Gateway, gateway, timed},
        later, model,
        sandbox::sandbox,
        status::{Failure, fails},
        until,
        vendors::{Vendor, vendors},
    },
};

const KEPT: &str = "ttl = \"1h\"";
/// Out of time at once, and served while the upstream fails.
const IF_ERROR: &str = "ttl = \"0s\"\nstale_while_revalidate = \"0s\"\nstale_if_error = \"1h\"";
/// Shorter than a load may take, and longer than the calls here have.
const PAUSE: u64 = 120;

fn throttled<T: std::fmt::Debug>(answer: Result<T, Status>) -> Failure {
    let failed = fails(answer, Code::ResourceExhausted, "UPSTREAM_THROTTLED");
    let retry = failed.retry.expect("when to come back").as_secs();
    assert!((PAUSE - 60..=PAUSE + 30).contains(&retry), "{failed:#?}");
    failed
}

/// A dialect whose gateway asks again, with these lines in the section of the backend's cache.
async fn asking_again(time: &str, cache: &str, sample: Sample) -> Bench {
    let sandbox = sandbox().await;
    let (url, pace) = (sandbox.base_url(), "requests_per_second = 100000\nrequest_limit = \"off\"");
    let lines = format!("{pace}\n[backends.{}.cache]\n{cache}", sample.upstream);
    bench::reaching(&url, sandbox, time, &lines, sample).await
}

async fn batch(bench: &Bench, ids: &[&str]) -> Result<BatchGetProfilesResponse, Status> {
    let names = ids.iter().map(|id| bench.name(id)).collect();
    let request = BatchGetProfilesRequest { parent: bench.parent(), names };
    let answer = bench.gateway.profiles.clone().batch_get_profiles(request).await;
    answer.map(Response::into_inner)
}

async fn shed(gateway: &Gateway, why: &str) -> f64 {
    gateway.metric("upstream_shed_total", &format!("why=\"{why}\"")).await
}

#[tokio::test]
async fn a_pause_beyond_the_deadline_is_told_to_every_read() {
    let fault = json!({"kind": "status", "status": 429, "retry_after_seconds": PAUSE});
    for sample in registered() {
        let bench = asking_again("4s", KEPT, sample).await;
        let (one, other) = (bench.name(sample.in_use), bench.name(sample.missing));
        bench.arm(sample.operations.get, &fault, 1).await;
        throttled(get(&bench.gateway, &one, "").await.result);
        let sent = bench.sandbox.journal().await.len();
        throttled(get(&bench.gateway, &one, "").await.result);
        throttled(get(&bench.gateway, &other, "").await.result);
        throttled(list(&bench.gateway, &bench.parent(), "").await.result);
        throttled(batch(&bench, &[sample.in_use, sample.missing]).await);
        // SFT's services are fixed, and PCC has none.
        if sample.upstream == "endpoint" {
            throttled(services(&bench.gateway, &bench.parent(), "").await.result);
        }
        assert_eq!(bench.sandbox.journal().await.len(), sent, "{}", sample.dialect);
        assert!(shed(&bench.gateway, "pause").await >= 4.0, "{}", sample.dialect);
        let status = bench.gateway.status(sample.upstream).await;
        assert_eq!(status.last_error.unwrap().reason, "UPSTREAM_THROTTLED", "{}", sample.dialect);
    }
}

#[tokio::test]
async fn a_list_that_meets_a_pause_is_told_too() {
    let fault = json!({"kind": "status", "status": 429, "retry_after_seconds": PAUSE});
    for sample in registered() {
        let bench = asking_again("4s", KEPT, sample).await;
        // Where a list takes several requests, also in the middle of it.
        for operation in [sample.operations.list, sample.operations.get] {
            bench.arm(operation, &fault, 1).await;
        }
        throttled(list(&bench.gateway, "backends/-", "").await.result);
    }
}

#[tokio::test]
async fn what_is_stale_is_served_at_once_in_a_pause() {
    let fault = json!({"kind": "status", "status": 429, "retry_after_seconds": PAUSE});
    for sample in registered() {
        let bench = asking_again("20s", IF_ERROR, sample).await;
        let one = bench.name(sample.in_use);
        let there = get(&bench.gateway, &one, "").await.result.unwrap();
        let all = list(&bench.gateway, &bench.parent(), "").await.result.unwrap();
        bench.arm("*", &fault, 1).await;
        let read = get(&bench.gateway, &one, "").await;
        assert_eq!((read.result.unwrap(), &*read.cache), (there, "stale"), "{}", sample.dialect);
        let read = list(&bench.gateway, &bench.parent(), "").await;
        assert_eq!((read.result.unwrap(), &*read.cache), (all, "stale"), "{}", sample.dialect);
        let status = bench.gateway.status(sample.upstream).await;
        // That it ran out of time would be no failure of the upstream.
        assert_eq!(status.last_error.unwrap().reason, "UPSTREAM_THROTTLED", "{}", sample.dialect);
    }
}

/// A gateway that keeps what it reads from a new upstream.
async fn start(vendor: &Vendor, time: &str, lines: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let builder = gateway().server(&format!("default_timeout = \"{time}\""));
    let lines = format!("max_pause = \"1h\"\n{lines}\n[backends.sft.cache]\n{KEPT}");
    upstream.always(vendor.get, vendor.found.clone());
    let gateway = vendor.on(builder, &upstream.base_url, &lines).start().await;
    (upstream, gateway)
}

/// A read through the cache with a deadline.
fn read(
    gateway: &Gateway,
    id: &str,
    seconds: u64,
) -> impl Future<Output = Result<(), Status>> + Send + 'static {
    let mut profiles = gateway.profiles.clone();
    let request = timed(model::get(id), Some(Duration::from_secs(seconds)));
    async move { profiles.get_profile(request).await.map(drop) }
}

#[tokio::test]
async fn the_same_load_waits_for_those_who_can_wait() {
    for vendor in vendors() {
        for status in [429, 503] {
            let (upstream, gateway) = start(&vendor, "30s", "").await;
            upstream.then(vendor.get, come_back(status, PAUSE));
            let patient = tokio::spawn(read(&gateway, vendor.id, 10 * PAUSE));
            until("it waits", async || upstream.seen().len() == 1).await;
            let (code, reason) = match status {
                429 => (Code::ResourceExhausted, "UPSTREAM_THROTTLED"),
                _ => (Code::Unavailable, "UPSTREAM_UNAVAILABLE"),
            };
            for _ in 0..2 {
                let failed = fails(read(&gateway, vendor.id, 4).await, code, reason);
                assert!(failed.retry.unwrap().as_secs() > PAUSE / 2, "{failed:#?}");
            }
            assert_eq!(upstream.seen().len(), 1, "{}", vendor.dialect);
            later(Duration::from_secs(PAUSE + 2)).await;
            patient.await.unwrap().unwrap();
            read(&gateway, vendor.id, 4).await.unwrap();
            assert_eq!(upstream.seen().len(), 2, "{}", vendor.dialect);
        }
    }
}

#[tokio::test]
async fn a_window_without_room_is_told_to_every_read() {
    for vendor in vendors() {
        let lines = "requests_per_second = \"off\"\nrequest_limit = \"5/1m\"";
        let (upstream, gateway) = start(&vendor, "4s", lines).await;
        let id =
            |n: usize| if vendor.dialect == "bics-sft" { format!("SP_{n}") } else { n.to_string() };
        let mut refused = 0.0;
        for n in 1..=8 {
            let answer = read(&gateway, &id(n), 4).await;
            if upstream.seen().len() == 4 && n > 4 {
                let failed = fails(answer, Code::ResourceExhausted, "UPSTREAM_THROTTLED");
                assert!(failed.retry.unwrap().as_secs() > 30, "{failed:#?}");
                refused += 1.0;
            }
        }
        assert_eq!((upstream.seen().len(), refused), (4, 4.0), "{}", vendor.dialect);
        assert_eq!(shed(&gateway, "window_limit").await, refused, "{}", vendor.dialect);
        let status = gateway.status("sft").await;
        assert_eq!(status.last_error.unwrap().reason, "UPSTREAM_THROTTLED");
    }
}

#[tokio::test]
async fn what_waits_in_line_is_told_of_a_pause_that_begins() {
    for vendor in vendors() {
        let (upstream, gateway) = start(&vendor, "30s", "requests_per_second = 1").await;
        let id =
            |n: usize| if vendor.dialect == "bics-sft" { format!("SP_{n}") } else { n.to_string() };
        upstream.then(vendor.get, vendor.found.clone()).then(vendor.get, come_back(429, PAUSE));
        // The first of the line can wait for the end of the pause.
        let patient = (1..=3).map(|n| tokio::spawn(read(&gateway, &id(n), 100 * PAUSE)));
        let patient: Vec<_> = patient.collect();
        let waiting = async || gateway.metric("upstream_queued", "sft").await;
        until("they wait", async || waiting().await >= 1.0).await;
        let hasty = (4..=6).map(|n| tokio::spawn(read(&gateway, &id(n), 20)));
        for hasty in hasty.collect::<Vec<_>>() {
            throttled(hasty.await.unwrap());
        }
        patient.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
