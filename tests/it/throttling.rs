//! An upstream that answers 429 is left alone for as long as it asks, and asked more slowly then.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use profile_gateway::pb::{
    CircuitState, PreviewWriteRequest, UpdateProfileRequest, preview_write_request::Write,
};
use tokio::time::Instant;
use tonic::Code;

use crate::kit::{
    bodies::{self, fixture},
    double::{self, Answer, DELETE, GET, come_back, double},
    gateway::{Gateway, gateway, timed},
    later,
    model::named,
    status::{Failure, fails, failure},
    until,
    vendors::vendors,
};

fn found() -> Answer {
    double::json(bodies::profiles(&[bodies::profile("SP_1", "one")]))
}

#[tokio::test]
async fn a_429_stops_all_calls_for_as_long_as_it_says() {
    for (what, lines) in [("a limit", "requests_per_second = 100"), ("no limit", "")] {
        let upstream = double().await;
        let lines = format!("{lines}\nmax_pause = \"1h\"");
        let gateway = gateway().fixed("sft", &upstream.base_url, &lines).start().await;
        upstream.then(GET, come_back(429, 3000)).always(GET, found());
        upstream.always(DELETE, double::json(fixture("delete-success")));
        for n in 0..3 {
            let failed = failure(gateway.get("SP_1").await);
            assert!(
                failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"),
                "{what}: {failed:#?}"
            );
            let retry = failed.retry.unwrap().as_secs();
            assert!((2900..=3001).contains(&retry), "{what}, {n}: {retry}");
        }
        let write = gateway.delete("SP_1").await;
        fails(write, Code::ResourceExhausted, "UPSTREAM_THROTTLED");
        assert_eq!(upstream.seen().len(), 1, "{what}: only the first was sent");
        assert_eq!(gateway.metric("upstream_throttled_total", "sft").await, 1.0, "{what}");
        let status = gateway.status("sft").await;
        assert_eq!(status.circuit_state(), CircuitState::Closed, "{what}: no failure");
    }
}

#[tokio::test]
async fn a_429_lowers_the_rate_until_it_has_recovered() {
    let upstream = double().await;
    let lines = "requests_per_second = 1000\nmax_attempts = 1";
    let gateway = gateway().fixed("sft", &upstream.base_url, lines).start().await;
    upstream.always(GET, found());
    let rate = async || gateway.metric("upstream_rate_limit", "sft").await;
    gateway.get("SP_1").await.unwrap();
    assert_eq!(rate().await, 1000.0);
    upstream.then(GET, come_back(429, 0));
    fails(gateway.get("SP_1").await, Code::ResourceExhausted, "UPSTREAM_THROTTLED");
    let lowered = rate().await;
    assert!((500.0..1000.0).contains(&lowered), "{lowered}");
    // It grows back in ten seconds, which the next request shows.
    later(Duration::from_secs(11)).await;
    gateway.get("SP_1").await.unwrap();
    assert_eq!(rate().await, 1000.0);
}

#[tokio::test]
async fn a_rate_that_lets_a_call_through_only_after_its_deadline_turns_it_away() {
    let upstream = double().await;
    let builder = gateway().server("default_timeout = \"5s\"");
    let lines = "requests_per_second = 1";
    let gateway = builder.fixed("sft", &upstream.base_url, lines).start().await;
    upstream.always(GET, found());
    let results = join_all((0..30).map(|_| gateway.get("SP_1"))).await;
    let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    // How many it lets through depends on how long the calls take to arrive.
    assert!(!good.is_empty() && !bad.is_empty(), "{} of 30", good.len());
    assert_eq!(upstream.count(GET), good.len());
    for result in bad {
        let failed = fails(result, Code::Unavailable, "OVERLOADED");
        assert!(failed.retry.is_some(), "{failed:#?}");
    }
}

/// How many requests to the upstream wait, and how many are in flight.
async fn depth(gateway: &Gateway) -> (f64, f64) {
    let waiting = gateway.metric("upstream_queued", "sft").await;
    (waiting, gateway.metric("upstream_in_flight", "sft").await)
}

// Regression: a slot was taken before the wait for the rate.
#[tokio::test]
async fn what_waits_for_the_rate_is_not_in_flight() {
    let upstream = double().await;
    let lines = "requests_per_second = 1\nmax_concurrent_calls = 2";
    let gateway = gateway().fixed("sft", &upstream.base_url, lines).start().await;
    upstream.always(GET, found());
    let calls = join_all((0..5).map(|_| gateway.get("SP_1")));
    let seen = until("the calls wait", async || depth(&gateway).await.0 >= 3.0);
    let in_flight = async {
        seen.await;
        depth(&gateway).await.1
    };
    let (results, in_flight) = tokio::join!(calls, in_flight);
    assert_eq!(in_flight, 0.0);
    for result in results {
        result.unwrap();
    }
}

