//! Pods as manifests have them, started on this machine: what is mounted is a configuration that
//! the program takes, its probes are answered, and callers prove who they are.

use std::{collections::BTreeMap, fs, net::SocketAddr, process::Stdio};

use profile_gateway::pb::{GetProfileRequest, profile_service_client::ProfileServiceClient};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tonic::{Code, Request, Status, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    pod::{Pod, list, text},
    rendered::{OVERLAYS, named, rendered, root},
};
use crate::kit::{
    child::{Ended, Gateway, command, patiently, run, started, until},
    status::failure,
    tokens::{RS256, claims, header, rsa_jwk, token, with},
};

/// What the page on Kubernetes has made, with the keys that `make_tokens` signs with.
fn secret() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("admin-token", "an-admin-token-of-the-kit".to_owned()),
        ("page-token-key", "a-page-token-key-of-the-kit".to_owned()),
        ("jwks.json", json!({ "keys": [rsa_jwk("rsa")] }).to_string()),
        ("sft-password", "sandbox-password".to_owned()),
        ("endpoint-token", "sandbox-application-token".to_owned()),
        ("pcc-password", "sandbox-password".to_owned()),
        ("store-password", "a-password-of-the-kit".to_owned()),
    ])
}

fn gateway_of(resources: &[Value]) -> Pod {
    let deployment = named(resources, "Deployment", "profile-gateway");
    Pod::of(resources, deployment, &secret())
}

/// What the program says of the configuration where it has this much memory.
async fn check(pod: &Pod, budget: u64) -> Ended {
    let config = pod.arguments.iter().skip_while(|each| *each != "--config").nth(1).unwrap();
    let budget = budget.to_string();
    let budget = [("PROFILE_GATEWAY__MEMORY__BUDGET_BYTES", &*budget)];
    let own = pod.env.iter().map(|(name, value)| (&**name, &**value));
    let env: Vec<_> = own.chain(budget).collect();
    run(&["check", "--json", "--config", config], &env).await
}

#[tokio::test]
async fn what_is_mounted_is_a_configuration_that_fits_the_ports() {
    for overlay in OVERLAYS {
        let resources = rendered(overlay);
        let pod = gateway_of(&resources);
        let deployment = named(&resources, "Deployment", "profile-gateway");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let limit = text(&container["resources"]["limits"]["memory"]).strip_suffix("Mi").unwrap();
        let budget = limit.parse::<u64>().unwrap() * 1024 * 1024 * 60 / 100;
        let checked = check(&pod, budget).await;
        assert_eq!(checked.code(), Some(0), "{overlay}: {}", checked.stderr);
        let warnings = checked.stderr.lines().filter(|line| line.starts_with("warning: "));
        let warnings: Vec<&str> = warnings.collect();
        match overlay {
            "single" => assert!(warnings.is_empty(), "{warnings:?}"),
            // A mesh encrypts it, or the network of the cluster does not.
            _ => assert!(warnings.len() == 1 && warnings[0].contains("store.url"), "{warnings:?}"),
        }
        let config: Value = serde_json::from_str(&checked.stdout).unwrap();
        let ports = &container["ports"];
        for (key, name) in
            [("listen", "grpc"), ("admin_listen", "admin"), ("probe_listen", "probes")]
        {
            let port = list(ports).find(|port| port["name"] == name).unwrap();
            // On all addresses, so that others than the pod reach it.
            let expected = format!(":{}", port["containerPort"]);
            assert_eq!(config[key], expected, "{overlay}");
        }
        assert_eq!(config["auth"]["mode"], "required", "{overlay}");
    }
}

/// What the guide makes is what is mounted, and nothing else.
#[test]
fn the_guide_makes_every_secret() {
    let guide = fs::read_to_string(root().join("docs/guides/kubernetes.md")).unwrap();
    for file in secret().keys() {
        assert!(guide.contains(&format!("secrets/{file}")), "the guide does not make {file}");
    }
    for overlay in OVERLAYS {
        let said = gateway_of(&rendered(overlay)).said();
        for (at, place) in said.match_indices("/run/secrets/profile-gateway/") {
            let name = said[at + place.len()..].split(['"', '\n']).next().unwrap();
            assert!(secret().contains_key(name), "{overlay}: {name}");
        }
    }
}

/// The server that replicas share, as the overlay configures it; it ends when this is dropped.
struct Valkey {
    pod: Pod,
    _process: Child,
}

