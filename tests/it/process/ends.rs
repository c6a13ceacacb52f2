//! Calls that the gateway ends itself: each gets a status that says what happened, and the log says
//! the same.

use profile_gateway::pb::{
    CreateProfileRequest, GetProfileRequest, Profile, UpdateProfileRequest, WatchProfilesRequest,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use super::{
    calls::{arm, failure, metric, named, profiles},
    child::{Ended, Gateway, gateway, patiently, until},
};
use crate::kit::model::{mask, profile, rename};

const AGE: (&str, &str) = ("PROFILE_GATEWAY__SERVER__MAX_CONNECTION_AGE", "1s");
const NO_GRACE: (&str, &str) = ("PROFILE_GATEWAY__SERVER__MAX_CONNECTION_AGE_GRACE", "0s");
const NAME: &str = "backends/sft/profiles/SP_352";

/// The lines of one target.
fn lines(ended: &Ended, target: &str) -> Vec<Value> {
    let lines = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| line["target"] == target).collect()
}

/// An update that the upstream carries out and does not answer, once it has been sent.
async fn unanswered(
    gateway: &Gateway,
) -> tokio::task::JoinHandle<Result<Response<Profile>, Status>> {
    let url = gateway.sandbox.clone().unwrap();
    arm(&url, "ModifyServiceProfile", json!({ "kind": "hang", "commit": "before" })).await;
    let mut client = profiles(gateway).await;
    let call =
        tokio::spawn(async move { client.update_profile(rename("SP_352", "Unanswered")).await });
    gateway.program.logged("about to write").await;
    call
}

#[tokio::test]
async fn a_write_outlives_the_age_and_the_grace_of_its_connection() {
    let gateway = gateway(&[], &[AGE, NO_GRACE]).await;
    let url = gateway.sandbox.clone().unwrap();
    arm(&url, "ModifyServiceProfile", json!({ "kind": "delay", "ms": 3000 })).await;
    let mut client = profiles(&gateway).await;
    let written =
        client.update_profile(rename("SP_352", "Slowly written")).await.unwrap().into_inner();
    assert_eq!(written.display_name, "Slowly written");
    until("the end of the connection", async || {
        metric(&gateway, "profile_gateway_connections").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_read_that_the_grace_ends_says_that_it_may_be_repeated() {
    let gateway = gateway(&[], &[AGE, NO_GRACE]).await;
    let url = gateway.sandbox.clone().unwrap();
    arm(&url, "GetServiceProfile", json!({ "kind": "hang" })).await;
    let mut client = profiles(&gateway).await;
    let status = client.get_profile(named("SP_352")).await.unwrap_err();
    let (code, reason, details) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "OVERLOADED"));
    assert!(details.retry_info().is_some());
}

#[tokio::test]
async fn streams_end_with_their_connection_and_before_its_grace() {
    // With a grace longer than the test waits, only the age can end them.
    let grace = ("PROFILE_GATEWAY__SERVER__MAX_CONNECTION_AGE_GRACE", "1h");
    let quiet = ("PROFILE_GATEWAY__SERVER__STREAM_KEEP_ALIVE", "off");
    let gateway = gateway(&[], &[AGE, grace, quiet]).await;
    let mut client = profiles(&gateway).await;
    let request = WatchProfilesRequest { parent: "backends/sft".into(), ..Default::default() };
    let mut stream = client.watch_profiles(request.clone()).await.unwrap().into_inner();
    let mut last = None;
    let status = loop {
        match patiently("the end of the stream", stream.message()).await {
            Ok(Some(message)) => last = Some(message),
            Ok(None) => panic!("a stream without a status"),
            Err(status) => break status,
        }
    };
    let (code, reason, _) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "OVERLOADED"));
    // Its last message says where to go on: nothing is sent again.
    let bookmark = last.unwrap().bookmark.unwrap();
    assert_eq!(bookmark.unreachable, Vec::<String>::new());
    let resumed = WatchProfilesRequest { resume_token: bookmark.resume_token, ..request };
    let mut stream = client.watch_profiles(resumed).await.unwrap().into_inner();
    let message = patiently("a message", stream.message()).await.unwrap().unwrap();
    assert_eq!(message.changes, []);
}

