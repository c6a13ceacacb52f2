//! Real servers of Redis, each with a directory and a port of its own, and Sentinels that watch
//! over them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
    sync::Mutex,
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _,
    RedisConnectionInfo,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::until;

/// The user that the kit commands servers with, whatever is done to the others.
const CONTROL: &str = "kit";
/// Ports that others take between their choice and the start of the server.
const TRIES: usize = 20;
/// How long a server may take to answer the kit, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server; ends when dropped.
pub struct Redis {
    directory: TempDir,
    port: u16,
    arguments: Vec<String>,
    running: Mutex<Option<Child>>,
}

impl Redis {
    /// A server that keeps nothing on its disk.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with further options, which the command line has before their values.
    pub async fn with(options: &[&str]) -> Self {
        let own = ["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"];
        Self::of(|_, port| {
            let port = format!("--port {port}");
            let ports = port.split(' ').chain(["--bind", "127.0.0.1"]);
            ports.chain(own).chain(options.iter().copied()).map(str::to_owned).collect()
        })
        .await
    }

    /// A server that speaks TLS alone, with the certificate and for clients of the authority in
    /// these files.
    pub async fn with_tls(certificate: &str, key: &str, authority: &str, clients: &str) -> Self {
        Self::of(|_, port| {
            let port = port.to_string();
            #[rustfmt::skip]
            let arguments = [
                "--port", "0", "--tls-port", &port, "--bind", "127.0.0.1", "--save", "",
                "--tls-cert-file", certificate, "--tls-key-file", key,
                "--tls-ca-cert-file", authority, "--tls-auth-clients", clients,
            ];
            arguments.map(str::to_owned).into()
        })
        .await
    }

    /// A Sentinel that watches over this server, and replaces it after half a second.
    pub async fn sentinel(master: &str, watched: &Self) -> Self {
        let watched = watched.port;
        Self::of(|directory, port| {
            let file = directory.path().join("sentinel.conf");
            let text = format!(
                "port {port}\nbind 127.0.0.1\n\
                 sentinel monitor {master} 127.0.0.1 {watched} 1\n\
                 sentinel down-after-milliseconds {master} 500\n\
                 sentinel failover-timeout {master} 5000\n"
            );
            fs::write(&file, text).unwrap();
            vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()]
        })
        .await
    }

    async fn of(arguments: impl Fn(&TempDir, u16) -> Vec<String>) -> Self {
        for _ in 0..TRIES {
            let directory = TempDir::new().unwrap();
            let port = free_port();
            let arguments = arguments(&directory, port);
            let server = Self { directory, port, arguments, running: Mutex::default() };
            if server.runs_again().await {
                return server;
            }
        }
        panic!("redis-server does not start; `make tools` installs it");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The same for programs on this machine.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Starts it again, at the same place, with the files that it has left.
    pub async fn start_again(&self) {
        for _ in 0..TRIES {
            if self.runs_again().await {
                return;
            }
        }
        panic!("redis-server does not start again");
    }

    async fn runs_again(&self) -> bool {
        let mut command = Command::new(program());
        let directory = self.directory.path().to_str().unwrap();
        let socket = self.socket();
        let places = ["--dir", directory, "--unixsocket", socket.to_str().unwrap()];
        let user = ["--user", CONTROL, "on", "nopass", "~*", "&*", "+@all"];
        command.args(&self.arguments).args(places).args(user).kill_on_drop(true);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the server is there: `make tools` installs it");
        let ended = tokio::select! {
            _ = child.wait() => true,
            () = until("the server answers", async || self.answers().await) => false,
        };
        *self.running.lock().unwrap() = (!ended).then_some(child);
        !ended
    }

    async fn answers(&self) -> bool {
        let asked = timeout(Duration::from_secs(1), self.asked::<String>(&["PING"])).await;
        asked.is_ok_and(|answer| answer.is_ok())
    }

    async fn asked<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let user = RedisConnectionInfo::default().set_username(CONTROL).set_password("any");
        let address = ConnectionAddr::Unix(self.socket());
        let client = redis::Client::open(address.into_connection_info()?.set_redis_settings(user))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await
    }

    /// The answer to a command, past everything between a client and the server.
    pub async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.asked(command).await.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Has it do what answers `OK`.
    pub async fn command(&self, command: &[&str]) {
        assert_eq!(self.ask::<String>(command).await, "OK", "{command:?}");
    }

    /// Asks it to do something until it does.
    pub async fn repeat(&self, command: &[&str]) {
        until("the server does it", async || self.asked::<String>(command).await.is_ok()).await;
    }

    /// What `INFO` says of a key, or nothing: a Sentinel ends all clients of what it replaces.
    pub async fn info(&self, key: &str) -> String {
        let info: String = self.asked(&["INFO"]).await.unwrap_or_default();
        let found = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        found.unwrap_or_default().to_owned()
    }

    /// Ends it without notice.
    pub async fn kill(&self) {
        let child = self.running.lock().unwrap().take();
        child.expect("it runs").kill().await.unwrap();
    }

    /// Removes what it has left on its disk.
    pub fn forget(&self) {
        for name in ["dump.rdb", "appendonlydir"] {
            let path = self.directory.path().join(name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }

    /// Stops its process where it is.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets its process go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.lock().unwrap();
        let id = running.as_ref().and_then(Child::id).expect("it runs");
        let pid = Pid::from_raw(id.try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Makes it a replica of another server, and waits until it has what that one has.
    pub async fn follow(&self, primary: &Self) {
        self.command(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]).await;
        until("it is in step with its primary", async || {
            self.info("master_link_status").await == "up"
        })
        .await;
    }

    /// Makes it a primary.
    pub async fn promote(&self) {
        self.command(&["REPLICAOF", "NO", "ONE"]).await;
    }
}

/// The server that is started: `REDIS_SERVER` may name another one, as that of Valkey.
fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_server_has_what_was_on_its_disk_unless_that_is_removed() {
    let server = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let kept = async || server.ask::<Option<String>>(&["GET", "a"]).await;
    server.command(&["SET", "a", "1"]).await;
    server.kill().await;
    server.start_again().await;
    assert_eq!(kept().await.as_deref(), Some("1"));
    server.kill().await;
    server.forget();
    server.start_again().await;
    assert_eq!(kept().await, None);
}

#[tokio::test]
async fn a_replica_takes_the_place_of_its_primary() {
    let (first, second) = (Redis::start().await, Redis::start().await);
    first.command(&["SET", "a", "1"]).await;
    second.follow(&first).await;
    assert_eq!(second.info("role").await, "slave");
    second.promote().await;
    assert_eq!(second.info("role").await, "master");
    assert_eq!(second.ask::<String>(&["GET", "a"]).await, "1");
}
