//! What one caller may hold, with another one beside it. Each address of this machine is a caller.

use profile_gateway::pb::{
    GetBackendRequest, GetProfileRequest, WatchProfilesRequest,
    backend_service_client::BackendServiceClient, profile_service_client::ProfileServiceClient,
};
use prost::Message as _;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

use super::{
    calls::{GET, channel_from, failure, metric, named},
    child::{Gateway, gateway, serve, sft, until},
    frames::{DATA, Frames, SETTINGS},
    slow::Slow,
};

const GREEDY: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";
const THIRD: &str = "127.0.0.4";

pub(super) const EIGHT: (&str, &str) = ("PROFILE_GATEWAY__SERVER__MAX_CONCURRENT_CALLS", "8");

const OVER_SHARE: (Code, &str) = (Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
const FULL: (Code, &str) = (Code::Unavailable, "OVERLOADED");
/// What is said of half of them, and of all.
const FOUR_CALLS: &str = "too many concurrent calls: its share is 4 (`callers.share_percent` of \
                          `server.max_concurrent_calls`)";
const EIGHT_CALLS: &str =
    "too many concurrent calls: the limit is 8 (`server.max_concurrent_calls`)";

async fn from(source: &str, gateway: &Gateway) -> ProfileServiceClient<Channel> {
    ProfileServiceClient::new(channel_from(source, gateway.grpc).await)
}

/// A call that asks no upstream.
async fn describe(source: &str, gateway: &Gateway) -> Result<(), Status> {
    let mut client = BackendServiceClient::new(channel_from(source, gateway.grpc).await);
    let request = GetBackendRequest { name: "backends/sft".to_owned() };
    client.get_backend(request).await.map(|_| ())
}

#[track_caller]
fn refused(result: Result<(), Status>, (code, reason): (Code, &str), told: &str) {
    let status = result.unwrap_err();
    let (refused, why, details) = failure(&status);
    assert_eq!((refused, why.as_str()), (code, reason));
    let delay = details.retry_info().and_then(|info| info.retry_delay).unwrap();
    assert!(!delay.is_zero());
    assert!(status.message().contains(told), "{status:?}");
}

async fn refusals(gateway: &Gateway, resource: &str, bound: &str) -> u64 {
    let labels = format!("{{resource=\"{resource}\",bound=\"{bound}\"}}");
    metric(gateway, &format!("profile_gateway_caller_refusals_total{labels}")).await
}

async fn in_flight(gateway: &Gateway, calls: u64) {
    until("so many calls in flight", async || {
        metric(gateway, "profile_gateway_calls_in_flight").await == calls
    })
    .await;
}

/// Starts so many calls of a caller that wait for the upstream, each on a connection of its own.
pub(super) async fn hold(calls: &mut JoinSet<()>, source: &str, count: u64, gateway: &Gateway) {
    let before = metric(gateway, "profile_gateway_calls_in_flight").await;
    for _ in 0..count {
        let mut client = from(source, gateway).await;
        calls.spawn(async move { drop(client.get_profile(named("SP_2")).await.unwrap()) });
    }
    in_flight(gateway, before + count).await;
}

#[tokio::test]
async fn one_caller_takes_its_share_of_the_calls_and_leaves_the_rest() {
    let slow = Slow::start().await;
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &[EIGHT]).await;
    let mut calls = JoinSet::new();
    hold(&mut calls, GREEDY, 4, &gateway).await;
    refused(describe(GREEDY, &gateway).await, OVER_SHARE, FOUR_CALLS);
    describe(OTHER, &gateway).await.unwrap();
    assert_eq!(refusals(&gateway, "calls", "caller").await, 1);
    assert_eq!(refusals(&gateway, "calls", "all").await, 0);
    assert_eq!(metric(&gateway, "profile_gateway_calls_shed_total").await, 1);
    assert!(metric(&gateway, "profile_gateway_callers").await >= 1);

    hold(&mut calls, OTHER, 4, &gateway).await;
    refused(describe(THIRD, &gateway).await, FULL, EIGHT_CALLS);
    assert_eq!(refusals(&gateway, "calls", "all").await, 1);

    slow.open();
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    until("a free place", async || describe(GREEDY, &gateway).await.is_ok()).await;
}

