//! A real Envoy, which `make tools` installs: with any configuration, or as the load balancer of
//! `deploy/envoy`.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use super::until;

/// The load balancer that is deployed in front of replicas.
const BALANCER: &str = include_str!("../../../deploy/envoy/envoy.yaml");
/// What it has no section for.
const ADMIN: &str =
    "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n";

/// An Envoy, which ends with the test.
pub struct Envoy {
    process: Child,
    directory: TempDir,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Envoy {
    /// One with this configuration.
    pub fn start(config: &Value) -> Self {
        Self::with(&config.to_string())
    }

    /// The load balancer that is deployed, in front of these replicas and with its configuration
    /// changed like this. Returns once it listens and knows of the health of all.
    pub async fn balancing(
        replicas: &[SocketAddr],
        change: impl FnOnce(String) -> String,
    ) -> (Self, SocketAddr) {
        let mut envoy = Self::with(&change(balancer(replicas)));
        let address = envoy.address().await;
        envoy.sees(replicas.len()).await;
        (envoy, address)
    }

    fn with(config: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let file = |name: &str| directory.path().join(name);
        // JSON is YAML, too.
        std::fs::write(file("envoy.yaml"), config).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin/envoy");
        let mut command = Command::new(program);
        command.arg("--config-path").arg(file("envoy.yaml"));
        command.arg("--admin-address-path").arg(file("admin"));
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"]);
        let process = command.stdin(Stdio::null()).spawn();
        let process = process.expect("Envoy, which `make tools` installs");
        Self { process, directory }
    }

    /// Where it listens, once it does.
    pub async fn address(&mut self) -> SocketAddr {
        loop {
            assert!(self.process.try_wait().unwrap().is_none(), "Envoy has ended");
            if let Some(address) = self.listener().await {
                return address;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn listener(&self) -> Option<SocketAddr> {
        let listeners = self.json("/listeners").await?;
        let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
        let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
        Some(([127, 0, 0, 1], port).into())
    }

    /// Waits until it takes so many of the replicas for healthy.
    pub async fn sees(&self, healthy: usize) {
        until(&format!("Envoy takes {healthy} for healthy"), async || {
            self.stat("cluster.replicas.membership_healthy").await == Some(healthy as u64)
        })
        .await;
    }

    /// One of its counters or gauges, if it has it.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let stats = self.json("/stats").await?;
        let stats = stats["stats"].as_array()?;
        stats.iter().find(|stat| stat["name"] == name)?["value"].as_u64()
    }

    /// A page of its admin port.
    async fn json(&self, page: &str) -> Option<Value> {
        let admin = std::fs::read_to_string(self.directory.path().join("admin")).ok()?;
        let answer = reqwest::get(format!("http://{admin}{page}?format=json")).await.ok()?;
        answer.json().await.ok()
    }
}

/// What is deployed, on a port that the system chooses, in front of these.
fn balancer(replicas: &[SocketAddr]) -> String {
    let line = |port: &str| {
        let port = format!("port_value: {port}");
        let found = BALANCER.lines().find(|line| line.contains(&port));
        found.unwrap_or_else(|| panic!("it has no {port}"))
    };
    let (listening, one, other) = (line("50051"), line("50052"), line("50053"));
    let endpoint = |at: &SocketAddr| {
        let line = one.replace("127.0.0.1", &at.ip().to_string());
        line.replace("50052", &at.port().to_string())
    };
    let endpoints: Vec<String> = replicas.iter().map(endpoint).collect();
    let text = BALANCER.replace(listening, &listening.replace("50051", "0"));
    let text = text.replace(&format!("{one}\n{other}"), &endpoints.join("\n"));
    format!("{ADMIN}{text}")
}
