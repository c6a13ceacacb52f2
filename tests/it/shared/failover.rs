//! Sentinels, which know the primary, and replace it.

use profile_gateway::shared::{SharedSettings, connection::Fault};
use redis::cmd;

use super::bench::Replica;
use crate::kit::{SECRET, redis::Redis, until};

const MASTER: &str = "pg";

/// The settings of a server that these Sentinels know.
fn watched_by(sentinels: &[&Redis]) -> SharedSettings {
    let urls = sentinels.iter().map(|sentinel| format!("redis://{}", sentinel.address()));
    let sentinels = urls.collect::<Vec<_>>().join(",").parse().unwrap();
    SharedSettings {
        sentinels: Some(sentinels),
        master: Some(MASTER.to_owned()),
        ..SharedSettings::default()
    }
}

#[tokio::test]
async fn the_new_primary_is_found_after_a_failover() {
    let (first, second) = (Redis::start().await, Redis::start().await);
    second.follow(&first).await;
    let sentinel = Redis::sentinel(MASTER, &first).await;
    until("the Sentinel knows both", async || sentinel.info("master0").await.contains("slaves=1"))
        .await;
    let replica = Replica::start(&watched_by(&[&sentinel]));
    let before = replica.up().await;
    before.commands.ask::<String>(cmd("SET").arg("a").arg(1)).await.unwrap();
    assert_eq!(first.ask::<Option<u8>>(&["GET", "a"]).await, Some(1));
    first.kill().await;
    replica.lost(1).await;
    let after = replica.up().await;
    after.commands.ask::<String>(cmd("SET").arg("b").arg(2)).await.unwrap();
    assert_eq!(second.ask::<Option<u8>>(&["GET", "b"]).await, Some(2));
}

#[tokio::test]
async fn a_failover_that_ends_no_connection_is_noticed() {
    let (first, second) = (Redis::start().await, Redis::start().await);
    second.follow(&first).await;
    let sentinel = Redis::sentinel(MASTER, &first).await;
    let replica = Replica::start(&watched_by(&[&sentinel]));
    replica.up().await;
    // Not before the Sentinel knows the other one well.
    sentinel.repeat(&["SENTINEL", "FAILOVER", MASTER]).await;
    until("it was replaced", async || second.info("role").await == "master").await;
    replica.lost(1).await;
    let after = replica.up().await;
    after.commands.ask::<String>(cmd("SET").arg("b").arg(2)).await.unwrap();
    assert_eq!(second.ask::<Option<u8>>(&["GET", "b"]).await, Some(2));
}

#[tokio::test]
async fn the_first_sentinel_that_answers_is_believed() {
    let server = Redis::start().await;
    let (dead, alive) = (Redis::start().await, Redis::sentinel(MASTER, &server).await);
    dead.kill().await;
    let both = watched_by(&[&dead, &alive]);
    let replica = Replica::start(&both);
    replica.up().await;
    let other = SharedSettings { master: Some("other".to_owned()), ..both };
    let why = Replica::start(&other).down_for(Fault::MasterUnknown).await;
    assert!(why.to_string().contains(&alive.address().to_string()), "{why}");
    alive.kill().await;
    Replica::start(&watched_by(&[&dead, &alive])).down_for(Fault::SentinelsUnreachable).await;
    assert!(replica.supervisor.connections().is_ok(), "what is connected needs no Sentinel");
}

#[tokio::test]
async fn sentinels_have_a_password_of_their_own() {
    let server = Redis::start().await;
    let sentinel = Redis::sentinel(MASTER, &server).await;
    let secret = format!(">{SECRET}");
    sentinel.command(&["ACL", "SETUSER", "default", "resetpass", &secret]).await;
    let settings = watched_by(&[&sentinel]);
    let why = Replica::start(&settings).down_for(Fault::CredentialsWanted).await;
    assert!(why.to_string().contains("Sentinel"), "{why}");
    let with = SharedSettings { sentinel_password: Some(SECRET.into()), ..settings };
    Replica::start(&with).up().await;
}
