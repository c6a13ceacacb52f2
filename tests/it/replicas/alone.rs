//! A replica that is the only one, and goes on writing while the store is away: what is told of
//! that, and what is known of it when the store is back.

use profile_gateway::pb::{CreateProfileRequest, GetBackendRequest, Profile};
use tonic::{Response, Status};

use crate::kit::{
    model,
    redis::Redis,
    replicas::{Replica, replicas, unlimited},
    sandbox::{Sandbox, sandbox},
    until,
};

const BEFORE: &str = "123e4567-e89b-12d3-a456-426614174abc";
const ALONE: &str = "223e4567-e89b-12d3-a456-426614174abc";

async fn create(by: &Replica, id: &str, name: &str) -> Result<Profile, Status> {
    let request = CreateProfileRequest {
        parent: model::BACKEND.to_owned(),
        profile: Some(model::profile(name)),
        request_id: id.to_owned(),
        validate_only: false,
    };
    by.profiles().create_profile(request).await.map(Response::into_inner)
}

async fn promise(by: &Replica) -> String {
    let request = GetBackendRequest { name: model::BACKEND.to_owned() };
    let backend = by.backends().get_backend(request).await.unwrap().into_inner();
    backend.capabilities.unwrap().request_id_guarantee
}

async fn alone(redis: &Redis) -> (Sandbox, Replica) {
    let sandbox = sandbox().await;
    let plan = replicas(1).store("when_unreachable = \"write_alone\"");
    let mut all = plan.sections(&unlimited(&sandbox.config())).over(redis).await;
    (sandbox, all.pop().expect("there is one"))
}

const TOLD: &str = "writes are sent, and the other replicas do not know of them";

#[tokio::test]
async fn a_replica_that_is_the_only_one_goes_on_writing_while_the_store_is_away() {
    let redis = Redis::start().await;
    let (sandbox, replica) = alone(&redis).await;
    let before = create(&replica, BEFORE, "Before").await.unwrap();
    redis.kill().await;
    until("it is told", async || promise(&replica).await.contains(TOLD)).await;
    let made = create(&replica, ALONE, "Alone").await.unwrap();
    assert_eq!(create(&replica, ALONE, "Alone").await.unwrap(), made, "it is recognized");
    assert_eq!(create(&replica, BEFORE, "Before").await.unwrap(), before);

    redis.start_again().await;
    until("it is told no more", async || !promise(&replica).await.contains("at the moment")).await;
    // What was written alone is known to its process, and to no store.
    assert_eq!(create(&replica, ALONE, "Alone").await.unwrap(), made);
    let id = made.name.rsplit('/').next().unwrap();
    let renamed = replica.profiles().update_profile(model::rename(id, "Renamed")).await;
    assert_eq!(renamed.unwrap().into_inner().display_name, "Renamed");
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, 2);
    let records: Vec<String> = redis.ask(&["KEYS", "*:req:*"]).await;
    assert_eq!(records.len(), 1, "that of the write before: {records:?}");
    replica.kill().await;
    replica.start_again().await;
    until("it knows what it wrote with the store", async || {
        create(&replica, BEFORE, "Before").await.is_ok_and(|again| again == before)
    })
    .await;
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, 2);
}

#[tokio::test]
async fn a_replica_that_is_the_only_one_writes_although_it_has_never_seen_the_store() {
    let redis = Redis::start().await;
    redis.kill().await;
    let (sandbox, replica) = alone(&redis).await;
    assert!(promise(&replica).await.contains(TOLD));
    // Without the store, it waits before it logs in for the first time.
    replica.logs_in().await;
    let made = create(&replica, ALONE, "Alone").await.unwrap();
    redis.start_again().await;
    until("it has joined", async || !promise(&replica).await.contains("at the moment")).await;
    assert_eq!(create(&replica, ALONE, "Alone").await.unwrap(), made, "it is recognized");
    let next = create(&replica, BEFORE, "Next").await.unwrap();
    assert_eq!(create(&replica, BEFORE, "Next").await.unwrap(), next);
    assert_eq!(sandbox.arrived("CreateServiceProfile").await, 2);
}
