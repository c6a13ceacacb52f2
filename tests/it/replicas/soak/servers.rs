//! The store of a round, and what may become of it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::sleep};

use crate::kit::{
    redis::Redis,
    replicas::Replica,
    until,
    wire::{Flow, To, Wire},
};

/// A server that may take over.
pub(super) struct Follower {
    next: Redis,
    link: Wire,
}

impl Follower {
    /// It gets nothing any more of what is written, and this time passes.
    pub(super) async fn fall_behind(&self, time: Duration) {
        for to in [To::Server, To::Client] {
            self.link.flow(to, Flow::Lose);
        }
        sleep(time).await;
    }
}

/// Which server it is may change.
pub(super) struct Servers(Mutex<Arc<Redis>>);

impl Servers {
    pub(super) async fn start() -> Self {
        Self(Mutex::new(Arc::new(Redis::start().await)))
    }

    pub(super) async fn primary(&self) -> Arc<Redis> {
        Arc::clone(&*self.0.lock().await)
    }

    /// Another server, which has what this one has.
    pub(super) async fn follower(&self) -> Follower {
        let (primary, next) = (self.primary().await, Redis::start().await);
        let link = Wire::to(primary.address(), 1).await;
        let port = link.address.port().to_string();
        next.command(&["REPLICAOF", "127.0.0.1", &port]).await;
        until("it is in step with its primary", async || {
            next.info("master_link_status").await == "up"
        })
        .await;
        Follower { next, link }
    }

    /// It takes over, for all replicas.
    pub(super) async fn take_over(&self, follower: Follower, replicas: &[Replica]) {
        let mut primary = self.0.lock().await;
        follower.next.promote().await;
        primary.kill().await;
        for replica in replicas {
            replica.wire.lead_to(follower.next.address());
        }
        *primary = Arc::new(follower.next);
    }

    /// Another server takes over, without what was written in this time.
    pub(super) async fn fail_over(&self, replicas: &[Replica], behind: Duration) {
        let follower = self.follower().await;
        follower.fall_behind(behind).await;
        self.take_over(follower, replicas).await;
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
