//! Everything at once: one caller does all that a hostile one can think of, in turn and side by
//! side, next to a caller and a watcher that mean well, and to probes. None of these may notice.
//!
//! A few seconds as a test, `STORM_SECONDS` for `make storm`, which also shows how long the calls
//! of the caller took.

use std::{net::SocketAddr, time::Duration};

use profile_gateway::pb::{
    DeleteProfileRequest, PurgeCacheRequest, WatchProfilesRequest,
    backend_service_client::BackendServiceClient, profile_service_client::ProfileServiceClient,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use uuid::Uuid;

use super::{
    calls::{GET, LIST, channel_from, http_get, named},
    child::{Gateway, sandbox, serve, until},
    frames::Frames,
    probes,
    wire::{frame, list, put},
};
use crate::kit::show;

const HOSTILE: &str = "127.0.0.2";
const CALLER: &str = "127.0.0.3";
const WATCHER: &str = "127.0.0.4";

const MIB: u64 = 1024 * 1024;
/// What the process may take during the storm, and how much more than before once it is over.
const MOST: u64 = 512 * MIB;
const LEFT: u64 = 96 * MIB;
/// How long each abuse holds on to what it has.
const HOLD: Duration = Duration::from_millis(300);

/// Where the gateway listens.
#[derive(Clone, Copy)]
struct Ports {
    grpc: SocketAddr,
    admin: SocketAddr,
}

/// A round of one abuse.
async fn abuse(kind: usize, ports: Ports, round: u64) {
    match kind {
        0 => silent_connections(ports).await,
        1 => headers_without_messages(ports).await,
        2 => answers_that_are_not_read(ports).await,
        3 => wide_messages(ports).await,
        4 => watches(ports).await,
        5 => probe_streams(ports).await,
        6 => lists_past_the_cache(ports).await,
        7 => abandoned_reads(ports, round).await,
        8 => deletions(ports, round).await,
        9 => purges(ports).await,
        _ => garbage(ports).await,
    }
}

const ABUSES: usize = 11;

async fn silent_connections(Ports { grpc, admin }: Ports) {
    let mut open = Vec::new();
    for port in [grpc; 100].into_iter().chain([admin; 20]) {
        if let Ok(mut connection) = TcpStream::connect(port).await {
            let _ = connection.write_all(b"P").await;
            open.push(connection);
        }
    }
    sleep(HOLD).await;
}

async fn headers_without_messages(Ports { grpc, .. }: Ports) {
    let mut frames = Frames::connect(grpc).await;
    let begun = async {
        for _ in 0..100 {
            frames.begin(GET).await;
        }
        sleep(HOLD).await;
    };
    let _ = timeout(4 * HOLD, begun).await;
}

async fn answers_that_are_not_read(Ports { grpc, .. }: Ports) {
    let mut frames = Frames::connect(grpc).await;
    let message = prost::Message::encode_to_vec(&list(1000));
    for _ in 0..20 {
        frames.call(&[], LIST, &frame(0, &message)).await;
    }
    sleep(HOLD).await;
}

async fn wide_messages(Ports { grpc, .. }: Ports) {
    let wide = [&[0x12, 0xc0, 0x9a, 0x0c][..], &[0x4a, 0].repeat(100_000)].concat();
    for _ in 0..5 {
        let mut frames = Frames::connect(grpc).await;
        let create = "profilegateway.v1.ProfileService/CreateProfile";
        let stream = frames.begin(create).await;
        for piece in frame(0, &wide).chunks(16_000) {
            // Beyond the window, nothing is taken any more.
            if timeout(HOLD, frames.piece(stream, piece, false)).await.is_err() {
                break;
            }
        }
    }
}

async fn hostile(ports: Ports) -> Channel {
    channel_from(HOSTILE, ports.grpc).await
}

async fn watches(ports: Ports) {
    let channel = hostile(ports).await;
    let mut streams = JoinSet::new();
    for _ in 0..80 {
        let mut client = ProfileServiceClient::new(channel.clone());
        streams.spawn(async move {
            let parent = "backends/sft".to_owned();
            let request = WatchProfilesRequest { parent, ..Default::default() };
            let stream = client.watch_profiles(request).await;
            sleep(HOLD).await;
            drop(stream);
        });
    }
    let _ = timeout(4 * HOLD, streams.join_all()).await;
}

async fn probe_streams(ports: Ports) {
    let channel = hostile(ports).await;
    let mut streams = JoinSet::new();
    for number in 0..40 {
        let mut client = HealthClient::new(channel.clone());
        let service = format!("{number}{}", "x".repeat(100_000));
        streams.spawn(async move {
            let stream = client.watch(HealthCheckRequest { service }).await;
            sleep(HOLD).await;
            drop(stream);
        });
    }
    let _ = timeout(4 * HOLD, streams.join_all()).await;
}

async fn lists_past_the_cache(ports: Ports) {
    let channel = hostile(ports).await;
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let mut client = ProfileServiceClient::new(channel.clone());
        let mut request = Request::new(list(1));
        request.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
        calls.spawn(async move { drop(client.list_profiles(request).await) });
    }
    let _ = timeout(4 * HOLD, calls.join_all()).await;
}

async fn abandoned_reads(ports: Ports, round: u64) {
    let channel = hostile(ports).await;
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let mut client = ProfileServiceClient::new(channel.clone());
        let id = named(&format!("SP_{}", 1_000_000 + round * 1000 + number));
        calls.spawn(async move { drop(timeout(HOLD / 30, client.get_profile(id)).await) });
    }
    calls.join_all().await;
}

