//! The memory of a process that is asked for more than it has: each part ends at its bound, what is
//! beyond it is refused, and the rest goes on.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Version};
use profile_gateway::pb::{GetProfileRequest, ListProfilesRequest};
use prost::Message;
use serde_json::json;
use tokio::{net::TcpStream, sync::Semaphore, task::JoinHandle};
use tonic::{Code, Status};

use super::{
    calls::{GET, LIST, failure, metric, named, profiles},
    child::{Gateway, gateway, patiently, serve, until},
    wire::{ask, frame, list, put, send},
};
use crate::kit::{
    bodies,
    double::{self, Answer, Double, OTHER, double},
    gateway::fresh,
};

const MIB: u64 = 1024 * 1024;
const SMALL: (&str, &str) = ("PROFILE_GATEWAY__MEMORY__BUDGET_BYTES", "64MiB");

async fn used(gateway: &Gateway, part: &str) -> u64 {
    metric(gateway, &format!("profile_gateway_memory_used_bytes{{part=\"{part}\"}}")).await
}

async fn limit(gateway: &Gateway, part: &str) -> u64 {
    metric(gateway, &format!("profile_gateway_memory_limit_bytes{{part=\"{part}\"}}")).await
}

async fn refusals(gateway: &Gateway, resource: &str, bound: &str) -> u64 {
    let labels = format!("resource=\"{resource}\",bound=\"{bound}\"");
    metric(gateway, &format!("profile_gateway_caller_refusals_total{{{labels}}}")).await
}

/// A connection whose client makes room for so many bytes of each response, until it is asked to.
async fn connect(address: SocketAddr, window: u32) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (client, connection) = builder.handshake(tcp).await.unwrap();
    (client, tokio::spawn(async move { drop(connection.await) }))
}

