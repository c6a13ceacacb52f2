//! Replicas on one machine, as `scripts/replicas` starts them, and what their examples allow them.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::pages::{ports, root};

/// For a broken script, not for a slow one.
const LONG: Duration = Duration::from_secs(60);
/// What the script finds in directories of the system.
const OF_THE_SYSTEM: [&str; 16] = [
    "base64",
    "bash",
    "cat",
    "curl",
    "cut",
    "dirname",
    "env",
    "head",
    "mkdir",
    "mktemp",
    "rm",
    "sed",
    "sha256sum",
    "sleep",
    "tail",
    "test",
];

/// The script under way, in a copy of the repository that has no tools of its own.
struct Script {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    ports: Vec<String>,
    _directory: TempDir,
}

impl Script {
    /// Starts it on ports of its own, with these programs to be found.
    fn start(programs: &[PathBuf]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let found = directory.path().join("found");
        for part in ["found", "scripts", "examples", "deploy"] {
            fs::create_dir(directory.path().join(part)).unwrap();
        }
        for part in ["examples/replicas", "deploy/envoy"] {
            symlink(root().join(part), directory.path().join(part)).unwrap();
        }
        let script = directory.path().join("scripts/replicas");
        fs::copy(root().join("scripts/replicas"), &script).unwrap();
        for program in programs {
            symlink(program, found.join(program.file_name().unwrap())).unwrap();
        }
        let ports: Vec<String> =
            ports().into_iter().map(|(_, port)| port.trim_start_matches(':').to_owned()).collect();
        let mut command = Command::new(script);
        command.env("PATH", found).env("BALANCER_PORT", &ports[0]).env("SANDBOX_PORT", &ports[2]);
        command.env("ADMIN_PORTS", format!("{} {}", ports[1], ports[4]));
        command.env("REPLICA_PORTS", format!("{} {}", ports[3], ports[5]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.process_group(0).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, output, ports, _directory: directory }
    }

    fn id(&self) -> Option<Pid> {
        self.process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?))
    }

    /// What it prints until it is ready.
    async fn says(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        let read = async {
            while let Some(line) = self.output.next_line().await.unwrap() {
                let is_ready = line.contains("Ctrl-C");
                said.push(line);
                if is_ready {
                    return;
                }
            }
            panic!("it has ended: {}", self.complaint().await);
        };
        timeout(LONG, read).await.expect("it becomes ready");
        said
    }

    async fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            let _ = timeout(LONG, stderr.read_to_string(&mut text)).await;
        }
        text
    }

    /// Asks it to end. Ctrl-C, which does the same, is ignored by what runs in the background, as
    /// these tests may.
    async fn end(&mut self) -> ExitStatus {
        kill_process(self.id().unwrap(), Signal::TERM).unwrap();
        timeout(LONG, self.process.wait()).await.expect("it ends").unwrap()
    }

    fn listens(&self, port: usize) -> bool {
        TcpStream::connect(format!("127.0.0.1:{}", self.ports[port])).is_ok()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if let Some(group) = self.id() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Where a program is, by the directories of `PATH` and those of `make tools`.
fn located(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = root().join("target/tools");
    let own = ["bin", "python/bin", "node_modules/.bin"].map(|directory| tools.join(directory));
    let all = std::env::split_paths(&path).chain(own).map(|directory| directory.join(program));
    let found = all.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{program} is not installed; `make tools` does it"))
}

fn programs(beside_the_gateway: &[&str]) -> Vec<PathBuf> {
    let others = OF_THE_SYSTEM.iter().chain(beside_the_gateway).map(|program| located(program));
    others.chain([env!("CARGO_BIN_EXE_profile-gateway").into()]).collect()
}

/// What a command that the script has printed answers.
async fn answer(command: &str) -> serde_json::Value {
    let path = located("buf").parent().unwrap().display().to_string();
    let path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
    let asked = Command::new("bash").args(["-c", command]).env("PATH", path).output();
    let output = timeout(LONG, asked).await.expect("it answers").unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn replicas_on_one_machine_share_what_they_do() {
    let mut script = Script::start(&programs(&["redis-server", "envoy", "python3"]));
    let said = script.says().await;
    let printed: Vec<&String> = said.iter().filter(|line| line.starts_with("buf curl")).collect();
    let [create, list, repeat] = printed[..] else { panic!("{said:?}") };
    let balancer = format!("127.0.0.1:{}/", script.ports[0]);
    assert!(repeat.contains(&balancer), "{said:?}");
    let created = answer(create).await;
    assert_eq!(answer(list).await["profiles"][0]["name"], created["name"]);
    assert_eq!(answer(repeat).await, created, "it is done once");
    assert_eq!(answer(list).await["profiles"].as_array().unwrap().len(), 1);
    let logs = said.iter().find_map(|line| line.split_once("is in ")?.1.split_once("/*")).unwrap();
    assert!(Path::new(logs.0).exists());
    assert_eq!(script.end().await.code(), Some(0));
    assert!(!Path::new(logs.0).exists(), "it leaves nothing");
    assert!((0..script.ports.len()).all(|port| !script.listens(port)), "all has ended");
}

#[tokio::test]
async fn without_a_load_balancer_there_are_the_replicas() {
    let mut script = Script::start(&programs(&["redis-server"]));
    let said = script.says().await;
    assert!(!script.listens(0) && script.listens(3) && script.listens(5), "{said:?}");
    let repeat = said.iter().rfind(|line| line.starts_with("buf curl")).unwrap();
    assert!(repeat.contains(&format!("127.0.0.1:{}/", script.ports[5])), "{repeat}");
    script.end().await;
    let complaint = script.complaint().await;
    assert!(complaint.contains("nothing balances load"), "{complaint}");
}

#[tokio::test]
async fn what_is_missing_is_said() {
    for (there, missing) in [
        (programs(&[]), "neither valkey-server nor redis-server"),
        (OF_THE_SYSTEM.map(located).to_vec(), "profile-gateway is not there"),
    ] {
        let mut script = Script::start(&there);
        let ended = timeout(LONG, script.process.wait()).await.expect("it ends").unwrap();
        let complaint = script.complaint().await;
        assert!(!ended.success() && complaint.contains(missing), "{complaint}");
    }
}

/// The commands that the user of the example may use, in the words of the server.
fn allowed() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("examples/replicas/redis.conf")).unwrap();
    let user = text.lines().find(|line| line.starts_with("user gateway ")).unwrap();
    user.split(' ').filter_map(|rule| rule.strip_prefix('+')).map(str::to_owned).collect()
}

