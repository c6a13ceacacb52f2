//! That the kit does to its processes what the tests of replicas rely on.

use crate::kit::{
    gateway::fresh,
    model,
    redis::Redis,
    replicas::{replicas, unlimited},
    sandbox::sandbox,
    until,
};

#[tokio::test]
async fn replicas_are_killed_stopped_and_started_again() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let plan = replicas(2).apart().sections(&unlimited(&sandbox.config()));
    let both = plan.over(&redis).await;
    let list = async |at: usize| {
        let answer = both[at].profiles().list_profiles(fresh(model::list(model::BACKEND))).await;
        answer.map(|answer| answer.into_inner().profiles.len())
    };
    let known = list(0).await.unwrap();
    assert!(known > 0);
    assert_eq!(list(1).await.unwrap(), known);
    both[0].kill().await;
    assert!(list(0).await.is_err());
    assert_eq!(list(1).await.unwrap(), known, "the other goes on");
    both[0].start_again().await;
    assert_eq!(list(0).await.unwrap(), known);
    both[1].hang();
    both[1].go_on();
    until("it goes on", async || list(1).await.is_ok()).await;
    assert!(both[1].metric("started_requests_total", "").await >= 0.0);
    assert_eq!(both[1].end().await.code(), Some(0));
}