/// Begins a call with these bytes of its body, and leaves it open if it is not the whole.
async fn begin(
    client: &SendRequest<Bytes>,
    path: &str,
    body: Bytes,
    whole: bool,
) -> (ResponseFuture, h2::SendStream<Bytes>) {
    let mut client = client.clone().ready().await.unwrap();
    let mut request = Request::post(format!("http://gateway/{path}")).version(Version::HTTP_2);
    for (name, value) in [("te", "trailers"), ("content-type", "application/grpc")] {
        request = request.header(name, value);
    }
    let (response, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
    // Refused before it was read, which is as good.
    drop(stream.send_data(body, whole));
    (response, stream)
}

fn refused(head: &http::response::Parts) -> bool {
    let Some(status) = Status::from_header_map(&head.headers) else { return false };
    let (code, reason, details) = failure(&status);
    let expected = (Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
    assert_eq!((code, reason.as_str()), expected, "{status:?}");
    assert!(details.retry_info().unwrap().retry_delay.is_some(), "{status:?}");
    true
}

#[tokio::test]
async fn requests_that_do_not_end_take_no_more_than_their_part() {
    const CALLS: usize = 100;
    let mut gateway = gateway(&[], &[SMALL]).await;
    assert_eq!(ask(&gateway, GET, &named("SP_2")).await.status().code(), Code::Ok);
    let name = "x".repeat(256 * 1024 - 4);
    let message = GetProfileRequest { name, read_mask: None }.encode_to_vec();
    assert_eq!(message.len(), 256 * 1024);
    let body = frame(0, &message).slice(..message.len());
    gateway.program.forget_peak();
    let (before, _) = gateway.program.memory();
    let (mut open, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..CALLS / 10 {
        let (client, connection) = connect(gateway.grpc, 65_535).await;
        for _ in 0..10 {
            open.push(begin(&client, GET, body.clone(), false).await);
        }
        connections.push((client, connection));
    }
    let most = limit(&gateway, "requests").await;
    until("the refusals", async || refusals(&gateway, "request_bytes", "caller").await >= 90).await;
    let held = used(&gateway, "requests").await;
    assert!((most / 4..=most / 2).contains(&held), "{held} of {most}");
    let (_, peak) = gateway.program.memory();
    assert!(peak.saturating_sub(before) < 32 * MIB, "{} MiB", (peak - before) / MIB);
    // Nothing of it is left when they leave.
    drop(open);
    connections.into_iter().for_each(|(_, connection)| connection.abort());
    until("the memory", async || used(&gateway, "requests").await == 0).await;
    assert_eq!(ask(&gateway, GET, &named("SP_2")).await.status().code(), Code::Ok);
    assert!(gateway.program.is_running());
}

#[tokio::test]
async fn responses_that_are_not_read_take_no_more_than_their_part() {
    const CALLS: usize = 60;
    let mut gateway = gateway(&[], &[SMALL]).await;
    put(&gateway, 30, 90_000).await;
    let message = list(1000);
    assert_eq!(ask(&gateway, LIST, &message).await.status().code(), Code::Ok);
    let body = frame(0, &message.encode_to_vec());
    gateway.program.forget_peak();
    let (before, _) = gateway.program.memory();
    // Half of them make room for nothing, half for the beginning.
    let mut held = Vec::new();
    let mut turned_away = 0;
    for window in [0, 100] {
        let (client, connection) = connect(gateway.grpc, window).await;
        for _ in 0..CALLS / 2 {
            let (response, stream) = begin(&client, LIST, body.clone(), true).await;
            let (head, rest) = patiently("a head", response).await.unwrap().into_parts();
            if refused(&head) {
                turned_away += 1;
            } else {
                held.push((rest, stream));
            }
        }
        held.push({
            let (response, stream) = begin(&client, GET, frame(0, &[]), true).await;
            (patiently("a head", response).await.unwrap().into_body(), stream)
        });
        std::mem::forget((client, connection));
    }
    let most = limit(&gateway, "answers").await;
    let taken = used(&gateway, "answers").await;
    assert!(turned_away >= CALLS - 5, "{turned_away}");
    assert!((most / 4..=most / 2).contains(&taken), "{taken} of {most}");
    let (_, peak) = gateway.program.memory();
    assert!(peak.saturating_sub(before) < 64 * MIB, "{} MiB", (peak - before) / MIB);
    drop(held);
    until("the memory", async || used(&gateway, "answers").await == 0).await;
    assert_eq!(ask(&gateway, LIST, &message).await.status().code(), Code::Ok);
    assert!(gateway.program.is_running());
}

/// An account whose list has so many profiles of some hundred bytes, and its configuration. Its
/// list is answered when the gate lets it.
async fn listing(count: usize, gate: &Arc<Semaphore>) -> (Double, String) {
    let profile = |n| bodies::profile(&format!("SP_{n}"), &"n".repeat(200));
    let upstream = double().await;
    let body = bodies::profiles(&(0..count).map(profile).collect::<Vec<_>>());
    let answer = double::json(body);
    upstream.always(double::LIST, Answer::Gated(Arc::clone(gate), Box::new(answer)));
    let tokens = bodies::tokens("access-of-the-kit", "refresh-of-the-kit");
    upstream.always(double::LOGIN, double::json(tokens));
    let config = super::child::sft(&upstream.base_url, "ops", "of-the-kit");
    (upstream, config)
}

#[tokio::test]
async fn a_list_takes_memory_while_it_is_read_and_sorted() {
    let gate = Arc::new(Semaphore::new(0));
    let (_upstream, config) = listing(8000, &gate).await;
    let parts = |loads| {
        let percent = ("PROFILE_GATEWAY__MEMORY__LOADS_PERCENT", loads);
        let share = ("PROFILE_GATEWAY__CALLERS__SHARE_PERCENT", "25");
        [SMALL, percent, ("PROFILE_GATEWAY__MEMORY__DECODING_PERCENT", "34"), share]
    };
    let gateway = serve(&config, &parts("10")).await;
    let client = profiles(&gateway).await;
    let listed = tokio::spawn({
        let mut client = client.clone();
        async move { client.list_profiles(list(1)).await }
    });
    until("memory for the list", async || used(&gateway, "loads").await >= 256 * 1024).await;
    gate.add_permits(100);
    assert_eq!(listed.await.unwrap().unwrap().into_inner().total_size, 8000);
    until("it is given back", async || used(&gateway, "loads").await == 0).await;
    // Its positions are more than the share of one caller.
    let sorted = ListProfilesRequest { order_by: "display_name desc".to_owned(), ..list(1) };
    let status = client.clone().list_profiles(sorted).await.unwrap_err();
    never_fits(
        &status,
        "CALLER_QUOTA_EXCEEDED",
        "`callers.share_percent` of `memory.loads_percent`",
    );
    assert_eq!(refusals(&gateway, "load_bytes", "caller").await, 1);
    assert_eq!(used(&gateway, "loads").await, 0);

    // And the list itself may be more than there is.
    let gateway = serve(&config, &parts("1")).await;
    let status = ask(&gateway, LIST, &list(1)).await.status();
    never_fits(&status, "OVERLOADED", "`memory.loads_percent`");
    assert_eq!(used(&gateway, "loads").await, 0);
}

/// A refusal that no repeat gets past, which says what would.
#[track_caller]
fn never_fits(status: &Status, why: &str, setting: &str) {
    let (code, reason, details) = failure(status);
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, why), "{status:?}");
    assert!(details.retry_info().is_none(), "{status:?}");
    assert!(status.message().contains("this takes "), "{status:?}");
    assert!(status.message().contains(setting), "{status:?}");
}

#[tokio::test]
async fn a_request_that_never_fits_is_refused_for_good() {
    let env = [
        SMALL,
        ("PROFILE_GATEWAY__MEMORY__REQUESTS_PERCENT", "1"),
        ("PROFILE_GATEWAY__CALLERS__SHARE_PERCENT", "10"),
    ];
    let gateway = gateway(&[], &env).await;
    // Larger than a tenth of a percent of the budget, and within `max_request_bytes`.
    let message = vec![0; 200 * 1024];
    let status = send(gateway.grpc, LIST, &[], frame(0, &message)).await.status();
    never_fits(
        &status,
        "CALLER_QUOTA_EXCEEDED",
        "`callers.share_percent` of `memory.requests_percent`",
    );
    assert_eq!(used(&gateway, "requests").await, 0);
}

#[tokio::test]
async fn fresh_lists_at_the_same_time_take_the_memory_of_a_few() {
    let (_upstream, config) = listing(10_006, &Arc::new(Semaphore::new(1000))).await;
    let gateway = serve(&config, &[("PROFILE_GATEWAY__MEMORY__BUDGET_BYTES", "512MiB")]).await;
    let client = profiles(&gateway).await;
    client.clone().list_profiles(list(1)).await.unwrap();
    gateway.program.forget_peak();
    let (before, _) = gateway.program.memory();
    let calls = (0..64).map(|_| {
        let mut client = client.clone();
        async move { client.list_profiles(fresh(list(1))).await }
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap().into_inner().total_size, 10_006);
    }
    let (_, peak) = gateway.program.memory();
    assert!(peak.saturating_sub(before) < 96 * MIB, "{} MiB", (peak - before) / MIB);
}

#[tokio::test]
async fn what_an_upstream_sends_takes_no_more_than_its_part() {
    let upstream = double().await;
    // A list of profiles that are next to nothing: each is a whole profile in memory.
    let wide = format!("[{}]", vec![r#"{"id":1}"#; 190_000].join(","));
    let body = format!(r#"{{"length":1,"provisioningProfileDTOList":{wide}}}"#);
    upstream.always(OTHER, double::http(200, "application/json", body));
    let config = format!(
        "[backends.sft]\ndialect = \"pcc\"\nbase_url = {:?}\ntenant = \"t\"\nusername = \"u\"\n\
         password = \"of-the-kit\"\n",
        upstream.base_url
    );
    let mut gateway = serve(&config, &[SMALL]).await;
    gateway.program.forget_peak();
    let (before, _) = gateway.program.memory();
    let status = ask(&gateway, LIST, &list(1)).await.status();
    let (code, reason, details) = failure(&status);
    let told = (code, reason.as_str(), details.retry_info().is_some());
    assert_eq!(told, (Code::Internal, "UPSTREAM_CONTRACT_VIOLATION", false), "{status:?}");
    // It never fits, so it is not tried again, and says what would make room.
    assert!(status.message().contains("raise `memory.budget_bytes`"), "{status:?}");
    assert_eq!(upstream.seen().len(), 1);
    assert!(refusals(&gateway, "decoding_bytes", "all").await > 0);
    assert_eq!(used(&gateway, "decoding").await, 0);
    let (_, peak) = gateway.program.memory();
    assert!(peak.saturating_sub(before) < 40 * MIB, "{} MiB", (peak - before) / MIB);
    assert!(gateway.program.is_running());
}

/// The ids of profiles with large answers begin here.
const LARGE: u64 = 1000;

fn id_of(seen: &double::Seen) -> u64 {
    seen.path.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap()
}

fn of_backend(backend: &str, id: u64) -> GetProfileRequest {
    GetProfileRequest { name: format!("backends/{backend}/profiles/{id}"), read_mask: None }
}

/// Reads profiles whose answers have so many bytes and never end, until there is room for no more.
async fn fill(gateway: &Gateway, first: u64, bytes: u64) -> Vec<JoinHandle<Result<(), Status>>> {
    let client = profiles(gateway).await;
    let mut calls = Vec::new();
    for id in first.. {
        let before = used(gateway, "decoding").await;
        let mut client = client.clone();
        let request = of_backend("slow", id);
        let call = tokio::spawn(async move { client.get_profile(request).await.map(drop) });
        until("it is taken, or refused", async || {
            call.is_finished() || used(gateway, "decoding").await >= before + bytes
        })
        .await;
        if call.is_finished() {
            let (_, reason, _) = failure(&call.await.unwrap().unwrap_err());
            assert_eq!(reason, "OVERLOADED");
            break;
        }
        calls.push(call);
    }
    calls
}

#[tokio::test]
async fn a_slow_upstream_leaves_memory_for_the_answers_of_another() {
    let (slow, other) = (double().await, double().await);
    let head =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3000000\r\n\r\n";
    let begun = |bytes: usize| Answer::Open([&head[..], &vec![b' '; bytes]].concat());
    slow.always(
        OTHER,
        double::by(move |seen| begun(if id_of(seen) >= LARGE { 1_100_000 } else { 10_000 })),
    );
    other.always(OTHER, double::by(|seen| double::json(json!({"id": id_of(seen), "name": "n"}))));
    let section = |name: &str, url: &str| {
        format!(
            "[backends.{name}]\ndialect = \"endpoint\"\nbase_url = {url:?}\nmax_attempts = 1\n\
             requests_per_second = \"off\"\n\
             auth_token = \"of-the-kit\"\nbody_timeout = \"5m\"\nrequest_timeout = \"5m\"\n"
        )
    };
    let config = section("slow", &slow.base_url) + &section("other", &other.base_url);
    let gateway = serve(&config, &[SMALL]).await;
    let mut calls = fill(&gateway, LARGE, 1_100_000).await;
    calls.extend(fill(&gateway, 1, 10_000).await);
    let (held, most) = (used(&gateway, "decoding").await, limit(&gateway, "decoding").await);
    assert!((most / 2 - 20_000..=most / 2).contains(&held), "{held} of {most}");
    for id in 1..10 {
        profiles(&gateway).await.get_profile(of_backend("other", id)).await.unwrap();
    }
    assert!(calls.iter().all(|call| !call.is_finished()));
    calls.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_member_of_megabytes_stays_text_and_is_not_kept() {
    let upstream = double().await;
    let member = format!("[{}]", vec!["[]"; 1_500_000].join(","));
    let unknown = format!(r#"{{"id":"1","name":"one","new":{member}}}"#);
    upstream.always(OTHER, double::http(200, "application/json", unknown));
    let config = format!(
        "[backends.sft]\ndialect = \"endpoint\"\nbase_url = {:?}\nauth_token = \"of-the-kit\"\n",
        upstream.base_url
    );
    let gateway = serve(&config, &[]).await;
    gateway.program.forget_peak();
    let (before, _) = gateway.program.memory();
    for _ in 0..2 {
        let sent = ask(&gateway, GET, &named("1")).await;
        assert_eq!(sent.status().code(), Code::Ok, "{:?}", sent.status());
        assert_eq!(sent.headers["x-profile-cache"], "miss");
        assert!((member.len()..member.len() + 1000).contains(&sent.body.len()));
    }
    let (_, peak) = gateway.program.memory();
    assert!(peak.saturating_sub(before) < 96 * MIB, "{} MiB", (peak - before) / MIB);
    let too_large = "profile_gateway_cache_too_large_total{backend=\"sft\"}";
    assert_eq!(metric(&gateway, too_large).await, 2);
    assert_eq!(used(&gateway, "cache").await, 0);
}
