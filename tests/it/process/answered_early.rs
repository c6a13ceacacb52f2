//! Calls that are answered before their requests have come, thousands on one connection, as a proxy
//! carries those of many callers: the others on it must not notice.

use prost::Message as _;
use tokio::task::JoinSet;

use super::{
    callers::{EIGHT, hold},
    calls::{GET, metric, named},
    child::{Gateway, gateway, patiently, serve, sft},
    frames::Frames,
    slow::Slow,
    wire::frame,
};

/// How many calls are begun at once; a connection may have 100.
const WAVE: usize = 80;
const WAVES: usize = 27;

const CHECK: &str = "grpc.health.v1.Health/Check";
const WATCH: &str = "grpc.health.v1.Health/Watch";
const UNKNOWN: &str = "profilegateway.v1.ProfileService/NoSuchMethod";
const REFLECT: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

const UNSUPPORTED: (&str, &str) = ("UNIMPLEMENTED", "OPERATION_NOT_SUPPORTED");
const TOO_LARGE: (&str, &str) = ("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE");

/// A way to be answered early.
#[derive(Clone, Copy)]
struct Kind<'k> {
    path: &'k str,
    headers: &'k [(&'k str, &'k str)],
    /// What comes before the answer.
    first: &'k [u8],
    /// How many calls of a wave are not answered early.
    late: usize,
    /// The labels of the answer.
    end: (&'k str, &'k str),
}

/// A call that waits for its message.
const CALL: Kind<'_> = Kind { path: GET, headers: &[], first: &[], late: 0, end: ("", "") };

/// Calls of this kind go on after they are answered, beside a stream and calls that have to live.
async fn play(gateway: &Gateway, kind: Kind<'_>) {
    let (code, reason) = kind.end;
    let label = match kind.path {
        REFLECT | CHECK | GET => kind.path,
        _ => "unknown",
    };
    let labels = format!("method=\"{label}\",code=\"{code}\",reason=\"{reason}\"");
    let name = format!("profile_gateway_calls_total{{{labels}}}");
    let before = metric(gateway, &name).await;
    let mut frames = Frames::connect(gateway.grpc).await;
    frames.makes_room().await;
    let nothing = frame(0, &[]);
    let watch = frames.begin(WATCH).await;
    frames.piece(watch, &nothing, true).await;
    for wave in 0..WAVES {
        let what = format!("{name} in wave {wave}");
        let mut streams = Vec::new();
        for _ in 0..WAVE {
            let stream = frames.begin_with(kind.headers, kind.path).await;
            if !kind.first.is_empty() {
                frames.piece(stream, kind.first, false).await;
            }
            streams.push(stream);
        }
        let mut ended = frames.ended(WAVE - kind.late, &what).await;
        // They are on their way still.
        for stream in streams {
            frames.piece(stream, b"more", false).await;
            frames.piece(stream, b"", true).await;
        }
        let victim = frames.begin(CHECK).await;
        frames.piece(victim, &nothing, true).await;
        ended.extend(frames.ended(kind.late + 1, &what).await);
        assert!(ended.contains(&victim) && !ended.contains(&watch), "{what}: {ended:?}");
    }
    let expected = (WAVES * (WAVE - kind.late)) as u64;
    assert_eq!(metric(gateway, &name).await - before, expected, "{name}");
}

