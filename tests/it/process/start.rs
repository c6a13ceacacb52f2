//! What the program does before it serves, and what it says then.

use profile_gateway::pb::{ListProfilesRequest, profile_service_client::ProfileServiceClient};
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{
    calls::{channel, http_get, metric, profiles},
    child::{Program, between, command, file, gateway, run, sandbox, serve},
};
use crate::kit::model::rename;

#[tokio::test]
async fn without_a_configuration_it_serves_a_sandbox_and_says_what_to_try() {
    let gateway = gateway(&[], &[]).await;
    let url = gateway.sandbox.clone().unwrap();
    let (status, faults) =
        http_get(url.trim_start_matches("http://").parse().unwrap(), "/sandbox/faults").await;
    assert_eq!((status, faults.as_str()), (200, r#"{"faults":[]}"#));
    assert!(gateway.greeting.contains(&format!("{url}/sandbox/faults")));
    for line in [
        format!("http://{}/profilegateway.v1.ProfileService/ListProfiles", gateway.grpc),
        format!("{} profilegateway.v1.ProfileService/ListProfiles", gateway.grpc),
        "buf curl --http2-prior-knowledge --protocol grpc".to_owned(),
        "grpcurl -plaintext".to_owned(),
        r#"-d '{"parent":"backends/sft"}'"#.to_owned(),
    ] {
        assert!(gateway.greeting.contains(&line), "{line} is not in\n{}", gateway.greeting);
    }

    let request = ListProfilesRequest { parent: "backends/sft".to_owned(), ..Default::default() };
    let list = profiles(&gateway).await.list_profiles(request).await.unwrap().into_inner();
    assert!(list.profiles.iter().any(|profile| profile.name == "backends/sft/profiles/SP_2"));
}

#[tokio::test]
async fn the_greeting_does_not_stand_among_audit_lines() {
    let env = [
        ("PROFILE_GATEWAY__LISTEN", "127.0.0.1:0"),
        ("PROFILE_GATEWAY__ADMIN_LISTEN", "127.0.0.1:0"),
        ("PROFILE_GATEWAY__AUDIT__STREAM", "stdout"),
    ];
    let program = Program::spawn(command(&[], &env));
    let log = program.logged("ListProfiles\n").await;
    let address = between(&log, "serves gRPC on ", "\n").unwrap().parse().unwrap();
    let mut client = ProfileServiceClient::new(channel(address).await);
    client.update_profile(rename("SP_352", "Renamed")).await.unwrap();
    let audited = program.stdout_until(|text| text.contains("\"audit\"}\n")).await;
    for line in audited.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["target"] == "journal" || line["target"] == "audit", "{line}");
    }
}

#[tokio::test]
async fn it_serves_what_a_file_names() {
    let sandbox = sandbox().await;
    let config = sandbox.config.replace("[backends.sft]", "[backends.sft-emea]");
    let gateway = serve(&config, &[]).await;
    assert_eq!(gateway.sandbox, None);
    let line: Value = serde_json::from_str(&gateway.greeting).unwrap();
    assert_eq!((&line["backends"], &line["target"]), (&"sft-emea".into(), &"start".into()));
    let request = ListProfilesRequest { parent: "backends/-".to_owned(), ..Default::default() };
    let list = profiles(&gateway).await.list_profiles(request).await.unwrap().into_inner();
    assert!(list.profiles[0].name.starts_with("backends/sft-emea/profiles/"));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (name, other) in [
        ("PROFILE_GATEWAY__LISTEN", "PROFILE_GATEWAY__ADMIN_LISTEN"),
        ("PROFILE_GATEWAY__ADMIN_LISTEN", "PROFILE_GATEWAY__LISTEN"),
    ] {
        let ended = run(&[], &[(name, &address), (other, "127.0.0.1:0")]).await;
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(&address), "{}", ended.stderr);
        assert!(!ended.stdout.contains("serves"), "{}", ended.stdout);
    }
    let ended = run(&["sandbox", "--listen", &address], &[]).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
}

