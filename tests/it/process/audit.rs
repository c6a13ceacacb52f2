//! The records of writes, as an operator's collector reads them.

use std::collections::HashSet;

use profile_gateway::pb::{
    CreateProfileRequest, DeleteProfileRequest, Profile, RadioAccess, Service, ServiceType,
    UpdateProfileRequest,
};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    calls::{arm, failure, metric, profiles},
    child::{Ended, Gateway, gateway, serve, sft},
};
use crate::kit::model::{mask, profile};

const ID: &str = "123e4567-e89b-12d3-a456-426614174abc";

pub(super) fn lines(ended: &Ended, target: &str) -> Vec<Value> {
    let lines = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| line["target"] == target).collect()
}

fn creation(request_id: &str, display_name: &str) -> CreateProfileRequest {
    CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile(display_name)),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}

fn deletion(id: &str) -> DeleteProfileRequest {
    DeleteProfileRequest {
        name: format!("backends/sft/profiles/{id}"),
        ..DeleteProfileRequest::default()
    }
}

/// Writes of all sorts; gives the name of the created profile.
async fn write(gateway: &Gateway) -> String {
    let mut client = profiles(gateway).await;
    let created = client.create_profile(creation(&ID.to_uppercase(), "Audited")).await.unwrap();
    let created = created.into_inner();
    client.create_profile(creation(ID, "Audited")).await.unwrap();
    client.create_profile(creation(ID, "Other")).await.unwrap_err();
    let validated = CreateProfileRequest { validate_only: true, ..creation("", "Third") };
    client.create_profile(validated).await.unwrap();
    let wider =
        [RadioAccess::RadioAccess2g, RadioAccess::RadioAccess3g, RadioAccess::RadioAccess4g];
    let update = UpdateProfileRequest {
        profile: Some(Profile {
            display_name: "Audited twice".to_owned(),
            radio_access: wider.map(i32::from).to_vec(),
            etag: String::new(),
            ..created.clone()
        }),
        update_mask: Some(mask(&["display_name", "radio_access", "state"])),
        ..UpdateProfileRequest::default()
    };
    for _ in 0..2 {
        client.update_profile(update.clone()).await.unwrap();
    }
    client.delete_profile(deletion("SP_1249")).await.unwrap_err();
    let url = gateway.sandbox.clone().unwrap();
    arm(&url, "DeleteServiceProfile", json!({ "kind": "drop", "commit": "before" })).await;
    client.delete_profile(deletion("SP_367")).await.unwrap();
    // The upstream lists its services in another order than the gateway; that does not count as a
    // change.
    let unsorted = "backends/sft/profiles/SP_352".to_owned();
    let renamed = Profile { name: unsorted, display_name: "Audited".into(), ..Profile::default() };
    let update_mask = Some(mask(&["display_name"]));
    let update = UpdateProfileRequest { profile: Some(renamed), update_mask, ..update };
    client.update_profile(update).await.unwrap();
    // What the gateway refuses by itself is no write.
    client.create_profile(creation("no uuid", "")).await.unwrap_err();
    created.name
}

/// The upstream's transactions stand with the writes that it answered, and with no others.
fn assert_names_transactions(audit: &[Value], answered: &[usize]) {
    let ids: Vec<_> =
        audit.iter().map(|line| line["upstream_request_ids"].as_str().unwrap()).collect();
    for (n, id) in ids.iter().enumerate() {
        let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        assert!(id.is_empty() || is_id, "{n}: {id}");
        assert_eq!(is_id, answered.contains(&n), "{n}: {id}");
    }
    let different: HashSet<_> = answered.iter().map(|n| ids[*n]).collect();
    assert_eq!(different.len(), answered.len(), "{ids:?}");
}

/// What was found out about a lost answer is logged with what it is about.
fn assert_names_the_lost_answer(lines: &[Value], audit: &[Value]) {
    let is_it = |text: &str| text.starts_with("a write with a lost answer");
    let lost = lines.iter().find(|line| line["message"].as_str().is_some_and(is_it)).unwrap();
    assert_eq!(lost["method"], "DeleteProfile", "{lost}");
    assert_eq!(lost["resource"], "backends/sft/profiles/SP_367", "{lost}");
    let call = audit.iter().find(|line| line["resource"] == lost["resource"]).unwrap();
    assert_eq!(lost["call_id"], call["call_id"], "{lost}");
}

