//! Where the ports listen: Unix sockets, `localhost`, and all addresses.

use std::{
    net::{Ipv6Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use profile_gateway::pb::profile_service_client::ProfileServiceClient;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tonic::transport::Channel;

use super::{
    calls::{channel, named},
    child::{Gateway, Program, command, gateway, patiently, sandbox, serve},
};
use crate::kit::certificates::{Authority, Leaf, channel_over, secured};

const LISTEN: &str = "PROFILE_GATEWAY__LISTEN";

/// A path for a socket, in a directory of its own.
fn socket() -> (TempDir, PathBuf, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.sock");
    let address = format!("unix:{}", path.display());
    (directory, path, address)
}

async fn at(path: &Path) -> ProfileServiceClient<Channel> {
    let path = path.to_owned();
    let channel = channel_over(move || UnixStream::connect(path.clone()));
    ProfileServiceClient::new(patiently("a connection", channel).await.unwrap())
}

async fn reads(path: &Path) {
    let mut client = at(path).await;
    patiently("a read", client.get_profile(named("SP_2"))).await.unwrap();
}

#[tokio::test]
async fn calls_come_over_a_unix_socket_which_is_removed_at_the_end() {
    let (_directory, path, address) = socket();
    let gateway = gateway(&[], &[(LISTEN, &address)]).await;
    assert!(gateway.greeting.contains(&format!("serves gRPC on {address}\n")));
    assert!(gateway.greeting.contains(&format!("--unix-socket {}", path.display())));
    reads(&path).await;
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // Who calls is the user.
    let uid = rustix::process::getuid().as_raw();
    gateway.program.logged(&format!("uid:{uid}")).await;
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.output());
    assert!(!path.exists());
}

#[tokio::test]
async fn the_socket_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not() {
    let (_directory, path, address) = socket();
    let first = gateway(&[], &[(LISTEN, &address)]).await;
    let env = [(LISTEN, address.as_str()), ("PROFILE_GATEWAY__ADMIN_LISTEN", "127.0.0.1:0")];
    let refused = Program::spawn(command(&[], &env)).ended().await;
    assert_eq!(refused.code(), Some(1), "{}", refused.output());
    let said = format!("cannot listen on the gRPC address {address}");
    assert!(refused.stderr.contains(&said), "{}", refused.stderr);
    assert!(refused.stderr.contains("stop what listens there"), "{}", refused.stderr);
    reads(&path).await;

    first.program.signal(Signal::KILL);
    first.program.ended().await;
    assert!(path.exists(), "it was killed");
    let second = gateway(&[], &env).await;
    reads(&path).await;
    second.program.signal(Signal::TERM);
    second.program.ended().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_process_that_ends_leaves_the_socket_of_its_successor() {
    let (_directory, path, address) = socket();
    let first = gateway(&[], &[(LISTEN, &address)]).await;
    std::fs::remove_file(&path).unwrap();
    let _second = gateway(&[], &[(LISTEN, &address)]).await;
    first.program.signal(Signal::TERM);
    first.program.ended().await;
    reads(&path).await;
}

#[tokio::test]
async fn a_file_that_is_not_a_socket_stays() {
    let (_directory, path, address) = socket();
    std::fs::write(&path, "precious").unwrap();
    let env = [(LISTEN, address.as_str()), ("PROFILE_GATEWAY__ADMIN_LISTEN", "127.0.0.1:0")];
    let refused = Program::spawn(command(&[], &env)).ended().await;
    assert_eq!(refused.code(), Some(1), "{}", refused.output());
    assert!(refused.stderr.contains("that is not a socket"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_unix_socket_may_speak_tls() {
    let (_directory, path, address) = socket();
    let authority = Authority::new();
    let own = authority.issue(&Leaf::server(&["localhost"]));
    let env = [
        (LISTEN, address.as_str()),
        ("PROFILE_GATEWAY__SERVER__TLS__CERT", &own.certificate),
        ("PROFILE_GATEWAY__SERVER__TLS__KEY", &own.key),
    ];
    let _gateway = gateway(&[], &env).await;
    let tls = authority.client(None).grpc();
    let channel = channel_over(move || {
        let (tls, path) = (tls.clone(), path.clone());
        async move { secured(&tls, UnixStream::connect(path).await?).await }
    });
    let mut client = ProfileServiceClient::new(patiently("a connection", channel).await.unwrap());
    patiently("a read", client.get_profile(named("SP_2"))).await.unwrap();
}

#[tokio::test]
async fn operators_and_probes_may_come_over_unix_sockets() {
    let (_directory, admin, admin_address) = socket();
    let (_other, probes, probe_address) = socket();
    let env = [
        ("PROFILE_GATEWAY__ADMIN_LISTEN", admin_address.as_str()),
        ("PROFILE_GATEWAY__PROBE_LISTEN", probe_address.as_str()),
    ];
    let gateway = gateway(&[], &env).await;
    for path in [&admin, &probes] {
        let mut client = UnixStream::connect(path).await.unwrap();
        let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = String::new();
        patiently("an answer", client.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    gateway.program.signal(Signal::TERM);
    gateway.program.ended().await;
    assert!(!admin.exists() && !probes.exists());
}

/// Whether this machine has IPv6.
async fn has_ipv6() -> bool {
    tokio::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok()
}

async fn reads_at(address: SocketAddr) {
    let mut client = ProfileServiceClient::new(channel(address).await);
    patiently("a read", client.get_profile(named("SP_2"))).await.unwrap();
}

/// Reads over IPv4, and over IPv6 if this machine has it.
async fn reads_over_both(gateway: &Gateway) {
    reads_at(gateway.grpc).await;
    if has_ipv6().await {
        reads_at(SocketAddr::from((Ipv6Addr::LOCALHOST, gateway.grpc.port()))).await;
    }
}

#[tokio::test]
async fn localhost_is_both_loopback_addresses_and_no_other() {
    let gateway = gateway(&[], &[(LISTEN, "localhost:0")]).await;
    assert!(gateway.greeting.contains("serves gRPC on localhost:"), "{}", gateway.greeting);
    reads_over_both(&gateway).await;
    let other = SocketAddr::from(([127, 0, 0, 2], gateway.grpc.port()));
    TcpStream::connect(other).await.unwrap_err();
}

#[tokio::test]
async fn a_port_alone_is_that_of_all_addresses() {
    let upstreams = sandbox().await;
    let env = [(LISTEN, ":0"), ("PROFILE_GATEWAY__AUTH__ALLOW_UNAUTHENTICATED", "true")];
    let gateway = serve(&upstreams.config, &env).await;
    reads_over_both(&gateway).await;
    reads_at(SocketAddr::from(([127, 0, 0, 2], gateway.grpc.port()))).await;
    // An IPv4 address is shown as one.
    let log = gateway.program.logged("\"peer\":\"127.0.0.1:").await;
    assert!(!log.contains("ffff:"), "{log}");
}
