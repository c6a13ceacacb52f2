//! The store of a gateway as its operator sees it: what it outlives, and what is said when it
//! cannot be used.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use profile_gateway::pb::{
    CreateProfileRequest, GetBackendRequest, Profile, backend_service_client::BackendServiceClient,
    profile_service_client::ProfileServiceClient,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Code, Status, transport::Channel};

use super::{
    calls::{channel, failure, metric, named, profiles},
    child::{
        Ended, Gateway, exactly, file, run, serve, started, unprivileged, until, with_small_files,
    },
};
use crate::kit::{
    gateway::fresh,
    model::profile,
    sandbox::{Sandbox, sandbox},
};

pub(super) fn config(sandbox: &Sandbox, store: &TempDir) -> String {
    let keeps = format!("[store]\npath = {:?}", store.path());
    format!("{}\n{keeps}", sandbox.config())
}

async fn create(
    client: &mut ProfileServiceClient<Channel>,
    number: u32,
) -> Result<Profile, Status> {
    let request = CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile(&format!("Stored {number}"))),
        request_id: format!("00000000-0000-4000-8000-{number:012}"),
        validate_only: false,
    };
    client.create_profile(request).await.map(tonic::Response::into_inner)
}

/// Creates once the store can be written again. The gateway tries that each second.
async fn created_again(client: &mut ProfileServiceClient<Channel>, number: u32) -> Profile {
    for _ in 0..600 {
        match create(client, number).await {
            Ok(made) => return made,
            Err(status) => assert_eq!(failure(&status).1, "STORE_UNAVAILABLE"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the store is never written again");
}

pub(super) async fn stop(gateway: Gateway) {
    gateway.program.signal(Signal::TERM);
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}

async fn upkeep(task: &str, store: &TempDir) -> Ended {
    run(&["store", task, "--path", store.path().to_str().unwrap()], &[]).await
}

#[tokio::test]
async fn a_repeat_is_recognized_after_a_restart_and_the_backend_says_so() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let gateway = serve(&config(&sandbox, &store), &[]).await;
    let made = create(&mut profiles(&gateway).await, 1).await.unwrap();
    stop(gateway).await;

    let gateway = serve(&config(&sandbox, &store), &[]).await;
    assert_eq!(create(&mut profiles(&gateway).await, 1).await.unwrap(), made);
    assert_eq!(sandbox.count_named("Stored 1").await, 1);
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, 1);
    let mut backends = BackendServiceClient::new(channel(gateway.grpc).await);
    let request = GetBackendRequest { name: "backends/sft".to_owned() };
    let backend = backends.get_backend(request).await.unwrap().into_inner();
    let guarantee = backend.capabilities.unwrap().request_id_guarantee;
    assert!(
        guarantee.contains("recognized that comes to the same process, after a restart, "),
        "{guarantee}"
    );
    assert_eq!(metric(&gateway, "profile_gateway_request_ids").await, 1);
    stop(gateway).await;
}

#[tokio::test]
async fn a_full_disk_refuses_writes_before_they_are_sent_and_no_read() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let path = file(&config(&sandbox, &store));
    let args = ["serve", "--config", &path.path];
    let gateway = started(&[], |env| with_small_files(200_000, &args, env)).await;
    let mut client = profiles(&gateway).await;
    let mut number = 0;
    let status = loop {
        match create(&mut client, number).await {
            Ok(_) => number += 1,
            Err(status) => break status,
        }
        assert!(number < 2000, "the disk is never full");
    };
    let (code, reason, details) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert!(status.message().contains("its file may not become larger"), "{status:?}");
    assert!(details.retry_info().is_some());
    assert_eq!(sandbox.count_named(&format!("Stored {number}")).await, 0);
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, usize::try_from(number).unwrap());
    assert!(metric(&gateway, "profile_gateway_store_failures_total").await > 0);
    client.get_profile(fresh(named("SP_352"))).await.unwrap();
    // Each second it is tried again, and takes a little, or nothing.
    let failures = async || metric(&gateway, "profile_gateway_store_failures_total").await;
    let before = failures().await;
    until("it has been tried again", async || {
        let kept = create(&mut client, number).await.is_ok();
        number += u32::from(kept);
        !kept && failures().await > before + 2
    })
    .await;
    let log = gateway.program.logged("the store cannot be written").await;
    let times = |text: &str| log.matches(text).count();
    let said = (times("the store cannot be written"), times("the store can be written again"));
    assert_eq!(said, (1, 0), "{log}");
    let sent = usize::try_from(number).unwrap();

    // There is room again.
    let pid = Pid::from_raw(i32::try_from(gateway.program.pid()).unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    let made = created_again(&mut client, number).await;
    gateway.program.logged("the store can be written again").await;
    stop(gateway).await;
    let gateway = serve(&config(&sandbox, &store), &[]).await;
    let mut client = profiles(&gateway).await;
    assert_eq!(create(&mut client, number).await.unwrap(), made);
    for earlier in 0..number {
        create(&mut client, earlier).await.unwrap();
    }
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, sent + 1);
    stop(gateway).await;
}

