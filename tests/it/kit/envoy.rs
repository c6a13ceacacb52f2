//! A real Envoy, which `make tools` installs.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

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
        let directory = TempDir::new().unwrap();
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("envoy.json"), config.to_string()).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin/envoy");
        let mut command = Command::new(program);
        command.arg("--config-path").arg(file("envoy.json"));
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
        let admin = std::fs::read_to_string(self.directory.path().join("admin")).ok()?;
        let url = format!("http://{admin}/listeners?format=json");
        let listeners: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
        let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
        let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
        Some(([127, 0, 0, 1], port).into())
    }
}
