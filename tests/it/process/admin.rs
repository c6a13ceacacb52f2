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
}

#[tokio::test]
async fn a_scrape_gets_the_format_that_it_asks_for() {
    let gateway = gateway(&[], &[]).await;
    let scrape = async |accept: &str| {
        let url = format!("http://{}/metrics", gateway.admin);
        let request = reqwest::Client::new().get(url).header("accept", accept);
        let response = request.send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (kind, response.text().await.unwrap())
    };
    // What Prometheus 2 sends.
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                      application/openmetrics-text;version=0.0.1;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let (kind, open_metrics) = scrape(prometheus).await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open_metrics.ends_with("# EOF\n"));
    assert!(open_metrics.contains("\n# TYPE profile_gateway_calls counter\n"));
    for accept in ["*/*", "text/plain", "text/html"] {
        let (kind, text) = scrape(accept).await;
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8", "{accept}");
        assert!(text.contains("\n# TYPE profile_gateway_calls_total counter\n"), "{text}");
        assert!(text.contains("\n# TYPE profile_gateway_build_info gauge\n"), "{text}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
    }
}

#[tokio::test]
async fn what_has_not_happened_yet_is_there_as_zero() {
    let gateway = gateway(&[], &[]).await;
    let (_, text) = http_get(gateway.admin, "/metrics").await;
    for line in [
        "calls_total{method=\"profilegateway.v1.ProfileService/CreateProfile\",code=\"OK\",\
         reason=\"\",backend=\"pcc\"} 0",
        "upstream_connection_faults_total{backend=\"sft\",fault=\"unknown_issuer\"} 0",
        "upstream_logins_total{backend=\"endpoint\",outcome=\"login_failed\"} 0",
        "upstream_shed_total{backend=\"sft\",why=\"queue_full\"} 0",
        "upstream_circuit_transitions_total{backend=\"pcc\",to=\"open\"} 0",
        "request_id_refusals_total{bound=\"caller\"} 0",
        "doubtful_writes_settled_total{outcome=\"took_effect\"} 0",
        "log_lines_left_out_total{log=\"access\",cause=\"full\"} 0",
    ] {
        assert!(text.contains(&format!("\nprofile_gateway_{line}\n")), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_process_is_measured_under_the_usual_names() {
    let gateway = gateway(&[], &[]).await;
    let measured = async |name: &str| {
        let (_, text) = http_get(gateway.admin, "/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse::<f64>().unwrap()
    };
    assert!(measured("process_resident_memory_bytes").await > 1e6);
    assert!(
        measured("process_virtual_memory_bytes").await
            > measured("process_resident_memory_bytes").await
    );
    assert!(measured("process_open_fds").await > 3.0);
    assert!(measured("process_max_fds").await > measured("process_open_fds").await);
    assert!(measured("process_threads").await >= 2.0);
    let (now, started) = (std::time::SystemTime::now(), measured("process_start_time_seconds"));
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = started.await;
    assert!(started <= now + 1.0 && started > now - 3600.0, "{started} of {now}");
    let used = measured("process_cpu_seconds_total").await;
    let mut client = profiles(&gateway).await;
    until("the processor's time", async || {
        client.get_profile(fresh(named("SP_2"))).await.unwrap();
        measured("process_cpu_seconds_total").await > used
    })
    .await;
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
    for path in ["/", "/livez", "/readyz", "/metrics", "/config", "/reload", "/levers"] {
        let text = get(path, TOKEN).await.text().await.unwrap();
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{path}: {text:?}");
    }
    let set = client.post(format!("http://{}/writes/freeze", gateway.admin)).bearer_auth(TOKEN);
    assert!(set.send().await.unwrap().text().await.unwrap().ends_with("}\n"));
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
