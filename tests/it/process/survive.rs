//! What an upstream has to be spared, the next process knows too, however the one before it ended:
//! pauses, and what was used of its limits.

use std::fs;

use profile_gateway::pb::{
    CircuitState, GetBackendRequest, ListProfilesRequest, Profile,
    backend_service_client::BackendServiceClient,
};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Code, Status};

use super::{
    calls::{channel, failure, named, profiles},
    child::{Gateway, file, run, serve, until},
};
use crate::kit::{
    bodies,
    double::{self, Double, GET, double},
    gateway::{TOKEN, fresh},
    sandbox::{Sandbox, sandbox},
};

const BACKENDS: [&str; 3] = ["sft", "endpoint", "pcc"];

fn kept_in(store: &TempDir, config: &str) -> String {
    format!("{config}\n[store]\npath = {:?}", store.path())
}

async fn kill(gateway: Gateway) {
    gateway.program.signal(Signal::KILL);
    drop(gateway.program.ended().await);
}

async fn list(gateway: &Gateway, backend: &str) -> Result<Vec<Profile>, Status> {
    let request =
        ListProfilesRequest { parent: format!("backends/{backend}"), ..Default::default() };
    let listed = profiles(gateway).await.list_profiles(request).await;
    listed.map(|listed| listed.into_inner().profiles)
}

async fn get(gateway: &Gateway, id: &str) -> Result<Profile, Status> {
    let got = profiles(gateway).await.get_profile(fresh(named(id))).await;
    got.map(tonic::Response::into_inner)
}

#[track_caller]
fn is_reason<T: std::fmt::Debug>(result: Result<T, Status>, reason: &str) -> Status {
    let status = result.unwrap_err();
    assert_eq!(failure(&status).1, reason, "{status:?}");
    status
}

async fn end_pause(gateway: &Gateway) -> String {
    let url = format!("http://{}/backends/sft/end-pause", gateway.admin);
    let answer = reqwest::Client::new().post(url).send().await.unwrap();
    answer.text().await.unwrap()
}

/// Waits until the next process would find this of the backend `sft`.
async fn until_kept(store: &TempDir, wanted: impl Fn(&Value) -> bool) {
    until("it is kept", async || {
        let copy = TempDir::new().unwrap();
        let to = copy.path().join("store.redb");
        fs::copy(store.path().join("store.redb"), to).unwrap();
        let stats = run(&["store", "stats", "--path", copy.path().to_str().unwrap()], &[]).await;
        // What is copied while it is written may be torn.
        let found: Result<Value, _> = serde_json::from_str(&stats.stdout);
        found.is_ok_and(|found| wanted(&found["upstreams"]["sft"]))
    })
    .await;
}

async fn circuit(gateway: &Gateway) -> CircuitState {
    let mut backends = BackendServiceClient::new(channel(gateway.grpc).await);
    let request = GetBackendRequest { name: "backends/sft".to_owned() };
    let backend = backends.get_backend(request).await.unwrap().into_inner();
    backend.status.unwrap().circuit_state()
}

/// What `check --connect` finds.
async fn checked(config: &str) -> String {
    let file = file(config);
    run(&["check", "--connect", "-c", &file.path], &[]).await.stderr
}

/// The configuration of a sandbox, with credentials that it refuses.
fn refused(sandbox: &Sandbox) -> String {
    let config = sandbox.config();
    let wrong = |config: String, key: &str| config.replace(key, &format!("{key}not-"));
    ["\npassword = \"", "\napplication_token = \""].into_iter().fold(config, wrong)
}

