//! Writes in doubt over replicas: the doubts of one that was killed are another one's, and what an
//! operator says of one at one replica holds at all.

use std::time::Duration;

use profile_gateway::pb::{
    CloseDoubtfulWriteRequest, CreateProfileRequest, DoubtOutcome, DoubtfulWrite,
    ListDoubtfulWritesRequest,
};
use serde_json::json;
use tonic::Response;

use crate::kit::{
    gateway::timed,
    model,
    redis::Redis,
    replicas::{Replica, replicas, unlimited},
    sandbox::{Sandbox, sandbox},
    status::fails,
    until,
};

const ONE: &str = "123e4567-e89b-12d3-a456-426614174abc";
const TWO: &str = "223e4567-e89b-12d3-a456-426614174abc";

fn creation(request_id: &str, name: &str) -> CreateProfileRequest {
    CreateProfileRequest {
        parent: model::BACKEND.to_owned(),
        profile: Some(model::profile(name)),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}

/// Two replicas, where every call without a deadline has two seconds.
async fn two() -> (Redis, Sandbox, [Replica; 2]) {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let plan = replicas(2).server("default_timeout = \"2s\"");
    let both = plan.sections(&unlimited(&sandbox.config())).over(&redis).await;
    let Ok(both) = <[Replica; 2]>::try_from(both) else { panic!("there are two") };
    // A call that has to log in first may take longer.
    for replica in &both {
        replica.logs_in().await;
    }
    (redis, sandbox, both)
}

async fn doubts(at: &Replica) -> Vec<DoubtfulWrite> {
    let parent = model::BACKEND.to_owned();
    let request = ListDoubtfulWritesRequest { parent, ..ListDoubtfulWritesRequest::default() };
    let listed = at.backends().list_doubtful_writes(request).await;
    listed.unwrap().into_inner().doubtful_writes
}

#[tokio::test]
async fn the_doubts_of_a_killed_replica_are_settled_by_another_one() {
    let (_redis, sandbox, [a, b]) = two().await;
    // One takes effect, and one does not arrive; neither is answered.
    for (name, id, commit) in [("Made", ONE, "before"), ("Also made", "", "before")] {
        let before = sandbox.arrived("CreateServiceProfile").await;
        let fault = json!({"kind": "hang", "commit": commit});
        sandbox.arm("CreateServiceProfile", fault).await;
        let mut client = a.profiles();
        drop(tokio::spawn(async move { client.create_profile(creation(id, name)).await }));
        until("it arrives", async || sandbox.arrived("CreateServiceProfile").await == before + 1)
            .await;
    }
    a.kill().await;
    assert_eq!(doubts(&b).await.len(), 0);
    let settled = "outcome=\"took_effect\"";
    until("another one has settled them", async || {
        b.metric("doubtful_writes_settled_total", settled).await == 2.0
    })
    .await;
    assert_eq!(doubts(&b).await.len(), 0);
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, 2, "nothing was sent again");
    let repeated = b.profiles().create_profile(creation(ONE, "Made")).await;
    assert_eq!(repeated.map(Response::into_inner).unwrap().display_name, "Made");
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, 2);
}

#[tokio::test]
async fn an_operator_sees_and_ends_the_doubts_of_a_killed_replica_at_another_one() {
    let (_redis, sandbox, [a, b]) = two().await;
    sandbox.arm("CreateServiceProfile", json!({"kind": "drop"})).await;
    let mut client = a.profiles();
    let lost = client.create_profile(timed(creation(TWO, "Lost"), Some(Duration::from_secs(2))));
    assert!(lost.await.is_err());
    let [told] = <[DoubtfulWrite; 1]>::try_from(doubts(&a).await).unwrap();
    a.kill().await;
    until("another one has it", async || doubts(&b).await.len() == 1).await;
    let [taken] = <[DoubtfulWrite; 1]>::try_from(doubts(&b).await).unwrap();
    assert_eq!((&taken.name, &taken.request_id), (&told.name, &told.request_id));
    assert_eq!((&taken.call_id, taken.attempt_count), (&told.call_id, told.attempt_count));
    a.start_again().await;
    let close = CloseDoubtfulWriteRequest {
        name: taken.name,
        outcome: DoubtOutcome::TookEffect.into(),
        note: "seen in the portal".to_owned(),
        profile: String::new(),
    };
    // It waits for the killed one to be no member any more.
    let close = timed(close, Some(Duration::from_secs(20)));
    b.backends().close_doubtful_write(close).await.unwrap();
    assert_eq!(doubts(&b).await.len(), 0);
    for by in [&a, &b] {
        let repeated = by.profiles().create_profile(creation(TWO, "Lost")).await;
        fails(repeated, tonic::Code::InvalidArgument, "REQUEST_ID_REUSED");
    }
}
