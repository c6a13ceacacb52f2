//! The limit of open files, and a process that has few of them.

use std::{net::Ipv4Addr, process::Stdio};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use super::{
    calls::{http_get, metric, named, profiles},
    child::{Gateway, command, gateway, patiently, started},
    crowds::{Victim, allow_many_files, connect_from, crowd},
};
use crate::kit::gateway::fresh;

/// The program under another limit, as `ulimit` gives it.
async fn limited(limit: &str) -> Gateway {
    started(&[], |env| {
        let program = command(&[], env);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit {limit} && exec \"$0\""));
        shell.arg(program.as_std().get_program());
        for (name, value) in program.as_std().get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        shell
    })
    .await
}

#[tokio::test]
async fn idle_connections_leave_files_for_probes_and_upstreams() {
    allow_many_files();
    let gateway = limited("-n 300").await;
    gateway.program.logged("room for fewer connections").await;
    let victim = Victim::start(&gateway).await;
    let source = Ipv4Addr::LOCALHOST;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for sent in [&b""[..], request] {
        let mut idle = crowd(source, gateway.grpc, 290, sent).await;
        if !sent.is_empty() {
            let last = idle.last_mut().unwrap();
            assert!(patiently("an answer", last.read(&mut [0; 100])).await.unwrap() > 0);
        }
        assert_eq!(patiently("liveness", http_get(gateway.admin, "/livez")).await.0, 200);
        // A new client, and an upstream that is asked.
        let call = async { profiles(&gateway).await.get_profile(fresh(named("SP_2"))).await };
        patiently("a new client's call", call).await.unwrap();
        assert!(metric(&gateway, "profile_gateway_connections").await <= 150);
    }
    let failures = r#"profile_gateway_accept_failures_total{port="grpc"}"#;
    assert_eq!(metric(&gateway, failures).await, 0);
    victim.stays_unharmed().await;
}

#[tokio::test]
async fn the_program_takes_as_many_files_as_it_may() {
    let gateway = limited("-Sn 200").await;
    let pid = gateway.program.pid();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let limits: Vec<&str> = files["Max open files".len()..].split_whitespace().collect();
    assert_eq!(limits[0], limits[1], "{files}");
    assert_ne!(limits[0], "200");
}

/// Lets the program have so many files; without a number, as many as this process.
fn may_open(gateway: &Gateway, files: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(gateway.program.pid()).unwrap());
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: files.or(current), maximum };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

#[tokio::test]
async fn where_no_file_is_left_for_a_client_a_connection_without_calls_makes_room() {
    const FILES: u64 = 200;
    allow_many_files();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for sent in [&b""[..], request] {
        // No time ends them meanwhile.
        let limits = [
            ("PROFILE_GATEWAY__SERVER__FIRST_REQUEST_TIMEOUT", "5m"),
            ("PROFILE_GATEWAY__SERVER__MAX_CONNECTION_IDLE", "off"),
        ];
        let gateway = gateway(&[], &limits).await;
        // It has places for thousands of connections.
        may_open(&gateway, Some(FILES));
        let source = Ipv4Addr::LOCALHOST;
        let _crowd = crowd(source, gateway.grpc, usize::try_from(FILES).unwrap(), sent).await;
        let mut new = connect_from(source, gateway.grpc).await;
        new.write_all(request).await.unwrap();
        let answered = patiently("an answer to a new client", new.read(&mut [0; 1])).await;
        assert_eq!(answered.unwrap(), 1);
        may_open(&gateway, None);
        let failures = r#"profile_gateway_accept_failures_total{port="grpc"}"#;
        assert!(metric(&gateway, failures).await > 0);
        let room = r#"profile_gateway_connections_closed_total{port="grpc",reason="room"}"#;
        assert!(metric(&gateway, room).await > 0);
    }
}
