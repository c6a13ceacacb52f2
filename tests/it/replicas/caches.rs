//! What replicas keep of reads, beside the writes and the purges of others.

use profile_gateway::pb::PurgeCacheRequest;
use tonic::Code;

use crate::kit::{
    model,
    redis::Redis,
    replicas::{LOG, Replica, replicas, unlimited},
    sandbox::{Sandbox, sandbox},
    status::fails,
    until,
    wire::{Flow, To},
};

/// A profile that the sandbox has.
const ID: &str = "SP_352";

/// Two replicas with their leases. The reads of their upstream show each write at once.
async fn two() -> (Redis, Sandbox, [Replica; 2]) {
    two_that_settle_in("0s").await
}

/// The same, where reads may lag behind a write for so long.
async fn two_that_settle_in(time: &str) -> (Redis, Sandbox, [Replica; 2]) {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let settle = format!("settle_time = \"{time}\"\ndialect =");
    let sections = unlimited(&sandbox.config()).replace("dialect =", &settle);
    let both = replicas(2).sections(&sections).over(&redis).await;
    let Ok(both) = <[Replica; 2]>::try_from(both) else { panic!("there are two") };
    for replica in &both {
        keeps(replica).await;
    }
    (redis, sandbox, both)
}

/// The display name that a read shows, and whether it was answered from memory.
async fn read(by: &Replica) -> (String, bool) {
    let answer = by.profiles().get_profile(model::get(ID)).await.unwrap();
    let how = answer.metadata().get("x-profile-cache").unwrap().to_str().unwrap();
    let is_kept = ["hit", "stale"].contains(&how);
    (answer.into_inner().display_name, is_kept)
}

/// Waits until a replica answers from memory.
async fn keeps(replica: &Replica) {
    until("it answers from memory", async || read(replica).await.1).await;
}

async fn rename(by: &Replica, to: &str) {
    by.profiles().update_profile(model::rename(ID, to)).await.unwrap();
}

async fn purge(by: &Replica, name: &str) -> Result<i64, tonic::Status> {
    let purged = by.backends().purge_cache(PurgeCacheRequest { name: name.to_owned() }).await;
    purged.map(|answer| answer.into_inner().purged_count)
}

#[tokio::test]
async fn an_acknowledged_write_shows_at_once_on_each_replica() {
    let (_redis, _sandbox, both) = two().await;
    for round in 0..20 {
        let (writer, reader) = (&both[round % 2], &both[(round + 1) % 2]);
        keeps(reader).await;
        let name = format!("Round {round}");
        rename(writer, &name).await;
        assert_eq!(read(reader).await.0, name);
        assert_eq!(read(writer).await.0, name);
    }
}

#[tokio::test]
async fn what_agrees_with_a_write_of_another_replica_is_kept_at_once() {
    let (_redis, _sandbox, both) = two_that_settle_in("1m").await;
    for round in 0..4 {
        let (writer, reader) = (&both[round % 2], &both[(round + 1) % 2]);
        let name = format!("Round {round}");
        rename(writer, &name).await;
        assert_eq!(read(reader).await, (name.clone(), false));
        assert_eq!(read(reader).await, (name, true));
    }
}

#[tokio::test]
async fn a_purge_of_one_replica_is_one_of_all() {
    let (_redis, sandbox, [a, b]) = two().await;
    let all = sandbox.raw("sft").await;
    let mut raw = all.into_iter().find(|raw| raw["id"] == ID).expect("it is there");
    raw.as_object_mut().unwrap().remove("id");
    for (round, name) in [model::name(ID), model::BACKEND.to_owned()].into_iter().enumerate() {
        keeps(&b).await;
        // As someone changes it who does not write through the gateway.
        let changed = format!("Elsewhere {round}");
        raw["name"] = changed.clone().into();
        sandbox.put_raw("sft", ID, &raw).await;
        assert!(read(&b).await.1);
        assert!(purge(&a, &name).await.is_ok());
        assert_eq!(read(&b).await, (changed, false));
    }
}

#[tokio::test]
async fn who_is_cut_off_answers_nothing_from_memory_and_others_wait_for_that_once() {
    let (_redis, _sandbox, [a, b]) = two().await;
    keeps(&b).await;
    // Nothing of the log comes any more, and its renewals are answered.
    b.wire.lane(LOG, To::Client, Flow::Hold);
    rename(&a, "Without b").await;
    assert_eq!(read(&b).await, ("Without b".to_owned(), false));
    b.wire.lane(LOG, To::Client, Flow::Pass);
    keeps(&b).await;
    rename(&a, "With b").await;
    assert_eq!(read(&b).await.0, "With b");
}

#[tokio::test]
async fn without_the_store_reads_go_to_the_upstream_and_a_purge_says_who_was_not_told() {
    let (redis, _sandbox, [a, b]) = two().await;
    redis.kill().await;
    until("nothing is answered from memory", async || !read(&b).await.1).await;
    assert!(!read(&b).await.1, "what was read meanwhile is of no use yet");
    let refused = purge(&a, &model::name(ID)).await;
    fails(refused, Code::Unavailable, "STORE_UNAVAILABLE");
    redis.start_again().await;
    keeps(&a).await;
    keeps(&b).await;
    assert!(purge(&a, &model::name(ID)).await.is_ok());
}
