//! A stream's hold on a backend, which is polled as long as any stream holds it.

use std::sync::Arc;

use parking_lot::MutexGuard;
use tokio::sync::watch;

use super::{poller::Poller, sharing::Sharing, state::State};
use crate::gateway::backend::Backend;

/// A stream's hold on a backend, which is polled as long as any stream holds it.
pub(super) struct Follower {
    backend: Arc<Backend>,
    poller: Arc<Poller>,
    news: watch::Receiver<()>,
}

impl Follower {
    /// Follows a backend, and so has it polled. Also returns the number of the poll that a stream
    /// may begin with: the latest one, however it ended, if no write came after it began.
    pub(super) fn new(backend: &Arc<Backend>, poller: &Arc<Poller>) -> (Self, u64) {
        let news = poller.news.subscribe();
        let mut state = poller.lock();
        state.watchers += 1;
        if let Some(shared) = &poller.shared {
            state.wanted += 1;
            if !state.running && state.over.is_none() {
                state.running = true;
                let task = Sharing::new(Arc::clone(poller), Arc::clone(shared), backend);
                poller.tasks.spawn_until(|closing| task.run(closing));
            }
        } else if state.running || state.over.is_some() {
            state.catch_up(*backend.changes().borrow());
        } else {
            state.running = true;
            let (watched, poller) = (Arc::clone(backend), Arc::clone(poller));
            let tasks = poller.tasks.clone();
            tasks.spawn(async move { poller.run(&watched).await });
            state.want();
        }
        let first = match &poller.shared {
            Some(_) => state.wanted,
            None => state.ended().max(state.wanted),
        };
        drop(state);
        poller.wake.notify_one();
        poller.metrics.watching(true);
        (Self { backend: Arc::clone(backend), poller: Arc::clone(poller), news }, first)
    }

    /// The shared state of the backend.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.poller.lock()
    }

    pub(super) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Whether what changes in the backend may go unseen: it has not been read yet, the latest poll
    /// failed, or the poll that is running takes longer than the time between polls.
    pub(super) fn is_blind(&self) -> bool {
        let (state, interval) = (self.poller.lock(), self.poller.settings.interval);
        state.succeeded == 0
            || state.away.is_some()
            || state.failing.is_some()
            || state.polling.is_some_and(|began| began.elapsed() > interval)
    }

    /// Forgets the polls that have ended so far.
    pub(super) fn listen(&mut self) {
        self.news.mark_unchanged();
    }

    /// Waits until a poll has ended since [`Self::listen`].
    pub(super) async fn news(&mut self) {
        // The sender lives as long as the poller, which this holds.
        let _ = self.news.changed().await;
    }

    /// Counts a stream that was too slow.
    pub(super) fn dropped(&self) {
        self.poller.metrics.dropped();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.poller.lock().watchers -= 1;
        self.poller.metrics.watching(false);
        if self.poller.shared.is_some() {
            // Another replica may look now.
            self.poller.wake.notify_one();
        }
    }
}
