//! Writes through several replicas: one effect for each request id, one write at a time on each
//! profile, and nothing that the others do not know of.

use std::time::Duration;

use futures_util::future::join_all;
use profile_gateway::pb::{
    AttachServiceRequest, CreateProfileRequest, Profile, UpdateProfileRequest,
};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use crate::kit::{
    gateway::{fresh, timed},
    model,
    redis::Redis,
    replicas::{Replica, over, replicas, unlimited},
    sandbox::{Sandbox, sandbox},
    status::{fails, failure},
    until,
};

const ONE: &str = "123e4567-e89b-12d3-a456-426614174abc";
const TWO: &str = "223e4567-e89b-12d3-a456-426614174abc";
const LONG: Option<Duration> = Some(Duration::from_secs(60));

fn creation(request_id: &str, name: &str) -> CreateProfileRequest {
    CreateProfileRequest {
        parent: model::BACKEND.to_owned(),
        profile: Some(model::profile(name)),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}

fn change(request_id: &str, profile: &Profile, name: &str) -> UpdateProfileRequest {
    UpdateProfileRequest {
        profile: Some(Profile {
            display_name: name.to_owned(),
            name: profile.name.clone(),
            etag: profile.etag.clone(),
            ..Profile::default()
        }),
        update_mask: Some(model::mask(&["display_name"])),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}

async fn create(by: &Replica, request: CreateProfileRequest) -> Result<Profile, Status> {
    let created = by.profiles().create_profile(timed(request, LONG)).await;
    created.map(Response::into_inner)
}

async fn update(by: &Replica, request: UpdateProfileRequest) -> Result<Profile, Status> {
    let updated = by.profiles().update_profile(timed(request, LONG)).await;
    updated.map(Response::into_inner)
}

async fn read(by: &Replica, name: &str) -> Profile {
    let name = name.to_owned();
    let request = profile_gateway::pb::GetProfileRequest { name, read_mask: None };
    by.profiles().get_profile(fresh(request)).await.unwrap().into_inner()
}

/// Two replicas that share a store, over a sandbox.
async fn two() -> (Redis, Sandbox, [Replica; 2]) {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = over(&sandbox, &redis, 2).await;
    let Ok(both) = <[Replica; 2]>::try_from(both) else { panic!("there are two") };
    (redis, sandbox, both)
}

/// The same, where every call without a deadline has two seconds.
async fn two_within_two_seconds() -> (Redis, Sandbox, [Replica; 2]) {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let plan = replicas(2).server("default_timeout = \"2s\"");
    let both = plan.sections(&unlimited(&sandbox.config())).over(&redis).await;
    let Ok(both) = <[Replica; 2]>::try_from(both) else { panic!("there are two") };
    (redis, sandbox, both)
}

async fn arm(sandbox: &Sandbox, operation: &str, fault: Value) {
    let spec = json!({"upstream": "sft", "operation": operation, "fault": fault, "times": 1});
    sandbox.arm_spec(spec).await;
}

#[tokio::test]
async fn one_id_on_two_replicas_at_once_has_one_effect_and_one_answer() {
    let (_redis, sandbox, [a, b]) = two().await;
    for (id, name) in [(ONE, "First"), (TWO, "Second")] {
        let calls = [&a, &b, &a, &b].map(|by| create(by, creation(id, name)));
        let answers = join_all(calls).await;
        let first = answers[0].as_ref().unwrap();
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == first), "{answers:#?}");
        assert_eq!(sandbox.count_named(name).await, 1);
    }
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, 2);
    let other = create(&b, creation(ONE, "Another")).await;
    fails(other, Code::InvalidArgument, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_repeat_on_another_replica_gets_the_first_answer_and_takes_nothing_back() {
    let (_redis, sandbox, [a, b]) = two().await;
    let there = create(&a, creation("", "There")).await.unwrap();
    let older = Profile { etag: String::new(), ..there.clone() };
    let first = update(&a, change(ONE, &older, "Older")).await.unwrap();
    let newer = update(&b, change("", &older, "Newer")).await.unwrap();
    assert_eq!(newer.display_name, "Newer");
    assert_eq!(update(&b, change(ONE, &older, "Older")).await.unwrap(), first);
    assert_eq!(read(&a, &there.name).await.display_name, "Newer");
    assert_eq!(sandbox.arrived("ModifyServiceProfile").await, 2);
}

#[tokio::test]
async fn what_two_replicas_attach_at_once_is_all_kept() {
    let (_redis, _sandbox, [a, b]) = two().await;
    let there = create(&a, creation("", "There")).await.unwrap();
    let attach = async |by: &Replica, service| {
        let (name, service) = (there.name.clone(), Some(model::service(service)));
        let request = AttachServiceRequest { name, service, ..AttachServiceRequest::default() };
        by.profiles().attach_service(timed(request, LONG)).await
    };
    let (one, other) = tokio::join!(attach(&a, model::SMS_MO), attach(&b, model::SMS_MT));
    one.unwrap();
    other.unwrap();
    assert_eq!(read(&a, &there.name).await.services.len(), 3);
}

#[tokio::test]
async fn of_two_replicas_that_have_seen_the_same_one_writes() {
    let (_redis, sandbox, [a, b]) = two().await;
    let there = create(&a, creation("", "There")).await.unwrap();
    let (one, other) =
        tokio::join!(update(&a, change("", &there, "A")), update(&b, change("", &there, "B")));
    let (written, refused) = if one.is_ok() { (one, other) } else { (other, one) };
    fails(refused, Code::Aborted, "ETAG_MISMATCH");
    let name = written.unwrap().display_name;
    assert_eq!(read(&b, &there.name).await.display_name, name);
    assert_eq!(sandbox.arrived("ModifyServiceProfile").await, 1);
}

#[tokio::test]
async fn a_repeat_elsewhere_finds_out_what_a_killed_replica_has_done() {
    let (_redis, sandbox, [a, b]) = two_within_two_seconds().await;
    let there = create(&b, creation("", "There")).await.unwrap();
    let there = Profile { etag: String::new(), ..there };
    for operation in ["CreateServiceProfile", "ModifyServiceProfile"] {
        arm(&sandbox, operation, json!({"kind": "hang", "commit": "before"})).await;
    }
    let (mut creates, mut updates) = (a.profiles(), a.profiles());
    let lost = tokio::spawn(async move { creates.create_profile(creation(ONE, "New")).await });
    let asked = change(TWO, &there, "Changed");
    let also = tokio::spawn(async move { updates.update_profile(asked).await });
    until("both arrive", async || {
        sandbox.arrived("CreateServiceProfile").await == 2
            && sandbox.arrived("ModifyServiceProfile").await == 1
    })
    .await;
    a.kill().await;
    assert!(lost.await.unwrap().is_err() && also.await.unwrap().is_err());
    let (created, changed) =
        tokio::join!(create(&b, creation(ONE, "New")), update(&b, change(TWO, &there, "Changed")));
    assert_eq!(created.unwrap().display_name, "New");
    assert_eq!(changed.unwrap().display_name, "Changed");
    assert_eq!(sandbox.count_named("New").await, 1);
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, 2, "nothing was sent again");
    assert_eq!(sandbox.arrived("ModifyServiceProfile").await, 1);
}