#[tokio::test]
async fn a_pause_of_logins_holds_and_other_credentials_are_tried_at_once() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let wrong = kept_in(&store, &refused(&sandbox));
    let mut gateway = serve(&wrong, &[]).await;
    for backend in BACKENDS {
        is_reason(list(&gateway, backend).await, "UPSTREAM_AUTH_FAILED");
    }
    let sent = sandbox.journal().await.len();
    for _ in 0..2 {
        kill(gateway).await;
        let checked = checked(&wrong).await;
        assert_eq!(checked.matches("not retried for 4m").count(), BACKENDS.len(), "{checked}");
        gateway = serve(&wrong, &[]).await;
        for backend in BACKENDS {
            let status = is_reason(list(&gateway, backend).await, "UPSTREAM_AUTH_FAILED");
            assert!(status.message().contains("not retried for 4m"), "{status:?}");
        }
        assert_eq!(circuit(&gateway).await, CircuitState::Open);
        assert_eq!(sandbox.journal().await.len(), sent, "nothing is sent into a pause");
    }

    kill(gateway).await;
    let right = kept_in(&store, &sandbox.config());
    let gateway = serve(&right, &[]).await;
    for backend in BACKENDS {
        list(&gateway, backend).await.unwrap();
    }
    let checked = checked(&right).await;
    assert_eq!(checked.matches("takes the credentials").count(), BACKENDS.len(), "{checked}");
    assert_eq!(checked.matches("; its pauses are not known").count(), BACKENDS.len(), "{checked}");
    kill(gateway).await;
    let sent = sandbox.journal().await.len();
    let gateway = serve(&wrong, &[]).await;
    is_reason(list(&gateway, "sft").await, "UPSTREAM_AUTH_FAILED");
    assert_eq!(sandbox.journal().await.len(), sent + 1, "that pause is over");
    kill(gateway).await;
}

#[tokio::test]
async fn an_operator_ends_a_pause_of_logins() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let wrong = kept_in(&store, &refused(&sandbox));
    let gateway = serve(&wrong, &[]).await;
    assert!(end_pause(&gateway).await.starts_with("there is no pause to end"));
    is_reason(list(&gateway, "sft").await, "UPSTREAM_AUTH_FAILED");
    kill(gateway).await;
    let gateway = serve(&wrong, &[]).await;
    assert_eq!(end_pause(&gateway).await, "ok\n");
    assert_eq!(circuit(&gateway).await, CircuitState::Closed);
    gateway.program.signal(Signal::TERM);
    assert_eq!(gateway.program.ended().await.code(), Some(0));
    let gateway = serve(&wrong, &[]).await;
    is_reason(list(&gateway, "sft").await, "UPSTREAM_AUTH_FAILED");
    assert_eq!(sandbox.arrived("login").await, 2);
    kill(gateway).await;
}

#[tokio::test]
async fn logins_of_earlier_processes_count() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let config = sandbox.config().replace("dialect =", "login_limit = \"2/5m\"\ndialect =");
    let config = kept_in(&store, &config);
    for _ in 0..2 {
        let gateway = serve(&config, &[]).await;
        list(&gateway, "endpoint").await.unwrap();
        kill(gateway).await;
    }
    let gateway = serve(&config, &[]).await;
    is_reason(list(&gateway, "endpoint").await, "UPSTREAM_THROTTLED");
    assert_eq!(sandbox.arrived("authenticate").await, 2);
    kill(gateway).await;
}

#[tokio::test]
async fn a_month_is_not_spent_twice() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let lines = "monthly_request_limit = \"40/31days\"\nmax_attempts = 1\ndialect =";
    let config = kept_in(&store, &sandbox.config().replace("dialect =", lines));
    let gateway = serve(&config, &[]).await;
    let mut answered = 0;
    let status = loop {
        match get(&gateway, "SP_352").await {
            Ok(_) => answered += 1,
            Err(status) => break status,
        }
        assert!(answered < 40, "no end of the month");
    };
    is_reason::<()>(Err(status), "UPSTREAM_THROTTLED");
    let sent = u64::try_from(sandbox.journal().await.len()).unwrap();
    until_kept(&store, |sft| sft["used"]["monthly_requests"].as_u64() >= Some(sent)).await;
    kill(gateway).await;

    for _ in 0..2 {
        let gateway = serve(&config, &[]).await;
        let status = is_reason(get(&gateway, "SP_352").await, "UPSTREAM_THROTTLED");
        assert_eq!(status.code(), Code::ResourceExhausted);
        gateway.program.signal(Signal::TERM);
        assert_eq!(gateway.program.ended().await.code(), Some(0));
    }
    assert_eq!(sandbox.journal().await.len() as u64, sent);
    // Another account has a month of its own.
    let other = config.replace("127.0.0.1", "localhost");
    let gateway = serve(&other, &[]).await;
    get(&gateway, "SP_352").await.unwrap();
    kill(gateway).await;
}

