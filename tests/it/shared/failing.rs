//! Servers that fail while a replica is connected to them, and refuse, restart, or change.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use profile_gateway::shared::{
    SharedSettings,
    connection::{Failure, Fault, State},
};
use redis::{cmd, streams::StreamReadReply};

use super::bench::{Replica, over_tcp};
use crate::kit::{redis::Redis, until};

#[tokio::test]
async fn commands_fail_at_once_without_a_server_and_a_new_session_begins_with_the_next_one() {
    let server = Redis::start().await;
    let replica = Replica::start(&over_tcp(server.address()));
    let before = replica.up().await;
    assert_eq!(before.commands.ask::<String>(&cmd("PING")).await.as_deref(), Ok("PONG"));
    server.kill().await;
    assert_eq!(replica.lost(1).await, Fault::ConnectionLost);
    replica.down_for(Fault::Unreachable).await;
    assert!(replica.supervisor.connections().is_err());
    for link in [&before.commands, &before.log, &before.durable] {
        let failed = link.ask::<String>(&cmd("PING")).await;
        assert_eq!(failed.unwrap_err().fault, Fault::ConnectionLost, "connections of before");
    }
    assert!(replica.counts("profile_gateway_shared_store_connected 0"));
    server.start_again().await;
    let after = replica.up().await;
    assert_eq!(after.commands.ask::<String>(&cmd("PING")).await.as_deref(), Ok("PONG"));
    assert_eq!(replica.told.begun.load(SeqCst), 2);
    assert!(replica.counts("profile_gateway_shared_store_connections_total 2"));
    let failed = before.commands.ask::<String>(&cmd("PING")).await;
    assert!(failed.is_err(), "what belongs to the session before stays with it");
}

#[tokio::test]
async fn all_connections_use_the_database_that_is_configured() {
    let server = Redis::start().await;
    let settings = SharedSettings { database: 3, ..over_tcp(server.address()) };
    let replica = Replica::start(&settings);
    let connections = replica.up().await;
    for (key, link) in [("a", &connections.commands), ("b", &connections.durable)] {
        link.ask::<String>(cmd("SET").arg(key).arg(1)).await.unwrap();
    }
    assert!(server.info("db3").await.starts_with("keys=2,"));
}