#[tokio::test]
async fn a_write_is_not_sent_without_the_store() {
    let (redis, sandbox, [a, b]) = two().await;
    let there = create(&a, creation("", "There")).await.unwrap();
    // Without the store, credentials are used at once that have worked before.
    read(&b, &there.name).await;
    let sent = sandbox.effects().await.len();
    redis.hang();
    for (by, id) in [(&a, ONE), (&b, "")] {
        let refused = failure(create(by, creation(id, "New")).await);
        assert!(refused.is(Code::Unavailable, "STORE_UNAVAILABLE"), "{refused:#?}");
        assert!(refused.retry.is_some(), "{refused:#?}");
        let refused = update(by, change(id, &there, "Changed")).await;
        fails(refused, Code::Unavailable, "STORE_UNAVAILABLE");
    }
    assert_eq!(read(&b, &there.name).await.display_name, "There", "reads go on");
    redis.go_on();
    until("it writes again", async || update(&b, change("", &there, "Again")).await.is_ok()).await;
    assert_eq!(sandbox.effects().await.len(), sent + 1);
    redis.kill().await;
    fails(create(&a, creation("", "New")).await, Code::Unavailable, "STORE_UNAVAILABLE");
    redis.start_again().await;
    until("it creates again", async || create(&a, creation(ONE, "New")).await.is_ok()).await;
    assert_eq!(sandbox.count_named("New").await, 1);
}