async fn deletions(ports: Ports, round: u64) {
    let mut client = ProfileServiceClient::new(hostile(ports).await);
    for number in 0..30 {
        let name = named(&format!("SP_{}", 2_000_000 + round * 1000 + number)).name;
        let request_id = Uuid::new_v4().to_string();
        let request = DeleteProfileRequest { name, request_id, ..Default::default() };
        let _ = timeout(HOLD / 10, client.delete_profile(request)).await;
    }
}

async fn purges(ports: Ports) {
    let mut client = BackendServiceClient::new(hostile(ports).await);
    for _ in 0..10 {
        let _ = client.purge_cache(PurgeCacheRequest { name: "backends/sft".to_owned() }).await;
    }
}

async fn garbage(Ports { grpc, admin }: Ports) {
    let texts = [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET / HTTP/1.1\r\n", &[0xff; 4096]];
    for port in [grpc, admin] {
        for text in texts {
            if let Ok(mut connection) = TcpStream::connect(port).await {
                let _ = connection.write_all(text).await;
            }
        }
    }
}

/// Does them all, several at a time, until it is over.
async fn rage(ports: Ports, over: CancellationToken) {
    let mut workers = JoinSet::new();
    for worker in 0..4 {
        let over = over.clone();
        workers.spawn(async move {
            for round in 0.. {
                if over.is_cancelled() {
                    return;
                }
                let kind = (worker * 3 + usize::try_from(round).unwrap()) % ABUSES;
                // One that the gateway cuts off ends in a panic of its own.
                let _ = tokio::spawn(abuse(kind, ports, round * 4 + worker as u64)).await;
            }
        });
    }
    workers.join_all().await;
}

/// Reads one profile again and again, and returns how long each read took.
async fn read_on(gateway: &Gateway, over: CancellationToken) -> Vec<Duration> {
    let mut client = ProfileServiceClient::new(channel_from(CALLER, gateway.grpc).await);
    let (mut took, mut every) = (Vec::new(), interval(Duration::from_millis(20)));
    while over.run_until_cancelled(every.tick()).await.is_some() {
        let started = Instant::now();
        client.get_profile(named("SP_2")).await.unwrap();
        took.push(started.elapsed());
    }
    took.sort();
    took
}

/// Asks the probes again and again, and returns the longest time that one took.
async fn probe_on(gateway: &Gateway, over: CancellationToken) -> Duration {
    let probes = probes::address(gateway);
    let (mut longest, mut every) = (Duration::ZERO, interval(Duration::from_millis(100)));
    while over.run_until_cancelled(every.tick()).await.is_some() {
        for path in ["/livez", "/readyz"] {
            let started = Instant::now();
            assert_eq!(http_get(probes, path).await.0, 200, "{path}");
            longest = longest.max(started.elapsed());
        }
    }
    longest
}

/// Watches all the time, and returns how many changes came.
async fn watch_on(gateway: &Gateway, over: CancellationToken) -> usize {
    let mut client = ProfileServiceClient::new(channel_from(WATCHER, gateway.grpc).await);
    let request = WatchProfilesRequest { parent: "backends/sft".to_owned(), ..Default::default() };
    let mut stream = client.watch_profiles(request).await.unwrap().into_inner();
    let mut seen = 0;
    while let Some(changes) = over.run_until_cancelled(stream.message()).await {
        seen += changes.unwrap().expect("the stream goes on").changes.len();
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_caller_harms_no_other() {
    let seconds = std::env::var("STORM_SECONDS").map_or(5, |text| text.parse().unwrap());
    // What the upstream costs is not the gateway's.
    let upstream = sandbox().await;
    let mut gateway = serve(&upstream.config, &[probes::PROBES]).await;
    gateway.sandbox = Some(upstream.url);
    put(&gateway, 200, 500).await;
    let ports = Ports { grpc: gateway.grpc, admin: gateway.admin };
    let alone = CancellationToken::new();
    let idle = tokio::join!(read_on(&gateway, alone.clone()), async {
        sleep(Duration::from_secs(2)).await;
        alone.cancel();
    });
    let (before, _) = gateway.program.memory();
    gateway.program.forget_peak();

    let over = CancellationToken::new();
    // On a thread of its own, so that the others wait for the gateway alone.
    let raging = std::thread::spawn({
        let over = over.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(rage(ports, over));
        }
    });
    let (took, probed, seen, ()) = tokio::join!(
        read_on(&gateway, over.clone()),
        probe_on(&gateway, over.clone()),
        watch_on(&gateway, over.clone()),
        async {
            sleep(Duration::from_secs(seconds)).await;
            over.cancel();
        }
    );
    tokio::task::spawn_blocking(|| raging.join().unwrap()).await.unwrap();
    let (_, peak) = gateway.program.memory();
    let percentile = |took: &[Duration]| took[took.len() * 99 / 100];
    show(&format!(
        "{} reads, 99 of 100 within {:?} ({:?} alone); probes within {probed:?}; memory {} MiB, at \
         most {} MiB",
        took.len(),
        percentile(&took),
        percentile(&idle.0),
        before / MIB,
        peak / MIB,
    ));
    assert!(gateway.program.is_running());
    assert!(seen > 0, "the watcher saw nothing");
    assert!(peak < MOST, "{} MiB", peak / MIB);
    until("memory given back", async || gateway.program.memory().0 < before + LEFT).await;
}