#[tokio::test]
async fn peers_of_one_network_are_one_caller_if_so_configured() {
    let slow = Slow::start().await;
    let env = [EIGHT, ("PROFILE_GATEWAY__CALLERS__IPV4_PREFIX_BITS", "24")];
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &env).await;
    let mut calls = JoinSet::new();
    hold(&mut calls, GREEDY, 4, &gateway).await;
    refused(describe(OTHER, &gateway).await, OVER_SHARE, FOUR_CALLS);
    describe("127.0.1.2", &gateway).await.unwrap();
}

#[tokio::test]
async fn a_share_of_all_is_no_bound() {
    let slow = Slow::start().await;
    let env = [EIGHT, ("PROFILE_GATEWAY__CALLERS__SHARE_PERCENT", "100")];
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &env).await;
    let mut calls = JoinSet::new();
    hold(&mut calls, GREEDY, 8, &gateway).await;
    for source in [GREEDY, OTHER] {
        refused(describe(source, &gateway).await, FULL, EIGHT_CALLS);
    }
}

#[tokio::test]
async fn headers_without_a_message_take_no_place_of_a_call() {
    let gateway = gateway(&[], &[EIGHT]).await;
    let mut frames = Frames::connect(gateway.grpc).await;
    for _ in 0..100 {
        frames.begin(GET).await;
    }
    // Those that wait hold places of their own, of which a caller has a share too.
    let lost = async || refusals(&gateway, "arriving", "caller").await;
    until("refusals", async || lost().await == 96).await;
    in_flight(&gateway, 4).await;
    // One whose message comes later than its headers takes the place of one that has stalled.
    let mut later = Frames::connect(gateway.grpc).await;
    let stream = later.begin(GET).await;
    until("one more refusal", async || lost().await == 97).await;
    in_flight(&gateway, 4).await;
    later.piece(stream, &message(), true).await;
    let answer = later.until(DATA).await;
    assert!(answer.len() > 100, "{answer:?}");
    describe(OTHER, &gateway).await.unwrap();
    from(OTHER, &gateway).await.get_profile(named("SP_2")).await.unwrap();
    assert_eq!(refusals(&gateway, "calls", "caller").await, 0);
    // They are gone with their caller.
    drop((frames, later));
    in_flight(&gateway, 0).await;
}

#[tokio::test]
async fn who_has_its_share_is_refused_before_its_message_arrives() {
    let slow = Slow::start().await;
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &[EIGHT]).await;
    let mut calls = JoinSet::new();
    hold(&mut calls, "127.0.0.1", 4, &gateway).await;
    let mut frames = Frames::connect(gateway.grpc).await;
    frames.begin(GET).await;
    until("a refusal", async || refusals(&gateway, "calls", "caller").await == 1).await;
    in_flight(&gateway, 4).await;
}

#[tokio::test]
async fn a_call_whose_message_does_not_arrive_is_ended() {
    // It is not the deadline of the calls that ends them.
    let times = [
        ("PROFILE_GATEWAY__SERVER__MESSAGE_TIMEOUT", "300ms"),
        ("PROFILE_GATEWAY__SERVER__DEFAULT_TIMEOUT", "5m"),
    ];
    let gateway = gateway(&[], &times).await;
    let mut frames = Frames::connect(gateway.grpc).await;
    frames.begin(GET).await;
    let stream = frames.begin(GET).await;
    frames.piece(stream, &message()[..7], false).await;
    // Whole, but its end is missing.
    let stream = frames.begin(GET).await;
    frames.piece(stream, &message(), false).await;
    // Probes wait for no place, but not longer than others.
    frames.begin("grpc.health.v1.Health/Check").await;
    let ended = async |label: &str| {
        let name = "profile_gateway_calls_total";
        let end = "code=\"DEADLINE_EXCEEDED\",reason=\"DEADLINE_EXCEEDED\"";
        metric(&gateway, &format!("{name}{{method=\"{label}\",{end}}}")).await
    };
    until("the calls' end", async || ended(GET).await == 3).await;
    until("the probe's end", async || ended("grpc.health.v1.Health/Check").await == 1).await;
    in_flight(&gateway, 0).await;
}

