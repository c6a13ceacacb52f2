//! The admin port: who may set what, what is refused, and what the audit log has of it.

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::{JANES, admin, end, in_force, operated, set};
use crate::kit::{
    double::{self, Double, GET, double},
    gateway::{Gateway, OPERATORS, gateway},
    status::failure,
    until,
};

const READ_ONLY: &str = "/backends/sft/read-only";

/// All that can be set.
const ALL: [&str; 5] = [
    READ_ONLY,
    "/backends/sft/circuit/open",
    "/backends/sft/circuit/closed",
    "/writes/freeze",
    "/log-level?filter=info",
];

async fn start() -> (Double, Gateway) {
    let upstream = double().await;
    let gateway = operated().fixed("sft", &upstream.base_url, "").start().await;
    (upstream, gateway)
}

#[tokio::test]
async fn what_is_in_force_is_answered_and_listed() {
    let (_upstream, gateway) = start().await;
    let set = set(&gateway, &format!("{READ_ONLY}?for=30m&note=INC-1+%3Cvendor%3E")).await;
    let lever = &set["set"];
    assert_eq!(lever["lever"], "read_only");
    assert_eq!((&lever["backend"], &lever["operator"]), (&"sft".into(), &"jane".into()));
    assert_eq!(lever["note"], "INC-1 ‹vendor›");
    assert!(set["replaced"].is_null());
    assert_eq!(set["in_force"], Value::from(vec![lever.clone()]));
    let (status, again) = admin(&gateway, Method::POST, READ_ONLY, OPERATORS).await;
    assert_eq!((status, &again["replaced"]), (200, lever));
    assert_eq!(again["set"]["operator"], "admin");
    assert_eq!(in_force(&gateway).await, [("read_only".into(), "sft".into())]);
    let (status, ended) = admin(&gateway, Method::DELETE, READ_ONLY, OPERATORS).await;
    assert_eq!((status, &ended["ended"]), (200, &again["set"]));
    assert_eq!(in_force(&gateway).await, []);
}

#[tokio::test]
async fn nothing_is_set_without_someone_to_name() {
    let upstream = double().await;
    let gateway = gateway().fixed("sft", &upstream.base_url, "").start().await;
    for path in ALL {
        for method in [Method::POST, Method::DELETE] {
            let (status, why) = admin(&gateway, method, path, "").await;
            assert_eq!(status, 403, "{path}: {why}");
            assert!(why.as_str().unwrap().contains("`admin_token`"), "{why}");
        }
    }
    let (status, listed) = admin(&gateway, Method::GET, "/levers", "").await;
    assert_eq!((status, listed["in_force"].as_array().unwrap().len()), (200, 0));
    // A pause is ended as before.
    assert_eq!(gateway.post_admin("/backends/sft/end-pause").await, 200);
}

#[tokio::test]
async fn a_token_is_needed_and_no_page_in_a_browser_may_send_it() {
    let (_upstream, gateway) = start().await;
    for path in ALL.into_iter().chain(["/levers"]) {
        for token in ["", "wrong", &JANES[1..], &format!("{JANES}2")] {
            let (status, why) = admin(&gateway, Method::POST, path, token).await;
            assert_eq!(status, 401, "{path}: {why}");
        }
        let url = format!("http://{}{path}", gateway.admin);
        let request = || reqwest::Client::new().post(&url).bearer_auth(JANES);
        let page = request().header("origin", "http://evil.example").send().await.unwrap();
        assert_eq!(page.status(), 403, "{path}");
        let rebound = request().header("host", "evil.example").send().await.unwrap();
        assert_eq!(rebound.status(), 421, "{path}");
    }
    assert_eq!(in_force(&gateway).await, []);
}

