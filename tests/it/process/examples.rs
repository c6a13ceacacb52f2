//! The examples, run as a caller would run them, and the service config that they use.

use std::{
    ffi::OsStr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorPool, prost_types::method_options::IdempotencyLevel};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::{
    calls::metric,
    child::{Ended, Gateway, Program, gateway, sandbox, serve, sft},
};
use crate::kit::{
    certificates::{Authority, Leaf},
    double::ClosedPort,
    tokens::{AUDIENCE, ISSUER, Issuer, good},
};

type Variables<'a> = &'a [(&'a str, &'a str)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Something that `make tools` installs.
pub(super) fn tool(path: &str) -> PathBuf {
    let tool = root().join("target/tools").join(path);
    assert!(tool.exists(), "{} is not there: `make test` installs it", tool.display());
    tool
}

pub(super) async fn run(program: impl AsRef<OsStr>, args: &[&OsStr]) -> Ended {
    run_with(program, args, &[]).await
}

/// The same with these variables.
async fn run_with(program: impl AsRef<OsStr>, args: &[&OsStr], env: Variables<'_>) -> Ended {
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).kill_on_drop(true);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    Program::spawn(command).ended().await
}

async fn rust(gateway: &Gateway) -> Ended {
    let program = Path::new(env!("CARGO_BIN_EXE_profile-gateway"));
    let client = program.with_file_name("examples").join("client");
    assert!(
        client.exists(),
        "the example is not built: `cargo test --workspace` without `--test` builds it"
    );
    run(client, &[format!("http://{}", gateway.grpc).as_ref()]).await
}

/// Node looks for packages beside the script and above it, so the script is put where they are: a
/// copy of the repository's relevant files, with what `make tools` has installed at its root.
async fn node(gateway: &Gateway, env: Variables<'_>) -> Ended {
    let packages = tool("node_modules");
    tool("node.installed");
    let place = TempDir::new().unwrap();
    std::fs::create_dir_all(place.path().join("examples/node")).unwrap();
    for file in ["examples/node/client.mjs", "examples/service_config.json"] {
        std::fs::copy(root().join(file), place.path().join(file)).unwrap();
    }
    symlink(packages, place.path().join("node_modules")).unwrap();
    symlink(root().join("proto"), place.path().join("proto")).unwrap();
    let script = place.path().join("examples/node/client.mjs");
    run_with("node", &[script.as_ref(), gateway.grpc.to_string().as_ref()], env).await
}

async fn python(gateway: &Gateway, env: Variables<'_>) -> Ended {
    tool("python.installed");
    let script = root().join("examples/python/client.py");
    let address = gateway.grpc.to_string();
    run_with(tool("python/bin/python"), &[script.as_ref(), address.as_ref()], env).await
}

/// What each example shows: a list, an error with its details, a create and a delete.
#[track_caller]
fn shows_it_all(ended: &Ended) {
    assert_eq!(ended.code(), Some(0), "{}", ended.output());
    for text in [
        "backends/sft/profiles/SP_2: DEFAULT\n",
        "  reason VALIDATION_FAILED\n",
        "  field profile.radio_access: ",
        "\ncreated backends/sft/profiles/SP_",
        "\ndeleted backends/sft/profiles/SP_",
    ] {
        assert!(ended.stdout.contains(text), "{text:?} is not in\n{}", ended.output());
    }
}

#[tokio::test]
async fn the_example_in_rust_runs() {
    let ended = rust(&gateway(&[], &[]).await).await;
    shows_it_all(&ended);
    assert!(ended.stdout.contains(", renamed\"\n"), "{}", ended.stdout);
}

#[tokio::test]
async fn the_example_in_node_runs() {
    shows_it_all(&node(&gateway(&[], &[]).await, &[]).await);
}

#[tokio::test]
async fn the_example_in_python_runs() {
    shows_it_all(&python(&gateway(&[], &[]).await, &[]).await);
}

const WORKLOAD: &str = "spiffe://example.org/ns/examples/sa/client";

/// A gateway with TLS that demands proof, and has two callers who may do it all: one by its
/// certificate, and one by its token.
async fn guarded(authority: &Authority, issuer: &Issuer, audit: &str) -> Gateway {
    let own = authority.issue(&Leaf::server(&["localhost", "127.0.0.1"]));
    let (ca, keys) = (authority.file("ca.pem"), issuer.path());
    let env = [
        ("AUDIT__FILE", audit),
        ("SERVER__TLS__CERT", &own.certificate),
        ("SERVER__TLS__KEY", &own.key),
        ("SERVER__TLS__CLIENT_CA", &ca),
        ("SERVER__TLS__CLIENT_AUTH", "optional"),
        ("AUTH__MODE", "required"),
        ("AUTH__JWT__IDP__ISSUER", ISSUER),
        ("AUTH__JWT__IDP__AUDIENCE", AUDIENCE),
        ("AUTH__JWT__IDP__JWKS_FILE", &keys),
        ("AUTH__ROLES__ALL__RIGHTS", "read, write, delete"),
        ("AUTH__ROLES__ALL__BACKENDS", "*"),
        ("AUTH__CALLERS__WORKLOAD__ROLES", "all"),
        ("AUTH__CALLERS__WORKLOAD__SPIFFE", WORKLOAD),
        ("AUTH__CALLERS__PERSON__ROLES", "all"),
        ("AUTH__CALLERS__PERSON__ISSUER", ISSUER),
        ("AUTH__CALLERS__PERSON__SUBJECT", "person"),
    ];
    let env = env.map(|(key, value)| (format!("PROFILE_GATEWAY__{key}"), value));
    let env: Vec<(&str, &str)> = env.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    gateway(&[], &env).await
}

