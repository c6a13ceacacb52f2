//! The binary as a child process: started with a clean environment on free ports, its output
//! captured, killed when dropped.
//!
//! Waiting has a limit only so that a broken program fails the test instead of hanging it.

use std::{
    future::Future,
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use profile_gateway::server::ListenAddress;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, empty},
    process::{Child, Command},
    sync::watch,
};

use super::gateway::with_store;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a test waits for, or a failure that says so.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} without success: {what}"),
    }
}

/// Asks until the answer is yes.
pub async fn until(what: &str, mut question: impl AsyncFnMut() -> bool) {
    patiently(what, async {
        while !question().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The binary, not yet started, without any of the variables that configure it.
pub fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_profile-gateway"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PROFILE_GATEWAY__") {
            command.env_remove(name);
        }
    }
    command.args(args).envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The same as a user who may not do everything, as root may.
pub fn unprivileged(args: &[&str], env: &[(&str, &str)]) -> Command {
    const OTHER: u32 = 65_534;
    let mut command = command(args, env);
    if rustix::process::getuid().is_root() {
        command.uid(OTHER).gid(OTHER);
    }
    command
}

/// The same with no more than so many bytes of addresses, which it asks the system for.
pub fn confined(bytes: u64, args: &[&str], env: &[(&str, &str)]) -> Command {
    limited(&format!("ulimit -v {}", bytes / 1024), args, env)
}

/// The same where no file of the process becomes larger than so many bytes, until the test raises
/// that.
pub fn with_small_files(bytes: u64, args: &[&str], env: &[(&str, &str)]) -> Command {
    // Otherwise a signal ends the process, as a full disk does not.
    limited(&format!("trap '' XFSZ && ulimit -S -f {}", bytes / 512), args, env)
}

/// The same after this command of a shell.
fn limited(limit: &str, args: &[&str], env: &[(&str, &str)]) -> Command {
    let free = command(args, env);
    let mut command = Command::new("sh");
    let limited = format!("{limit} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(limited).arg(free.as_std().get_program()).args(free.as_std().get_args());
    for (name, value) in free.as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A stream of output, read as it comes.
struct Captured(watch::Receiver<String>);

impl Captured {
    fn of(mut stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(String::new());
        tokio::spawn(async move {
            let mut buffer = [0; 8192];
            let mut bytes = Vec::new();
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                bytes.extend_from_slice(&buffer[..n]);
                // The rest of a character may be on its way.
                let whole = match std::str::from_utf8(&bytes) {
                    Err(error) if error.error_len().is_none() => error.valid_up_to(),
                    _ => bytes.len(),
                };
                let more: Vec<u8> = bytes.drain(..whole).collect();
                sender.send_modify(|text| text.push_str(&String::from_utf8_lossy(&more)));
            }
        });
        Self(receiver)
    }

    async fn until(&self, wanted: impl FnMut(&String) -> bool) -> Option<String> {
        self.0.clone().wait_for(wanted).await.ok().map(|text| text.clone())
    }

    /// Everything, once the process has closed the stream.
    async fn to_end(&self) -> String {
        let mut receiver = self.0.clone();
        while receiver.changed().await.is_ok() {}
        receiver.borrow().clone()
    }
}

/// How a process ended, and all that it said.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A running process.
pub struct Program {
    child: Child,
    stdout: Captured,
    stderr: Captured,
}

impl Program {
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = Captured::of(child.stdout.take().unwrap());
        // A test may have given it another place for its log.
        let stderr = child.stderr.take().map_or_else(|| Captured::of(empty()), Captured::of);
        Self { child, stdout, stderr }
    }

    /// The output so far, once it is as wanted.
    pub async fn stdout_until(&self, wanted: impl FnMut(&String) -> bool) -> String {
        match patiently("output on stdout", self.stdout.until(wanted)).await {
            Some(text) => text,
            None => panic!("ended too early: {}", self.stderr.to_end().await),
        }
    }

    /// What it says when it is ready: the greeting of a sandbox, or the line in the log.
    async fn started(&self) -> String {
        const SERVES: &str = "\"profile-gateway serves\"";
        let serves = |line: &&str| line.contains(SERVES) && !line.contains("\"sandbox\"");
        let greets = |text: &String| text.contains("grpcurl") && text.ends_with("\n\n");
        patiently("the start", async {
            tokio::select! {
                Some(greeting) = self.stdout.until(greets) => greeting,
                Some(log) = self.stderr.until(|log| log.split_inclusive('\n').any(|line| {
                    line.ends_with('\n') && serves(&line)
                })) => log.lines().find(serves).unwrap().to_owned(),
                else => panic!("ended too early: {}", self.stderr.to_end().await),
            }
        })
        .await
    }

    /// The log so far, once it holds `text`.
    pub async fn logged(&self, text: &str) -> String {
        let what = format!("{text:?} in the log");
        let log = patiently(&what, self.stderr.until(|log| log.contains(text))).await;
        log.unwrap_or_else(|| panic!("ended without {what}"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// The bytes of memory that it holds, and the most since [`Self::forget_peak`].
    pub fn memory(&self) -> (u64, u64) {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let kilobytes = |key| between(&status, key, " kB").unwrap().trim().parse::<u64>().unwrap();
        (kilobytes("VmRSS:") * 1024, kilobytes("VmHWM:") * 1024)
    }

    /// The time that its threads have had on processors. Those that have ended do not count.
    pub fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let times = threads.map(|thread| {
            // It may have ended.
            let path = thread.unwrap().path().join("schedstat");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or_default()
        });
        Duration::from_nanos(times.sum())
    }

    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id().unwrap()), "5").unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub async fn ended(mut self) -> Ended {
        let status = patiently("the end of the process", self.child.wait()).await.unwrap();
        let (stdout, stderr) = (self.stdout.to_end().await, self.stderr.to_end().await);
        Ended { status, stdout, stderr }
    }
}

/// Runs the binary to its end.
pub async fn run(args: &[&str], env: &[(&str, &str)]) -> Ended {
    Program::spawn(command(args, env)).ended().await
}

/// A file in a directory of its own.
pub struct File {
    _directory: TempDir,
    pub path: String,
}

/// The file of a configuration. Its store is the memory, unless it says otherwise.
pub fn file(text: &str) -> File {
    exactly(&with_store(text))
}

/// The file of exactly this text.
pub fn exactly(text: &str) -> File {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    File { path: path.to_str().unwrap().to_owned(), _directory: directory }
}

/// A running gateway.
pub struct Gateway {
    pub program: Program,
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
    /// The port for probes, if there is one.
    pub probes: Option<SocketAddr>,
    /// The embedded sandbox, if there is one.
    pub sandbox: Option<String>,
    /// What it said when it was ready: to people on stdout, or else in its log.
    pub greeting: String,
}

/// What is between two texts.
pub fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

pub async fn gateway(args: &[&str], env: &[(&str, &str)]) -> Gateway {
    started(env, |env| command(args, env)).await
}

/// A gateway of the command that this makes of the environment.
pub async fn started(
    env: &[(&str, &str)],
    command: impl FnOnce(&[(&str, &str)]) -> Command,
) -> Gateway {
    let ports = [
        ("PROFILE_GATEWAY__LISTEN", "127.0.0.1:0"),
        ("PROFILE_GATEWAY__ADMIN_LISTEN", "127.0.0.1:0"),
        ("PROFILE_GATEWAY__SERVER__DRAIN_GRACE", "0s"),
    ];
    let env: Vec<_> = ports.iter().chain(env).copied().collect();
    let program = Program::spawn(command(&env));
    let greeting = program.started().await;
    let said = |of_people: (&str, &str), of_the_log: (&str, &str)| {
        let said = between(&greeting, of_people.0, of_people.1);
        said.or_else(|| between(&greeting, of_the_log.0, of_the_log.1))
    };
    let grpc = said(("serves gRPC on ", "\n"), ("\"grpc\":\"", "\""));
    let admin = said(("admin HTTP is on ", " "), ("\"admin\":\"", "\""));
    let probes = said(("probes are answered on ", " "), ("\"probes\":\"", "\""));
    let (grpc, admin, probes) =
        (reached(grpc.unwrap()), reached(admin.unwrap()), probes.map(reached));
    let sandbox = between(&greeting, "simulates three on ", "\n").map(str::to_owned);
    Gateway { program, grpc, admin, probes, sandbox, greeting }
}

/// The address of a port over TCP, however the greeting shows it.
fn reached(shown: &str) -> SocketAddr {
    let shown = shown.trim_end_matches(" over TLS").trim_start_matches("http://");
    let address = shown.parse::<ListenAddress>().unwrap().dial();
    address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
}

/// Serves this configuration.
pub async fn serve(config: &str, env: &[(&str, &str)]) -> Gateway {
    // The program reads its file before it greets; nothing needs it after that.
    let file = file(config);
    gateway(&["serve", "--config", &file.path], env).await
}

/// The section of a configuration for an SFT upstream.
pub fn sft(base_url: &str, username: &str, password: &str) -> String {
    format!(
        "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = {base_url:?}\n\
         username = {username:?}\npassword = {password:?}\n"
    )
}

/// The simulated upstreams in a process of their own.
pub struct Sandbox {
    pub program: Program,
    pub url: String,
    /// The configuration for its SFT that it prints.
    pub config: String,
}

pub async fn sandbox() -> Sandbox {
    let program = Program::spawn(command(&["sandbox", "--listen", "127.0.0.1:0"], &[]));
    let whole = |text: &String| text.contains("\npassword = ") && text.ends_with('\n');
    let greeting = program.stdout_until(whole).await;
    let url = between(&greeting, "upstreams listen on ", "\n").unwrap().to_owned();
    let (_, config) = greeting.split_once("a configuration for them:\n").unwrap();
    let config = config.trim_start();
    // One backend is enough for what is tested of processes.
    let (sft, _) = config.split_once("\n[backends.").unwrap_or((config, ""));
    Sandbox { program, url, config: sft.to_owned() }
}
