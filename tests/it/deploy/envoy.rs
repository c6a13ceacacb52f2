//! The Envoy of `deploy/envoy`, in front of two replicas.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use profile_gateway::pb::{
    GetProfileRequest, Profile, profile_service_client::ProfileServiceClient,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Request, Response, Status, transport::Endpoint};

use super::rendered::{documents, root, tool};
use crate::kit::child::{Gateway, patiently, sandbox, serve, until};

fn file() -> PathBuf {
    root().join("deploy/envoy/envoy.yaml")
}

#[test]
fn envoy_takes_the_configuration() {
    let valid = |path: &Path| {
        let mut command = Command::new(tool("envoy"));
        command.args(["--mode", "validate", "--log-level", "error", "--config-path"]).arg(path);
        command.stdin(Stdio::null()).output().unwrap().status.success()
    };
    assert!(valid(&file()));
    let directory = TempDir::new().unwrap();
    let text = std::fs::read_to_string(file()).unwrap();
    let wrong = directory.path().join("envoy.yaml");
    std::fs::write(&wrong, text.replacen("grpc_health_check", "grpc_health", 1)).unwrap();
    assert!(!valid(&wrong));
}

/// Each value that some JSON has under a key, wherever.
fn all<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    for (name, member) in value.as_object().into_iter().flatten() {
        if name == key {
            found.push(member);
        }
        all(member, key, found);
    }
    value.as_array().into_iter().flatten().for_each(|each| all(each, key, found));
}

/// What happens to a request that a replica has not got.
const UNSENT: [&str; 3] = ["connect-failure", "refused-stream", "reset-before-request"];
/// The methods that write nothing, by how they begin.
const READS: [&str; 6] = ["Get", "BatchGet", "List", "Diff", "Translate", "Preview"];

/// A call is repeated only where nothing can have been written. The gateway says UNAVAILABLE only
/// then, but a sidecar of Istio says it as well.
#[test]
fn only_calls_that_did_nothing_are_repeated() {
    let istio = root().join("deploy/kubernetes/overlays/istio/virtualservice.yaml");
    for (path, key, of_gateway) in [(file(), "retry_on", true), (istio, "retryOn", false)] {
        let documents = Value::Array(documents(&path));
        let (mut conditions, mut regexes) = (Vec::new(), Vec::new());
        all(&documents, key, &mut conditions);
        all(&documents, "regex", &mut regexes);
        let [regex] = regexes[..] else { panic!("{regexes:?}") };
        let begins = format!(r"/profilegateway\.v1\.\w+/({})\w+", READS.join("|"));
        assert_eq!(regex, &Value::from(begins), "{}", path.display());
        let unsafe_for_writes = |conditions: &&&Value| {
            let mut conditions = conditions.as_str().unwrap().split(',');
            let is_safe = |each| UNSENT.contains(&each) || (of_gateway && each == "unavailable");
            !conditions.all(is_safe)
        };
        assert_eq!(conditions.len(), 2, "of reads, and of all else");
        assert_eq!(conditions.iter().filter(unsafe_for_writes).count(), 1, "{conditions:?}");
    }
}

#[test]
fn what_is_repeated_as_a_read_writes_nothing() {
    const WRITES: [&str; 10] = [
        "CreateProfile",
        "UpdateProfile",
        "DeleteProfile",
        "AttachService",
        "DetachService",
        "AttachTrafficLimit",
        "DetachTrafficLimit",
        "PurgeCache",
        "CloseDoubtfulWrite",
        "WatchProfiles",
    ];
    let folder = root().join("proto/profilegateway/v1");
    let mut others = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for rest in text.split("\n  rpc ").skip(1) {
            let method = rest.split('(').next().unwrap().to_owned();
            if !READS.iter().any(|begin| method.starts_with(begin)) {
                others.push(method);
            }
        }
    }
    others.sort();
    let mut expected = WRITES.map(str::to_owned);
    expected.sort();
    assert_eq!(others, expected, "methods that are not reads");
}

