//! The port for probes.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc,
    thread,
};

use profile_gateway::{app::App, server::ListenAddress};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    calls::{channel, failure, http_get, metric, named, profiles},
    child::{Gateway, gateway, patiently, serve, sft, until},
    crowds::{Victim, allow_many_files, connect_from, crowd},
    slow::Slow,
};
use crate::kit::gateway::loaded;

pub(super) const PROBES: (&str, &str) = ("PROFILE_GATEWAY__PROBE_LISTEN", "127.0.0.1:0");

/// Where it is.
pub(super) fn address(gateway: &Gateway) -> SocketAddr {
    gateway.probes.unwrap()
}

#[tokio::test]
async fn probes_have_a_port_of_their_own() {
    let gateway = gateway(&[], &[PROBES]).await;
    let probes = address(&gateway);
    assert_eq!(http_get(probes, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(http_get(probes, "/readyz").await, (200, "ok\n".to_owned()));
    // What operators read is not there.
    for path in ["/", "/metrics", "/config", "/livez/x"] {
        assert_eq!(http_get(probes, path).await.0, 404, "{path}");
    }
    let posted = reqwest::Client::new().post(format!("http://{probes}/livez")).send().await;
    assert_eq!(posted.unwrap().status(), 405);

    let mut health = HealthClient::new(channel(probes).await);
    for service in ["", "profilegateway.v1.ProfileService", "backends/sft"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = HealthCheckRequest { service: "nope".to_owned() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(failure(&watch).1, "OPERATION_NOT_SUPPORTED");
}

#[tokio::test]
async fn probes_are_answered_while_all_else_is_full() {
    allow_many_files();
    let slow = Slow::start().await;
    let limits = [
        PROBES,
        ("PROFILE_GATEWAY__SERVER__MAX_CONNECTIONS", "4"),
        ("PROFILE_GATEWAY__SERVER__MAX_CONCURRENT_CALLS", "8"),
        ("PROFILE_GATEWAY__MAX_ADMIN_CONNECTIONS", "1"),
        ("PROFILE_GATEWAY__CALLERS__SHARE_PERCENT", "100"),
    ];
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &limits).await;
    let mut calls = Vec::new();
    for _ in 0..4 {
        let mut client = profiles(&gateway).await;
        calls.push(tokio::spawn(async move { client.get_profile(named("SP_2")).await }));
    }
    let in_flight = "profile_gateway_calls_in_flight";
    until("all calls in flight", async || metric(&gateway, in_flight).await == 4).await;
    let probes = address(&gateway);
    let _waiting = crowd(Ipv4Addr::LOCALHOST, gateway.grpc, 10, b"P").await;
    let full = r#"profile_gateway_port_full_total{port="grpc"}"#;
    until("one waits for a place", async || metric(&gateway, full).await == 1).await;
    // Their own port as well, by more than it takes, of one peer and of many.
    let mut crowds = Vec::new();
    for peer in 1..7 {
        crowds.push(crowd(Ipv4Addr::new(127, 0, 0, peer), probes, 20, b"P").await);
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(patiently(path, http_get(probes, path)).await.0, 200);
    }
    let mut health = HealthClient::new(channel(probes).await);
    let check = health.check(HealthCheckRequest::default());
    patiently("a check", check).await.unwrap();
    slow.open();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

/// A connection whose request was answered, and which waits for the next one.
async fn answered(peer: u8, probes: SocketAddr) -> TcpStream {
    let mut tcp = connect_from(Ipv4Addr::new(127, 0, 0, peer), probes).await;
    tcp.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(patiently("an answer", tcp.read(&mut [0; 1])).await.unwrap() > 0);
    tcp
}

/// How many connections have made room for others: with eight of one peer, nine, eight of each of
/// four, and one more.
async fn make_room() -> [u64; 4] {
    let gateway = gateway(&[], &[PROBES]).await;
    let probes = address(&gateway);
    let made_room = async || {
        let room = r#"profile_gateway_connections_closed_total{port="probe",reason="room"}"#;
        metric(&gateway, room).await
    };
    let mut open = VecDeque::new();
    let mut rooms = [0; 4];
    for _ in 0..8 {
        open.push_back(answered(2, probes).await);
    }
    rooms[0] = made_room().await;
    open.push_back(answered(2, probes).await);
    let mut first = open.pop_front().unwrap();
    let _ = patiently("its end", first.read_to_end(&mut Vec::new())).await;
    rooms[1] = made_room().await;
    for peer in [3, 4, 5].repeat(8) {
        open.push_back(answered(peer, probes).await);
    }
    rooms[2] = made_room().await;
    open.push_back(answered(6, probes).await);
    let mut first = open.pop_front().unwrap();
    let _ = patiently("its end", first.read_to_end(&mut Vec::new())).await;
    rooms[3] = made_room().await;
    rooms
}

#[tokio::test]
async fn the_port_for_probes_has_32_connections_of_which_one_peer_gets_8() {
    let mut rooms = make_room().await;
    // In seconds, their times end them too.
    for _ in 0..3 {
        if rooms != [0, 1, 1, 2] {
            rooms = make_room().await;
        }
    }
    assert_eq!(rooms, [0, 1, 1, 2]);
}

#[tokio::test]
async fn a_process_that_ends_is_alive_and_not_ready() {
    let slow = Slow::start().await;
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &[PROBES]).await;
    let probes = address(&gateway);
    let mut client = profiles(&gateway).await;
    let call = tokio::spawn(async move { client.get_profile(named("SP_2")).await });
    let in_flight = "profile_gateway_calls_in_flight";
    until("a call", async || metric(&gateway, in_flight).await == 1).await;
    gateway.program.signal(Signal::TERM);
    until("not ready", async || http_get(probes, "/readyz").await.0 == 503).await;
    assert_eq!(http_get(probes, "/livez").await.0, 200);
    slow.open();
    call.await.unwrap().unwrap();
    assert_eq!(gateway.program.ended().await.code(), Some(0));
    assert!(TcpStream::connect(probes).await.is_err());
}

/// The gateway runs on a thread of this test, which can be made to hang.
#[tokio::test]
async fn a_process_whose_threads_hang_is_dead() {
    let text = "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
                probe_listen = \"127.0.0.1:0\"\n[server]\nliveness_timeout = \"1s\"\n\
                [backends.sft]\ndialect = \"bics-sft\"\nbase_url = \"http://127.0.0.1:9\"\n\
                access_token = \"a token of the test\"\n";
    let config = loaded(text);
    let (told, address) = oneshot::channel();
    let (hang, hangs) = mpsc::channel::<mpsc::Receiver<()>>();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let app = App::start(config).await.unwrap();
            told.send(app.probe_address().and_then(ListenAddress::dial).unwrap()).unwrap();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    if let Ok(until) = hangs.try_recv() {
                        // Blocks the only thread of the runtime.
                        let _ = until.recv();
                    }
                }
            });
            app.run(async { drop(stopped.await) }, std::future::pending()).await
        })
    });
    let probes = address.await.unwrap();
    let mut health = HealthClient::new(channel(probes).await);
    assert_eq!(http_get(probes, "/livez").await.0, 200);
    let (resume, until_resumed) = mpsc::channel();
    hang.send(until_resumed).unwrap();
    until("dead", async || http_get(probes, "/livez").await.0 == 503).await;
    assert_eq!(http_get(probes, "/readyz").await.0, 503);
    let check = health.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(check.code(), Code::Unavailable);
    drop(resume);
    until("alive", async || http_get(probes, "/livez").await.0 == 200).await;
    health.check(HealthCheckRequest::default()).await.unwrap();
    drop(stop);
    tokio::task::spawn_blocking(move || serving.join().unwrap()).await.unwrap();
}

/// Probes cost the callers nothing.
#[tokio::test]
async fn a_flood_of_probes_harms_no_caller() {
    let gateway = gateway(&[], &[PROBES]).await;
    let (probes, victim) = (address(&gateway), Victim::start(&gateway).await);
    for _ in 0..200 {
        assert_eq!(http_get(probes, "/livez").await.0, 200);
    }
    victim.stays_unharmed().await;
}