async fn fixed(store: &TempDir, lines: &str) -> (Double, String) {
    let upstream = double().await;
    let base_url = &upstream.base_url;
    let config = format!(
        "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = \"{base_url}\"\n\
         access_token = \"{TOKEN}\"\nmax_attempts = 1\n{lines}"
    );
    let config = kept_in(store, &config);
    (upstream, config)
}

#[tokio::test]
async fn a_pause_that_a_429_asks_for_holds() {
    let store = TempDir::new().unwrap();
    let (upstream, config) = fixed(&store, "max_pause = \"1h\"").await;
    let found = double::json(bodies::profiles(&[bodies::profile("SP_1", "one")]));
    upstream.then(GET, double::come_back(429, 3000)).always(GET, found);
    let gateway = serve(&config, &[]).await;
    is_reason(get(&gateway, "SP_1").await, "UPSTREAM_THROTTLED");
    until_kept(&store, |sft| sft["pause_seconds"].as_u64() > Some(0)).await;
    kill(gateway).await;

    let gateway = serve(&config, &[]).await;
    let status = is_reason(get(&gateway, "SP_1").await, "UPSTREAM_THROTTLED");
    let (_, _, details) = failure(&status);
    let retry = details.retry_info().unwrap().retry_delay.unwrap().as_secs();
    assert!((2000..=3001).contains(&retry), "{retry}");
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(end_pause(&gateway).await, "ok\n");
    until_kept(&store, |sft| sft["pause_seconds"] == 0).await;
    kill(gateway).await;
    let gateway = serve(&config, &[]).await;
    get(&gateway, "SP_1").await.unwrap();
    kill(gateway).await;
}

#[tokio::test]
async fn an_open_circuit_lets_one_request_of_the_next_process_try() {
    let store = TempDir::new().unwrap();
    let lines = "circuit_failures = 3\ncircuit_open = \"100s\"\ncircuit_max_open = \"100s\"";
    let (upstream, config) = fixed(&store, lines).await;
    upstream.always(GET, double::http(500, "text/plain", "down"));
    let gateway = serve(&config, &[]).await;
    for id in ["SP_1", "SP_2", "SP_3"] {
        get(&gateway, id).await.unwrap_err();
    }
    assert_eq!(circuit(&gateway).await, CircuitState::Open);
    until_kept(&store, |sft| sft["circuit_openings"] == 1).await;
    kill(gateway).await;

    let gateway = serve(&config, &[]).await;
    assert_eq!(circuit(&gateway).await, CircuitState::HalfOpen);
    for id in ["SP_1", "SP_2", "SP_3"] {
        get(&gateway, id).await.unwrap_err();
    }
    assert_eq!(upstream.seen().len(), 4, "one has tried");
    assert_eq!(circuit(&gateway).await, CircuitState::Open);
    kill(gateway).await;
}

#[tokio::test]
async fn what_was_sent_up_to_a_crash_counts_in_its_window() {
    const WINDOW: u64 = 2_000;
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let lines = format!("request_limit = \"{WINDOW}/1h\"\nmax_attempts = 1\ndialect =");
    let config = kept_in(&store, &sandbox.config().replace("dialect =", &lines));
    let mut killed = 0;
    // From none to several hundredths of the window, right before the end of the process.
    for reads in [1, 3, 12, 25, 47] {
        let gateway = serve(&config, &[]).await;
        for _ in 0..reads {
            get(&gateway, "SP_352").await.unwrap();
        }
        kill(gateway).await;
        killed += 1;
        let sent = u64::try_from(sandbox.journal().await.len()).unwrap();
        let gateway = serve(&config, &[]).await;
        gateway.program.signal(Signal::TERM);
        assert_eq!(gateway.program.ended().await.code(), Some(0));
        let stats = run(&["store", "stats", "--path", store.path().to_str().unwrap()], &[]).await;
        let stats: Value = serde_json::from_str(&stats.stdout).unwrap();
        let used = stats["upstreams"]["sft"]["used"]["requests"].as_u64().unwrap();
        // For each process that was killed, a hundredth may be counted that was not sent.
        let most = sent + (killed + 1) * (WINDOW / 100 + 1);
        assert!((sent..=most).contains(&used), "{used} of {sent} to {most}: {stats}");
    }
}