/// An Envoy with this configuration in front of these replicas; it ends when this is dropped.
struct Envoy {
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
    fn start(replicas: [SocketAddr; 2]) -> Self {
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("envoy.yaml");
        let mut text = std::fs::read_to_string(file()).unwrap();
        let [one, other] = replicas.map(|address| address.port());
        for (told, port) in [(50051, 0), (50052, one), (50053, other)] {
            let told = format!("port_value: {told} ");
            assert_eq!(text.matches(&told).count(), 1, "{told}");
            text = text.replace(&told, &format!("port_value: {port} "));
        }
        std::fs::write(&config, text).unwrap();
        let any = json!({ "socket_address": { "address": "127.0.0.1", "port_value": 0 } });
        let mut command = Command::new(tool("envoy"));
        command.arg("--config-path").arg(config);
        command.arg("--config-yaml").arg(json!({ "admin": { "address": any } }).to_string());
        command.arg("--admin-address-path").arg(directory.path().join("admin"));
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"]);
        let process = command.stdin(Stdio::null()).spawn().unwrap();
        Self { process, directory }
    }

    async fn asked(&self, path: &str) -> Option<Value> {
        let admin = std::fs::read_to_string(self.directory.path().join("admin")).ok()?;
        reqwest::get(format!("http://{admin}{path}")).await.ok()?.json().await.ok()
    }

    /// Where it listens, once it has found both replicas healthy.
    async fn address(&self) -> SocketAddr {
        let mut address = None;
        until("both replicas are healthy", async || {
            let clusters = self.asked("/clusters?format=json").await.unwrap_or_default();
            let hosts = clusters["cluster_statuses"][0]["host_statuses"].as_array();
            let is_healthy = |host: &&Value| {
                let status = &host["health_status"];
                let fails = !status["failed_active_health_check"].is_null();
                status["eds_health_status"] == "HEALTHY" && !fails
            };
            let healthy = hosts.into_iter().flatten().filter(is_healthy);
            let listeners = self.asked("/listeners?format=json").await.unwrap_or_default();
            let bound = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
            address = bound["port_value"].as_u64();
            healthy.count() == 2 && address.is_some()
        })
        .await;
        SocketAddr::from(([127, 0, 0, 1], u16::try_from(address.unwrap()).unwrap()))
    }
}

async fn read(
    client: &mut ProfileServiceClient<tonic::transport::Channel>,
    id: Option<&str>,
) -> Result<Response<Profile>, Status> {
    let name = "backends/sft/profiles/SP_2".to_owned();
    let mut request = Request::new(GetProfileRequest { name, read_mask: None });
    request.set_timeout(Duration::from_secs(40));
    if let Some(id) = id {
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
    }
    patiently("a read", client.get_profile(request)).await
}

#[tokio::test]
async fn calls_keep_their_ids_and_survive_a_replica_that_is_killed() {
    let upstream = sandbox().await;
    let replicas: [Gateway; 2] =
        [serve(&upstream.config, &[]).await, serve(&upstream.config, &[]).await];
    let envoy = Envoy::start([replicas[0].grpc, replicas[1].grpc]);
    let endpoint = Endpoint::new(format!("http://{}", envoy.address().await)).unwrap();
    let mut client = ProfileServiceClient::new(endpoint.connect().await.unwrap());

    let answered = read(&mut client, Some("id-of-the-client")).await.unwrap();
    assert_eq!(answered.metadata().get("x-request-id").unwrap(), "id-of-the-client");
    let [one, other] = &replicas;
    let logged = r#""caller_request_id":"id-of-the-client""#;
    tokio::select! { _ = one.program.logged(logged) => {}, _ = other.program.logged(logged) => {} }
    let answered = read(&mut client, None).await.unwrap();
    assert!(answered.metadata().get("x-request-id").is_some(), "Envoy makes one");

    // Each has calls on its connections by then. From one on, no read may fail.
    for _ in 0..20 {
        read(&mut client, None).await.unwrap();
    }
    one.program.signal(Signal::KILL);
    let mut failures = Vec::new();
    for _ in 0..50 {
        failures.extend(read(&mut client, None).await.err());
    }
    assert!(failures.is_empty(), "{failures:?}");
}
