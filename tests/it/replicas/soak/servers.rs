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
pub(super) struct Servers {
    primary: Mutex<Arc<Redis>>,
    /// What has to run beside it.
    others: Mutex<Vec<Redis>>,
    standby: Mutex<Option<Follower>>,
}

impl Servers {
    pub(super) async fn start() -> Self {
        let primary = Mutex::new(Arc::new(Redis::start().await));
        Self { primary, others: Mutex::default(), standby: Mutex::default() }
    }

    /// One that has a follower from the beginning.
    pub(super) async fn start_in_pairs() -> Self {
        let servers = Self::start().await;
        *servers.standby.lock().await = Some(servers.follower().await);
        servers
    }

    pub(super) async fn primary(&self) -> Arc<Redis> {
        Arc::clone(&*self.primary.lock().await)
    }

    /// Another server, which has what this one has.
    pub(super) async fn follower(&self) -> Follower {
        let (primary, next) = (self.primary().await, Redis::start().await);
        let link = Wire::to(primary.address(), 1).await;
        let port = link.address.port().to_string();
        // It has not to wait for others that might want the same.
        primary.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).await;
        next.command(&["REPLICAOF", "127.0.0.1", &port]).await;
        until("it is in step with its primary", async || {
            next.info("master_link_status").await == "up"
        })
        .await;
        Follower { next, link }
    }

    /// It takes over, for all replicas.
    pub(super) async fn take_over(&self, follower: Follower, replicas: &[Replica]) {
        let mut primary = self.primary.lock().await;
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

    /// Another server takes over with a follower of its own, but not for the first replica, which
    /// goes on with this one for a while.
    pub(super) async fn split(&self, replicas: &[Replica], time: Duration) {
        let standby = self.standby.lock().await.take();
        let follower = match standby {
            Some(follower) => follower,
            None => self.follower().await,
        };
        let other = Redis::start().await;
        other.follow(&follower.next).await;
        follower.fall_behind(Duration::ZERO).await;
        follower.next.promote().await;
        let Some((first, rest)) = replicas.split_first() else { return };
        rest.iter().for_each(|replica| replica.wire.lead_to(follower.next.address()));
        sleep(time).await;
        let mut primary = self.primary.lock().await;
        primary.kill().await;
        first.wire.lead_to(follower.next.address());
        *primary = Arc::new(follower.next);
        self.others.lock().await.push(other);
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