// Regression: a call that gave up waiting kept its place in the rate.
#[tokio::test]
async fn callers_that_leave_do_not_slow_down_those_that_stay() {
    let upstream = double().await;
    let builder = gateway().server("default_timeout = \"4s\"");
    let lines = "requests_per_second = 1";
    let gateway = builder.fixed("sft", &upstream.base_url, lines).start().await;
    upstream.always(GET, found());
    gateway.get("SP_1").await.unwrap();
    let write = || {
        Write::Update(UpdateProfileRequest {
            profile: Some(named("SP_1")),
            ..UpdateProfileRequest::default()
        })
    };
    let leavers: Vec<_> = (0..12)
        .map(|_| {
            let (mut profiles, write) = (gateway.profiles.clone(), Some(write()));
            let request = timed(PreviewWriteRequest { write }, Some(Duration::from_secs(20)));
            tokio::spawn(async move { profiles.preview_write(request).await })
        })
        .collect();
    let waiting = async |few| {
        let (waiting, in_flight) = depth(&gateway).await;
        if few { waiting + in_flight == 0.0 } else { waiting + in_flight >= 11.0 }
    };
    until("they wait", async || waiting(false).await).await;
    leavers.iter().for_each(tokio::task::JoinHandle::abort);
    until("they are gone", async || waiting(true).await).await;
    gateway.get("SP_1").await.unwrap();
}

/// A 429 with these headers.
fn throttled(headers: &[(&str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Answer::Http { status: 429, headers: headers.collect(), body: b"x".to_vec() }
}

/// How long a call was told to wait, in milliseconds.
fn wait(failed: &Failure) -> u128 {
    assert!(failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{failed:#?}");
    failed.retry.unwrap().as_millis()
}

// Regression: all that waited for the pause left in the same instant.
#[tokio::test]
async fn reads_that_wait_for_a_pause_are_spread() {
    for vendor in vendors() {
        let upstream = double().await;
        let gateway = vendor.on(gateway(), &upstream.base_url, "").start().await;
        let (arrivals, found) = (Mutex::new(Vec::new()), vendor.found.clone());
        upstream.then(vendor.get, throttled(&[])).always(
            vendor.get,
            // It takes eight in each tenth of a second.
            double::by(move |_| {
                let (now, mut arrivals) = (Instant::now(), arrivals.lock().unwrap());
                arrivals.retain(|at| now.duration_since(*at) < Duration::from_millis(100));
                arrivals.push(now);
                if arrivals.len() > 8 { throttled(&[]) } else { found.clone() }
            }),
        );
        gateway.get(vendor.id).await.unwrap();
        assert_eq!(upstream.seen().len(), 2, "the first has shown the pause, and ended it");
        upstream.then(vendor.get, throttled(&[]));
        let results = join_all((0..60).map(|_| gateway.get(vendor.id))).await;
        let failed = results.iter().filter(|result| result.is_err()).count();
        assert_eq!(failed, 0, "{}: {} sent", vendor.dialect, upstream.seen().len());
    }
}

#[tokio::test]
async fn a_constant_429_is_asked_ever_more_rarely() {
    for vendor in vendors() {
        let dialect = vendor.dialect;
        for (lines, times) in [("", 8), ("requests_per_second = 100", 2)] {
            let lines = format!("{lines}\nmax_attempts = 1");
            let upstream = double().await;
            let builder = gateway().server("default_timeout = \"900ms\"");
            let gateway = vendor.on(builder, &upstream.base_url, &lines).start().await;
            upstream.always(vendor.get, throttled(&[]));
            for n in 0..times {
                let pause = wait(&failure(gateway.get(vendor.id).await));
                let least = 60_000.min(1000 << n);
                let most = 60_000.min(least + least / 4);
                assert!((least..=most).contains(&pause), "{dialect}, {n}: {pause}");
                // Nothing is sent during the pause.
                wait(&failure(gateway.get(vendor.id).await));
                assert_eq!(upstream.seen().len(), n + 1, "{dialect}, {n}");
                later(Duration::from_millis(u64::try_from(pause).unwrap() + 300)).await;
            }
            // An answer of any other kind ends it.
            upstream.then(vendor.get, vendor.found.clone());
            gateway.get(vendor.id).await.unwrap();
            later(Duration::from_secs(1)).await;
            let pause = wait(&failure(gateway.get(vendor.id).await));
            assert!((1000..=1250).contains(&pause), "{dialect}: {pause}");
        }
    }
}

// Regression: the gateway's clock decided when a date of the upstream's clock came.
#[tokio::test]
async fn what_a_429_asks_for_is_understood() {
    let date = |seconds: u64| {
        httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600 + seconds))
    };
    let (now, soon, before) = (date(0), date(2), date(0));
    let own = |after: &'static str| vec![("retry-after", after)];
    for (what, headers, pauses) in [
        ("a date by another clock", vec![("date", &*now), ("retry-after", &*soon)], 1900..=2000),
        ("a number too large", own("99999999999999999999999"), 59_000..=60_000),
        ("a fraction", own("2.5"), 2400..=2500),
        ("several", vec![("retry-after", "3"), ("retry-after", "9")], 8900..=9000),
        ("a negative number", own("-7"), 1000..=1250),
        ("nothing", own(""), 1000..=1250),
        ("words", own("soon"), 1000..=1250),
        ("no time", own("0"), 0..=1000),
        ("the past", vec![("date", &*now), ("retry-after", &*before)], 0..=1000),
    ] {
        for vendor in vendors() {
            let upstream = double().await;
            let lines = "max_attempts = 1";
            let gateway = vendor.on(gateway(), &upstream.base_url, lines).start().await;
            upstream.then(vendor.get, throttled(&headers)).always(vendor.get, vendor.found.clone());
            let pause = wait(&failure(gateway.get(vendor.id).await));
            assert!(pauses.contains(&pause), "{}, {what}: {pause}", vendor.dialect);
            later(Duration::from_millis(u64::try_from(pause).unwrap() + 50)).await;
            gateway.get(vendor.id).await.unwrap();
            assert_eq!(upstream.seen().len(), 2, "{}, {what}", vendor.dialect);
        }
    }
}