/// Ends a gateway with a write and a read under way by force, and checks what is said of both.
async fn is_said_at_the_end(env: &[(&str, &str)], signals: usize) {
    let gateway = gateway(&[], env).await;
    let url = gateway.sandbox.clone().unwrap();
    let write = unanswered(&gateway).await;
    arm(&url, "GetServiceProfile", json!({ "kind": "hang" })).await;
    let mut client = profiles(&gateway).await;
    let read = tokio::spawn(async move { client.get_profile(named("SP_2")).await });
    until("both calls", async || metric(&gateway, "profile_gateway_calls_in_flight").await == 2)
        .await;
    for _ in 0..signals {
        gateway.program.signal(Signal::TERM);
        gateway.program.logged("shutting down").await;
    }
    let (code, reason, details) = failure(&write.await.unwrap().unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::Unknown, "WRITE_OUTCOME_UNKNOWN"));
    assert!(details.retry_info().is_none());
    let (code, reason, _) = failure(&read.await.unwrap().unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "OVERLOADED"));

    let ended = gateway.program.ended().await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    let mut said: Vec<_> = lines(&ended, "access")
        .iter()
        .map(|line| format!("{} {} {}", line["method"], line["code"], line["reason"]))
        .map(|line| line.replace(['"'], "").replace("profilegateway.v1.ProfileService/", ""))
        .collect();
    said.sort();
    let read = "GetProfile UNAVAILABLE OVERLOADED";
    let write = "UpdateProfile UNKNOWN WRITE_OUTCOME_UNKNOWN";
    assert_eq!(said, [read, write], "{}", ended.stderr);
    let audit = lines(&ended, "audit");
    assert_eq!(audit.len(), 1, "{}", ended.stderr);
    assert_eq!(audit[0]["outcome"], "WRITE_OUTCOME_UNKNOWN");
    assert_eq!(audit[0]["attempts"], 1);
    assert_eq!(audit[0]["fields"], "display_name");
    assert_eq!(audit[0]["resource"], NAME);
}

#[tokio::test]
async fn the_end_of_the_drain_is_said_to_every_call() {
    is_said_at_the_end(&[("PROFILE_GATEWAY__SERVER__DRAIN_TIMEOUT", "200ms")], 1).await;
}

#[tokio::test]
async fn a_second_signal_is_said_to_every_call() {
    is_said_at_the_end(&[], 2).await;
}

#[tokio::test]
async fn signals_without_a_meaning_do_not_end_the_process() {
    // Without a file, SIGHUP finds nothing new.
    for (signal, name) in [
        (Signal::HUP, "the configuration was read again"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
    ] {
        let mut gateway = gateway(&[], &[]).await;
        let url = gateway.sandbox.clone().unwrap();
        arm(&url, "ModifyServiceProfile", json!({ "kind": "delay", "ms": 200 })).await;
        let mut client = profiles(&gateway).await;
        let write =
            tokio::spawn(async move { client.update_profile(rename("SP_352", "Meanwhile")).await });
        gateway.program.logged("about to write").await;
        gateway.program.signal(signal);
        gateway.program.logged(name).await;
        write.await.unwrap().unwrap();
        assert!(gateway.program.is_running());
    }
}

/// The fields that a response says it leaves out.
fn omitted(response: &Response<Profile>) -> Option<&str> {
    response.metadata().get("x-profile-omitted").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_write_whose_response_is_too_large_is_answered_without_its_largest_fields() {
    let gateway = gateway(&[], &[("PROFILE_GATEWAY__SERVER__MAX_RESPONSE_BYTES", "1KiB")]).await;
    let mut client = profiles(&gateway).await;
    let wordy = Profile { description: Some("d".repeat(2000)), ..profile("Wordy") };
    let wordy = Profile { state: 0, category: 0, radio_access: Vec::new(), ..wordy };
    let creation = CreateProfileRequest {
        parent: "backends/endpoint".to_owned(),
        profile: Some(Profile { services: Vec::new(), ..wordy }),
        request_id: "123e4567-e89b-12d3-a456-426614174fff".to_owned(),
        validate_only: false,
    };
    let response = client.create_profile(creation.clone()).await.unwrap();
    assert_eq!(omitted(&response), Some("description"));
    let created = response.into_inner();
    assert_eq!((created.display_name.as_str(), &created.description), ("Wordy", &None));
    assert!(!created.etag.is_empty());
    // Its repeat gets the same.
    let repeated = client.create_profile(creation).await.unwrap();
    assert_eq!(omitted(&repeated), Some("description"));
    assert_eq!(repeated.into_inner(), created);
    let update = UpdateProfileRequest {
        profile: Some(Profile { display_name: "Wordier".into(), ..created.clone() }),
        update_mask: Some(mask(&["display_name"])),
        ..UpdateProfileRequest::default()
    };
    let response = client.update_profile(update).await.unwrap();
    assert_eq!(omitted(&response), Some("description"));
    assert_eq!(response.into_inner().display_name, "Wordier");
    // A read may ask for less, and so it is refused.
    let read = GetProfileRequest { name: created.name, read_mask: None };
    let (code, reason, _) = failure(&client.get_profile(read.clone()).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    let less = GetProfileRequest { read_mask: Some(mask(&["display_name"])), ..read };
    let response = client.get_profile(less).await.unwrap();
    assert_eq!(omitted(&response), None);
}
