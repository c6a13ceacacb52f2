//! The store of a round, and what may become of it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::sleep};

use crate::kit::{
    redis::Redis,
    replicas::Replica,
    until,
    wire::{Flow, To, Wire},
};

/// Which server it is may change.
pub(super) struct Servers(Mutex<Arc<Redis>>);

impl Servers {
    pub(super) async fn start() -> Self {
        Self(Mutex::new(Arc::new(Redis::start().await)))
    }

    pub(super) async fn primary(&self) -> Arc<Redis> {
        Arc::clone(&*self.0.lock().await)
    }

    /// Another server takes over, without what was written in this time.
    pub(super) async fn fail_over(&self, replicas: &[Replica], behind: Duration) {
        let mut primary = self.0.lock().await;
        let next = Redis::start().await;
        let link = Wire::to(primary.address(), 1).await;
        let port = link.address.port().to_string();
        next.command(&["REPLICAOF", "127.0.0.1", &port]).await;
        until("it is in step with its primary", async || {
            next.info("master_link_status").await == "up"
        })
        .await;
        for to in [To::Server, To::Client] {
            link.flow(to, Flow::Lose);
        }
        sleep(behind).await;
        next.promote().await;
        primary.kill().await;
        for replica in replicas {
            replica.wire.lead_to(next.address());
        }
        *primary = Arc::new(next);
    }

    /// It comes back with what it had before this time.
    pub(super) async fn go_back(&self, by: Duration, down: Duration) {
        let primary = self.primary().await;
        primary.command(&["SAVE"]).await;
        sleep(by).await;
        primary.kill().await;
        sleep(down).await;
        primary.start_again().await;
        primary.forget();
    }

    /// It comes back empty.
    pub(super) async fn restart(&self, down: Duration) {
        let primary = self.primary().await;
        primary.kill().await;
        primary.forget();
        sleep(down).await;
        primary.start_again().await;
    }

    pub(super) async fn hang(&self, time: Duration) {
        let primary = self.primary().await;
        primary.hang();
        sleep(time).await;
        primary.go_on();
    }

    /// It takes no more writes.
    pub(super) async fn fill(&self, time: Duration) {
        let primary = self.primary().await;
        primary.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
        sleep(time).await;
        primary.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    }
}
