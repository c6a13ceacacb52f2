//! The log as an operator's collector reads it: one JSON object a line, and never a secret in it.

use profile_gateway::pb::{
    CreateProfileRequest, DeleteProfileRequest, ListProfilesRequest, Profile,
    profile_service_client::ProfileServiceClient,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::{Request, transport::Channel};

use super::{
    calls::{GET, arm, failure, http_get, metadata, named, profiles},
    child::{Ended, Gateway, gateway, sandbox, serve, sft},
    slow::{REFRESH, Slow, TOKEN},
};
use crate::kit::{gateway::fresh, model::rename};

const PASSWORD: &str = "hunter2-never-logged";
const BEARER: &str = "caller-token-7c1e";

fn lines(ended: &Ended) -> Vec<Value> {
    let parsed = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the line {line}"))
    };
    ended.stderr.lines().map(parsed).collect()
}

async fn stopped(gateway: Gateway) -> Ended {
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    ended
}

#[tokio::test]
async fn every_call_has_a_line() {
    let gateway = gateway(&[], &[]).await;
    let mut client = profiles(&gateway).await;
    client.get_profile(named("SP_2")).await.unwrap();
    client.get_profile(named("SP_2")).await.unwrap();
    client.get_profile(named("SP_999")).await.unwrap_err();
    let elsewhere = ListProfilesRequest { parent: "backends/nope".into(), ..Default::default() };
    client.list_profiles(elsewhere).await.unwrap_err();
    arm(gateway.sandbox.as_deref().unwrap(), "GetServiceProfile", json!({ "kind": "drop" })).await;
    client.get_profile(fresh(named("SP_2"))).await.unwrap_err();

    let ended = stopped(gateway).await;
    let all = lines(&ended);
    let access: Vec<&Value> = all.iter().filter(|line| line["target"] == "access").collect();
    let expected = [
        // The first call brings the login with it.
        ("GetProfile", "sft", "OK", "", "INFO", 2, "miss"),
        ("GetProfile", "sft", "OK", "", "INFO", 0, "hit"),
        ("GetProfile", "sft", "NOT_FOUND", "PROFILE_NOT_FOUND", "INFO", 1, "miss"),
        ("ListProfiles", "", "NOT_FOUND", "BACKEND_NOT_FOUND", "INFO", 0, ""),
        ("GetProfile", "sft", "UNAVAILABLE", "UPSTREAM_UNAVAILABLE", "WARN", 1, "bypass"),
    ];
    assert_eq!(access.len(), expected.len(), "{}", ended.stderr);
    for (line, (method, backend, code, reason, level, upstream_calls, cache)) in
        access.iter().zip(expected)
    {
        assert_eq!(line["method"], format!("profilegateway.v1.ProfileService/{method}"), "{line}");
        assert_eq!(line["backend"].as_str().unwrap_or_default(), backend, "{line}");
        assert_eq!(line["code"], code, "{line}");
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["level"], level, "{line}");
        assert_eq!(line["cache"].as_str().unwrap_or_default(), cache, "{line}");
        assert!(line["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
        let calls = line["upstream_calls"].as_u64().unwrap();
        // The client may try again after a connection that broke, which is not this test's matter.
        assert!(calls == upstream_calls || code == "UNAVAILABLE" && calls >= 1, "{line}");
    }
}

#[tokio::test]
async fn the_line_of_a_failed_call_says_what_failed_and_what_the_upstream_answered() {
    let gateway = gateway(&[], &[]).await;
    let mut client = profiles(&gateway).await;
    client.get_profile(named("SP_2")).await.unwrap();
    let in_use = "backends/sft/profiles/SP_1249";
    let delete = DeleteProfileRequest { name: in_use.to_owned(), ..Default::default() };
    let status = client.delete_profile(delete).await.unwrap_err();
    let told = metadata(&failure(&status).2);
    arm(gateway.sandbox.as_deref().unwrap(), "GetServiceProfile", json!({ "kind": "drop" })).await;
    let dropped = client.get_profile(fresh(named("SP_2"))).await.unwrap_err();

    let all = lines(&stopped(gateway).await);
    let mut access = all.iter().filter(|line| line["target"] == "access");
    let well = access.next().unwrap();
    for member in ["error", "resource", "upstream_status", "upstream_code", "upstream_request_id"] {
        assert!(well.get(member).is_none(), "{well}");
    }
    let refused = access.next().unwrap();
    assert_eq!(
        (&refused["resource"], &refused["error"]),
        (&json!(in_use), &status.message().into())
    );
    for member in ["upstream_status", "upstream_code", "upstream_request_id"] {
        assert_eq!(refused[member], told[member], "{refused}");
    }
    let lost = access.next().unwrap();
    assert_eq!(lost["resource"], "backends/sft/profiles/SP_2", "{lost}");
    assert_eq!(lost["error"], dropped.message(), "{lost}");
    assert!(lost.get("upstream_status").is_none(), "{lost}");
}

#[tokio::test]
async fn the_ids_of_a_caller_find_the_lines_of_its_call() {
    let gateway = gateway(&[], &[]).await;
    let mut client = profiles(&gateway).await;
    let with_ids = |id: &'static str, trace: &'static str| {
        let mut request = Request::new(rename("SP_352", "Renamed"));
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        request.metadata_mut().insert("traceparent", trace.parse().unwrap());
        request
    };
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    client.update_profile(with_ids("order-7/\"x\"", trace)).await.unwrap();
    client.update_profile(with_ids("not an id", "not a trace")).await.unwrap();
    client.get_profile(named("SP_2")).await.unwrap();

    let all = lines(&stopped(gateway).await);
    let ids = |line: &Value| [line["caller_request_id"].clone(), line["trace_id"].clone()];
    let of = |target| all.iter().filter(move |line| line["target"] == target).map(ids);
    let (both, none) = ([json!("order-7/\"x\""), json!(&trace[3..35])], [Value::Null, Value::Null]);
    assert_eq!(of("journal").collect::<Vec<_>>(), std::slice::from_ref(&both));
    assert_eq!(of("audit").collect::<Vec<_>>(), [both.clone(), none.clone()]);
    assert_eq!(of("access").collect::<Vec<_>>(), [both, none.clone(), none]);
}

/// Calls that make every part of the program say something.
async fn exercise(mut client: ProfileServiceClient<Channel>) {
    let with_token = |id: &str| {
        let mut request = Request::new(named(id));
        let bearer = format!("Bearer {BEARER}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    };
    client.get_profile(with_token("SP_2")).await.ok();
    client.get_profile(with_token("SP_999")).await.ok();
    client.get_profile(with_token("nope")).await.ok();
    let list = ListProfilesRequest { parent: "backends/-".to_owned(), ..Default::default() };
    client.list_profiles(list).await.ok();
    let create = CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(Profile { display_name: "Logged".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    client.create_profile(create).await.ok();
    let delete = DeleteProfileRequest {
        name: "backends/sft/profiles/SP_2".to_owned(),
        ..Default::default()
    };
    client.delete_profile(delete).await.ok();
}

#[track_caller]
fn says_none_of(ended: &Ended, secrets: &[&str]) {
    for line in ended.stdout.lines().chain(ended.stderr.lines()) {
        for secret in secrets {
            // The first part of a JWT is the same for all and no secret.
            assert!(!line.contains(secret), "{secret} is in the line\n{line}");
        }
    }
}

const TRACE: [(&str, &str); 1] = [("PROFILE_GATEWAY__LOG__LEVEL", "trace")];

#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    for env in [&[][..], &TRACE] {
        let slow = Slow::start().await;
        slow.open();
        let gateway = serve(&sft(&slow.url, "ops", PASSWORD), env).await;
        exercise(profiles(&gateway).await).await;
        http_get(gateway.admin, "/config").await;
        let ended = stopped(gateway).await;
        assert!(ended.stderr.contains("GetProfile"));
        // The libraries below have their say too, which is what makes this worth a test.
        assert_eq!(ended.stderr.contains("\"h2::"), env == TRACE);
        says_none_of(&ended, &[PASSWORD, TOKEN, REFRESH, BEARER]);
    }
}

#[tokio::test]
async fn the_way_of_a_call_is_logged_for_who_asks() {
    let env = [("PROFILE_GATEWAY__LOG__LEVEL", "warn,profile_gateway=debug")];
    let gateway = gateway(&[], &env).await;
    let mut client = profiles(&gateway).await;
    client.get_profile(named("SP_352")).await.unwrap();
    client.get_profile(named("SP_352")).await.unwrap();
    let log = stopped(gateway).await.stderr;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |target: &str, message: &str| -> Vec<&Value> {
        let is_told = |line: &&Value| line["target"] == target && line["message"] == message;
        lines.iter().filter(is_told).collect()
    };
    let requests = told("upstream", "a request to the upstream");
    let operations: Vec<_> = requests.iter().map(|line| &line["operation"]).collect();
    assert_eq!(operations, ["login", "GetServiceProfile"], "{log}");
    assert_eq!((&requests[1]["profile"], &requests[1]["status"]), (&"SP_352".into(), &200.into()));
    let reads = told("gateway", "a read was answered");
    let caches: Vec<_> = reads.iter().map(|line| &line["cache"]).collect();
    assert_eq!(caches, ["miss", "hit"]);
    let calls: Vec<_> = lines.iter().filter(|line| line["target"] == "access").collect();
    assert_eq!(calls[0]["call_id"], reads[0]["call_id"], "{log}");
    assert!(!lines.iter().any(|line| line["target"].as_str().unwrap().starts_with("h2")));
}

#[tokio::test]
async fn no_fixed_token_is_logged_at_any_level() {
    let slow = Slow::start().await;
    slow.open();
    let section = sft(&slow.url, "ops", PASSWORD);
    let (common, _) = section.split_once("username").unwrap();
    let gateway = serve(&format!("{common}access_token = \"{TOKEN}\"\n"), &TRACE).await;
    exercise(profiles(&gateway).await).await;
    says_none_of(&stopped(gateway).await, &[TOKEN]);
}

#[tokio::test]
async fn refused_credentials_are_not_logged() {
    let sandbox = sandbox().await;
    let gateway = serve(&sft(&sandbox.url, "sandbox", PASSWORD), &TRACE).await;
    exercise(profiles(&gateway).await).await;
    let ended = stopped(gateway).await;
    assert!(ended.stderr.contains("login failed"), "{}", ended.stderr);
    says_none_of(&ended, &[PASSWORD]);
    let lines = lines(&ended);
    let open = lines.iter().find(|line| line["circuit"] == "open").unwrap();
    assert!(open["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{open}");
    assert_eq!((&open["backend"], &open["next_attempt_in"]), (&json!("sft"), &json!("5m")));
}

#[tokio::test]
async fn a_failure_is_logged_with_what_it_is_about() {
    let lines_of = "circuit_failures = 1\nmax_attempts = 1\n";
    let config = format!("{}{lines_of}", sft("https://nowhere.invalid:9", "ops", PASSWORD));
    let gateway = serve(&config, &[]).await;
    profiles(&gateway).await.get_profile(named("SP_2")).await.unwrap_err();
    let lines = lines(&stopped(gateway).await);
    let failed = lines.iter().find(|line| line["message"] == "a call failed").unwrap();
    assert_eq!((&failed["method"], &failed["backend"]), (&json!("GetProfile"), &json!("sft")));
    let open = lines.iter().find(|line| line["circuit"] == "open").unwrap();
    let cause = "the upstream could not be reached for login: its name does not resolve";
    assert!(open["cause"].as_str().is_some_and(|text| text.starts_with(cause)), "{open}");
    assert!(open["next_attempt_in"].is_string(), "{open}");
}

/// An upstream that repeats what it was sent, as some do in their error messages.
#[tokio::test]
async fn an_upstream_that_repeats_a_secret_does_not_get_it_logged() {
    let sandbox = sandbox().await;
    let description = format!("bad password {PASSWORD}");
    let body = json!({ "Response": {
        "responseId": "1", "resultCode": "1",
        "resultParam": { "resultCode": "4711", "resultDescription": description },
    } });
    let fault = json!({ "kind": "body", "body": body.to_string() });
    arm(&sandbox.url, "login", fault).await;
    let gateway = serve(&sft(&sandbox.url, "sandbox", PASSWORD), &TRACE).await;
    let status = profiles(&gateway).await.get_profile(named("SP_2")).await.unwrap_err();
    assert!(!format!("{status:?}").contains(PASSWORD), "{status:?}");
    says_none_of(&stopped(gateway).await, &[PASSWORD]);
}

#[tokio::test]
async fn text_is_written_where_it_is_asked_for() {
    let gateway = gateway(&[], &[("PROFILE_GATEWAY__LOG__FORMAT", "text")]).await;
    profiles(&gateway).await.get_profile(named("SP_2")).await.unwrap();
    let ended = stopped(gateway).await;
    let line = ended.stderr.lines().find(|line| line.contains(GET)).unwrap();
    assert!(serde_json::from_str::<Value>(line).is_err(), "{line}");
}
