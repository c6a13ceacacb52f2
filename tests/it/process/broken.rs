//! Output whose reader is gone: the other end of a pipe was closed, as with `| head -1` or a log
//! collector that restarts. None of it is a reason to fail a call.

use std::process::Stdio;

use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};

use super::{
    calls::{channel, named},
    child::{between, command, file, sft, until},
};
use profile_gateway::pb::profile_service_client::ProfileServiceClient;
use tokio::io::AsyncReadExt;

const ANY_PORT: &str = "127.0.0.1:0";

/// A pipe without a reader.
fn deaf() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// An address that was free a moment ago, for a program that cannot say where it listens.
async fn free_address() -> String {
    TcpListener::bind(ANY_PORT).await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn it_serves_though_its_greeting_is_not_read() {
    let address = free_address().await;
    let env = [
        ("PROFILE_GATEWAY__LISTEN", address.as_str()),
        ("PROFILE_GATEWAY__ADMIN_LISTEN", ANY_PORT),
        ("PROFILE_GATEWAY__SERVER__DRAIN_GRACE", "0s"),
    ];
    let mut child = command(&[], &env).stdout(deaf()).spawn().unwrap();
    until("a port that accepts", async || {
        let status = child.try_wait().unwrap();
        assert!(status.is_none(), "it ended: {status:?}");
        TcpStream::connect(&address).await.is_ok()
    })
    .await;
    let mut client = ProfileServiceClient::new(channel(address.parse().unwrap()).await);
    client.get_profile(named("SP_2")).await.unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn calls_succeed_though_the_log_is_not_read() {
    let env = [
        ("PROFILE_GATEWAY__LISTEN", ANY_PORT),
        ("PROFILE_GATEWAY__ADMIN_LISTEN", ANY_PORT),
        ("PROFILE_GATEWAY__SERVER__DRAIN_GRACE", "0s"),
    ];
    let mut child = command(&[], &env).stderr(deaf()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut greeting = String::new();
    while !greeting.ends_with("\n\n") || !greeting.contains("grpcurl") {
        let byte = stdout.read_u8().await.unwrap();
        greeting.push(char::from(byte));
    }
    let address = between(&greeting, "serves gRPC on ", "\n").unwrap().parse().unwrap();
    let mut client = ProfileServiceClient::new(channel(address).await);
    for _ in 0..3 {
        client.get_profile(named("SP_2")).await.unwrap();
        client.get_profile(named("SP_999")).await.unwrap_err();
    }
    assert_eq!(child.try_wait().unwrap(), None);
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

/// What `check` prints is its result: it may fail when that cannot be written, but it does not
/// crash.
#[tokio::test]
async fn a_check_whose_result_is_not_read_does_not_panic() {
    let file = file(&sft("http://127.0.0.1:9", "ops", "hunter2"));
    let child = command(&["check", "--config", &file.path], &[]).stdout(deaf()).spawn().unwrap();
    let output = child.wait_with_output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_ne!(output.status.code(), Some(101), "{stderr}");
}

#[tokio::test]
async fn an_explanation_that_is_not_read_fails_silently() {
    let child = command(&["explain"], &[]).stdin(Stdio::null()).stdout(deaf()).spawn().unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
