//! The admin port of the real program.

use serde_json::Value;

use super::{
    calls::{GET, LIST, http_get, metric, named, profiles},
    child::{gateway, serve, sft, until},
    slow::Slow,
};
use crate::kit::gateway::fresh;
use profile_gateway::pb::ListProfilesRequest;

#[tokio::test]
async fn probes_answer() {
    let gateway = gateway(&[], &[]).await;
    assert_eq!(http_get(gateway.admin, "/livez").await, (200, "ok\n".to_owned()));
    let (status, body) = http_get(gateway.admin, "/readyz").await;
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["health"]["backends/sft"], "SERVING", "{body}");
}

#[tokio::test]
async fn a_dead_backend_leaves_the_process_ready() {
    let gateway = serve(&sft("http://127.0.0.1:9", "ops", "hunter2"), &[]).await;
    profiles(&gateway).await.get_profile(named("SP_2")).await.unwrap_err();
    assert_eq!(http_get(gateway.admin, "/readyz").await.0, 200);
    assert_eq!(http_get(gateway.admin, "/livez").await.0, 200);
}

#[tokio::test]
async fn metrics_count_calls_and_upstream_requests() {
    let gateway = gateway(&[], &[]).await;
    let mut client = profiles(&gateway).await;
    client.get_profile(named("SP_2")).await.unwrap();
    client.get_profile(fresh(named("SP_2"))).await.unwrap();
    client.get_profile(named("SP_999")).await.unwrap_err();
    let request = ListProfilesRequest { parent: "backends/sft".to_owned(), ..Default::default() };
    client.list_profiles(request).await.unwrap();

    let calls = |method: &str, code: &str, reason: &str| {
        format!(
            "profile_gateway_calls_total{{method=\"{method}\",code=\"{code}\",reason=\"{reason}\"}}"
        )
    };
    let upstream = |operation: &str| {
        format!(
            "profile_gateway_upstream_requests_total{{backend=\"sft\",operation=\"{operation}\",\
             outcome=\"2xx\"}}"
        )
    };
    for (name, count) in [
        (calls(GET, "OK", ""), 2),
        (calls(GET, "NOT_FOUND", "PROFILE_NOT_FOUND"), 1),
        (calls(LIST, "OK", ""), 1),
        (upstream("login"), 1),
        ("profile_gateway_upstream_logins_total{backend=\"sft\",outcome=\"logged_in\"}".into(), 1),
    ] {
        // A call is counted when its answer has left, which may be after the client has it.
        until(&name, async || metric(&gateway, &name).await == count).await;
    }
    let (_, text) = http_get(gateway.admin, "/metrics").await;
    let reads: u64 = text
        .lines()
        .filter(|line| line.starts_with("profile_gateway_upstream_requests_total{"))
        .filter(|line| !line.contains("operation=\"login\""))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(reads, 4, "{text}");
    assert!(text.contains(&format!(
        "profile_gateway_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    )));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_without_its_secrets() {
    let slow = Slow::start().await;
    let gateway = serve(
        &sft(&slow.url, "ops", "hunter2-config"),
        &[("PROFILE_GATEWAY__SERVER__DEFAULT_TIMEOUT", "12s")],
    )
    .await;
    let (status, body) = http_get(gateway.admin, "/config").await;
    let config: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(config["backends"]["sft"]["base_url"], slow.url.as_str());
    assert_eq!(config["backends"]["sft"]["password"], "[redacted]");
    assert_eq!(config["server"]["default_timeout"], "12s");
    assert!(!body.contains("hunter2"), "{body}");
}

#[tokio::test]
async fn unknown_paths_are_404_and_other_methods_405() {
    let gateway = gateway(&[], &[]).await;
    for path in ["/nope", "/metrics/", "/livez/x", "/config.json"] {
        assert_eq!(http_get(gateway.admin, path).await.0, 404, "{path}");
    }
    let client = reqwest::Client::new();
    for path in ["/livez", "/config", "/nope"] {
        let url = format!("http://{}{path}", gateway.admin);
        assert_eq!(client.post(&url).send().await.unwrap().status(), 405, "{path}");
        assert_eq!(client.delete(&url).send().await.unwrap().status(), 405, "{path}");
        assert_ne!(client.head(&url).send().await.unwrap().status(), 405, "{path}");
    }
}

#[tokio::test]
async fn only_its_own_hosts_are_served() {
    let names = [("PROFILE_GATEWAY__ADMIN_HOSTS", "gateway.ops.example, metrics")];
    let gateway = gateway(&[], &names).await;
    let client = reqwest::Client::new();
    let get = async |path: &str, host: &str| {
        let request = client.get(format!("http://{}{path}", gateway.admin)).header("host", host);
        request.send().await.unwrap().status().as_u16()
    };
    for path in ["/", "/livez", "/readyz", "/metrics", "/config"] {
        for own in ["127.0.0.1:9090", "localhost", "[::1]:1", "Gateway.Ops.Example:9090", "metrics"]
        {
            assert_eq!(get(path, own).await, 200, "{path} {own}");
        }
        for foreign in ["evil.example", "evil.example:9090", "localhost.evil.example", "sft"] {
            assert_eq!(get(path, foreign).await, 421, "{path} {foreign}");
        }
    }
    assert_eq!(get("/nope", "evil.example").await, 421);
    let refused = "profile_gateway_admin_refusals_total{reason=\"host\"}";
    assert_eq!(metric(&gateway, refused).await, 21);
}

#[tokio::test]
async fn a_token_guards_what_only_operators_read() {
    const TOKEN: &str = "a-token-of-operators";
    let gateway = gateway(&[], &[("PROFILE_GATEWAY__ADMIN_TOKEN", TOKEN)]).await;
    let client = reqwest::Client::new();
    let get = async |path: &str, token: &str| {
        let request = client.get(format!("http://{}{path}", gateway.admin));
        let request = match token {
            "" => request,
            token => request.bearer_auth(token),
        };
        request.send().await.unwrap()
    };
    for path in ["/", "/livez", "/readyz"] {
        assert_eq!(get(path, "").await.status(), 200, "{path}");
    }
    let post = client.post(format!("http://{}/backends/sft/end-pause", gateway.admin));
    assert_eq!(post.try_clone().unwrap().send().await.unwrap().status(), 401);
    assert_eq!(post.bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    for path in ["/metrics", "/config", "/nope"] {
        for token in ["", "wrong", "a-token-of-operator", "a-token-of-operators2"] {
            let refused = get(path, token).await;
            assert_eq!(refused.status(), 401, "{path} {token}");
            assert!(refused.headers().contains_key("www-authenticate"));
            assert!(!refused.text().await.unwrap().contains(TOKEN));
        }
    }
    assert_eq!(get("/nope", TOKEN).await.status(), 404);
    let config = get("/config", TOKEN).await.text().await.unwrap();
    assert!(config.contains("\"admin_token\":\"[redacted]\"") && !config.contains(TOKEN));
    let metrics = get("/metrics", TOKEN).await.text().await.unwrap();
    let refused = "profile_gateway_admin_refusals_total{reason=\"token\"} 13";
    assert!(metrics.contains(refused), "{metrics}");
}

#[tokio::test]
async fn an_admin_port_that_all_can_read_is_a_warning() {
    let open = [("PROFILE_GATEWAY__ADMIN_LISTEN", "0.0.0.0:0")];
    let warned = gateway(&["serve", "--sandbox"], &open).await;
    warned.program.logged("any client that reaches the port").await;
    let token = ("PROFILE_GATEWAY__ADMIN_TOKEN", "a-token-of-operators");
    let guarded = gateway(&["serve", "--sandbox"], &[open[0], token]).await;
    guarded.program.signal(rustix::process::Signal::TERM);
    let said = guarded.program.ended().await.stderr;
    assert!(!said.contains("any client that reaches the port"), "{said}");
}