#[tokio::test]
async fn a_server_that_was_started_again_has_another_history() {
    let server = Redis::start().await;
    let replica = Replica::start(&over_tcp(server.address()));
    let history = || replica.told.server.lock().unwrap().as_ref().unwrap().replication.id.clone();
    replica.up().await;
    let before = history();
    server.kill().await;
    server.start_again().await;
    replica.lost(1).await;
    replica.up().await;
    assert_ne!(history(), before);
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_left_at_the_first_write() {
    let (primary, server) = (Redis::start().await, Redis::start().await);
    let replica = Replica::start(&over_tcp(server.address()));
    let connections = replica.up().await;
    server.follow(&primary).await;
    // The heartbeat may have noticed before.
    let written = connections.commands.ask::<String>(cmd("SET").arg("a").arg(1)).await;
    assert_eq!(written.unwrap_err().fault, Fault::IsReplica);
    let next = connections.commands.ask::<String>(&cmd("PING")).await;
    assert_eq!(next.unwrap_err().fault, Fault::IsReplica, "no other command goes there");
    assert_eq!(replica.lost(1).await, Fault::IsReplica);
    server.promote().await;
    replica.up().await;
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_left_without_a_write() {
    let (primary, server) = (Redis::start().await, Redis::start().await);
    let replica = Replica::start(&over_tcp(server.address()));
    replica.up().await;
    server.follow(&primary).await;
    assert_eq!(replica.lost(1).await, Fault::IsReplica);
}

#[tokio::test]
async fn who_reads_the_log_learns_that_the_server_became_a_replica() {
    let (primary, server) = (Redis::start().await, Redis::start().await);
    let replica = Replica::start(&over_tcp(server.address()));
    let log = replica.up().await.log.clone();
    let reading = tokio::spawn(async move {
        let mut read = cmd("XREAD");
        read.arg("BLOCK").arg(60_000).arg("STREAMS").arg("log").arg("$");
        let mut connection = log.connection();
        let answer = read.query_async::<StreamReadReply>(&mut connection);
        log.within(Duration::from_secs(60), answer).await
    });
    until("it reads", async || server.info("blocked_clients").await == "1").await;
    server.follow(&primary).await;
    assert_eq!(reading.await.unwrap().unwrap_err().fault, Fault::IsReplica);
}

#[tokio::test]
async fn a_server_that_begins_to_forget_is_left() {
    let server = Redis::start().await;
    let replica = Replica::start(&over_tcp(server.address()));
    replica.up().await;
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    assert_eq!(replica.lost(1).await, Fault::Evicts);
    replica.down_for(Fault::Evicts).await;
}

#[tokio::test]
async fn a_command_that_is_refused_ends_no_connection() {
    let server = Redis::start().await;
    server.command(&["ACL", "SETUSER", "default", "-set"]).await;
    let replica = Replica::start(&over_tcp(server.address()));
    let connections = replica.up().await;
    let write = async || connections.commands.ask::<String>(cmd("SET").arg("a").arg(1)).await;
    let refused = async |fault| assert_eq!(write().await.unwrap_err().fault, fault);
    refused(Fault::NotPermitted).await;
    server.command(&["ACL", "SETUSER", "default", "+set"]).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    refused(Fault::OutOfMemory).await;
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    refused(Fault::TooFewReplicas).await;
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    assert_eq!(write().await.as_deref(), Ok("OK"), "over the same connection");
    let line = "profile_gateway_shared_store_command_failures_total{fault=\"out_of_memory\"} 1";
    assert!(replica.counts(line));
}

#[tokio::test]
async fn no_command_is_let_through_before_the_session_has_begun() {
    let server = Redis::start().await;
    let replica = Replica::holding(&over_tcp(server.address()), 0);
    until("it joins", async || replica.told.begun.load(SeqCst) == 1).await;
    assert!(matches!(*replica.supervisor.state().borrow(), State::Joining(_)));
    assert_eq!(replica.supervisor.connections().unwrap_err().fault, Fault::NotConnected);
    replica.told.may_begin.add_permits(1);
    replica.up().await;
}

#[tokio::test]
async fn a_session_that_does_not_begin_is_lost_and_begins_again() {
    let server = Redis::start().await;
    let replica = Replica::holding(&over_tcp(server.address()), 1);
    let refusal = Failure::new(Fault::Refused, "not now");
    *replica.told.refuses.lock().unwrap() = Some(refusal);
    assert_eq!(replica.lost(1).await, Fault::Refused);
    assert!(replica.supervisor.connections().is_err());
    *replica.told.refuses.lock().unwrap() = None;
    replica.told.may_begin.add_permits(9);
    replica.up().await;
}

#[tokio::test]
async fn a_session_that_is_not_renewed_ends_if_another_connection_could_help() {
    let server = Redis::start().await;
    let replica = Replica::start(&over_tcp(server.address()));
    replica.up().await;
    let ends = |fault| *replica.told.ends.lock().unwrap() = Some(Failure::new(fault, ""));
    ends(Fault::OutOfMemory);
    replica.renewed(3).await;
    assert!(replica.told.lost.lock().unwrap().is_empty());
    ends(Fault::Loading);
    assert_eq!(replica.lost(1).await, Fault::Loading);
}

#[tokio::test]
async fn a_server_that_does_not_say_what_it_is_any_more_is_left() {
    let server = Redis::start().await;
    let replica = Replica::start(&over_tcp(server.address()));
    replica.up().await;
    server.command(&["ACL", "SETUSER", "default", "-info"]).await;
    assert_eq!(replica.lost(1).await, Fault::NotPermitted);
}

#[tokio::test]
async fn it_takes_leave_of_the_server_at_the_end() {
    let server = Redis::start().await;
    let replica = Replica::start(&over_tcp(server.address()));
    let connections = replica.up().await;
    let mut state = replica.supervisor.state();
    let told = replica.told.clone();
    replica.supervisor.end().await;
    assert_eq!(told.left.load(SeqCst), 1);
    assert!(matches!(*state.borrow_and_update(), State::Down(..)));
    assert!(connections.commands.ask::<String>(&cmd("PING")).await.is_err());
    until("the server has no such client", async || {
        // The one that asks is one, too.
        server.info("connected_clients").await == "1"
    })
    .await;
}