#[tokio::test]
async fn every_write_has_a_record() {
    let gateway = gateway(&[], &[]).await;
    let created = write(&gateway).await;
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    let audit = lines(&ended, "audit");
    let created = created.as_str();
    let all = "display_name,state,category,radio_access,services";
    let unsorted = "backends/sft/profiles/SP_352";
    let (update, in_use) = ("display_name,radio_access", "backends/sft/profiles/SP_1249");
    let expected = [
        ("CreateProfile", created, ID, all, "OK", false, false, 1),
        ("CreateProfile", created, ID, "", "OK", true, false, 0),
        ("CreateProfile", "backends/sft", ID, "", "REQUEST_ID_REUSED", false, false, 0),
        ("CreateProfile", "backends/sft", "", "", "OK", false, true, 0),
        ("UpdateProfile", created, "", update, "OK", false, false, 1),
        // The same again changes nothing.
        ("UpdateProfile", created, "", "", "OK", false, false, 0),
        ("DeleteProfile", in_use, "", "", "PROFILE_IN_USE", false, false, 1),
        ("DeleteProfile", "backends/sft/profiles/SP_367", "", "", "OK", false, false, 1),
        ("UpdateProfile", unsorted, "", "display_name", "OK", false, false, 1),
    ];
    assert_eq!(audit.len(), expected.len(), "{}", ended.stderr);
    for (line, (method, resource, id, fields, outcome, replayed, validate_only, attempts)) in
        audit.iter().zip(expected)
    {
        assert_eq!(line["method"], method, "{line}");
        assert_eq!(line["resource"], resource, "{line}");
        assert_eq!(line["request_id"], id, "{line}");
        assert_eq!(line["fields"], fields, "{line}");
        assert_eq!(line["outcome"], outcome, "{line}");
        assert_eq!(line["replayed"], replayed, "{line}");
        assert_eq!(line["validate_only"], validate_only, "{line}");
        assert_eq!(line["attempts"], attempts, "{line}");
        assert!(line["caller"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert!(line["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
        let calls = line["upstream_calls"].as_u64().unwrap();
        assert_eq!(calls > 0, !replayed && outcome != "REQUEST_ID_REUSED", "{line}");
        assert_eq!(line["upstream_code"] == "8196", outcome == "PROFILE_IN_USE", "{line}");
        assert!(!line.to_string().contains("Audited"), "a value: {line}");
    }
    assert_names_transactions(&audit, &[0, 4, 6, 8]);

    assert_names_the_lost_answer(&lines(&ended, "gateway"), &audit);

    // What was sent was journaled before, and nothing else.
    let journal = lines(&ended, "journal");
    let resources: Vec<&str> = journal.iter().map(|l| l["resource"].as_str().unwrap()).collect();
    let sent = ["backends/sft", created, in_use, "backends/sft/profiles/SP_367", unsorted];
    assert_eq!(resources, sent);
}

#[tokio::test]
async fn deleting_what_cannot_exist_is_recorded_too() {
    let gateway = gateway(&[], &[]).await;
    let mut client = profiles(&gateway).await;
    let parents = ["sft", "endpoint", "pcc"].map(|backend| format!("backends/{backend}/profiles"));
    let names: Vec<String> = parents.iter().map(|parent| format!("{parent}/no-id")).collect();
    for name in &names {
        let deletion = DeleteProfileRequest { name: name.clone(), ..Default::default() };
        let allowed = DeleteProfileRequest { allow_missing: true, ..deletion.clone() };
        client.delete_profile(allowed).await.unwrap();
        // What the gateway refuses by itself is not a write.
        client.delete_profile(deletion).await.unwrap_err();
    }
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    let audit = lines(&ended, "audit");
    let told: Vec<_> = audit.iter().map(|line| (&line["resource"], &line["outcome"])).collect();
    let (names, ok): (Vec<Value>, _) = (names.into_iter().map(Value::from).collect(), json!("OK"));
    assert_eq!(told, names.iter().map(|name| (name, &ok)).collect::<Vec<_>>(), "{}", ended.stderr);
    for line in &audit {
        assert_eq!((&line["attempts"], &line["upstream_calls"]), (&json!(0), &json!(0)), "{line}");
    }
    assert_eq!(lines(&ended, "journal"), [] as [Value; 0]);
}

#[tokio::test]
async fn a_creation_that_failed_names_the_profile_that_it_made() {
    let gateway = gateway(&[], &[]).await;
    let url = format!("{}/sandbox/faults", gateway.sandbox.clone().unwrap());
    let body = "{\"error_code\": 1406, \"message\": \"Not allowed\"}";
    for operation in ["PutService", "DeleteProfile"] {
        let order = json!({"upstream": "endpoint", "operation": operation, "times": 0,
            "fault": {"kind": "status", "status": 422, "body": body}});
        let answer = reqwest::Client::new().post(&url).json(&order).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{operation}");
    }
    let service = Service { r#type: ServiceType::Data.into(), ..Service::default() };
    let request = CreateProfileRequest {
        parent: "backends/endpoint".to_owned(),
        profile: Some(Profile {
            display_name: "Audited".to_owned(),
            services: vec![service],
            ..Profile::default()
        }),
        ..CreateProfileRequest::default()
    };
    profiles(&gateway).await.create_profile(request).await.unwrap_err();
    gateway.program.signal(Signal::TERM);
    let audit = lines(&gateway.program.ended().await, "audit");
    assert_eq!((audit.len(), &audit[0]["outcome"]), (1, &json!("PARTIALLY_APPLIED")), "{audit:?}");
    let resource = audit[0]["resource"].as_str().unwrap();
    assert!(resource.starts_with("backends/endpoint/profiles/"), "{resource}");
}

#[tokio::test]
async fn what_an_open_circuit_refuses_is_not_journaled() {
    // Nothing listens on that port.
    let config = sft("http://127.0.0.1:9", "ops", "hunter2");
    let config = format!("{config}max_attempts = 1\ncircuit_failures = 1\ncircuit_open = \"1m\"\n");
    let gateway = serve(&config, &[]).await;
    let mut client = profiles(&gateway).await;
    client.delete_profile(deletion("SP_1")).await.unwrap_err();
    for _ in 0..5 {
        let status = client.delete_profile(deletion("SP_1")).await.unwrap_err();
        assert_eq!(failure(&status).1, "UPSTREAM_UNAVAILABLE");
    }
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    assert_eq!(lines(&ended, "journal").len(), 1, "{}", ended.stderr);
    let audit = lines(&ended, "audit");
    let attempts: Vec<_> = audit.iter().map(|line| line["attempts"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 0, 0, 0, 0, 0], "{}", ended.stderr);
}

#[tokio::test]
async fn a_flood_of_writes_that_send_nothing_is_not_a_flood_of_records() {
    const WRITES: usize = 200;
    let rate = [("PROFILE_GATEWAY__CALLERS__LOG_LINES_PER_SECOND", "20")];
    let gateway = gateway(&[], &rate).await;
    let mut client = profiles(&gateway).await;
    for _ in 0..WRITES {
        let missing = DeleteProfileRequest { allow_missing: true, ..deletion("no-id") };
        client.delete_profile(missing).await.unwrap();
    }
    let left_out = metric(&gateway, "profile_gateway_audit_lines_left_out_total").await;
    assert!(left_out > 0, "nothing was left out of {WRITES} lines");
    // What is sent has its record.
    client.delete_profile(deletion("SP_1249")).await.unwrap_err();
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    let audit = lines(&ended, "audit");
    assert_eq!(audit.len() + usize::try_from(left_out).unwrap(), WRITES + 1);
    assert_eq!(audit.last().unwrap()["outcome"], "PROFILE_IN_USE", "{}", ended.stderr);
}
