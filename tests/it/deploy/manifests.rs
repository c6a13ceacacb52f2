//! What is written in manifests, apart from what its pods do.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use profile_gateway::app::metrics_reference;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    pod::{list, text},
    rendered::{OVERLAYS, named, of_kind, rendered, root},
};

/// Every file below a directory.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.display().to_string(), fs::read_to_string(&path).unwrap())),
        }
    }
    found
}

fn workloads(resources: &[Value]) -> impl Iterator<Item = &Value> {
    of_kind(resources, "Deployment").chain(of_kind(resources, "StatefulSet"))
}

#[test]
fn pods_may_do_nothing_that_they_do_not_need() {
    for overlay in OVERLAYS {
        let resources = rendered(overlay);
        for workload in workloads(&resources) {
            let spec = &workload["spec"]["template"]["spec"];
            let of_pod = &spec["securityContext"];
            assert_eq!(of_pod["runAsNonRoot"], true, "{overlay}");
            assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault", "{overlay}");
            assert_eq!(spec["automountServiceAccountToken"], false, "{overlay}");
            assert_eq!(spec["enableServiceLinks"], false, "{overlay}");
            for container in list(&spec["containers"]) {
                let expected = json!({
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                });
                assert_eq!(container["securityContext"], expected, "{overlay}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{overlay}");
                // Secrets are files.
                assert!(list(&container["env"]).all(|each| each["value"].is_string()));
                assert!(container["envFrom"].is_null(), "{overlay}");
            }
        }
        let gateway = &named(&resources, "Deployment", "profile-gateway")["spec"]["template"];
        let ids = &gateway["spec"]["securityContext"];
        for id in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert_eq!(ids[id], 65532, "{overlay}");
        }
        let secrets = &list(&gateway["spec"]["volumes"]).find(|each| each["name"] == "secrets");
        assert_eq!(secrets.unwrap()["secret"]["defaultMode"], 0o440, "{overlay}");
    }
}

#[test]
fn every_image_is_said_exactly() {
    for overlay in OVERLAYS {
        for workload in workloads(&rendered(overlay)) {
            let image = text(&workload["spec"]["template"]["spec"]["containers"][0]["image"]);
            let own = format!("profile-gateway:{}", env!("CARGO_PKG_VERSION"));
            assert!(image == own || image.contains("@sha256:"), "{overlay}: {image}, not {own}");
        }
    }
}

#[test]
fn ports_lead_to_ports_that_are_there() {
    for overlay in OVERLAYS {
        let resources = rendered(overlay);
        for service in of_kind(&resources, "Service") {
            let wanted = &service["spec"]["selector"]["app.kubernetes.io/name"];
            let pod = workloads(&resources).map(|each| &each["spec"]["template"]);
            let pod = pod
                .into_iter()
                .find(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == *wanted);
            let ports = &pod.unwrap()["spec"]["containers"][0]["ports"];
            for port in list(&service["spec"]["ports"]) {
                let target = list(ports).find(|each| each["name"] == port["targetPort"]);
                let target = target.unwrap_or_else(|| panic!("{overlay}: {port} leads nowhere"));
                assert_eq!(target["containerPort"], port["port"], "{overlay}");
            }
        }
    }
}

/// What a pod needs from the signal to its end, as Kubernetes counts it.
#[test]
fn the_time_to_end_is_longer_than_the_drain() {
    for overlay in OVERLAYS {
        let resources = rendered(overlay);
        let spec = &named(&resources, "Deployment", "profile-gateway")["spec"]["template"]["spec"];
        let sleep = &spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"];
        let config =
            text(&named(&resources, "ConfigMap", "profile-gateway")["data"]["gateway.toml"]);
        let config: toml::Table = config.parse().unwrap();
        let duration =
            |key: &str| humantime::parse_duration(config["server"][key].as_str().unwrap()).unwrap();
        let drain = duration("drain_grace") + duration("drain_timeout");
        let needed = Duration::from_secs(sleep.as_u64().unwrap()) + drain;
        let given = spec["terminationGracePeriodSeconds"].as_u64().unwrap();
        // With some seconds to write its last state in.
        let given = Duration::from_secs(given).saturating_sub(Duration::from_secs(5));
        assert!(needed <= given, "{overlay}: {needed:?} of {given:?}");
        // A write may take its whole deadline.
        assert!(duration("drain_timeout") >= Duration::from_secs(45), "{overlay}");
    }
}