#[tokio::test]
async fn the_examples_in_node_and_python_show_certificates_and_send_tokens() {
    let (authority, issuer, place) = (Authority::new(), Issuer::new(), TempDir::new().unwrap());
    let audit = place.path().join("audit.log").display().to_string();
    let gateway = guarded(&authority, &issuer, &audit).await;
    let (ca, client) = (authority.file("ca.pem"), authority.issue(&Leaf::client(&[WORKLOAD])));
    let token = authority.write("token", &(good("person") + "\n"));
    let trusting = ("CA_FILE", ca.as_str());
    let certified =
        [trusting, ("CERT_FILE", client.certificate.as_str()), ("KEY_FILE", client.key.as_str())];
    let with_token = [trusting, ("TOKEN_FILE", token.as_str())];
    for env in [&certified[..], &with_token] {
        shows_it_all(&node(&gateway, env).await);
        shows_it_all(&python(&gateway, env).await);
    }
    for refused in [node(&gateway, &[trusting]).await, python(&gateway, &[trusting]).await] {
        assert_eq!(refused.code(), Some(1), "{}", refused.output());
        assert!(refused.stdout.contains("CALLER_UNAUTHENTICATED"), "{}", refused.output());
    }
    let lines = std::fs::read_to_string(&audit).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ended: Vec<Value> = lines
        .filter(|line| line["target"] == "audit" && line["outcome"] == "OK")
        .map(|line| json!([line["method"], line["caller"], line["caller_via"]]))
        .collect();
    for (caller, via) in [("workload", "mtls"), ("person", "jwt")] {
        for method in ["CreateProfile", "DeleteProfile"] {
            let expected = json!([method, caller, via]);
            assert_eq!(ended.iter().filter(|one| **one == expected).count(), 2, "{ended:#?}");
        }
    }
}

/// How many calls of a method ended so.
async fn calls(gateway: &Gateway, method: &str, code: &str, reason: &str) -> u64 {
    let method = format!("profilegateway.v1.ProfileService/{method}");
    let labels = format!("method=\"{method}\",code=\"{code}\",reason=\"{reason}\"");
    metric(gateway, &format!("profile_gateway_calls_total{{{labels}}}")).await
}

const DOWN: (&str, &str) = ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE");

#[tokio::test]
async fn with_the_service_config_a_read_that_met_unavailable_is_retried() {
    let sandbox = sandbox().await;
    let gateway = serve(&format!("{}\nmax_attempts = 1\n", sandbox.config), &[]).await;
    let fault = json!({ "kind": "status", "status": 503 });
    let order = json!({ "upstream": "sft", "operation": "GetServiceProfile", "fault": fault });
    let url = format!("{}/sandbox/faults", sandbox.url);
    let armed = reqwest::Client::new().post(url).json(&order).send().await.unwrap();
    assert_eq!(armed.status(), 200, "{}", armed.text().await.unwrap());

    shows_it_all(&node(&gateway, &[]).await);
    assert_eq!(calls(&gateway, "ListProfiles", DOWN.0, DOWN.1).await, 1);
    assert_eq!(calls(&gateway, "ListProfiles", "OK", "").await, 1);
}

#[tokio::test]
async fn with_the_service_config_a_write_is_sent_once() {
    let closed = ClosedPort::new();
    let config = sft(&closed.base_url(), "ops", "hunter2") + "max_attempts = 1\n";
    let gateway = serve(&config, &[]).await;
    let ended = node(&gateway, &[]).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.output());
    assert!(ended.stdout.contains("CreateProfile: UNAVAILABLE: "), "{}", ended.output());
    assert_eq!(calls(&gateway, "CreateProfile", DOWN.0, DOWN.1).await, 1);
    // So retries do happen.
    assert_eq!(calls(&gateway, "ListProfiles", DOWN.0, DOWN.1).await, 4);
}

/// Full names of the methods of an entry of the service config.
fn names(entry: &Value) -> Vec<String> {
    let name = |name: &Value| {
        let part = |key: &str| name[key].as_str().unwrap_or_else(|| panic!("{name}: {key}"));
        format!("{}/{}", part("service"), part("method"))
    };
    entry["name"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn the_service_config_has_exactly_the_methods_without_side_effects_retried() {
    let text = std::fs::read_to_string(root().join("examples/service_config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let entries = config["methodConfig"].as_array().unwrap();
    let (mut retried, mut sent_once) = (Vec::new(), Vec::new());
    for entry in entries {
        let Some(policy) = entry.get("retryPolicy") else {
            sent_once.extend(names(entry));
            continue;
        };
        assert_eq!(policy["retryableStatusCodes"], json!(["UNAVAILABLE"]));
        assert!((2..=5).contains(&policy["maxAttempts"].as_u64().unwrap()), "{policy}");
        retried.extend(names(entry));
    }
    let pool = DescriptorPool::decode(profile_gateway::pb::DESCRIPTOR_SET).unwrap();
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let name = format!("{}/{}", method.parent_service().full_name(), method.name());
        let options = method.method_descriptor_proto().options.clone().unwrap_or_default();
        let reads_only = options.idempotency_level() == IdempotencyLevel::NoSideEffects;
        if reads_only { reads.push(name) } else { writes.push(name) }
    }
    for list in [&mut retried, &mut sent_once, &mut reads, &mut writes] {
        list.sort();
    }
    assert_eq!((retried, sent_once), (reads, writes));
    let watched = config["healthCheckConfig"]["serviceName"].as_str().unwrap();
    assert!(pool.get_service_by_name(watched).is_some(), "{watched}");
}