#[tokio::test]
async fn a_message_in_pieces_is_served() {
    let gateway = gateway(&[], &[EIGHT]).await;
    let mut frames = Frames::connect(gateway.grpc).await;
    let message = message();
    let stream = frames.begin(GET).await;
    for piece in message.chunks(3) {
        frames.piece(stream, piece, false).await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    frames.piece(stream, &[], true).await;
    let answer = frames.until(DATA).await;
    assert!(answer.len() > 100, "{answer:?}");
}

#[tokio::test]
async fn one_caller_takes_its_share_of_the_streams_and_leaves_the_rest() {
    let env = [("PROFILE_GATEWAY__SERVER__MAX_CONCURRENT_CALLS", "16")];
    let gateway = gateway(&[], &env).await;
    let open = async |source: &str| {
        let parent = "backends/sft".to_owned();
        let request = WatchProfilesRequest { parent, ..WatchProfilesRequest::default() };
        from(source, &gateway).await.watch_profiles(request).await
    };
    let mut streams = Vec::new();
    for source in [GREEDY, OTHER] {
        for _ in 0..4 {
            streams.push(open(source).await.unwrap());
        }
        let fifth = open(source).await.map(|_| ());
        refused(fifth, OVER_SHARE, "its share is 4 ");
    }
    assert_eq!(refusals(&gateway, "streams", "caller").await, 2);
    refused(open(THIRD).await.map(|_| ()), FULL, "the limit is 8 ");
    assert_eq!(refusals(&gateway, "streams", "all").await, 1);
    // Streams are calls too, and leave room for those.
    describe(GREEDY, &gateway).await.unwrap();
    drop(streams);
    until("a free slot", async || open(THIRD).await.is_ok()).await;
}

#[tokio::test]
async fn a_connection_may_have_so_many_calls() {
    for (env, expected) in
        [(&[][..], 100), (&[("PROFILE_GATEWAY__SERVER__MAX_STREAMS_PER_CONNECTION", "7")], 7)]
    {
        let gateway = gateway(&[], env).await;
        let mut frames = Frames::connect(gateway.grpc).await;
        let settings = frames.until(SETTINGS).await;
        // RFC 9113, 6.5.2: an identifier in two bytes, a value in four.
        let told = settings.chunks(6).find(|setting| setting[..2] == [0, 3]);
        assert_eq!(told.map(|told| &told[2..]), Some(&[0, 0, 0, expected][..]), "{settings:?}");
    }
}

#[tokio::test]
async fn a_call_without_its_message_does_not_keep_the_process() {
    let mut gateway = gateway(&[], &[]).await;
    let mut frames = Frames::connect(gateway.grpc).await;
    frames.begin(GET).await;
    frames.begin("profilegateway.v1.ProfileService/DeleteProfile").await;
    in_flight(&gateway, 2).await;
    assert!(gateway.program.is_running());
    tokio::spawn(frames.until_closed());
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.output());
    assert!(ended.stderr.contains("OVERLOADED"), "{}", ended.stderr);
}

/// The message that asks for a profile of the sandbox, with its prefix.
fn message() -> Vec<u8> {
    let request: GetProfileRequest = named("SP_2");
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(request.encoded_len()).unwrap().to_be_bytes());
    bytes.extend(request.encode_to_vec());
    bytes
}