#[test]
fn every_metric_that_is_named_exists() {
    let reference = metrics_reference();
    let mut named = 0;
    for (path, text) in files(&root().join("deploy/kubernetes")) {
        for (at, _) in text.match_indices("profile_gateway_") {
            let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            let metric = text[at..].split(end).next().unwrap();
            assert!(reference.contains(&format!("`{metric}`")), "{path}: {metric}");
            named += 1;
        }
    }
    assert!(named >= 2, "the HorizontalPodAutoscaler and its adapter name one");
}

/// One of several of these would write over what another one does, unless replicas share a store.
#[test]
fn only_a_shared_store_has_several_pods() {
    let single = rendered("single");
    let deployment = named(&single, "Deployment", "profile-gateway");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"], json!({ "type": "Recreate" }));
    assert_eq!(of_kind(&single, "HorizontalPodAutoscaler").count(), 0);
    for overlay in &OVERLAYS[1..] {
        let resources = rendered(overlay);
        let scaler = named(&resources, "HorizontalPodAutoscaler", "profile-gateway");
        assert_eq!(scaler["spec"]["minReplicas"], 2, "{overlay}");
        let deployment = named(&resources, "Deployment", "profile-gateway");
        assert!(deployment["spec"]["replicas"].is_null(), "each apply would set it again");
    }
}

/// An overlay and those that it is made of, with a mistake in one of its files.
fn with_mistake(overlay: &str, file: &str, right: &str, wrong: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let (from, to) = (root().join("deploy/kubernetes"), directory.path().join("kubernetes"));
    let copied = Command::new("cp").arg("-r").arg(from).arg(&to).status().unwrap();
    assert!(copied.success());
    for other in OVERLAYS.iter().filter(|other| **other != overlay) {
        let is_base = *other == "replicas" && overlay != "single";
        if !is_base {
            fs::remove_dir_all(to.join("overlays").join(other)).unwrap();
        }
    }
    let changed = to.join(file);
    let text = fs::read_to_string(&changed).unwrap();
    assert!(text.contains(right), "{file} has no {right:?}");
    fs::write(changed, text.replacen(right, wrong, 1)).unwrap();
    directory
}

#[track_caller]
fn is_found(overlay: &str, file: &str, [right, wrong]: [&str; 2], said: &str) {
    let made = with_mistake(overlay, file, right, wrong);
    let mut script = Command::new(root().join("scripts/manifests"));
    script.arg(root().join("target/tools")).arg(made.path().join("kubernetes/overlays"));
    let checked = script.stdin(Stdio::null()).output().unwrap();
    let complaint = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success() && complaint.contains(said), "{file}: {complaint}");
}

#[test]
fn mistakes_in_manifests_are_found() {
    let field = ["periodSeconds: 1\n", "periodSecs: 1\n"];
    is_found("single", "base/deployment.yaml", field, "periodSecs");
    let value = ["failureThreshold: 60", "failureThreshold: sixty"];
    is_found("single", "base/deployment.yaml", value, "sixty");
}

#[test]
fn mistakes_in_resources_of_others_are_found() {
    let monitor = "components/monitoring/servicemonitor.yaml";
    let unknown = "spec.endpoints.0.every is unknown";
    is_found("replicas", monitor, ["interval:", "every:"], unknown);
    let service = "overlays/istio/virtualservice.yaml";
    let unknown = "spec.http.0.retries.retryon is unknown";
    is_found("istio", service, ["retryOn:", "retryon:"], unknown);
    is_found("istio", service, ["attempts: 2", "attempts: two"], "retries/attempts");
    let server = "overlays/linkerd/authorization.yaml";
    is_found("linkerd", server, ["proxyProtocol:", "protocol:"], "spec.protocol is unknown");
    let version = "policy.linkerd.io/v1beta9 is not known";
    is_found("linkerd", server, ["v1beta3", "v1beta9"], version);
}