#[tokio::test]
async fn nothing_changes_by_a_read() {
    let (_upstream, gateway) = start().await;
    for path in ALL {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::PATCH] {
            let url = format!("http://{}{path}", gateway.admin);
            let request = reqwest::Client::new().request(method.clone(), url).bearer_auth(JANES);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 405, "{method} {path}");
            let allowed = answer.headers()["allow"].to_str().unwrap().to_owned();
            assert!(allowed.contains("POST") && allowed.contains("DELETE"), "{path}: {allowed}");
        }
    }
    for method in [Method::POST, Method::DELETE, Method::PUT] {
        assert_eq!(admin(&gateway, method, "/levers", JANES).await.0, 405);
    }
    assert_eq!(in_force(&gateway).await, []);
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_what_to_do() {
    let (_upstream, gateway) = start().await;
    let long = format!("{READ_ONLY}?note={}", "x".repeat(300));
    let filter = format!("/log-level?filter={}", "a=info,".repeat(50));
    for (path, status, said) in [
        ("/backends/sft/read-only?for=25h", 400, "from 1s to 24h"),
        ("/backends/sft/read-only?for=never", 400, "`30m`"),
        ("/backends/sft/read-only?fro=1h", 400, "there are `for`, `note`"),
        ("/backends/sft/read-only?for=1m&for=2m", 400, "twice"),
        (&long, 400, "the limit is 256"),
        ("/log-level", 400, "`filter` is missing"),
        ("/log-level?filter=loud", 400, "is not one of off, error"),
        ("/log-level?filter=a%5Bb%5D=info", 400, "only levels"),
        ("/log-level?filter=info,x%7By=.*%7D=info", 400, "only levels"),
        (&filter, 400, "the limit is 256"),
        ("/backends/nope/read-only", 404, "the backends are sft"),
        ("/backends/SFT/circuit/open", 404, "no backend \"SFT\""),
        ("/backends/-/read-only", 404, "no backend"),
        ("/backends/%00%1b%5B2J%E2%80%AE/read-only", 404, "no backend"),
        ("/backends/%ff/read-only", 400, ""),
        ("/backends//read-only", 404, "no backend"),
        ("/backends/sft/circuit/ajar", 405, ""),
        ("/writes/thaw", 405, ""),
    ] {
        let (got, why) = admin(&gateway, Method::POST, path, JANES).await;
        let why = why.as_str().unwrap_or_else(|| panic!("{path}: {why}"));
        assert_eq!(got, status, "{path}: {why}");
        assert!(why.contains(said), "{path}: {why}");
        assert!(!why.trim_end().contains(char::is_control), "{path}: {why:?}");
        assert!(why.len() < 400, "{path}: {why}");
    }
    let (status, why) = admin(&gateway, Method::DELETE, "/writes/freeze?for=1h", JANES).await;
    assert_eq!(status, 400, "{why}");
    let url = format!("http://{}{READ_ONLY}", gateway.admin);
    let request = reqwest::Client::new().post(url).bearer_auth(JANES);
    let sent = request.body("for=1m").send().await.unwrap();
    assert_eq!(sent.status(), 400);
    assert!(sent.text().await.unwrap().contains("in the query"));
    assert_eq!(in_force(&gateway).await, []);
}

/// The lines of the audit log about operators.
fn audited(file: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| line["message"] == "an act of an operator").collect()
}

#[tokio::test]
async fn the_audit_log_names_who_set_what_until_when_and_its_end() {
    let (upstream, directory) = (double().await, TempDir::new().unwrap());
    let file = directory.path().join("audit.log");
    let builder = operated().audit(file.to_str().unwrap());
    let gateway = builder.fixed("sft", &upstream.base_url, "").start().await;
    set(&gateway, &format!("{READ_ONLY}?for=1s&note=Bearer+abc.def")).await;
    until("it has ended by itself", async || audited(&file).len() == 2).await;
    set(&gateway, "/writes/freeze").await;
    end(&gateway, "/writes/freeze").await;
    upstream.then(GET, double::come_back(429, 60));
    failure(gateway.get("SP_1").await);
    let (status, _) = admin(&gateway, Method::POST, "/backends/sft/end-pause", OPERATORS).await;
    assert_eq!(status, 200);
    until("all is written", async || audited(&file).len() == 5).await;
    let lines = audited(&file);
    for (line, (method, principal, lever, backend)) in lines.iter().zip([
        ("SetLever", "jane", "read_only", "sft"),
        ("ExpireLever", "jane", "read_only", "sft"),
        ("SetLever", "jane", "writes_frozen", ""),
        ("EndLever", "jane", "writes_frozen", ""),
        ("EndPause", "admin", "", "sft"),
    ]) {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        assert_eq!((text("method"), text("principal")), (method, principal), "{line}");
        assert_eq!((text("lever"), text("backend")), (lever, backend), "{line}");
        let has_peer = text("peer") == "127.0.0.1";
        assert_eq!(has_peer, method != "ExpireLever", "{line}");
        assert_eq!(text("until").ends_with('Z'), !lever.is_empty(), "{line}");
        assert_eq!((text("outcome"), text("target")), ("OK", "audit"), "{line}");
    }
    assert_eq!(lines[0]["note"], "Bearer [redacted]");
}

#[tokio::test]
async fn who_ends_a_pause_without_a_token_is_where_it_came_from() {
    let (upstream, directory) = (double().await, TempDir::new().unwrap());
    let file = directory.path().join("audit.log");
    let builder = gateway().audit(file.to_str().unwrap());
    let gateway = builder.fixed("sft", &upstream.base_url, "").start().await;
    assert_eq!(gateway.post_admin("/backends/sft/end-pause").await, 200, "nothing to end");
    upstream.then(GET, double::come_back(429, 60));
    failure(gateway.get("SP_1").await);
    assert_eq!(gateway.post_admin("/backends/sft/end-pause").await, 200);
    until("it is written", async || audited(&file).len() == 1).await;
    assert_eq!(audited(&file)[0]["principal"], "127.0.0.1");
}