impl Valkey {
    async fn start(resources: &[Value]) -> Self {
        let example = fs::read_to_string(root().join("examples/replicas/redis.conf")).unwrap();
        let user = example.lines().find(|line| line.starts_with("user gateway ")).unwrap();
        let user = user.replace("change-this-password", &secret()["store-password"]);
        let users =
            format!("user default off\n{}\n", user.replace("{pg1:trial}", "{pg1:production}"));
        let server = named(resources, "StatefulSet", "valkey");
        let pod = Pod::of(resources, server, &BTreeMap::from([("users.acl", users)]));
        let [program, file] = &pod.arguments[..] else { panic!("{:?}", pod.arguments) };
        assert_eq!(program, "valkey-server");
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", root().join("target/tools/bin").display());
        let mut command = Command::new("redis-server");
        command.arg(file).args(["--port", "0", "--unixsocket"]).arg(pod.own("valkey.sock"));
        command.env("PATH", path).stdout(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().expect("redis-server, which `make tools` installs");
        let valkey = Self { pod, _process: process };
        let socket = valkey.pod.own("valkey.sock");
        until("the server that replicas share", async || socket.exists()).await;
        valkey
    }

    fn url(&self) -> String {
        format!("unix:{}", self.pod.own("valkey.sock").display())
    }
}

/// Starts the pod over the simulated upstreams, with these variables too.
async fn start(pod: &Pod, more: &[(&str, &str)]) -> Gateway {
    let own = pod.env.iter().map(|(name, value)| (&**name, &**value));
    let probes = [("PROFILE_GATEWAY__PROBE_LISTEN", "127.0.0.1:0")];
    let env: Vec<_> = own.chain(probes).chain(more.iter().copied()).collect();
    let arguments: Vec<&str> = pod.arguments.iter().map(String::as_str).collect();
    started(&env, |env| command(&arguments, env)).await
}

/// A token as a cluster makes it for a service account.
fn of_account(name: &str) -> String {
    let subject = format!("system:serviceaccount:profile-gateway:{name}");
    let issuer = json!({ "iss": "https://kubernetes.default.svc.cluster.local" });
    token(&header(), &with(claims(&subject), issuer), RS256)
}

/// Reads a profile from one of this machine's addresses, with this metadata.
async fn read(
    source: &str,
    address: SocketAddr,
    metadata: Option<(&'static str, String)>,
) -> Result<(), Status> {
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
    let endpoint = endpoint.local_address(Some(source.parse().unwrap()));
    let channel = patiently("a connection", endpoint.connect()).await.unwrap();
    let name = "backends/sft/profiles/SP_2".to_owned();
    let mut request = Request::new(GetProfileRequest { name, read_mask: None });
    if let Some((key, value)) = metadata {
        request.metadata_mut().insert(key, value.parse().unwrap());
    }
    ProfileServiceClient::new(channel).get_profile(request).await.map(drop)
}

/// Probes it as a kubelet does.
async fn is_probed(deployment: &Value, probes: SocketAddr) {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for kind in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let probe = &container[kind];
        if let Some(path) = probe["httpGet"]["path"].as_str() {
            assert_eq!(probe["httpGet"]["port"], "probes", "{kind}");
            let url = format!("http://{probes}{path}");
            assert_eq!(reqwest::get(url).await.unwrap().status(), 200, "{kind}");
        } else {
            let named = list(&container["ports"]).find(|port| port["name"] == "probes").unwrap();
            assert_eq!(probe["grpc"]["port"], named["containerPort"], "{kind}");
            let endpoint = Endpoint::new(format!("http://{probes}")).unwrap();
            let mut client = HealthClient::new(endpoint.connect().await.unwrap());
            let service = probe["grpc"]["service"].as_str().unwrap_or_default().to_owned();
            let answer = client.check(HealthCheckRequest { service }).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{kind}");
        }
    }
}

/// Scrapes it as Prometheus does, and gives what it got without the token and with it.
async fn metrics(admin: SocketAddr, path: &str) -> (u16, String) {
    let url = format!("http://{admin}{path}");
    let without = reqwest::get(&url).await.unwrap().status().as_u16();
    let asked = reqwest::Client::new().get(&url).bearer_auth(&secret()["admin-token"]);
    (without, asked.send().await.unwrap().text().await.unwrap())
}

#[tokio::test]
async fn pods_start_and_serve_those_who_prove_who_they_are() {
    let sandbox = crate::kit::sandbox::sandbox().await;
    for overlay in OVERLAYS {
        let resources = rendered(overlay);
        let valkey = match overlay {
            "single" => None,
            _ => Some(Valkey::start(&resources).await),
        };
        let pod = gateway_of(&resources);
        let upstream = sandbox.base_url();
        let mut more = vec![
            ("PROFILE_GATEWAY__BACKENDS__SFT__BASE_URL", upstream.as_str()),
            ("PROFILE_GATEWAY__BACKENDS__SFT__USERNAME", "sandbox"),
        ];
        let url = valkey.as_ref().map(Valkey::url);
        more.extend(url.iter().map(|url| ("PROFILE_GATEWAY__STORE__URL", url.as_str())));
        let gateway = start(&pod, &more).await;
        let deployment = named(&resources, "Deployment", "profile-gateway");
        is_probed(deployment, gateway.probes.unwrap()).await;

        let bearer = |account| Some(("authorization", format!("Bearer {}", of_account(account))));
        let refused = failure(read("127.0.0.1", gateway.grpc, None).await);
        assert!(refused.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED"), "{refused:#?}");
        let refused = failure(read("127.0.0.1", gateway.grpc, bearer("other")).await);
        assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{refused:#?}");
        read("127.0.0.1", gateway.grpc, bearer("client")).await.unwrap();

        // What a sidecar says of a client counts in Istio alone.
        let id = "URI=spiffe://cluster.local/ns/profile-gateway/sa/client";
        let said = Some(("x-forwarded-client-cert", id.to_owned()));
        let answered = read("127.0.0.6", gateway.grpc, said.clone()).await;
        assert_eq!(answered.is_ok(), overlay == "istio", "{overlay}: {answered:?}");
        read("127.0.0.1", gateway.grpc, said).await.unwrap_err();

        let scraped = resources.iter().find(|each| each["kind"] == "ServiceMonitor");
        let path = scraped.map_or("/metrics", |each| text(&each["spec"]["endpoints"][0]["path"]));
        let (without, with) = metrics(gateway.admin, path).await;
        assert_eq!(without, 401, "{overlay}");
        let scaler = resources.iter().find(|each| each["kind"] == "HorizontalPodAutoscaler");
        for metric in scaler.iter().flat_map(|scaler| list(&scaler["spec"]["metrics"])) {
            let name = text(&metric["pods"]["metric"]["name"]);
            assert!(with.contains(&format!("\n{name} ")), "{overlay}: no {name} in {with}");
        }
        until("the store that replicas share", async || {
            let (_, now) = metrics(gateway.admin, path).await;
            valkey.is_none() || now.contains("\nprofile_gateway_shared_store_connected 1\n")
        })
        .await;
    }
}
