//! How a stream goes on where another one ended.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use profile_gateway::pb::{
    ChangeKind::{Added, Changed, Removed},
    Profile,
};
use tonic::Code;

use super::stream::{NEVER, open, over_all, watch};
use crate::kit::{model, sandbox::sandbox, status::fails};

fn renamed(id: &str, to: &str) -> Profile {
    Profile { display_name: to.to_owned(), ..model::named(id) }
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_change_seen() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, NEVER).await;
    let mut stream = watch(&gateway, model::BACKEND).await;
    gateway.update(renamed("SP_367", "one")).await.unwrap();
    let name = model::name("SP_367");
    stream.expect(&[(Changed, &name, &["display_name"])]).await;
    let (token, profiles) = (stream.token.clone(), stream.profiles.clone());
    let mut other = watch(&gateway, model::BACKEND).await;
    drop(stream);
    // Some of it while another stream is open, and some while none is.
    gateway.update(renamed("SP_367", "two")).await.unwrap();
    other.expect(&[(Changed, &name, &["display_name"])]).await;
    let created = gateway.create(model::profile("new")).await.unwrap();
    other.expect(&[(Added, &created.name, &[])]).await;
    drop(other);
    gateway.delete("SP_361").await.unwrap();
    let mut resumed = open(&gateway, model::BACKEND, &token).await.unwrap();
    resumed.profiles = profiles;
    let gone = model::name("SP_361");
    resumed
        .expect(&[
            (Changed, &name, &["display_name"]),
            (Added, &created.name, &[]),
            (Removed, &gone, &[]),
        ])
        .await;
    let listed = gateway.list().await.unwrap();
    assert_eq!(resumed.profiles.len(), listed.len());
    for profile in listed {
        assert_eq!(resumed.profiles[&profile.name], profile);
    }
}

#[tokio::test]
async fn a_snapshot_that_was_cut_resumes_where_it_ended() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, NEVER).await;
    sandbox.post("/sandbox/pcc/seed", serde_json::json!({"count": 500})).await;
    let mut stream = open(&gateway, "backends/-", "").await.unwrap();
    while stream.profiles.len() < 200 {
        stream.next().await.unwrap();
    }
    assert!(!stream.complete);
    let mut resumed = open(&gateway, "backends/-", &stream.token).await.unwrap();
    resumed.profiles = stream.profiles.clone();
    drop(stream);
    while !resumed.complete {
        resumed.next().await.unwrap();
    }
    assert_eq!(resumed.profiles.len(), 521);
}

#[tokio::test]
async fn invalid_tokens_say_why() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, NEVER).await;
    let stream = watch(&gateway, model::BACKEND).await;
    let token = stream.token.clone();
    let other = over_all(&sandbox, NEVER).await;
    let foreign = watch(&other, model::BACKEND).await.token;
    let result = open(&gateway, model::BACKEND, &foreign).await.map(drop);
    let failure = fails(result, Code::Aborted, "RESUME_TOKEN_EXPIRED");
    assert!(failure.message.contains("without it"), "{failure:?}");
    assert_eq!(failure.meta("backend"), "sft");
    let mut tampered = URL_SAFE_NO_PAD.decode(&token).unwrap();
    *tampered.last_mut().unwrap() ^= 1;
    let tampered = URL_SAFE_NO_PAD.encode(tampered);
    for (parent, bad) in [
        (model::BACKEND, tampered.as_str()),
        (model::BACKEND, "what is this"),
        ("backends/pcc", &token),
        ("backends/-", &token),
    ] {
        let result = open(&gateway, parent, bad).await.map(drop);
        let failure = fails(result, Code::InvalidArgument, "VALIDATION_FAILED");
        assert_eq!(failure.fields, ["resume_token"], "{parent} {bad}");
    }
    for (parent, code, reason) in [
        ("", Code::InvalidArgument, "VALIDATION_FAILED"),
        ("backends/sft/profiles/1", Code::InvalidArgument, "VALIDATION_FAILED"),
        ("backends/nope", Code::NotFound, "BACKEND_NOT_FOUND"),
    ] {
        fails(open(&gateway, parent, "").await.map(drop), code, reason);
    }
    // None of them has taken a place.
    assert_eq!(gateway.metric("watchers", "").await, 1.0);
    drop(stream);
}
