//! Servers that the gateway cannot rely on, or that do not let it in.

use std::sync::atomic::Ordering::SeqCst;

use profile_gateway::shared::{SharedSettings, connection::Fault};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::bench::{Replica, at, over_tcp};
use crate::kit::{
    SECRET,
    redis::Redis,
    wire::{Flow, To, Wire},
};

/// A replica with these settings is refused for this, has begun no session, and is let in once the
/// cause is gone.
async fn is_refused(settings: &SharedSettings, fault: Fault, repair: impl AsyncFnOnce()) {
    let replica = Replica::start(settings);
    let why = replica.down_for(fault).await;
    let at_once = replica.supervisor.connections().unwrap_err();
    assert_eq!(at_once.fault, fault, "a command fails at once, and says why");
    let shown = format!("{why} {why:?} {:?}", replica.supervisor);
    assert!(!shown.contains(SECRET), "{shown}");
    let error = why.error("the write could not be recorded in the store", "it was not sent");
    assert!(!error.message().contains(SECRET), "{}", error.message());
    assert_eq!(replica.told.begun.load(SeqCst), 0, "{fault:?}");
    assert!(replica.counts("profile_gateway_shared_store_connected 0"), "{fault:?}");
    repair().await;
    replica.up().await;
    assert!(replica.counts("profile_gateway_shared_store_connected 1"), "{fault:?}");
}

fn with_password(settings: SharedSettings, user: Option<&str>) -> SharedSettings {
    SharedSettings { user: user.map(str::to_owned), password: Some(SECRET.into()), ..settings }
}

#[tokio::test]
async fn a_server_that_does_not_know_the_gateway() {
    let server = Redis::with(&["--requirepass", "another"]).await;
    let right = ["CONFIG", "SET", "requirepass", SECRET];
    let (open, closed) =
        (over_tcp(server.address()), at(&format!("unix:{}", server.socket().display())));
    is_refused(&open, Fault::CredentialsWanted, async || {
        server.command(&["CONFIG", "SET", "requirepass", ""]).await;
    })
    .await;
    server.command(&["CONFIG", "SET", "requirepass", "another"]).await;
    is_refused(&with_password(closed.clone(), None), Fault::CredentialsRefused, async || {
        server.command(&right).await;
    })
    .await;
    let user = with_password(closed, Some("gateway"));
    is_refused(&user, Fault::CredentialsRefused, async || {
        let secret = format!(">{SECRET}");
        server.command(&["ACL", "SETUSER", "gateway", "on", &secret, "~*", "+@all"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_allow_what_is_needed() {
    let server = Redis::start().await;
    let secret = format!(">{SECRET}");
    server.command(&["ACL", "SETUSER", "gateway", "on", &secret, "~*", "+@all", "-info"]).await;
    let settings = with_password(over_tcp(server.address()), Some("gateway"));
    is_refused(&settings, Fault::NotPermitted, async || {
        server.command(&["ACL", "SETUSER", "gateway", "+info"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_know_the_command_that_shows_the_password() {
    let told = format!("-ERR unknown command 'AUTH', with args beginning with: '{SECRET}'\r\n");
    let settings = with_password(answering(told).await, None);
    let why = Replica::start(&settings).down_for(Fault::CredentialsRefused).await;
    assert!(!format!("{why} {why:?}").contains(SECRET), "{why}");
}

#[tokio::test]
async fn a_replica() {
    let (primary, server) = (Redis::start().await, Redis::start().await);
    server.follow(&primary).await;
    is_refused(&over_tcp(server.address()), Fault::IsReplica, async || server.promote().await)
        .await;
}

#[tokio::test]
async fn a_server_that_would_forget_writes() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let server = Redis::with(&["--maxmemory-policy", policy]).await;
        is_refused(&over_tcp(server.address()), Fault::Evicts, async || {
            server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_load_balancer() {
    let (one, other) = (Redis::start().await, Redis::start().await);
    let wire = Wire::to_each(vec![one.address(), one.address(), other.address()]).await;
    Replica::start(&over_tcp(wire.address)).down_for(Fault::SeveralServers).await;
}

#[tokio::test]
async fn a_cluster() {
    let server = Redis::with(&["--cluster-enabled", "yes"]).await;
    let replica = Replica::start(&over_tcp(server.address()));
    replica.down_for(Fault::IsCluster).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet() {
    let server = Redis::start().await;
    let socket = at(&format!("unix:{}", server.socket().display()));
    for settings in [over_tcp(server.address()), socket] {
        server.kill().await;
        let _ = std::fs::remove_file(server.socket());
        is_refused(&settings, Fault::Unreachable, async || server.start_again().await).await;
    }
    let replica = Replica::start(&at("redis://redis.invalid"));
    replica.down_for(Fault::NameNotResolved).await;
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let server = Redis::start().await;
    let wire = Wire::to(server.address(), 3).await;
    wire.flow(To::Client, Flow::Lose);
    is_refused(&over_tcp(wire.address), Fault::ConnectTimeout, async || {
        wire.flow(To::Client, Flow::Pass);
    })
    .await;
}

/// The settings of what gives this answer to whatever it is asked.
async fn answering(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> SharedSettings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = over_tcp(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 64]).await;
            let _ = client.write_all(answer.as_ref()).await;
        }
    });
    settings
}

#[tokio::test]
async fn another_program() {
    let settings = answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    Replica::start(&settings).down_for(Fault::NotRedis).await;
}

#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    let server = Redis::start().await;
    let replica = Replica::start(&at(&format!("rediss://{}", server.address())));
    // The server waits for the rest of the line.
    let why = replica.down_for(Fault::ConnectTimeout).await;
    assert!(why.to_string().contains("TLS"), "{why}");
    let settings = at(&answering("-ERR no TLS\r\n")
        .await
        .url
        .unwrap()
        .to_string()
        .replace("redis:", "rediss:"));
    Replica::start(&settings).down_for(Fault::TlsHandshake).await;
}
