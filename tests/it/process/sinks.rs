//! Logs that cannot be written, and the audit log in a place of its own.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Stdio,
};

use profile_gateway::pb::{
    CreateProfileRequest, DeleteProfileRequest, GetBackendRequest, GetProfileRequest,
    backend_service_client::BackendServiceClient, profile_service_client::ProfileServiceClient,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Code, transport::Channel};

use super::{
    calls::{arm, channel, effects, failure, metadata, metric, named, profiles},
    child::{Gateway, command, gateway, started, until},
};
use crate::kit::{
    gateway::fresh,
    model::{profile, rename},
};

const FILE: &str = "PROFILE_GATEWAY__AUDIT__FILE";
const LEVEL: &str = "PROFILE_GATEWAY__LOG__LEVEL";
const SMALL: [(&str, &str); 2] =
    [("PROFILE_GATEWAY__LOG__BUFFER_BYTES", "64 KiB"), ("PROFILE_GATEWAY__LOG__FORMAT", "json")];
const LEFT_OUT: &str = "profile_gateway_log_lines_left_out_total";

fn creation(display_name: &str) -> CreateProfileRequest {
    CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile(display_name)),
        ..CreateProfileRequest::default()
    }
}

async fn logging_to(stderr: Stdio) -> Gateway {
    started(&SMALL, |env| {
        let mut command = command(&[], env);
        command.stderr(stderr);
        command
    })
    .await
}

async fn refuses_to_write(gateway: &Gateway, client: &mut ProfileServiceClient<Channel>) {
    for display_name in ["Not journaled", "Not journaled either"] {
        let status = client.create_profile(creation(display_name)).await.unwrap_err();
        let (code, reason, _) = failure(&status);
        assert_eq!((code, reason.as_str()), (Code::Unavailable, "AUDIT_UNAVAILABLE"));
    }
    let status = client.update_profile(rename("SP_352", "Not journaled")).await.unwrap_err();
    assert_eq!(failure(&status).1, "AUDIT_UNAVAILABLE");
    assert_eq!(effects(gateway).await, [] as [Value; 0]);
    assert_eq!(metric(gateway, "profile_gateway_audit_refused_total").await, 3);
    client.get_profile(fresh(named("SP_352"))).await.unwrap();
}

async fn ends_when_asked(gateway: Gateway) {
    gateway.program.signal(Signal::TERM);
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_log_that_is_not_read_stops_no_read_and_lets_no_write_pass() {
    let (unread, stderr) = io::pipe().unwrap();
    let gateway = logging_to(Stdio::from(stderr)).await;
    let mut client = profiles(&gateway).await;
    let full = format!("{LEFT_OUT}{{log=\"access\",cause=\"full\"}}");
    let mut calls = 0;
    while metric(&gateway, &full).await == 0 {
        for _ in 0..300 {
            client.get_profile(named("SP_352")).await.unwrap();
        }
        calls += 300;
        assert!(calls < 100_000, "no line was left out");
    }
    refuses_to_write(&gateway, &mut client).await;
    ends_when_asked(gateway).await;
    drop(unread);
}

#[tokio::test]
async fn a_log_on_a_full_disk_stops_no_read_and_lets_no_write_pass() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let gateway = logging_to(Stdio::from(full)).await;
    let mut client = profiles(&gateway).await;
    refuses_to_write(&gateway, &mut client).await;
    let failed = format!("{LEFT_OUT}{{log=\"access\",cause=\"failed\"}}");
    until("lines that could not be written", async || metric(&gateway, &failed).await > 0).await;
    ends_when_asked(gateway).await;
}

#[tokio::test]
async fn an_audit_log_on_a_full_disk_lets_no_write_pass() {
    let gateway = gateway(&[], &[(FILE, "/dev/full")]).await;
    let mut client = profiles(&gateway).await;
    refuses_to_write(&gateway, &mut client).await;
    let log = gateway.program.logged("the audit log cannot be written").await;
    assert_eq!(log.matches("the audit log cannot be written").count(), 1, "{log}");
    ends_when_asked(gateway).await;
}

/// A line that tells how a write ended cannot be refused any more.
#[tokio::test]
async fn lines_that_the_audit_log_has_no_room_for_are_counted() {
    let env = [
        (FILE, "/dev/full"),
        ("PROFILE_GATEWAY__AUDIT__BUFFER_BYTES", "64 KiB"),
        ("PROFILE_GATEWAY__CALLERS__LOG_LINES_PER_SECOND", "off"),
    ];
    let gateway = gateway(&[], &env).await;
    let mut client = profiles(&gateway).await;
    let mut lines = 0;
    while metric(&gateway, "profile_gateway_audit_lines_lost_total").await == 0 {
        // What cannot exist is deleted without a request, and so without a line before it.
        for _ in 0..50 {
            let name = "backends/sft/profiles/no-id".to_owned();
            let request = DeleteProfileRequest { name, allow_missing: true, ..Default::default() };
            client.delete_profile(request).await.unwrap();
        }
        lines += 50;
        assert!(lines < 64 * 1024 / 64, "no line was lost");
    }
    ends_when_asked(gateway).await;
}