/// Every file below a directory, whole.
fn texts(directory: &Path, ending: &str) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &texts(&path, ending);
        } else if path.to_string_lossy().ends_with(ending) {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

/// The commands that a script has the server do.
fn in_script(text: &str) -> BTreeSet<String> {
    let found = text.split("redis.call('").skip(1).filter_map(|rest| rest.split('\'').next());
    found.map(str::to_lowercase).collect()
}

/// That a server lets a gateway with this user do all that it does is proven by the tests of
/// replicas, which use it too.
#[test]
fn the_user_of_the_gateway_may_do_what_it_does_and_no_more() {
    let shared = root().join("src/shared");
    let tried = fs::read_to_string(shared.join("scripts/rights.lua")).unwrap();
    let all = in_script(&texts(&shared.join("scripts"), ".lua").replace(&tried, ""));
    let all: BTreeSet<String> = all.into_iter().chain(["hscan".to_owned()]).collect();
    assert_eq!(in_script(&tried), all, "what rights.lua tries (left) and what scripts do (right)");
    // The gateway sends these itself, to a server that is not its own process.
    let sent = ["ping", "info", "evalsha", "script|load", "xread", "wait"].map(str::to_owned);
    let needed: BTreeSet<String> = all.into_iter().chain(sent).collect();
    assert_eq!(allowed(), needed, "examples/replicas/redis.conf (left) and what is used (right)");
    let code = texts(&shared, ".rs");
    for command in code.split("redis::cmd(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        // With a number of a database, the user needs `+select`; and Sentinels are other servers.
        let is_known = ["AUTH", "SELECT", "SENTINEL"].contains(&command);
        assert!(is_known || needed.contains(&command.to_lowercase()), "{command} is not allowed");
    }
}
