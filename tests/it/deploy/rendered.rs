//! Overlays as `kubectl kustomize` builds them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// Each with what has to be in the cluster for it.
pub(super) const OVERLAYS: [&str; 4] = ["single", "replicas", "istio", "linkerd"];

/// Makes JSON of YAML.
const TO_JSON: &str = "import json, sys, yaml; \
                       json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A program that `make tools` has installed.
pub(super) fn tool(name: &str) -> PathBuf {
    let path = root().join("target/tools/python/bin").join(name);
    assert!(path.exists(), "{name} is not installed; `make tools` does it");
    path
}

/// What a program prints.
#[track_caller]
pub(super) fn printed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The documents of a YAML file.
pub(super) fn documents(path: &Path) -> Vec<Value> {
    let json = printed(Command::new(tool("python")).args(["-c", TO_JSON]).arg(path));
    serde_json::from_str(&json).unwrap()
}

/// All resources of an overlay.
pub(super) fn rendered(overlay: &str) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("built.yaml");
    let folder = root().join("deploy/kubernetes/overlays").join(overlay);
    let built = printed(Command::new(tool("kubectl")).arg("kustomize").arg(folder));
    std::fs::write(&file, built).unwrap();
    documents(&file)
}

/// Those of a kind.
pub(super) fn of_kind<'r>(
    resources: &'r [Value],
    kind: &'static str,
) -> impl Iterator<Item = &'r Value> {
    resources.iter().filter(move |resource| resource["kind"] == kind)
}

/// The one with this kind and name.
#[track_caller]
pub(super) fn named<'r>(resources: &'r [Value], kind: &'static str, name: &str) -> &'r Value {
    let mut found = of_kind(resources, kind).filter(|each| each["metadata"]["name"] == name);
    match (found.next(), found.next()) {
        (Some(resource), None) => resource,
        _ => panic!("there is not one {kind} with the name {name}"),
    }
}
