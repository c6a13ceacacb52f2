//! Which clients are accepted now: by the next handshake, and of those that are connected.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::in_use::Clients;

/// Which clients are accepted, in generations. All connections of a port share it.
#[derive(Debug)]
pub(super) struct Demand {
    /// That of `newest`. Calls compare it, which takes no lock.
    generation: AtomicU64,
    newest: watch::Sender<Newest>,
    /// For clients that are verified again without a call.
    one: Semaphore,
}

#[derive(Debug, Clone)]
pub(super) struct Newest {
    pub generation: u64,
    pub clients: Clients,
}

impl Demand {
    pub(super) fn new(clients: Clients) -> Self {
        let newest = watch::Sender::new(Newest { generation: 0, clients });
        Self { generation: AtomicU64::new(0), newest, one: Semaphore::new(1) }
    }

    /// Accepts these clients from now on, and no others of those that are connected.
    pub(super) fn replace(&self, clients: Clients) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        self.newest.send_replace(Newest { generation, clients });
        // Last: who sees it finds those clients.
        self.generation.store(generation, Ordering::Release);
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn newest(&self) -> Newest {
        self.newest.borrow().clone()
    }

    /// Returns when `holds` is true of the newest generation, and it is this client's turn to be
    /// verified again: a reload makes all of them ready at once, and calls of others come between.
    pub(super) async fn turn(&self, holds: impl Fn(u64) -> bool) -> Option<SemaphorePermit<'_>> {
        let mut changes = self.newest.subscribe();
        changes.wait_for(|newest| holds(newest.generation)).await.ok()?;
        self.one.acquire().await.ok()
    }
}
