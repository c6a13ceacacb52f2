//! Servers and networks that stop to answer.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use profile_gateway::shared::connection::{Fault, Link};
use redis::{cmd, streams::StreamReadReply};

use super::bench::{Replica, over_tcp};
use crate::kit::{
    redis::Redis,
    until,
    wire::{Flow, To, Wire},
};

#[tokio::test]
async fn a_server_that_hangs_is_left_and_found_again() {
    let server = Redis::start().await;
    let replica = Replica::start(&over_tcp(server.address()));
    let connections = replica.up().await;
    server.hang();
    let failed = connections.commands.ask::<String>(&cmd("PING")).await;
    assert_eq!(failed.unwrap_err().fault, Fault::TimedOut);
    assert_eq!(replica.lost(1).await, Fault::TimedOut);
    assert!(replica.supervisor.connections().is_err());
    server.go_on();
    replica.up().await;
    assert!(replica.told.begun.load(SeqCst) >= 2);
}

#[tokio::test]
async fn a_network_that_loses_what_is_sent_is_noticed_in_either_direction() {
    let server = Redis::start().await;
    for lost in [&[To::Server][..], &[To::Client], &[To::Server, To::Client]] {
        let wire = Wire::to(server.address(), 3).await;
        let replica = Replica::start(&over_tcp(wire.address));
        replica.up().await;
        lost.iter().for_each(|to| wire.flow(*to, Flow::Lose));
        assert_eq!(replica.lost(1).await, Fault::TimedOut, "{lost:?}");
        replica.down_for(Fault::ConnectTimeout).await;
        lost.iter().for_each(|to| wire.flow(*to, Flow::Pass));
        replica.up().await;
    }
}

/// Reads the log until that fails.
async fn read_log(log: &Link) -> Fault {
    let mut read = cmd("XREAD");
    read.arg("BLOCK").arg(50).arg("STREAMS").arg("log").arg("$");
    loop {
        let mut connection = log.connection();
        let answer = read.query_async::<Option<StreamReadReply>>(&mut connection);
        match log.within(Duration::from_millis(550), answer).await {
            Err(why) if why.fault != Fault::TimedOut => return why.fault,
            Ok(_) => {}
            // The second in a row ends the connection, and then it is told without waiting.
            Err(_) => assert!(log.ask::<String>(&cmd("PING")).await.is_err()),
        }
        if log.ask::<String>(&cmd("PING")).await.is_err() {
            return Fault::TimedOut;
        }
    }
}

#[tokio::test]
async fn each_connection_is_watched_over() {
    let server = Redis::start().await;
    for lane in 0..3 {
        let wire = Wire::to(server.address(), 3).await;
        let replica = Replica::start(&over_tcp(wire.address));
        let log = replica.up().await.log.clone();
        let reading = tokio::spawn(async move { read_log(&log).await });
        wire.lane(lane, To::Client, Flow::Lose);
        assert_eq!(replica.lost(1).await, Fault::TimedOut, "{lane}");
        reading.await.unwrap();
        wire.lane(lane, To::Client, Flow::Pass);
        replica.up().await;
    }
}

#[tokio::test]
async fn connections_that_are_cut_or_refused_are_opened_again() {
    let server = Redis::start().await;
    let wire = Wire::to(server.address(), 3).await;
    let replica = Replica::start(&over_tcp(wire.address));
    replica.up().await;
    wire.refuse(true);
    wire.cut();
    assert_eq!(replica.lost(1).await, Fault::ConnectionLost);
    let (before, since) = (wire.opened(), replica.down_since());
    until("it tries again and again", async || wire.opened() >= before + 3).await;
    assert_eq!(replica.down_since(), since, "it has been down since then");
    wire.refuse(false);
    replica.up().await;
}

#[tokio::test]
async fn a_command_that_comes_late_is_carried_out_although_it_has_failed() {
    let server = Redis::start().await;
    let wire = Wire::to(server.address(), 3).await;
    let replica = Replica::start(&over_tcp(wire.address));
    let connections = replica.up().await;
    wire.flow(To::Server, Flow::Hold);
    let written = connections.commands.ask::<String>(cmd("SET").arg("late").arg(1)).await;
    assert_eq!(written.unwrap_err().fault, Fault::TimedOut);
    assert_eq!(server.ask::<Option<u8>>(&["GET", "late"]).await, None);
    wire.flow(To::Server, Flow::Pass);
    until("it is written", async || server.ask::<Option<u8>>(&["GET", "late"]).await == Some(1))
        .await;
}
