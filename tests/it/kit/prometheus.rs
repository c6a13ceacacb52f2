//! A real Prometheus, with a directory and a port of its own, and its tool `promtool`.
//!
//! Both are found on the `PATH`, or where `make tools` puts them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    time::{sleep, timeout},
};

use super::child::{Program, patiently};

/// For scrapes of a busy machine. Only a broken program needs it.
const LONG: Duration = Duration::from_secs(300);

/// Where the rules, the dashboard, and the example of a configuration are.
pub fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// A server; ends when dropped.
pub struct Prometheus {
    _program: Program,
    _directory: TempDir,
    url: String,
}

impl Prometheus {
    /// One that scrapes these addresses every two seconds, if there are any, and evaluates the
    /// rules of the repository as often.
    pub async fn start(targets: &[String]) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("prometheus.yml");
        let rules = ["recording.yml", "alerts.yml"]
            .map(|name| deployed("prometheus").join(name).display().to_string());
        fs::write(
            &file,
            format!(
                "global: {{ scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 2s }}\n\
                 rule_files: {rules:?}\n\
                 scrape_configs:\n- job_name: profile-gateway\n  static_configs:\n  \
                 - targets: {targets:?}\n"
            ),
        )
        .unwrap();
        let mut command = Command::new(tool("prometheus"));
        let data = directory.path().join("data");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", data.display()));
        command.arg("--web.listen-address=127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let program = Program::spawn(command);
        program.logged("Server is ready to receive web requests").await;
        let log = program.logged("msg=\"Listening on\"").await;
        let line = log.lines().find(|line| line.contains("msg=\"Listening on\"")).unwrap();
        let (_, address) = line.split_once("address=").unwrap();
        let url = format!("http://{}", address.split_whitespace().next().unwrap());
        Self { _program: program, _directory: directory, url }
    }

    /// What it answers to an instant query.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let path = format!("{}/api/v1/query", self.url);
        let url = url::Url::parse_with_params(&path, [("query", expression)]).unwrap();
        let answer = self.ask(url).await?;
        Ok(answer["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until a query has a result.
    pub async fn until(&self, expression: &str) {
        let asked = async {
            while self.query(expression).await.unwrap().is_empty() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LONG, asked).await.unwrap_or_else(|_| panic!("nothing comes of {expression}"));
    }

    /// All rules that it has loaded, in order.
    pub async fn rules(&self) -> Vec<Value> {
        let url = format!("{}/api/v1/rules", self.url).parse().unwrap();
        let answer = self.ask(url).await.unwrap();
        let groups = answer["groups"].as_array().unwrap().iter();
        groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    async fn ask(&self, url: url::Url) -> Result<Value, String> {
        let answer = patiently("an answer of Prometheus", reqwest::get(url)).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }
}

/// What `promtool` says to this, and whether it is content.
pub async fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(tool("promtool"));
    command.args(arguments).current_dir(deployed("prometheus")).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may not read all of it, and then says why.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    patiently("the end of promtool", child.wait_with_output()).await.unwrap()
}

fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
    let all = std::env::split_paths(&path).chain([tools]).map(|directory| directory.join(name));
    let found = all.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed; `make tools` does it"))
}