#[tokio::test]
async fn a_disk_that_became_read_only_refuses_writes_and_no_read_also_at_the_start() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let text = config(&sandbox, &store);
    let gateway = serve(&text, &[]).await;
    let made = create(&mut profiles(&gateway).await, 1).await.unwrap();
    gateway.program.signal(Signal::KILL);
    gateway.program.ended().await;
    let path = file(&text);
    allow(Path::new(&path.path).parent().unwrap(), 0o755, 0o644);
    allow(store.path(), 0o555, 0o444);

    let args = ["serve", "--config", &path.path];
    let gateway = started(&[], |env| unprivileged(&args, env)).await;
    gateway.program.logged("can be read and not be written").await;
    let mut client = profiles(&gateway).await;
    client.get_profile(fresh(named("SP_352"))).await.unwrap();
    assert_eq!(create(&mut client, 1).await.unwrap(), made);
    let refused = create(&mut client, 2).await.unwrap_err();
    let (code, reason, _) = failure(&refused);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert!(refused.message().contains("the gateway may not write its file"), "{refused:?}");
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, 1);

    allow(store.path(), 0o777, 0o666);
    created_again(&mut client, 2).await;
    gateway.program.logged("the store can be written again").await;
    stop(gateway).await;
}

/// Gives a directory and the files in it these modes.
fn allow(directory: &Path, mode: u32, of_files: u32) {
    for entry in fs::read_dir(directory).unwrap() {
        fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(of_files)).unwrap();
    }
    fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_refused_with_what_to_do() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let text = config(&sandbox, &store);
    let gateway = serve(&text, &[]).await;
    create(&mut profiles(&gateway).await, 1).await.unwrap();
    let second = file(&text);
    let args = ["serve", "--config", &second.path];
    let env = [
        ("PROFILE_GATEWAY__LISTEN", "127.0.0.1:0"),
        ("PROFILE_GATEWAY__ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    let owner = format!("is in use by process {} on ", gateway.program.pid());
    for ended in [run(&args, &env).await, upkeep("check", &store).await] {
        assert_eq!(ended.code(), Some(1));
        assert!(ended.stderr.contains(&owner), "{}", ended.stderr);
    }
    stop(gateway).await;

    let database = store.path().join("store.redb");
    let whole = fs::read(&database).unwrap();
    let mut damaged = whole.clone();
    for at in (4096..damaged.len()).step_by(97) {
        damaged[at] ^= 0x10;
    }
    fs::write(&database, &damaged).unwrap();
    for ended in [run(&args, &env).await, upkeep("check", &store).await] {
        assert_eq!(ended.code(), Some(1));
        assert!(ended.stderr.contains("is damaged"), "{}", ended.stderr);
        assert!(ended.stderr.contains("a part of its file is not what was"), "{}", ended.stderr);
        assert!(ended.stderr.contains("move it away"), "{}", ended.stderr);
    }
    fs::write(&database, &whole).unwrap();
    let gateway = serve(&text, &[]).await;
    create(&mut profiles(&gateway).await, 1).await.unwrap();
    assert_eq!(sandbox.count_named("Stored 1").await, 1);
    stop(gateway).await;
}

#[tokio::test]
async fn an_operator_can_look_after_a_store() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let missing = upkeep("stats", &store).await;
    assert_eq!(missing.code(), Some(1));
    assert!(missing.stderr.contains("there is no store at "), "{}", missing.stderr);
    let text = config(&sandbox, &store);
    let gateway = serve(&text, &[]).await;
    let made = create(&mut profiles(&gateway).await, 1).await.unwrap();
    stop(gateway).await;

    let path = file(&text);
    let whole = run(&["store", "check", "--config", &path.path], &[]).await;
    assert!(whole.stdout.contains("is whole: writes: 1"), "{}", whole.output());
    let stats: Value = serde_json::from_str(&upkeep("stats", &store).await.stdout).unwrap();
    assert_eq!(stats["writes"]["done"], 1);
    assert_eq!((&stats["creations_in_doubt"], &stats["claims"]), (&0.into(), &0.into()));
    let exported = upkeep("export", &store).await.stdout;
    let write: Value = serde_json::from_str(exported.trim()).unwrap();
    assert_eq!(write["request_id"], "00000000-0000-4000-8000-000000000001");
    assert_eq!((&write["method"], &write["state"]), (&"CreateProfile".into(), &"done".into()));
    assert_eq!((&write["caller"], &write["sent"]), (&"127.0.0.1".into(), &1.into()));
    assert_eq!(write["resource"], "backends/sft");
    let size = || fs::metadata(store.path().join("store.redb")).unwrap().len();
    let before = size();
    let compacted = upkeep("compact", &store).await;
    let said = format!("the file of the store had {before} bytes, and has {} now", size());
    assert!(compacted.stdout.contains(&said), "{said}: {}", compacted.output());
    let gateway = serve(&text, &[]).await;
    assert_eq!(create(&mut profiles(&gateway).await, 1).await.unwrap(), made);
    stop(gateway).await;
}