#[tokio::test]
async fn who_is_refused_by_what_comes_first_leaves_the_connection_alone() {
    let long = "x".repeat(100);
    let metadata: Vec<(&str, &str)> = vec![("x-long", &long); 40];
    let gateway = gateway(
        &[],
        &[
            ("PROFILE_GATEWAY__SERVER__MAX_REQUEST_METADATA_BYTES", "4KiB"),
            ("PROFILE_GATEWAY__SERVER__MAX_REQUEST_BYTES", "4KiB"),
        ],
    )
    .await;
    let large = [&[0, 0, 1, 0, 0][..], &[0; 100]].concat();
    let message = named("SP_2").encode_to_vec();
    let two = [&frame(0, &message)[..], &frame(0, &message)[..]].concat();
    let malformed = "MALFORMED_REQUEST";
    for kind in [
        Kind { headers: &[("grpc-timeout", "soon")], end: ("INVALID_ARGUMENT", malformed), ..CALL },
        Kind {
            headers: &[("grpc-timeout", "0n")],
            end: ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
            ..CALL
        },
        Kind {
            headers: &[("grpc-timeout", "100m")],
            first: &two[..7],
            end: ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
            ..CALL
        },
        Kind { headers: &metadata, end: TOO_LARGE, ..CALL },
        Kind { headers: &[(":method", "PUT")], end: ("HTTP_405", ""), ..CALL },
        Kind { first: &large, end: TOO_LARGE, ..CALL },
        Kind { first: &two, end: ("UNIMPLEMENTED", malformed), ..CALL },
        Kind { path: UNKNOWN, first: &large, end: UNSUPPORTED, ..CALL },
        Kind { headers: &[("grpc-encoding", "br")], first: &large, end: UNSUPPORTED, ..CALL },
        Kind { path: CHECK, first: &large, end: TOO_LARGE, ..CALL },
        Kind { path: REFLECT, first: &large, end: TOO_LARGE, ..CALL },
    ] {
        play(&gateway, kind).await;
    }
}

#[tokio::test]
async fn who_is_refused_for_its_share_leaves_the_connection_alone() {
    let slow = Slow::start().await;
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &[EIGHT]).await;
    let end = ("RESOURCE_EXHAUSTED", "CALLER_QUOTA_EXCEEDED");
    // A newcomer takes the place of one that waits; the last ones stay, and are no calls.
    play(&gateway, Kind { late: 4, end, ..CALL }).await;
    let mut calls = JoinSet::new();
    hold(&mut calls, "127.0.0.1", 4, &gateway).await;
    play(&gateway, Kind { path: "", end, ..CALL }).await;
}

#[tokio::test]
async fn who_is_refused_for_its_memory_leaves_the_connection_alone() {
    let env = [
        ("PROFILE_GATEWAY__MEMORY__BUDGET_BYTES", "64MiB"),
        ("PROFILE_GATEWAY__MEMORY__REQUESTS_PERCENT", "1"),
        ("PROFILE_GATEWAY__CALLERS__SHARE_PERCENT", "10"),
    ];
    let gateway = gateway(&[], &env).await;
    // The length of a message of 192 KiB, for which the caller's tenth of a percent is too little.
    let begun = [&[0, 0, 3, 0, 0][..], &[0; 100]].concat();
    let end = ("RESOURCE_EXHAUSTED", "CALLER_QUOTA_EXCEEDED");
    play(&gateway, Kind { first: &begun, end, ..CALL }).await;
}

#[tokio::test]
async fn who_does_not_send_its_message_leaves_the_connection_alone() {
    let gateway = gateway(&[], &[("PROFILE_GATEWAY__SERVER__MESSAGE_TIMEOUT", "100ms")]).await;
    play(&gateway, Kind { end: ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"), ..CALL }).await;
}

#[tokio::test]
async fn calls_that_are_taken_back_at_once_leave_the_connection_alone() {
    let gateway = gateway(&[], &[]).await;
    let mut frames = Frames::connect(gateway.grpc).await;
    frames.begin_and_take_back(GET, WAVE).await;
    let victim = frames.begin(CHECK).await;
    frames.piece(victim, &frame(0, &[]), true).await;
    assert_eq!(frames.ended(1, "calls that were taken back").await, [victim]);
}

// h2 itself ends it, whatever is set.
#[tokio::test]
async fn frames_that_carry_nothing_end_the_connection_of_their_client_alone() {
    let gateway = gateway(&[], &[]).await;
    let mut other = Frames::connect(gateway.grpc).await;
    let victim = other.begin(CHECK).await;
    let mut frames = Frames::connect(gateway.grpc).await;
    let stream = frames.begin(GET).await;
    frames.empty_pieces(stream, 101).await;
    patiently("the end of the connection", frames.until_closed()).await;
    other.piece(victim, &frame(0, &[]), true).await;
    assert_eq!(other.ended(1, "a call of another connection").await, [victim]);
}