#[tokio::test]
async fn an_audit_log_that_takes_no_lines_is_named_and_blames_no_backend() {
    let gateway = gateway(&[], &[(FILE, "/dev/full"), ("PROFILE_GATEWAY__LOG__FORMAT", "json")]);
    let gateway = gateway.await;
    profiles(&gateway).await.create_profile(creation("Not journaled")).await.unwrap_err();
    let mut backends = BackendServiceClient::new(channel(gateway.grpc).await);
    let request = GetBackendRequest { name: "backends/sft".to_owned() };
    let status = backends.get_backend(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.last_error, None);
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    let lines = ended.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let about = |target: &str| lines.iter().find(|line| line["target"] == target).unwrap();
    assert_eq!(about("audit_log")["name"], "/dev/full");
    let detail = about("rpc")["detail"].as_str().unwrap();
    assert!(detail.contains("takes no lines: /dev/full: "), "{detail}");
}

/// The audit log in a file, with the log off.
struct Audited {
    gateway: Gateway,
    directory: TempDir,
}

impl Audited {
    async fn start(level: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("audit.log");
        let env = [(FILE, path.to_str().unwrap()), (LEVEL, level)];
        Self { gateway: gateway(&[], &env).await, directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    fn lines(&self, target: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.filter(|line: &Value| line["target"] == target).collect()
    }

    /// The lines of a target, once there are so many.
    async fn all(&self, target: &str, number: usize) -> Vec<Value> {
        until("the lines", async || self.lines(target).len() >= number).await;
        let lines = self.lines(target);
        assert_eq!(lines.len(), number, "{lines:?}");
        lines
    }
}

#[tokio::test]
async fn no_level_of_the_log_touches_the_audit_log() {
    let audited = Audited::start("off").await;
    let mut client = profiles(&audited.gateway).await;
    client.create_profile(creation("Audited")).await.unwrap();
    client.update_profile(rename("SP_352", "Renamed")).await.unwrap();
    let audit = audited.all("audit", 2).await;
    assert!(audit.iter().all(|line| line["outcome"] == "OK"), "{audit:?}");
    audited.all("journal", 2).await;
    audited.gateway.program.signal(Signal::TERM);
    let ended = audited.gateway.program.ended().await;
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn the_file_of_the_audit_log_is_its_owner_s_alone() {
    let audited = Audited::start("off").await;
    let mode = || fs::metadata(audited.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    // Also when it is made again.
    fs::rename(audited.path(), audited.path().with_extension("1")).unwrap();
    profiles(&audited.gateway).await.create_profile(creation("Audited")).await.unwrap();
    audited.all("journal", 1).await;
    assert_eq!(mode(), 0o600);
}

#[tokio::test]
async fn one_id_joins_all_that_is_said_of_a_call() {
    let audited = Audited::start("info").await;
    let mut client = profiles(&audited.gateway).await;
    let url = audited.gateway.sandbox.clone().unwrap();
    arm(&url, "CreateServiceProfile", json!({ "kind": "status", "status": 503 })).await;
    let status = client.create_profile(creation("Failing")).await.unwrap_err();
    let id = metadata(&failure(&status).2)["call_id"].clone();
    let missing = GetProfileRequest { name: "backends/nope/profiles/1".into(), read_mask: None };
    let status = client.get_profile(missing).await.unwrap_err();
    let other = metadata(&failure(&status).2)["call_id"].clone();
    assert_eq!(id.len(), 16);
    assert_ne!(id, other);
    assert_eq!(audited.all("audit", 1).await[0]["call_id"], id);
    assert_eq!(audited.all("journal", 1).await[0]["call_id"], id);
    audited.gateway.program.signal(Signal::TERM);
    let ended = audited.gateway.program.ended().await;
    let lines = ended.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let access: Vec<Value> = lines.filter(|line| line["target"] == "access").collect();
    let ids: Vec<&Value> = access.iter().map(|line| &line["call_id"]).collect();
    assert_eq!(ids, [&json!(id), &json!(other)]);
}

#[tokio::test]
async fn a_creation_that_a_crash_interrupts_can_be_looked_for() {
    let audited = Audited::start("info").await;
    let mut client = profiles(&audited.gateway).await;
    let namesake = client.create_profile(creation("Interrupted")).await.unwrap().into_inner();
    let url = audited.gateway.sandbox.clone().unwrap();
    arm(&url, "CreateServiceProfile", json!({ "kind": "hang", "commit": "before" })).await;
    let calls = [creation("Interrupted"), creation("Another")].map(|request| {
        let mut client = client.clone();
        tokio::spawn(async move { client.create_profile(request).await })
    });
    let journal = audited.all("journal", 3).await;
    audited.gateway.program.signal(Signal::KILL);
    for call in calls {
        call.await.unwrap().unwrap_err();
    }
    let last = |name| journal.iter().rfind(|line| line["display_name"] == name).unwrap();
    let (_, id) = namesake.name.rsplit_once('/').unwrap();
    let interrupted = last(json!("Interrupted"));
    assert_eq!(interrupted["resource"], "backends/sft");
    assert_eq!(interrupted["same_name_before"], id);
    assert!(interrupted["profiles_before"].as_u64().unwrap() > 1, "{interrupted}");
    assert_eq!(last(json!("Another"))["same_name_before"], "");
    let mut ids: Vec<&Value> = journal.iter().map(|line| &line["call_id"]).collect();
    ids.sort_by_key(|id| id.as_str());
    ids.dedup();
    assert_eq!(ids.len(), 3, "{journal:?}");
    assert_eq!(audited.lines("audit").len(), 1, "only the first has come to its end");
}