/// The store of a process of the first release that had one, which was killed: two creations are
/// done, one is in doubt, and the later one of the two has claimed its profile.
const FORMAT_1: &[u8] = include_bytes!("../../fixtures/stores/format-1.redb");

#[tokio::test]
async fn a_store_of_the_first_format_is_read() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    fs::write(store.path().join("store.redb"), FORMAT_1).unwrap();
    let stats: Value = serde_json::from_str(&upkeep("stats", &store).await.stdout).unwrap();
    assert_eq!((&stats["writes"]["done"], &stats["writes"]["unknown"]), (&2.into(), &1.into()));
    assert_eq!((&stats["creations_in_doubt"], &stats["claims"]), (&1.into(), &1.into()));
    let exported = upkeep("export", &store).await.stdout;
    let writes: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (write, begin) in writes.iter().zip(["11111111-", "22222222-", "33333333-"]) {
        assert!(write["request_id"].as_str().unwrap().starts_with(begin), "{write}");
    }
    assert_eq!((&writes[1]["display_name"], writes.len()), (&"In doubt".into(), 3));
    // Which reads all of them, also what it forgets because it is too old.
    let gateway = serve(&config(&sandbox, &store), &[]).await;
    create(&mut profiles(&gateway).await, 1).await.unwrap();
    stop(gateway).await;
}

#[tokio::test]
async fn a_store_that_forgets_is_warned_of() {
    let sandbox = sandbox().await;
    let config = format!("{}\n[store]\nkind = \"memory\"", sandbox.config());
    let path = file(&config);
    let checked = run(&["check", "--config", &path.path], &[]).await;
    assert_eq!(checked.code(), Some(0), "{}", checked.output());
    let warning = "`store.kind` is `memory`: after a restart or a crash";
    assert!(checked.stderr.contains(warning), "{}", checked.output());
    let gateway = serve(&config, &[]).await;
    gateway.program.logged(warning).await;
    stop(gateway).await;
    // A trial has nothing to lose.
    let trial = run(&["check"], &[]).await;
    assert!(trial.stdout.contains("\nkind = \"memory\"\n"), "{}", trial.output());
    assert!(!trial.output().contains("after a restart"), "{}", trial.output());
}

#[tokio::test]
async fn a_gateway_has_to_be_told_where_its_store_is_or_to_forget() {
    let sandbox = sandbox().await;
    let path = exactly(&sandbox.config());
    let no_path = "the store has no `path`: writes are recorded there";
    for command in ["check", "serve"] {
        let args = [command, "--config", &path.path];
        let refused = run(&args, &[]).await;
        assert_eq!(refused.code(), Some(64), "{}", refused.output());
        assert!(refused.stderr.contains(no_path), "{}", refused.output());
        assert!(refused.stderr.contains("give that up with `kind = \"memory\"`"));
    }
    let args = ["check", "--config", &path.path];
    let told = [("PROFILE_GATEWAY__STORE__KIND", "memory")];
    assert_eq!(run(&args, &told).await.code(), Some(0));
}

#[tokio::test]
async fn a_store_that_others_can_read_is_warned_of() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let text = config(&sandbox, &store);
    let path = file(&text);
    stop(serve(&text, &[]).await).await;
    let (directory, database) = (store.path(), store.path().join("store.redb"));
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for (outer, own, told) in [
        (0o755, 0o600, false),
        (0o755, 0o640, true),
        (0o755, 0o604, true),
        (0o700, 0o644, false),
        (0o750, 0o604, false),
        (0o710, 0o620, true),
    ] {
        mode(directory, outer);
        mode(&database, own);
        let checked = run(&["check", "--config", &path.path], &[]).await;
        assert_eq!(checked.code(), Some(0), "{}", checked.output());
        let warning = format!("(mode {own:o}): it has the profiles that were written");
        assert_eq!(
            checked.stderr.contains(&warning),
            told,
            "{outer:o} {own:o}: {}",
            checked.stderr
        );
        let whole = upkeep("check", &store).await.stdout;
        assert_eq!(whole.contains(&warning), told, "{outer:o} {own:o}: {whole}");
        if told {
            let gateway = serve(&text, &[]).await;
            gateway.program.logged(&warning).await;
            stop(gateway).await;
        }
    }
}

#[tokio::test]
async fn what_has_to_be_a_directory_or_a_file_and_is_not_is_refused_by_a_check() {
    let sandbox = sandbox().await;
    let directory = TempDir::new().unwrap();
    let taken = directory.path().join("taken");
    fs::write(&taken, "x").unwrap();
    for (section, key, path, why) in [
        ("store", "path", taken.clone(), "has to be a directory"),
        ("store", "path", taken.join("store"), "has to be a directory"),
        ("audit", "file", directory.path().to_owned(), "has to be a file"),
    ] {
        let text = format!("{}\n[{section}]\n{key} = {path:?}\n", sandbox.config());
        let config = file(&text);
        for command in ["check", "serve"] {
            let refused = run(&[command, "--config", &config.path], &[]).await;
            assert_eq!(refused.code(), Some(64), "{path:?}: {}", refused.output());
            assert!(refused.stderr.contains(why), "{path:?}: {}", refused.output());
        }
    }
}
