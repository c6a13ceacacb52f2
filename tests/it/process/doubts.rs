//! Writes in doubt as an operator sees them: `profile-gateway doubts` on the store of a gateway,
//! and the records of the audit log about one that was closed.

use profile_gateway::pb::{
    CloseDoubtfulWriteRequest, DoubtOutcome, DoubtfulWrite, ListDoubtfulWritesRequest,
    UpdateProfileRequest, backend_service_client::BackendServiceClient,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::{
    audit::lines,
    calls::{channel, failure, profiles},
    child::{Ended, File, Gateway, file, gateway, run},
    store::{config, stop},
};
use crate::kit::{
    model,
    sandbox::{Sandbox, sandbox},
};

const ID: &str = "123e4567-e89b-12d3-a456-426614174abc";
/// What each call has: a write that did not arrive is in doubt for longer.
const TIME: [(&str, &str); 1] = [("PROFILE_GATEWAY__SERVER__DEFAULT_TIMEOUT", "2s")];

async fn start(config: &File) -> Gateway {
    gateway(&["serve", "--config", &config.path], &TIME).await
}

async fn backends(gateway: &Gateway) -> BackendServiceClient<Channel> {
    BackendServiceClient::new(channel(gateway.grpc).await)
}

pub(super) async fn listed(gateway: &Gateway) -> Vec<DoubtfulWrite> {
    let request =
        ListDoubtfulWritesRequest { parent: "backends/-".to_owned(), ..Default::default() };
    let answer = backends(gateway).await.list_doubtful_writes(request).await.unwrap();
    answer.into_inner().doubtful_writes
}

async fn printed(arguments: &[&str]) -> (Ended, Vec<Value>) {
    let ended = run(&[&["doubts"], arguments].concat(), &[]).await;
    let lines = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines = lines.collect();
    (ended, lines)
}

/// Changes a profile in a request that does not arrive.
async fn lose(gateway: &Gateway) {
    let request = model::rename("SP_361", "Secret plans");
    let request = UpdateProfileRequest { request_id: ID.to_owned(), ..request };
    let status = profiles(gateway).await.update_profile(request).await.unwrap_err();
    assert_eq!(failure(&status).1, "WRITE_OUTCOME_UNKNOWN", "{status:?}");
}

/// A gateway's configuration with a store, after a change was lost; and the write as it was listed.
async fn doubtful(store: &TempDir) -> (Sandbox, File, DoubtfulWrite) {
    let sandbox = sandbox().await;
    let config = file(&config(&sandbox, store));
    let running = start(&config).await;
    sandbox.arm("ModifyServiceProfile", json!({"kind": "drop"})).await;
    lose(&running).await;
    let [told] = <[_; 1]>::try_from(listed(&running).await).unwrap();
    let (refused, none) = printed(&["--path", path(store)]).await;
    assert_eq!((refused.code(), none.len()), (Some(1), 0), "{}", refused.output());
    for said in [&*format!("in use by process {} ", running.program.pid()), "ListDoubtfulWrites"] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    stop(running).await;
    (sandbox, config, told)
}

fn path(store: &TempDir) -> &str {
    store.path().to_str().unwrap()
}

#[tokio::test]
async fn a_write_in_doubt_is_printed_from_the_store_as_the_gateway_lists_it() {
    let store = TempDir::new().unwrap();
    let (_sandbox, config, told) = doubtful(&store).await;
    let (ended, lines) = printed(&["--config", &config.path]).await;
    let [line] = &lines[..] else { panic!("{}", ended.output()) };
    assert_eq!(ended.code(), Some(0));
    for (field, value) in [
        ("name", told.name.as_str()),
        ("method", "UpdateProfile"),
        ("resource", "backends/sft/profiles/SP_361"),
        ("display_name", ""),
        ("request_id", ID),
        ("caller", "127.0.0.1"),
        ("call_id", &told.call_id),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert_eq!((&line["fields"], &line["attempt_count"]), (&json!(["display_name"]), &json!(1)));
    assert!(line["advice"].as_str().unwrap().contains(ID), "{line}");
    let times = ["first_sent_time", "last_sent_time", "expire_time"];
    let times = times.map(|time| line[time].as_str().unwrap());
    assert!(times.is_sorted() && times[1] < times[2], "{line}");
    assert!(!ended.stdout.contains("Secret plans"), "values are not shown: {line}");
    let (_, lines) = printed(&["--path", path(&store)]).await;
    assert_eq!(lines[0]["name"], told.name);
    assert_eq!(lines[0].get("expire_time"), None, "nothing says how long it is kept");
}

#[tokio::test]
async fn a_write_that_is_closed_has_records_and_is_not_in_doubt_any_more() {
    let store = TempDir::new().unwrap();
    let (_sandbox, config, told) = doubtful(&store).await;
    let running = start(&config).await;
    let again = &listed(&running).await[0];
    assert_eq!((&again.name, &again.request_id), (&told.name, &told.request_id));
    let closing = CloseDoubtfulWriteRequest {
        name: told.name.clone(),
        outcome: DoubtOutcome::TookEffect.into(),
        note: "the portal shows it,\nBearer abc.def".to_owned(),
        profile: String::new(),
    };
    backends(&running).await.close_doubtful_write(closing).await.unwrap();
    assert_eq!(listed(&running).await, []);
    running.program.signal(Signal::TERM);
    let ended = running.program.ended().await;
    for target in ["journal", "audit"] {
        let mut records = lines(&ended, target);
        records.retain(|record| record["method"] == "CloseDoubtfulWrite");
        let [record] = &records[..] else { panic!("{target}: {}", ended.stderr) };
        for (member, value) in [
            ("doubtful_write", told.name.as_str()),
            ("resource", "backends/sft/profiles/SP_361"),
            ("request_id", ID),
            ("closed_as", "TOOK_EFFECT"),
            ("note", "the portal shows it, Bearer [redacted]"),
        ] {
            assert_eq!(record[member], value, "{member}: {record}");
        }
        assert!(record["caller"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
        assert_eq!(record["call_id"].as_str().unwrap().len(), 16, "{record}");
        assert_eq!(record.get("outcome"), (target == "audit").then_some(&json!("OK")));
    }

    let (ended, none) = printed(&["--config", &config.path]).await;
    assert_eq!((ended.code(), none.len()), (Some(0), 0), "{}", ended.output());
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn a_command_that_cannot_say_what_is_in_doubt_fails() {
    let store = TempDir::new().unwrap();
    let (missing, _) = printed(&["--path", store.path().to_str().unwrap()]).await;
    assert_eq!(missing.code(), Some(1));
    assert!(missing.stderr.contains("there is no store at "), "{}", missing.stderr);
    let forgets = sandbox().await.config() + "\n[store]\nkind = \"memory\"\n";
    let forgets = file(&forgets);
    let (without, _) = printed(&["--config", &forgets.path]).await;
    assert_eq!(without.code(), Some(64));
    assert!(without.stderr.contains("has no store"), "{}", without.stderr);
}