#[tokio::test]
async fn unknown_flags_get_the_usage() {
    for args in [&["--nope"][..], &["serve", "--confg", "x"], &["nope"]] {
        let ended = run(args, &[]).await;
        assert_eq!(ended.code(), Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("Usage: profile-gateway"), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{args:?}");
    }
    for (args, file) in [
        (&["--config", "own.toml"][..], "own.toml"),
        (&["--config=own.toml"], "own.toml"),
        (&["--config"], "FILE"),
    ] {
        let ended = run(args, &[]).await;
        assert_eq!(ended.code(), Some(2), "{args:?}: {}", ended.stderr);
        let right = format!("write `profile-gateway serve --config {file}`");
        assert!(ended.stderr.contains(&right), "{args:?}: {}", ended.stderr);
    }
    let ended = run(&["--version"], &[]).await;
    assert_eq!(ended.stdout, concat!("profile-gateway ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(ended.code(), Some(0));
    let help = run(&["--help"], &[]).await;
    for command in ["serve", "check", "sandbox"] {
        assert!(help.stdout.contains(command), "{}", help.stdout);
    }
}

#[tokio::test]
async fn a_sandbox_ends_with_the_first_signal() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let sandbox = sandbox().await;
        let (status, _) = http_get(
            sandbox.url.trim_start_matches("http://").parse().unwrap(),
            "/sandbox/journal",
        )
        .await;
        assert_eq!(status, 200);
        sandbox.program.signal(signal);
        assert_eq!(sandbox.program.ended().await.code(), Some(0));
    }
}

/// Where the ports are that a program is given no others of.
const ANY_PORT: [(&str, &str); 2] =
    [("PROFILE_GATEWAY__LISTEN", "127.0.0.1:0"), ("PROFILE_GATEWAY__ADMIN_LISTEN", "127.0.0.1:0")];

/// Without it, a port that is not loopback demands that callers prove who they are.
const FOR_EVERYONE: (&str, &str) = ("PROFILE_GATEWAY__AUTH__ALLOW_UNAUTHENTICATED", "true");

#[tokio::test]
async fn a_port_for_everyone_has_to_be_wanted() {
    let open = [("PROFILE_GATEWAY__LISTEN", "0.0.0.0:0"), ANY_PORT[1]];
    let ended = run(&["serve", "--sandbox"], &open).await;
    assert_eq!(ended.code(), Some(64), "{}", ended.output());
    assert!(ended.stderr.contains("`listen` is not a loopback address"), "{}", ended.stderr);
    let warned = gateway(&["serve", "--sandbox"], &[open[0], FOR_EVERYONE]).await;
    warned.program.logged("can read, write and delete everything").await;
}

#[tokio::test]
async fn simulated_upstreams_are_not_taken_for_real_ones() {
    let unreal = async |args: &[&str], env: &[(&str, &str)]| {
        let env: Vec<_> = ANY_PORT.iter().chain(env).copied().collect();
        let ended = run(args, &env).await;
        assert_eq!(ended.code(), Some(64), "{args:?}: {}", ended.output());
        assert_eq!(ended.stdout, "", "{args:?}");
        ended.stderr
    };
    let told = unreal(&["serve"], &[]).await;
    assert!(told.contains("add `--sandbox`"), "{told}");
    for key in ["LISTEN", "ADMIN_LISTEN", "PROBE_LISTEN"] {
        let open = [(&*format!("PROFILE_GATEWAY__{key}"), "0.0.0.0:0"), FOR_EVERYONE];
        let told = unreal(&[], &open).await;
        assert!(told.contains("say `serve --sandbox`"), "{key}: {told}");
    }
    let told = unreal(
        &["serve", "--sandbox"],
        &[
            ("PROFILE_GATEWAY__BACKENDS__SFT__DIALECT", "bics-sft"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__BASE_URL", "http://127.0.0.1:9"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__ACCESS_TOKEN", "token"),
            ("PROFILE_GATEWAY__STORE__KIND", "memory"),
        ],
    )
    .await;
    assert!(told.contains("leave one of the two out"), "{told}");
}

#[tokio::test]
async fn simulated_upstreams_that_are_asked_for_are_said_to_be() {
    const METRIC: &str = "profile_gateway_sandbox";
    let open = [("PROFILE_GATEWAY__LISTEN", "0.0.0.0:0"), FOR_EVERYONE];
    let asked = gateway(&["serve", "--sandbox"], &open).await;
    assert!(asked.sandbox.is_some());
    asked.program.logged("an embedded sandbox simulates the upstreams").await;
    assert_eq!(metric(&asked, METRIC).await, 1);
    let real = serve(&sandbox().await.config, &[]).await;
    assert_eq!(metric(&real, METRIC).await, 0);
}

#[tokio::test]
async fn what_configures_it_may_be_said_in_each_place() {
    let sandbox = sandbox().await;
    let listening = format!("listen = \"127.0.0.1:1\"\n{}", sandbox.config);
    let file = file(&listening);
    // The flag wins over the variable, and that over the file.
    let args = ["serve", "-c", &file.path, "--listen", "127.0.0.2:0"];
    let gateway = gateway(&args, &[]).await;
    assert_eq!(gateway.grpc.ip().to_string(), "127.0.0.2");
    for args in [&["serve"][..], &[]] {
        let named = super::child::gateway(args, &[("PROFILE_GATEWAY_CONFIG", &file.path)]).await;
        let line: Value = serde_json::from_str(&named.greeting).unwrap();
        assert_eq!(line["backends"], "sft");
    }
    let alone = [
        ("PROFILE_GATEWAY__BACKENDS__ALONE__DIALECT", "bics-sft"),
        ("PROFILE_GATEWAY__BACKENDS__ALONE__BASE_URL", &sandbox.url),
        ("PROFILE_GATEWAY__BACKENDS__ALONE__ACCESS_TOKEN", "token"),
        ("PROFILE_GATEWAY__STORE__KIND", "memory"),
    ];
    let alone = super::child::gateway(&["serve"], &alone).await;
    let line: Value = serde_json::from_str(&alone.greeting).unwrap();
    assert_eq!((&line["backends"], &line["warnings"]), (&"alone".into(), &2.into()));
    // It says nothing beside the log.
    alone.program.signal(Signal::TERM);
    assert_eq!(alone.program.ended().await.stdout, "");
    let ended = run(&["serve", "-c", &file.path, "--listen", "nowhere"], &[]).await;
    assert!(ended.stderr.contains("--listen: `listen` must be"), "{}", ended.stderr);
}
