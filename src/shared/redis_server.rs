//! A real server for tests, on a socket of its own.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{Client, aio::MultiplexedConnection};
use tempfile::TempDir;
use tokio::time::sleep;

pub(crate) struct RedisServer {
    process: Child,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one that keeps nothing on disk, with more arguments.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // Another one than that of Redis, as that of Valkey, if this names it.
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let mut command = Command::new(program);
        command.args(["--port", "0", "--save", "", "--enable-debug-command", "local"]);
        command.arg("--dir").arg(dir.path()).arg("--unixsocket").arg(dir.path().join("redis"));
        let process = command.args(arguments).stdout(Stdio::null()).spawn();
        let process = process.expect("the server is installed, as `make test` does");
        let server = Self { process, dir };
        for _ in 0..500 {
            if server.client().get_multiplexed_async_connection().await.is_ok() {
                return server;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("the server does not answer");
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("redis")
    }

    pub(crate) fn client(&self) -> Client {
        Client::open(format!("redis+unix://{}", self.socket().display())).expect("a URL")
    }

    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        self.client().get_multiplexed_async_connection().await.expect("a connection")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
